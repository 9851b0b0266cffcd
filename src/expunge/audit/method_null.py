"""The null of a method audit: what gold models show when some of them play the unlearned ones, at equal numbers.

Source:     own construction. All gold models are exchangeable, so any of them may stand on either side.
Objective:  SPLITS random choices of u gold models against g others give the null's values and the half widths of
            their intervals; the resolution is the value that gold exceeds with probability alpha.
Deviations: without as many held-out gold models as unlearned ones, gold itself is divided, u = min(U, N // 2), and the
            unlearned models are compared at those smaller numbers too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FEWEST, FloatArray, IntArray, groups_of, half_width, variance
from expunge.audit.method_distance import Choice, method_distances

SPLITS = 200  # random choices of gold behind every null
HALVES = 60  # of them whose intervals are computed
ROWS = 10_000  # rows of a split, evenly spaced, when there are more
DRAWS = 20  # random choices of unlearned and gold models where numbers have to be matched

Rows = Mapping[str, IntArray]
"""Split -> positions of its rows."""


@dataclass(frozen=True, eq=False)
class Null:
    """Gold against gold on one split of the rows.

    Args:
        values: [SPLITS] distances, nats.
        halves: [HALVES] half widths of their intervals, nats; NaN where there are too few models for one.
        resolution: distance beyond the mean of `values` that gold exceeds with the probability asked for.
    """

    values: FloatArray
    halves: FloatArray
    resolution: float

    @property
    def mean(self) -> float:
        """What a perfect method is expected to score."""
        return float(self.values.mean())

    @property
    def band(self) -> tuple[float, float]:
        """5% and 95% of the values."""
        low, high = np.quantile(self.values, [0.05, 0.95]).tolist()
        return low, high

    @property
    def derived_margin(self) -> float:
        """Resolution and the full width of a gold's interval: a gold at its own limit is then still under it.

        NaN with too few models for an interval.
        """
        return self.resolution + 2 * float(np.median(self.halves))


def method_null(pool: FloatArray, ours: int, golds: int, *, alpha: float, level: float, seed: int) -> Null:
    """Distances of random choices of gold models from others, with intervals.

    Args:
        pool: [models >= ours + golds, rows] margins of gold models, nats.
        ours: how many of them play the unlearned models, >= 2.
        golds: how many of them are gold, >= 2.
        alpha: probability that gold exceeds the resolution, in (0, 1).
        level: coverage of the intervals, in (0, 1).
        seed: of the choices.

    Returns:
        Null.
    """
    random = np.random.default_rng([abs(seed), 3])
    order = np.stack([random.permutation(len(pool)) for _ in range(SPLITS)])
    left, right = (chosen(part, len(pool)) for part in (order[:, :ours], order[:, ours : ours + golds]))
    values = method_distances(pool, left, right)
    halves = [half(pool, left[k], right[k], level=level) for k in range(HALVES)]
    rest = values[HALVES:]  # the first ones are judged as controls: they must not set their own margin
    beyond = np.sort(rest - values.mean())
    at = min(len(rest), math.ceil((len(rest) + 1) * (1 - alpha))) - 1
    return Null(values, np.array(halves), float(beyond[at]))


def half(
    models: FloatArray,
    ours: npt.NDArray[np.bool_],
    golds: npt.NDArray[np.bool_],
    *,
    level: float,
) -> float:
    """Half width of the distance's interval by the delete-group jackknife over both sides; NaN with too few models.

    Args:
        models: [models, rows] margins, nats.
        ours: [models] bool, one side, each model from an original of its own.
        golds: [models] bool, the other.
        level: coverage, in (0, 1).
    """
    sides = [np.flatnonzero(side) for side in (ours, golds)]
    groups = [[side[group] for group in groups_of(len(side))] for side in sides]
    fewest = min(len(group) for group in groups)
    if fewest < FEWEST:  # with as many groups, 2 models are left beside each of them
        return math.nan
    total = 0.0
    for which, parts in enumerate(groups):
        kept = [np.repeat(side[None], len(parts), axis=0) for side in (ours, golds)]
        for at, group in enumerate(parts):
            kept[which][at, group] = False
        total += float(variance(method_distances(models, *kept)))
    return float(half_width(total, fewest, level=level))


def chosen(indices: IntArray, models: int) -> Choice:
    """`[choices, models]` bool from `[choices, n]` indices.

    Example:
        >>> chosen(np.array([[0, 2]]), 3).tolist()
        [[True, False, True]]
    """
    out = np.zeros((len(indices), models), dtype=bool)
    np.put_along_axis(out, indices, True, axis=1)
    return out


def few(rows: IntArray) -> IntArray:
    """At most ROWS of the rows, evenly spaced."""
    return rows if len(rows) <= ROWS else rows[np.linspace(0, len(rows) - 1, ROWS).astype(np.intp)]
