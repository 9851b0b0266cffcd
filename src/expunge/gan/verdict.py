"""From numbers of original, gold and unlearned pairs to pass, fail or inconclusive.

Interval:   where one more gold would lie: mean +- t * sd * sqrt(1 + 1/N), at the level alpha shared among the judged
            measures (Bonferroni), t with N - 1 degrees of freedom; the sd of a share is at least that of drawing so
            many pictures, as golds that all draw none would else allow not one.
Power:      a measure of forgetting on which the original lies within the interval, or within 2 standard errors of a
            difference from gold's mean, has nothing to forget, and is not scored.
Verdict:    fail          a judged measure with power lies outside the interval, or a quality beyond its bad end;
            pass          no judged measure does, at least one measure of forgetting has power, both controls hold, and
                          no measure without power found the unlearned pair where neither gold nor original is;
            inconclusive  anything else. Quality alone can fail: a ruined pair is no use, whatever it forgot.
Controls:   each gold, judged by the others, must not fail; the original must. Two golds leave nothing to judge by, so
            that three are needed for a pass, and 8 are advised.
Source:     prediction interval of a normal law; the standard error of an AUC under the null, Hanley and McNeil 1982.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from expunge.audit.per_model import gold_gaps
from expunge.audit.verdict import needed_share
from expunge.errors import NeedsError
from expunge.gan.measure_table import MEASURES
from expunge.gan.measures import Numbers

ALPHA = 0.05
"""Chance that a gold lies outside somewhere; a constant, fixed before any number is seen."""
LEAST = 2
"""Golds below which there is no spread."""
FORGETTING = ("discriminator_auc", "discriminator_auc_same_class", "reconstruction_auc", "class_share")
"""Judged measures that say whether something was forgotten; the others say what it cost."""
DRAWN = ("class_share",)
"""Measures that are shares of drawn pictures, each pair's own: their sampling error is in every gold."""
TIED = 1e-9
"""Distance from one half within which an AUC is that of a constant score."""
APART = 2 * math.sqrt(2)
"""Standard errors of one number that a difference of two has to exceed: two of its own."""


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
    error: float
    """Standard error of one number from the rows or pictures behind it; 0 where nothing tells."""
    judged: bool

    @property
    def power(self) -> bool:
        """Whether original and gold differ, so that there was something to forget."""
        away = abs(self.original - self.mean) > APART * self.error
        return away and not self.low <= self.original <= self.high

    @property
    def mean(self) -> float:
        """Gold's."""
        return float(np.mean(self.gold))

    def outside(self, value: float) -> bool:
        """Whether a value lies where gold would not: on either side, or on the bad side of a quality."""
        better = MEASURES[self.name].better
        return (value > self.high and better != "high") or (value < self.low and better != "low")

    def apart(self, value: float) -> bool:
        """Whether a value lies outside, and not by the error of the rows or pictures alone."""
        return self.outside(value) and abs(value - self.mean) > APART * self.error


def auc_error(members: int, others: int) -> float:
    """Standard error of an AUC where members and others do not differ.

    Example:
        >>> round(auc_error(64, 597), 3)
        0.038
    """
    return math.sqrt((members + others + 1) / (12 * members * others))


def share_error(share: float, pictures: int) -> float:
    """Standard error of a share of drawn pictures; smoothed, so that it is above 0 where none was found.

    Example:
        >>> round(share_error(0.0, 398), 4)
        0.0025
    """
    smooth = (share * pictures + 1) / (pictures + 2)
    return math.sqrt(smooth * (1 - smooth) / pictures)


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
        errors: name -> standard error of one number, where the rows or pictures behind it tell.
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
        values, error = np.array([one[name] for one in gold]), errors.get(name, 0.0)
        spread = float(values.std(ddof=1))
        half = reach * (max(spread, error) if name in DRAWN else spread)
        low, high = (MEASURES[name].bounded(float(values.mean()) + side * half) for side in (-1, 1))
        null = float(gold_gaps(values).mean())
        found.append(Scored(name, original[name], values.tolist(), low, high, null, error, name in judged))
    return found


def decided(measures: Sequence[Scored], values: Numbers) -> tuple[str, list[str]]:
    """What the measures alone say of one pair, and the sentences that say why."""
    failed, held, idle, odd = [], [], [], []
    for one in measures:
        if not one.judged:
            continue
        title, value = MEASURES[one.name].title, values[one.name]
        where = f"{title} {value:.3f}, one more gold would lie in {one.low:.3f} to {one.high:.3f}"
        forgetting = one.name in FORGETTING
        if forgetting and not one.power:
            idle.append(f"{title}: nothing to forget, original {one.original:.3f} and gold do not differ")
            if one.apart(value):
                odd.append(f"{where}, and so does the original: it was made conspicuous")
        elif one.outside(value):
            failed.append(where)
        elif forgetting:
            held.append(f"{where} (original {one.original:.3f})")
    if abs(values.get("discriminator_skill", 1.0) - 0.5) < TIED:
        odd.append("the discriminator says the same of everything: it has collapsed, so that no attack on it can tell")
    if failed:
        return "fail", failed + odd + idle
    return ("pass", held + idle) if held and not odd else ("inconclusive", odd + held + idle)


def verdict(
    measures: Sequence[Scored], original: Numbers, gold: Sequence[Numbers], unlearned: Numbers
) -> tuple[str, list[str], list[dict[str, object]]]:
    """The verdict of one unlearned pair, why, and both controls; where one does not hold nothing passes."""
    state, reasons = decided(measures, unlearned)
    checks = controls(measures, original, gold)
    if state == "pass" and not all(check["holds"] for check in checks):
        missed = "; ".join(f"{check['name']}: {check['detail']}" for check in checks if not check["holds"])
        return "inconclusive", [f"a control does not hold ({missed})", *reasons], checks
    return state, reasons, checks


def controls(measures: Sequence[Scored], original: Numbers, gold: Sequence[Numbers]) -> list[dict[str, object]]:
    """Held-out gold must be accepted, the original must fail: each gold is judged by the others."""
    names, errors = [one.name for one in measures if one.judged], {one.name: one.error for one in measures}
    state = decided(measures, original)[0]
    fails = {"name": "the original fails", "holds": state == "fail", "detail": state}
    if len(gold) <= LEAST:
        untested = f"not tested: {len(gold)} golds leave too few to judge by"
        return [{"name": "held-out gold is accepted", "holds": False, "detail": untested}, fails]
    accepted = 0
    for at in range(len(gold)):
        others = scored(original, [*gold[:at], *gold[at + 1 :]], errors=errors, judged=names)
        accepted += decided(others, gold[at])[0] != "fail"
    enough = accepted >= len(gold) * needed_share(ALPHA, len(gold))
    return [{"name": "held-out gold is accepted", "holds": enough, "detail": f"{accepted} of {len(gold)}"}, fails]
