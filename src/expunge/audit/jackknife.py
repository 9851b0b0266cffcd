"""Delete-group jackknife: spread of a number over models, without drawing a model twice.

A bootstrap over models repeats models, which empties bins and doubles histogram KLoM; leaving models out
does not. With g groups the variance is (g - 1) / g * sum_j (value without group j - their mean)^2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.floating[Any]]

GROUPS = 10  # groups per side: nine degrees of freedom, and 20 evaluations for both sides
FEWEST = 3  # with fewer groups there is no spread worth printing


def groups_of(count: int, *, clusters: npt.NDArray[Any] | None = None) -> list[IntArray]:
    """Indices of the models in each of at most GROUPS groups.

    Args:
        count: number of models on this side, >= 1.
        clusters: [count] id of the original behind each model; a cluster is never cut.

    Returns:
        Disjoint index arrays that together hold 0..count-1.

    Source: delete-a-group jackknife, Kott 2001 (survey sampling); the number of groups is our choice.

    Example:
        >>> [group.tolist() for group in groups_of(3, clusters=np.array([7, 5, 7]))]
        [[1], [0, 2]]
    """
    if clusters is None:
        return np.array_split(np.arange(count), min(GROUPS, count))
    ids, member = np.unique(clusters, return_inverse=True)
    parts = np.array_split(np.arange(len(ids)), min(GROUPS, len(ids)))
    return [np.flatnonzero(np.isin(member, part)) for part in parts]


def replicates(value: Callable[[IntArray], float], count: int, groups: Sequence[IntArray]) -> FloatArray:
    """`value(kept indices)` with each group left out in turn, [groups]."""
    everyone = np.arange(count)
    return np.array([value(np.setdiff1d(everyone, group)) for group in groups])


def variance(values: FloatArray) -> FloatArray:
    """Jackknife variance along axis 0; NaN entries (a model that was itself left out) do not count.

    Args:
        values: [groups, ...] the number with each group left out.

    Returns:
        [...] variance, in the squared unit of the number; NaN where fewer than FEWEST groups remain.

    Example:
        >>> float(variance(np.array([1.0, 2.0, 3.0])).round(4))
        1.3333
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    centre = filled.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (filled - centre) ** 2, 0.0).sum(axis=0)
    return np.asarray(np.where(count >= FEWEST, squares * (count - 1) / np.maximum(count, 1), np.nan))


def half_width(total_variance: FloatArray | float, groups: int, *, level: float = 0.95) -> FloatArray:
    """Half width of the two-sided interval: Student's t with `groups - 1` degrees of freedom times the s.e.

    Args:
        total_variance: [...] or a scalar: sum of the variances of both sides.
        groups: groups of the side that has fewer, >= FEWEST.
        level: coverage in (0, 1); 0.95 is the audit's 1 - alpha.

    Returns:
        [...] half widths, in the unit of the number.

    Example:
        >>> float(half_width(1.0, 10).round(3))
        2.262
    """
    return np.asarray(stdtrit(groups - 1, 0.5 + level / 2) * np.sqrt(total_variance))


def two_sided(
    value: Callable[[IntArray, IntArray], float],
    sizes: tuple[int, int],
    *,
    clusters: npt.NDArray[Any] | None = None,
) -> float | None:
    """Half width for a number that depends on unlearned and gold models.

    One unlearned model is held fixed: the interval covers gold alone, and the claim is about that model.

    Args:
        value: the number, given the kept indices of the unlearned and of the gold models.
        sizes: number of unlearned and of gold models.
        clusters: [unlearned models] id of the original behind each one.

    Returns:
        Half width of the 95% interval, or None where a side has fewer than FEWEST groups.
    """
    everyone = np.arange(sizes[0]), np.arange(sizes[1])
    over = [groups_of(sizes[1])]
    spreads = [variance(replicates(lambda keep: value(everyone[0], keep), sizes[1], over[0]))]
    if sizes[0] > 1:
        over.append(groups_of(sizes[0], clusters=clusters))
    fewest = min(len(groups) for groups in over)
    if fewest < FEWEST:
        return None
    if sizes[0] > 1:
        spreads.append(variance(replicates(lambda keep: value(keep, everyone[1]), sizes[0], over[1])))
    return float(half_width(float(np.sum(spreads)), fewest))
