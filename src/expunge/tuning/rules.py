"""Which objective and which twin `auto` stands for, by what the forget rows have in common: one table of figures.

Source:     `python -m benchmarks tuning`, digits and Fashion-MNIST, median relative regret over its cells: 0 is as good
            as tuning on gold, 1 as good as the method's default. See docs/figures.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from expunge.errors import check
from expunge.tuning.trial import OBJECTIVES
from expunge.tuning.twins import KINDS

AUTO = "auto"


@dataclass(frozen=True)
class Rule:
    """What is taken, and the figure that it rests on."""

    objective: str
    kind: str
    basis: str
    """The figure, in words."""


RULES = {
    "class": Rule(
        "twin",
        "finetune",
        "a part of a class: relative regret 0.57, where a fresh twin has 0.55 and costs a retraining",
    ),
    "random": Rule("twin", "fresh", "random rows: relative regret 0.34, where a finetuned twin has 0.74"),
    "subject": Rule("twin", "fresh", "subjects are not measured: a fresh twin has the structure of the true problem"),
}
"""Kind of forget set -> rule."""


@dataclass(frozen=True)
class Way:
    """How settings are chosen."""

    objective: str
    kind: str
    why: str
    """Why that, where nobody named it; else empty."""


def way(objective: str, kind: str, forget: str) -> Way:
    """The objective and the kind of twin; "auto" in either place is looked up.

    Args:
        objective: "auto", or one of those in `tuning/trial.py`.
        kind: "auto", or one of those in `tuning/twins.py`.
        forget: What the forget rows have in common: "random", "class" or "subject".

    Raises:
        ConfigError: no objective or no kind is called that.

    Example:
        >>> way("auto", "auto", "class").kind, way("auto", "rewind", "class").kind
        ('finetune', 'rewind')
    """
    check("objective", objective, ", ".join((AUTO, *OBJECTIVES)), objective in (AUTO, *OBJECTIVES))
    check("kind", kind, ", ".join((AUTO, *KINDS)), kind in (AUTO, *KINDS))
    rule = RULES[forget]
    chosen = rule.objective if objective == AUTO else objective
    twin = rule.kind if kind == AUTO else kind
    taken = [f"objective {chosen}"] * (objective == AUTO) + [f"kind {twin}"] * (kind == AUTO and chosen == "twin")
    ruled = (chosen, twin) == (rule.objective, rule.kind)
    return Way(chosen, twin, f"auto took {' and '.join(taken)}" + f" ({rule.basis})" * ruled if taken else "")
