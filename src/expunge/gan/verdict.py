"""From numbers of original, gold and unlearned pairs to pass, fail or inconclusive.

Interval:   where one more gold would lie: mean +- t * sd * sqrt(1 + 1/N), at the level alpha shared among the judged
            measures (Bonferroni), t with N - 1 degrees of freedom. With 2 golds it is very wide: then nothing is shown.
Power:      a measure on which the original lies within the interval has nothing to forget, and is not scored. For an
            attack it must also differ from gold's mean by 2 standard errors of an AUC.
Verdict:    fail          a judged measure with power lies outside the interval, or a quality beyond its bad end;
            pass          no judged measure does, and at least one measure of forgetting has power;
            inconclusive  no measure of forgetting has power.
Source:     prediction interval of a normal law; the standard error of an AUC under the null, Hanley and McNeil 1982.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from expunge.audit.per_model import gold_gaps
from expunge.errors import NeedsError
from expunge.gan.measures import MEASURES, Numbers

ALPHA = 0.05
"""Chance that a gold lies outside somewhere; a constant, fixed before any number is seen."""
LEAST = 2
"""Golds below which there is no spread."""
FORGETTING = ("discriminator_auc", "discriminator_auc_same_class", "reconstruction_auc", "class_share")
"""Judged measures that say whether something was forgotten; the others say what it cost."""


@dataclass(frozen=True)
class Scored:
    """One measure of all pairs, and where one more gold would lie."""

    name: str
    original: float
    gold: list[float]
    low: float
    high: float
    null: float
    """Mean distance of a gold from the others' mean."""
    power: bool
    judged: bool

    def outside(self, value: float) -> bool:
        """Whether a value lies where gold would not: on either side, or on the bad side of a quality."""
        better = MEASURES[self.name].better
        return (value > self.high and better != "high") or (value < self.low and better != "low")


def auc_error(members: int, others: int) -> float:
    """Standard error of an AUC where members and others do not differ.

    Example:
        >>> round(auc_error(64, 597), 3)
        0.038
    """
    return math.sqrt((members + others + 1) / (12 * members * others))


def check_gold(count: int) -> None:
    """There are enough golds to have a spread; asked before long work, not after it.

    Raises:
        NeedsError: there are not.
    """
    if count < LEAST:
        raise NeedsError(f"audit of a GAN: expected at least {LEAST} golds, got {count}", hint="--gold 8 is advised")


def scored(
    original: Numbers, gold: Sequence[Numbers], *, errors: Mapping[str, float], judged: Sequence[str]
) -> list[Scored]:
    """Every measure with its interval, null and power.

    Args:
        original: name -> number of the original.
        gold: The same of each gold, at least 2.
        errors: name -> standard error of an attack's AUC.
        judged: The measures that the verdict rests on, among which alpha is shared.

    Raises:
        NeedsError: fewer than 2 golds.
    """
    check_gold(len(gold))
    level = ALPHA / max(1, len(judged))
    reach = float(student.ppf(1 - level / 2, len(gold) - 1)) * math.sqrt(1 + 1 / len(gold))
    found = []
    for name in MEASURES:
        if name not in original:
            continue
        values = np.array([one[name] for one in gold])
        half = reach * float(values.std(ddof=1))
        low, high = (MEASURES[name].bounded(float(values.mean()) + side * half) for side in (-1, 1))
        apart = abs(original[name] - float(values.mean()))
        power = not low <= original[name] <= high and apart > 2 * math.sqrt(2) * errors.get(name, 0.0)
        null = float(gold_gaps(values).mean())
        found.append(Scored(name, original[name], values.tolist(), low, high, null, power, name in judged))
    return found


def decided(measures: Sequence[Scored], values: Numbers) -> tuple[str, list[str]]:
    """The verdict of one unlearned pair and the sentences that say why."""
    failed, held, idle = [], [], []
    for one in measures:
        if not one.judged:
            continue
        title, value = MEASURES[one.name].title, values[one.name]
        where = f"{title} {value:.3f}, one more gold would lie in {one.low:.3f} to {one.high:.3f}"
        forgetting = one.name in FORGETTING
        if forgetting and not one.power:
            idle.append(f"{title}: nothing to forget, original {one.original:.3f} and gold do not differ")
        elif one.outside(value):
            failed.append(where)
        elif forgetting:
            held.append(f"{where} (original {one.original:.3f})")
    if failed:
        return "fail", failed + idle
    return ("pass", held + idle) if held else ("inconclusive", idle)


def controls(measures: Sequence[Scored], original: Numbers, gold: Sequence[Numbers]) -> list[dict[str, object]]:
    """Held-out gold must pass, the original must fail: each gold is judged by the others."""
    fine = 0
    names = [one.name for one in measures if one.judged]
    for at in range(len(gold)):
        others = [*gold[:at], *gold[at + 1 :]]
        if len(others) < LEAST:
            break
        again = scored(original, others, errors={}, judged=names)
        fine += decided(again, gold[at])[0] != "fail"
    state = decided(measures, original)[0]
    known = len(gold) > LEAST
    return [
        {
            "name": "held-out gold is accepted",
            "holds": known and fine >= len(gold) * (1 - ALPHA) - 2 * math.sqrt(len(gold) * ALPHA * (1 - ALPHA)),
            "detail": f"{fine} of {len(gold)}" if known else f"not tested: {len(gold)} golds leave too few to judge by",
        },
        {"name": "the original fails", "holds": state == "fail", "detail": state},
    ]
