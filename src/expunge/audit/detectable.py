"""Detectable effects: what the exact test of a model audit and a rank test of a method audit can see.

Source:     normal theory; the power of the exact rank test is our own closed form.
Objective:  shift statistic T = |mean over forget rows of z'| (gold sd, centred on test rows); its sd over gold is
            s = sqrt(1 / forget + 1 / test) for rows that are independent given the model's drift. The exact test at
            level alpha rejects where fewer than r = floor(alpha (N + 1)) of N golds reach T, so that
            power(shift) = E_e[P(Bin(N, P(|e'| >= |shift / s + e|)) < r)],  e, e' ~ N(0, 1 + 1 / N).
Deviations: rows of real models depend on each other: measure s on gold (`spread_of_shift`) where gold exists.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import bdtr, ndtr, ndtri, stdtrit

from expunge.audit.floors import model_floors
from expunge.audit.jackknife import GROUPS, FloatArray
from expunge.audit.loo import centred, loo_z
from expunge.errors import NeedsError, check

POWER = 0.8  # chance to see an effect of the size that is called detectable
MOST = 100_000  # gold models; more are not offered
WIDEST = 40.0  # spreads; every effect of that size is seen
NODES = ndtri((np.arange(4000) + 0.5) / 4000)  # a standard normal, evenly: the power is nearly a step at large N


def independent_spread(forget: int, test: int) -> float:
    """Spread (sd) over gold of the centred mean shift where rows are independent given the model's drift.

    Args:
        forget: forget rows, >= 1.
        test: test rows, >= 1.

    Returns:
        Gold sd.

    Example:
        >>> independent_spread(4, 4) ** 2
        0.5000000000000001
    """
    check("forget", forget, ">= 1", forget >= 1)
    check("test", test, ">= 1", test >= 1)
    return math.sqrt(1 / forget + 1 / test)


def spread_of_shift(gold: FloatArray, *, forget: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> float:
    """Spread (sd) over gold of the centred mean shift, measured: rows may depend on each other in any way.

    Args:
        gold: [models_g >= 3, rows] margins, nats.
        forget: [rows] true on forget rows.
        test: [rows] true on test rows.

    Returns:
        Gold sd.

    Raises:
        NeedsError: fewer than 3 gold models.

    Example:
        >>> gold = np.random.default_rng(0).normal(size=(200, 8))
        >>> half = np.arange(8) < 4
        >>> abs(spread_of_shift(gold, forget=half, test=~half) - 0.5**0.5) < 0.1
        True
    """
    z, _ = centred(loo_z(gold), test)
    return float(z[:, forget].mean(axis=1).std(ddof=1))


def rank_power(shift: float, golds: int, *, spread: float, alpha: float = 0.05) -> float:
    """Chance that the exact test of the mean shift rejects.

    Args:
        shift: true mean shift of the forget rows, gold sd.
        golds: gold models, >= 2.
        spread: sd over gold of the mean shift, gold sd, > 0.
        alpha: level, in (0, 0.5).

    Returns:
        In [0, 1]; 0 below 1 / alpha - 1 gold models, whatever the shift.

    Example:
        >>> rank_power(9.0, 18, spread=0.1), round(rank_power(0.0, 19, spread=0.1), 3)
        (0.0, 0.05)
    """
    reach = math.floor(alpha * (golds + 1) + 1e-9)  # golds that may not lie beyond, plus one
    if reach < 1:
        return 0.0
    wide = math.sqrt(1 + 1 / golds)
    beyond = 2 * ndtr(-np.abs(shift / (spread * wide) + NODES))
    return float(bdtr(reach - 1, golds, beyond).mean())


def detectable_shift(golds: int, *, spread: float, alpha: float = 0.05, chance: float = POWER) -> float:
    """Smallest mean shift of the forget rows that the exact test sees with probability `chance`.

    Args:
        golds: gold models, >= 2.
        spread: sd over gold of the mean shift, gold sd, > 0.
        alpha: level, in (0, 0.5).
        chance: in (alpha, 1).

    Returns:
        Gold sd; infinite below 1 / alpha - 1 gold models.

    Example:
        >>> round(detectable_shift(64, spread=1.0), 2), detectable_shift(18, spread=1.0)
        (2.94, inf)
    """
    check("spread", spread, "> 0", spread > 0)
    check("chance", chance, "in (alpha, 1)", alpha < chance < 1)
    if golds < model_floors(alpha)["joint"]:
        return math.inf
    return spread * float(brentq(lambda x: rank_power(x, golds, spread=1.0, alpha=alpha) - chance, 0.0, WIDEST))


def detectable_row(ours: int, golds: int, *, alpha: float = 0.05, chance: float = POWER) -> float:
    """Smallest shift of one row that a rank test between two sets of models sees, normal margins.

    Args:
        ours: unlearned models, >= 1.
        golds: gold models, >= 1.
        alpha: two-sided level, in (0, 0.5).
        chance: probability to see it, in (alpha, 1).

    Returns:
        Gold sd: (z_{1 - alpha / 2} + z_chance) * sqrt((1 / ours + 1 / golds) * pi / 3), Mann-Whitney's efficiency.

    Example:
        >>> round(detectable_row(64, 64), 2), round(detectable_row(256, 256), 2)
        (0.51, 0.25)
    """
    check("alpha", alpha, "in (0, 0.5)", 0 < alpha < 0.5)
    both = float(ndtri(1 - alpha / 2) + ndtri(chance))
    return both * math.sqrt((1 / ours + 1 / golds) * math.pi / 3)


def gold_needed(margin: float, *, spread: float, alpha: float = 0.05) -> int:
    """Smallest N at which a gold model's interval lies under the margin with probability 1 - alpha.

    The interval's half width is that of the delete-group jackknife over gold: t * spread / sqrt(N).

    Args:
        margin: the policy's margin for the mean shift, gold sd, > 0.
        spread: sd over gold of the mean shift, gold sd, > 0.
        alpha: in (0, 0.5).

    Returns:
        N, at least that of `model_floors`.

    Raises:
        NeedsError: no N is enough: a gold model's own shift exceeds the margin too often.

    Example:
        >>> gold_needed(0.25, spread=0.1)
        21
    """
    check("margin", margin, "> 0", margin > 0)
    check("spread", spread, "> 0", spread > 0)
    low, high = model_floors(alpha)["joint"], MOST
    if not _fits(high, margin, spread, alpha):
        least = spread * float(ndtri(1 - alpha / 2))
        raise NeedsError(
            f"gold_needed: gold models differ from each other by {least:.3g}, margin {margin:g} is finer",
            hint="more forget or test rows narrow this, more gold models do not",
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(middle, margin, spread, alpha) else (middle + 1, high)
    return low


def resolution(golds: int, *, spread: float, alpha: float = 0.05) -> float:
    """Mean shift that one gold model exceeds against N others with probability alpha.

    Args:
        golds: N >= 1.
        spread: sd over gold of the mean shift, gold sd.
        alpha: in (0, 1).

    Returns:
        Gold sd; more gold models hardly lower it, more forget and test rows do.

    Example:
        >>> round(resolution(64, spread=0.1), 3)
        0.198
    """
    return spread * math.sqrt(1 + 1 / golds) * float(ndtri(1 - alpha / 2))


def _fits(golds: int, margin: float, spread: float, alpha: float) -> bool:
    half = float(stdtrit(min(GROUPS, golds) - 1, 1 - alpha / 2)) * spread / math.sqrt(golds)
    return resolution(golds, spread=spread, alpha=alpha) + half < margin
