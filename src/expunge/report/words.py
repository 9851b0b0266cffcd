"""The words of the page: verdicts, measures and the glossary."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.measures import MEASURES, Measure, measure_words

__all__ = ["EACH", "GLOSSARY", "MEASURES", "STATES", "Measure", "State", "measure_words", "number_words"]


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
        "On forget rows every distance to gold lies within its margin with its whole interval, on other rows within "
        "its margin, and utility held. This is statistical evidence under the policy.",
        "M7 12.5l3.4 3.4L17 9",
        "M12 1.5a10.5 10.5 0 1 0 0 21a10.5 10.5 0 1 0 0-21z",
    ),
    "fail": State(
        "Fail",
        "A distance to gold lies above its margin, rows differ from gold, or the model is worse than gold is; the "
        "reasons say which.",
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
EACH = (
    "Every entry was judged by itself: its verdict stands in the table, and what led to it under Every measure. "
    "There is none for all of them together."
)
"""What "measured" says where entries have verdicts of their own."""

NUMBERS = {
    "spread": "spread of gold's mean shift",
    "shift": "smallest shift of all forget rows that is seen",
    "row": "smallest shift of a single row that is seen",
    "resolution": "shift that gold itself shows",
    "threshold": "threshold of the policy",
    "unlearned_needed": "unlearned models needed",
    "gold_needed": "gold models needed",
    "auc_half_width": "half width of an attack's AUC interval",
    "epsilon_ceiling": "largest epsilon that can be shown",
    "floor_auc_half_sd": "models to see half a gold sd in a row",
    "floor_auc_quarter_sd": "models to see a quarter of a gold sd in a row",
}
"""How the numbers of what an audit can see are called."""


GLOSSARY = {
    "gold": "A model trained from scratch with the same recipe, without the forget rows. It is what an "
    "unlearned model should resemble, so every target on this page is gold's value.",
    "distance to gold": "How far an unlearned model is from gold under a measure: 0 is the same. It counts in "
    "both directions, because forgetting more than gold does marks the rows as well.",
    "null": "The same measure on gold against other gold models. It is what chance alone gives: a distance "
    "at the null is no sign of a difference. 90% of such comparisons lie within the null band.",
    "start": "The same measure on the original against gold: the distance before anything was done.",
    "margin": "How sure a model is of a row's true label: its log-odds, in nats. 0 is even odds; at 5 the odds "
    "are about 150 to 1.",
    "forget accuracy": "Accuracy on the forget rows. The target is gold's value, neither 0 nor 1. Papers often "
    "print UA, which is 1 minus it.",
    "cost": "Row visits of the unlearning, divided by those of one retraining. Forward-only and training "
    "visits are counted; seconds depend on the machine.",
    "interval": "95% interval over models: how far the value depends on which models happened to be trained.",
}


def number_words(name: str) -> str:
    """How a number of what the audit can see is called.

    Example:
        >>> number_words("floor_klom"), number_words("gold_needed"), number_words("my_number")
        ('models for KLoM', 'gold models needed', 'my number')
    """
    floor = name.removeprefix("floor_")
    if name in NUMBERS or floor == name:
        return NUMBERS.get(name, name.replace("_", " "))
    return f"models for {measure_words(floor).title}"
