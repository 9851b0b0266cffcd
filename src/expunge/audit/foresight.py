"""Foresight: what an audit under a policy will be able to see, in words and numbers, before anything is trained.

Source:     the formulas of `floors`, `detectable` and `epsilon.ceiling`; two closed forms of our own, `flagged_row`
            and `common_shift`.
Deviations: margins are taken as normal, and rows as independent of each other unless their spread was measured.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from scipy.special import betaincinv, chdtri, chndtrinc, ndtri, stdtrit

from expunge.audit.detectable import (
    POWER,
    detectable_row,
    detectable_shift,
    gold_needed,
    independent_spread,
    resolution,
)
from expunge.audit.epsilon import DIRECTIONS, ceiling
from expunge.audit.floors import METHOD_FLOORS, auc_half_width, model_floors
from expunge.audit.policy import Policy
from expunge.errors import NeedsError, check

TESTED = 3
"""Rank tests of each row, for all of which flags are corrected."""
INDEPENDENT = "rows taken as independent"
DEPENDENT = "rows depend on each other as measured on gold"
SD = "gold sd"
TINY = 1e-12  # gold sd; the spread where gold models agree exactly
FLOOR_WORDS = {
    "gaussian_kl": "Gaussian KL",
    "klom": "KLoM",
    "auc_half_sd": "rank tests of half a standard deviation",
    "u_lira": "U-LiRA",
    "epsilon": "epsilon",
    "auc_quarter_sd": "rank tests of a quarter",
    "challenge": "the challenge's score",
}
"""Floor -> how a sentence calls it."""


@dataclass(frozen=True)
class Item:
    """One number of a foresight.

    Args:
        name: what it is.
        value: infinite where no effect of any size is seen; None where there is no number.
        unit: of the value.
        detail: what it rests on, or whether it is reached.
    """

    name: str
    value: float | None
    unit: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`: an infinite value as None."""
        known = self.value is not None and math.isfinite(self.value)
        return asdict(self) | {"value": self.value if known else None}


@dataclass(frozen=True)
class Foresight:
    """Result of `foresee_model` and `foresee_method`.

    Args:
        text: one to four sentences, what rules out a verdict first.
        items: the numbers behind them, and a few more.
    """

    text: tuple[str, ...]
    items: tuple[Item, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`."""
        return {"text": list(self.text), "items": [item.to_json() for item in self.items]}


def foresee_model(policy: Policy, *, gold: int, forget: int, test: int, spread: float | None = None) -> Foresight:
    """What an audit of one model under this policy will see.

    Args:
        policy: what the verdict demands.
        gold: gold models, >= 2.
        forget: forget rows, >= 1.
        test: test rows on which the drift is taken out, >= 1; 400 advised.
        spread: sd over gold of the mean shift, gold sd, >= 0, as measured by `spread_of_shift`; None takes rows as
            independent, which real rows are not quite.

    Returns:
        Foresight with `spread`, `shift` (smallest common shift seen with probability 0.8), `row` (smallest shift of
        one row that is flagged with it), `resolution` (what gold itself exceeds with probability alpha), `threshold`
        (the policy's), `gold_needed` and `auc_half_width`.

    Raises:
        ConfigError: a number out of range.

    Example:
        >>> foresee_model(Policy(name="mine"), gold=12, forget=50, test=400).text[0]
        'The verdict will be inconclusive: policy mine needs 19 gold models, not 12.'
    """
    check("gold", gold, ">= 2", gold >= 2)
    check("spread", spread, ">= 0 or None", spread is None or spread >= 0)
    assumed = independent_spread(forget, test)
    spread, known = (assumed, INDEPENDENT) if spread is None else (max(spread, TINY), DEPENDENT)
    alpha, floors, margin = policy.alpha, model_floors(policy.alpha), policy.shift_margin
    shift = detectable_shift(gold, spread=spread, alpha=alpha)
    row = flagged_row(gold, forget, alpha=alpha)
    own = resolution(gold, spread=spread, alpha=alpha)
    least = max(policy.gold, floors["joint"])
    needed = least if margin is None else _needed(margin, least, spread, alpha)
    half = auc_half_width(forget)
    blocked = _blocked(policy, gold, least, needed, own)
    text = (
        blocked,
        f"A shift of all {forget} forget rows together is seen {_from(shift)} ({known})." if shift < math.inf else "",
        f"A single row is flagged {_from(row)}."
        if row < math.inf
        else f"No single row can be flagged: that takes {floors['one_row']} gold models.",
        _threshold(policy, own, needed) if needed else "",
        "" if blocked else f"An attack's AUC on {forget} forget rows is known to ±{half:.2g}.",
    )
    items = (
        Item("spread", spread, SD, known),
        Item("shift", shift, SD, f"common to all forget rows, seen with probability {POWER:g}; {known}"),
        Item("row", row, SD, f"of one row, flagged with probability {POWER:g} by signed tails"),
        Item("resolution", own, SD, f"shift that a gold model itself exceeds with probability {alpha:g}"),
        Item("threshold", margin, SD, "gold's own spread" if margin is None else f"fixed by policy {policy.name}"),
        Item("gold_needed", needed, "models", "no number is enough" if needed is None else f"there are {gold}"),
        Item("auc_half_width", half, "AUC", "95%, with as many holdout as forget rows"),
    )
    return Foresight(tuple(sentence for sentence in text if sentence), items)


def foresee_method(policy: Policy, *, unlearned: int, gold: int, forget: int) -> Foresight:
    """What an audit of a method under this policy will see.

    Args:
        policy: what the verdict demands.
        unlearned: unlearned models, each from an original of its own, >= 1.
        gold: gold models, >= 1.
        forget: forget rows, >= 1.

    Returns:
        Foresight with `row` (smallest shift of one row that a rank test sees with probability 0.8), `shift` (smallest
        shift of all forget rows together that the permutation test sees with it), `epsilon_ceiling`, `threshold` (the
        policy's), `unlearned_needed`, `gold_needed`, and the floor of every measure as `floor_<name>`.

    Raises:
        ConfigError: a number out of range.

    Example:
        >>> foresee_method(Policy(name="mine"), unlearned=64, gold=512, forget=100).text[1]
        'A perfect attack could show an epsilon of at most 3.9.'
    """
    for name, count in (("unlearned", unlearned), ("gold", gold), ("forget", forget)):
        check(name, count, ">= 1", count >= 1)
    alpha, margin = policy.alpha, policy.method_margin
    possible = 2 / math.comb(unlearned + gold, gold) <= alpha  # least p of a rank test
    row = detectable_row(unlearned, gold, alpha=alpha / (TESTED * forget)) if possible else math.inf
    shift = common_shift(unlearned, gold, forget, alpha=alpha)
    most = ceiling(max(1, unlearned // 2), alpha / DIRECTIONS, golds=max(1, gold // 2))
    side = min(unlearned, gold)
    asked = f"{policy.unlearned} unlearned and {policy.gold} gold models, not {unlearned} and {gold}"
    few = unlearned < policy.unlearned or gold < policy.gold
    text = (
        f"The verdict will be inconclusive: policy {policy.name} needs {asked}." if few else "",
        f"A shift of one row is flagged {_from(row)}{_together(shift, forget)}." if row < math.inf else "",
        f"A perfect attack could show an epsilon of at most {most:.2g}.",
        _short(side),
    )
    items = (
        Item("row", row, SD, f"of one row, flagged by the rank tests with probability {POWER:g}"),
        Item("shift", shift, SD, f"common to all forget rows, seen with probability {POWER:g}; {INDEPENDENT}"),
        Item("epsilon_ceiling", most, "nats", f"at level {alpha:g}, with half of the models to judge"),
        Item("threshold", margin, "nats", "gold's own spread" if margin is None else f"fixed by policy {policy.name}"),
        Item("unlearned_needed", policy.unlearned, "models", f"there are {unlearned}"),
        Item("gold_needed", policy.gold, "models", f"there are {gold}"),
        *(
            Item(f"floor_{name}", floor, "models a side", "reached" if side >= floor else "not reached")
            for name, floor in METHOD_FLOORS.items()
        ),
    )
    return Foresight(tuple(sentence for sentence in text if sentence), items)


def flagged_row(golds: int, rows: int, *, alpha: float = 0.05, chance: float = POWER) -> float:
    """Smallest shift of a single forget row that an audit of one model flags, in a normal approximation.

    The row is flagged where fewer than r = floor(alpha (1 + N rows) / (2 rows)) of the N * rows values of gold lie
    beyond its z. These are taken as independent values of Student's law, N - 1 degrees of freedom, the r-th of them
    at its median T; the row's own z, which follows a noncentral t law, by its usual normal approximation:
    shift = sqrt(1 + 1 / N) (T (1 - 1 / (4 (N - 1))) + z_chance sqrt(1 + T^2 / (2 (N - 1)))).
    A drift that all rows share is taken out and makes the audit see more than this.

    Args:
        golds: gold models N, >= 2.
        rows: forget rows, >= 1.
        alpha: false discovery rate, in (0, 0.5).
        chance: probability to flag it, in (alpha, 1).

    Returns:
        Gold sd; infinite below 2 / alpha gold models.

    Example:
        >>> round(flagged_row(64, 200), 1), flagged_row(39, 200)
        (5.1, inf)
    """
    if golds < model_floors(alpha)["one_row"]:
        return math.inf
    values, freedom = golds * rows, golds - 1
    reach = math.floor(alpha * (1 + values) / (2 * rows) + 1e-9)
    cut = -float(stdtrit(freedom, betaincinv(reach, values - reach + 1, 0.5)))
    needed = cut * (1 - 1 / (4 * freedom)) + float(ndtri(chance)) * math.sqrt(1 + cut**2 / (2 * freedom))
    return math.sqrt(1 + 1 / golds) * needed


def common_shift(ours: int, golds: int, rows: int, *, alpha: float = 0.05, chance: float = POWER) -> float:
    """Smallest shift of all forget rows together that the permutation test of a method audit sees.

    In a normal approximation for independent rows, 2 rows D / v is noncentral chi-squared with 2 rows degrees of
    freedom and noncentrality rows shift^2 / v, where D is `method_distance` and v = 1 / (U - 3) + 1 / (N - 3): the
    three models a side make up for variances that are estimated.

    Args:
        ours: unlearned models U, each from an original of its own, >= 2.
        golds: gold models N, >= 2.
        rows: forget rows, >= 1.
        alpha: level, in (0, 0.5).
        chance: probability to see it, in (alpha, 1).

    Returns:
        Gold sd; infinite with fewer than 4 models on a side.

    Example:
        >>> round(common_shift(64, 64, 200), 2), common_shift(3, 64, 200)
        (0.11, inf)
    """
    if min(ours, golds) < 4:
        return math.inf
    between = 1 / (ours - 3) + 1 / (golds - 3)
    beyond = float(chndtrinc(chdtri(2 * rows, alpha), 2 * rows, 1 - chance))
    return math.sqrt(between / rows * beyond)


def _needed(margin: float, least: int, spread: float, alpha: float) -> int | None:
    """Gold models for a fixed margin, at least the policy's; None where no number is enough."""
    try:
        return max(least, gold_needed(margin, spread=spread, alpha=alpha))
    except NeedsError:
        return None


def _blocked(policy: Policy, gold: int, least: int, needed: int | None, own: float) -> str:
    """What stands in the way of a verdict, as a sentence; empty where nothing does."""
    causes = []
    if gold < (needed or least):
        causes.append(f"policy {policy.name} needs {needed or least} gold models, not {gold}")
    if needed is None:
        allowed = f"policy {policy.name} allows {policy.shift_margin:g}"
        enough = "no number of gold models is enough: more forget or test rows are needed"
        causes.append(f"{_shows(policy, own)}, {allowed}, and {enough}")
    sure = "will" if gold < least else "will most likely" if needed is None else "may well"
    return f"The verdict {sure} be inconclusive: {'; '.join(causes)}." if causes else ""


def _threshold(policy: Policy, own: float, needed: int) -> str:
    """Where the threshold comes from and what it takes."""
    if policy.shift_margin is None:
        taken = "takes its threshold from that"
    else:
        taken = f"sets the threshold at {policy.shift_margin:g}, which takes {needed} gold models"
    shows = _shows(policy, own)
    return f"{shows[0].upper()}{shows[1:]}; policy {policy.name} {taken}."


def _shows(policy: Policy, own: float) -> str:
    return f"one gold model in {1 / policy.alpha:.0f} itself shows a shift beyond {own:.2g} times gold's spread"


def _from(shift: float) -> str:
    return f"with probability {POWER:g} from {shift:.2g} times gold's spread on"


def _together(shift: float, forget: int) -> str:
    if math.isinf(shift):
        return ""
    return f", one of all {forget} forget rows together from {shift:.2g} times ({INDEPENDENT})"


def _short(side: int) -> str:
    """The sentence on measures that need more models than the smaller side has."""
    missed = [f"{FLOOR_WORDS[name]} ({floor})" for name, floor in METHOD_FLOORS.items() if side < floor]
    if not missed:
        return "Every measure has as many models a side as it needs."
    return f"Too few models a side for {', '.join(missed)}."
