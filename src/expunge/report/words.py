"""The words of the page: verdicts, measures and the glossary."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class State:
    """How one verdict is said.

    Args:
        word: the verdict.
        meaning: what it says, and what it does not.
        icon: SVG path of its mark, inside its shape, on 24 x 24.
        shape: SVG path of its outline; every verdict has its own.
    """

    word: str
    meaning: str
    icon: str
    shape: str


STATES = {
    "pass": State(
        "Pass",
        "Every distance to gold that the policy names was tested and lies within its margin. "
        "This is statistical evidence under that policy.",
        "M7 12.5l3.4 3.4L17 9",
        "M12 1.5a10.5 10.5 0 1 0 0 21a10.5 10.5 0 1 0 0-21z",
    ),
    "fail": State(
        "Fail",
        "At least one distance to gold that the policy names was tested and lies above its margin.",
        "M8 8l8 8M16 8l-8 8",
        "M7.7 1.5h8.6l6.2 6.2v8.6l-6.2 6.2H7.7l-6.2-6.2V7.7z",
    ),
    "inconclusive": State(
        "Inconclusive",
        "The test could not decide; this is neither a pass nor a fail. The reasons say what was lacking.",
        "M9.2 9.4a2.8 2.8 0 1 1 4.4 2.3c-1 .7-1.6 1.2-1.6 2.4M12 17.2v.1",
        "M12 .8L23.2 12L12 23.2L.8 12z",
    ),
    "measured": State(
        "Measured",
        "Distances to gold were measured; no policy was applied, so there is no pass or fail.",
        "M7 17v-4M12 17V7M17 17v-7",
        "M2 2h20v20H2z",
    ),
}


@dataclass(frozen=True)
class Measure:
    """How one measure is said.

    Args:
        title: its name in a heading.
        unit: the unit of its value; empty where it has none.
        statistic: how the rows become one number.
        meaning: one or two plain sentences.
        extras: which of `extra` are shown, and their column titles.
    """

    title: str
    unit: str = ""
    statistic: str = ""
    meaning: str = ""
    extras: dict[str, str] = field(default_factory=dict)


MEASURES = {
    "klom": Measure(
        "KLoM",
        "nats",
        "P95",
        "For every row, the KL divergence between the margins of the unlearned models and those of the gold "
        "models. P95 is the value that 95% of the rows stay below. The target is the null.",
        {"reverse": "reverse", "debiased": "minus null"},
    ),
    "gaussian_kl": Measure(
        "Gaussian KL",
        "nats",
        "P95",
        "Like KLoM, but a normal distribution is fitted to each row's margins, so fewer models are needed and "
        "the shape of the distribution is not seen. The target is the null.",
        {"reverse": "reverse", "variance_ratio": "variance ratio"},
    ),
    "activation_distance": Measure(
        "Activation distance",
        "",
        "mean",
        "Mean Euclidean distance between the softmax outputs of unlearned and of gold models, from 0 to 1.41. "
        "The target is the null.",
        {"ratio": "in units of null"},
    ),
    "jensen_shannon": Measure(
        "Jensen-Shannon divergence",
        "bits",
        "mean",
        "How far the softmax outputs of unlearned models lie from those of gold models, from 0 to 1. "
        "The target is the null.",
        {"ratio": "in units of null"},
    ),
    "population_attack": Measure(
        "Population attack",
        "AUC",
        "gap",
        "An attacker tells forget rows from holdout rows by one model's outputs. The distance is the gap "
        "between the attack's AUC on the unlearned model and on gold; the target is gold's AUC, not 0.5.",
        {
            "unlearned_mean": "AUC",
            "gold_mean": "gold's AUC",
            "gold_sd": "gold's sd",
            "original_mean": "original's AUC",
        },
    ),
}

GLOSSARY = {
    "gold": "A model trained from scratch with the same recipe, without the forget rows. It is what an "
    "unlearned model should resemble, so every target on this page is gold's value.",
    "distance to gold": "How far an unlearned model is from gold under a measure: 0 is the same. It counts in "
    "both directions, because forgetting more than gold does marks the rows as well.",
    "null": "The same measure on gold against other gold models. It is what chance alone gives: a distance "
    "at the null is no sign of a difference.",
    "start": "The same measure on the original against gold: the distance before anything was done.",
    "margin": "How sure a model is of a row's true label: its log-odds, in nats. 0 is even odds; at 5 the odds "
    "are about 150 to 1.",
    "forget accuracy": "Accuracy on the forget rows. The target is gold's value, neither 0 nor 1. Papers often "
    "print UA, which is 1 minus it.",
    "cost": "Row visits of the unlearning, divided by those of one retraining. Forward-only and training "
    "visits are counted; seconds depend on the machine.",
    "interval": "95% interval over models: how far the value depends on which models happened to be trained.",
}


def measure_words(name: str) -> Measure:
    """How the measure is said; one that is not known here goes by its own name.

    Example:
        >>> measure_words("margin_shift").title
        'Margin shift'
    """
    return MEASURES.get(name) or Measure(name.replace("_", " ").capitalize())
