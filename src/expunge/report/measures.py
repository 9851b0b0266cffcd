"""The words of the measures: how each is called, its unit, what its number says and what its target is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measure:
    """How one measure is said.

    Args:
        title: its name in a heading.
        unit: the unit of its value; empty where it has none.
        statistic: how the rows become one number.
        meaning: plain sentences; the last of them says what the target is.
        extras: which of `extra` are shown, and their column titles.
        reading: what the value is.
    """

    title: str
    unit: str = ""
    statistic: str = ""
    meaning: str = ""
    extras: dict[str, str] = field(default_factory=dict)
    reading: str = "distance to gold"


PER_ROW = {"reverse": "reverse", "debiased": "minus null"}
OUTPUTS = {"ratio": "in units of null"}
ATTACK = {
    "auc_unlearned": "AUC",
    "auc_gold": "gold's AUC",
    "auc_original": "original's AUC",
    "tpr_unlearned": "TPR at low FPR",
    "tpr_gold": "gold's TPR",
    "tpr_original": "original's TPR",
}


def _beside_gold(what: str) -> dict[str, str]:
    """Columns of a measure that gives each model one number: that number, gold's, its spread and the original's."""
    keys = {"unlearned_mean": what, "gold_mean": f"gold's {what}", "gold_sd": "gold's sd"}
    return keys | {"original_mean": f"original's {what}"}


def _population(title: str, by: str) -> Measure:
    """One population attack, by the number that the attacker looks at."""
    meaning = (
        f"An attacker tells forget rows from holdout rows by {by}. The distance is the gap between the attack's AUC "
        "on the unlearned model and on gold; the target is gold's AUC, not 0.5."
    )
    return Measure(title, "AUC", "gap", meaning, _beside_gold("AUC"))


LAWS = {
    "klom": Measure(
        "KLoM",
        "nats",
        "P95",
        "For every row, the KL divergence between the margins of the unlearned models and those of the gold "
        "models. P95 is the value that 95% of the rows stay below. The target is the null.",
        PER_ROW,
    ),
    "gaussian_kl": Measure(
        "Gaussian KL",
        "nats",
        "P95",
        "Like KLoM, but a normal distribution is fitted to each row's margins, so fewer models are needed and "
        "the shape of the distribution is not seen. The target is the null.",
        {"reverse": "reverse", "variance_ratio": "variance ratio"},
    ),
    "method_distance": Measure(
        "Method distance",
        "nats",
        "mean",
        "Mean over rows of the symmetric KL between normal laws fitted to the margins of unlearned and gold models; "
        "0.031 nats is a shift of a quarter of gold's standard deviation. The target is the null, what gold shows "
        "against gold; a verdict looks at what lies beyond it.",
        {"beyond": "minus null", "margin": "margin", "resolution": "resolution", "p": "exact p"},
    ),
    "row_z": Measure(
        "Row z",
        "gold standard deviations",
        "P95",
        "How many standard deviations of gold a row's margin lies from gold's mean, once the drift that a model "
        "shows on test rows is taken out. The target is the null: gold models, each against the others.",
        {"null_high": "farthest gold"},
    ),
    "rank_auc": Measure(
        "Rank test, AUC",
        "",
        "P95",
        "For every row, how often an unlearned model's margin is above a gold model's, as a distance from one half: "
        "0.5 where the two never overlap. It sees shifts but no change of spread. The target is the null.",
        {"signed": "mean, signed", "flagged": "rows flagged"},
    ),
    "rank_ks": Measure(
        "Rank test, KS",
        "",
        "P95",
        "For every row, the largest gap between the distribution functions of unlearned and gold margins "
        "(Kolmogorov-Smirnov), from 0 to 1. It sees shifts, spread and shape. The target is the null.",
        {"flagged": "rows flagged"},
    ),
    "rank_variance": Measure(
        "Variance ratio",
        "",
        "P95",
        "For every row, how far the variance of unlearned margins is from gold's, as the size of the logarithm of "
        "their ratio: 0.69 where one is twice the other. It sees methods whose runs vary too little or too much. "
        "The target is the null.",
        {"signed": "median, signed", "flagged": "rows flagged"},
    ),
    "activation_distance": Measure(
        "Activation distance",
        "",
        "mean",
        "Mean Euclidean distance between the softmax outputs of unlearned and of gold models, from 0 to 1.41. "
        "The target is the null.",
        OUTPUTS,
    ),
    "jensen_shannon": Measure(
        "Jensen-Shannon divergence",
        "bits",
        "mean",
        "How far the softmax outputs of unlearned models lie from those of gold models, from 0 to 1. "
        "The target is the null.",
        OUTPUTS,
    ),
}
"""Whole distributions over models, and single models within them, against gold's."""

ATTACKS = {
    "population_attack": _population("Population attack", "one model's loss"),
    "population_confidence": _population("Population attack, confidence", "how likely one model finds the true label"),
    "population_entropy": _population(
        "Population attack, entropy", "how undecided one model is between the classes, whatever the label"
    ),
    "population_modified_entropy": _population(
        "Population attack, modified entropy",
        "one model's entropy, in a form that tells sure right answers from sure wrong ones",
    ),
    "lira": Measure(
        "LiRA",
        "AUC",
        "gap",
        "An attacker with models trained with and without each row asks which kind explains the row's margin better. "
        "The distance is the gap between the attack's success on unlearned models and on gold; the target is gold's "
        "AUC, not 0.5.",
        ATTACK,
    ),
    "rmia": Measure(
        "RMIA",
        "AUC",
        "gap",
        "An attacker weighs each row's probability against reference models, and counts the unrelated rows that it "
        "beats. The distance is the gap between the attack's success on unlearned models and on gold; the target is "
        "gold's AUC, not 0.5.",
        ATTACK,
    ),
    "u_lira": Measure(
        "U-LiRA",
        "accuracy above 0.5",
        "mean",
        "Row by row, an attacker with many models of both kinds guesses whether a model forgot the row or never saw "
        "it. The value is the share of right guesses above one half: 0 is guessing, 0.5 is certainty. "
        "The target is the null.",
        {"accuracy": "accuracy", "auc": "AUC", "tpr": "TPR at low FPR", "debiased": "minus null"},
    ),
    "efficacy_starting_kit": Measure(
        "Starting-kit attack",
        "accuracy",
        "gap",
        "How often the attack of the 2023 challenge's starting kit tells forget rows from test rows by their loss. "
        "It can miss a weak method altogether. The target is gold's value, not 0.5.",
        _beside_gold("accuracy"),
    ),
    "efficacy_svc": Measure(
        "MIA efficacy",
        "share of forget rows",
        "gap",
        "The share of forget rows that an attack trained on retain and test rows takes for unseen ones. Papers call "
        "higher better; the target is gold's share, and more than that is a distance as well.",
        _beside_gold("share"),
    ),
    "efficacy_bad_teacher": Measure(
        "Entropy attack",
        "share of forget rows",
        "gap",
        "The share of forget rows that an attack on entropy, trained on retain and test rows, takes for trained-on "
        "ones. Papers call lower better; the target is gold's share, and less than that is a distance as well.",
        _beside_gold("share"),
    ),
    "challenge": Measure(
        "Challenge score",
        "",
        "1 - F",
        "F is the forgetting quality of the NeurIPS 2023 unlearning challenge. F of a perfect method is about 0.19, "
        "not 1, so the target is gold's own F, and the ratio to it 1. Noise between runs raises F: a variance ratio "
        "far from 1 shows runs that vary more or less than gold's.",
        {
            "quality": "F",
            "quality_null": "gold's F",
            "quality_ratio": "F / gold's F",
            "variance_ratio": "variance ratio",
        },
    ),
    "epsilon": Measure(
        "Epsilon",
        "nats",
        "mean",
        "For every row, a lower bound at 95% on the epsilon of unlearning: how surely unlearned models can be told "
        "from gold by that row. 0 says that no leak was shown and is no evidence of forgetting; no row can show more "
        "than the ceiling. The target is the null.",
        {"ceiling": "ceiling", "share": "share of rows above 0", "largest": "largest row"},
    ),
}
"""What an attacker could tell."""

SINGLE = {
    "accuracy_gap": Measure(
        "Accuracy gap",
        "share of rows",
        "gap",
        "How far the share of rows that the unlearned models get right is from gold's share, in either direction. "
        "The target is gold's value; the null says how far gold models are from each other.",
        _beside_gold("accuracy"),
    ),
    "average_gap": Measure(
        "Average gap",
        "",
        "",
        "Mean of several gaps to gold: of the accuracies on forget, retain and test rows and of an attack. A large "
        "one can hide behind small ones, so each stands beside it. The target is the null.",
    ),
    "tug_of_war": Measure(
        "Tug of war",
        "",
        "1 - ToW",
        "ToW multiplies the agreements with gold in accuracy on forget, retain and test rows; 1 is full agreement. "
        "The target is the null, because gold models do not fully agree with each other.",
        {
            "tow": "ToW",
            "tow_gold": "gold's ToW",
            "tow_original": "original's ToW",
            "tow_mia": "ToW-MIA",
            "tow_mia_gold": "gold's ToW-MIA",
        },
    ),
    "aus": Measure(
        "AUS",
        "",
        "gap",
        "The adaptive unlearning score weighs the test accuracy that was kept against what is left of the forget "
        "rows. Papers call higher better; the target is gold's score, and more than that is a distance as well.",
        _beside_gold("AUS"),
    ),
    "disagreement": Measure(
        "Disagreement",
        "share of rows",
        "mean",
        "On what share of rows an unlearned model is right and a gold model wrong, or the other way round. Equal "
        "accuracies can hide it. Two gold models disagree as well, so the target is the null.",
        OUTPUTS,
    ),
    "zrf": Measure(
        "ZRF",
        "bits",
        "gap",
        "How much the outputs on forget rows resemble those of models that were never trained, 1 being the same. "
        "Gold knows other rows like them, so the target is gold's value, not 1.",
        _beside_gold("ZRF"),
    ),
    "relearn": Measure(
        "Relearning time",
        "log ratio",
        "gap",
        "How soon fine-tuning on the forget rows brings their accuracy back, beside the same for gold: 0.69 where one "
        "takes twice as long. Sooner is a memory, later is forgetting too much. AIN is the ratio itself; the target "
        "is gold's time, an AIN of 1.",
        {"ain": "AIN", "steps_unlearned": "steps", "steps_gold": "gold's steps", "unfinished_unlearned": "unfinished"},
    ),
    "foretold": Measure(
        "Foretold",
        "share of forget rows",
        "mean",
        "A method guessed which forget rows gold gets right before it unlearned the others. The value is the share of "
        "rows on which it guessed otherwise than most gold models do; to be of use it has to stay below the start, "
        "which is to call every row easy. Original and gold are taken at what they get right themselves. The target "
        "is the null, one gold model against the others.",
        {
            "gain": "gain over all easy",
            "auroc": "AUROC",
            "auroc_low": "from",
            "auroc_high": "to",
            "balanced_accuracy": "balanced accuracy",
            "one_gold": "accuracy, one gold",
            "one_gold_gain": "its gain",
            "easy": "easy rows",
            "called_easy": "called easy",
        },
        "share guessed wrong",
    ),
    "confusion": Measure(
        "Confusion",
        "share of rows",
        "gap",
        "The labels of two classes were swapped on the forget rows before training. The value is the share of unseen "
        "rows of these classes that are taken for each other, as a gap to gold; the target is gold's share.",
        _beside_gold("error") | {"forget_unlearned": "error on forget rows", "forget_gold": "gold's on forget rows"},
    ),
    "gaussian_poison": Measure(
        "Gaussian poison",
        "sd",
        "mean",
        "Noise was planted in the forget rows before training, and the same method unlearned them. The value says how "
        "far the model still leans towards that noise, in either direction; signed, below 0 it remembers and above "
        "0 it has forgotten too much. The null is what a few gold models show; the target is 0, the mean of a model "
        "that never saw the noise, whose law is known exactly.",
        {"signed": "signed", "z": "z", "p": "exact p", "p_original": "original's p", "tpr": "TPR at low FPR"},
        "0 = never saw the noise",
    ),
    "one_run": Measure(
        "One-run epsilon",
        "nats",
        "lower bound",
        "Rows with wrong labels were included in one more training with probability 1/2 each, and the same method "
        "unlearned the included ones. The value is how much epsilon the guesses of who was included prove at 95%, for "
        "training and unlearning together; none can exceed the ceiling. The target is 0, which is no evidence of "
        "forgetting by itself.",
        {"p": "p", "guesses": "guesses", "correct": "right", "correct_original": "right before", "ceiling": "ceiling"},
        "lower bound",
    ),
    "memorisation": Measure(
        "Memorisation",
        "",
        "mean",
        "How much likelier a model is right on a row when it was trained on it. It says how hard rows are to forget, "
        "whatever the method; it is no distance and has no target.",
        reading="difficulty of the rows, no distance",
    ),
}
"""One number per model, and what the rows themselves are like."""

MEASURES = LAWS | ATTACKS | SINGLE


def measure_words(name: str) -> Measure:
    """How the measure is said; one that is not known here goes by its own name.

    Example:
        >>> measure_words("margin_shift").title
        'Margin shift'
    """
    return MEASURES.get(name) or Measure(name.replace("_", " ").capitalize())
