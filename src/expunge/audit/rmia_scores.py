"""RMIA's scores: ratios to reference models, compared with those of a population; and the choice of a.

Source:     Zarifzadeh, Liu, Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024.
Objective:  r_x = p(x) / P(x);  score(x) = share over z of [r_x / r_z > gamma]; P(x) see `prior`.
Deviations: 1. online, a population row that no reference saw takes the mean over all of them, as published; with
            unequal counts both halves still weigh alike.
            2. sorting and binary search in place of all pairs: the same scores, ties included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray
from expunge.audit.population_attack import auc
from expunge.errors import NeedsError, ShapeError, check

MODES = ("online", "offline")
GRID = tuple(round(0.1 * step, 1) for step in range(11))
TINY = 1e-300  # smallest P(x): a row that every model finds impossible gets r = 0, not 0 / 0


def rmia_scores(
    targets: FloatArray, weight: FloatArray, *, population: npt.NDArray[np.bool_], gamma: float = 1.0
) -> FloatArray:
    """Membership score of every attacked row in every target model.

    Args:
        targets: [targets, rows] probability of the label, in [0, 1].
        weight: [rows] P of every row, see `prior`.
        population: [rows] true on the rows that serve as z; the others are attacked.
        gamma: > 0.

    Returns:
        [targets, attacked rows] share of population rows beaten, in [0, 1], higher = member.

    Raises:
        ConfigError: gamma not above 0. NeedsError: no population row.

    Example:
        >>> z = np.array([False, True, True])
        >>> rmia_scores(np.array([[0.9, 0.2, 0.9]]), np.full(3, 0.5), population=z).tolist()
        [[0.5]]
    """
    check("gamma", gamma, "> 0", gamma > 0)
    if not population.any():
        raise NeedsError("RMIA needs population rows, got none")
    scale = np.maximum(weight, TINY)
    ratios = (one.astype(np.float64) / scale for one in targets)
    return np.stack([beaten(one[~population], one[population], gamma=gamma) for one in ratios])


def beaten(attacked: FloatArray, population: FloatArray, *, gamma: float = 1.0) -> FloatArray:
    """Share of population ratios z with x / z > gamma, for every attacked ratio x, in O((n + m) log m).

    Args:
        attacked: [n] ratios >= 0.
        population: [m] ratios >= 0.
        gamma: > 0.

    Returns:
        [n] in [0, 1]; what the division of all pairs gives, to the last bit.

    Example:
        >>> beaten(np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0])).round(3).tolist()
        [0.333, 1.0]
    """
    values, counts = np.unique(population, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    at = np.searchsorted(values, attacked / gamma)
    padded = np.concatenate([[-1.0], values, [np.inf]])  # -1: always beaten, inf: never
    with np.errstate(divide="ignore", invalid="ignore"):  # rounding can put the first guess off
        while (more := attacked / padded[at + 1] > gamma).any():
            at += more
        while (less := (at > 0) & ~(attacked / padded[at] > gamma)).any():
            at -= less
    return np.asarray(below[at] / len(population))


def prior(
    references: FloatArray,
    *,
    membership: npt.NDArray[np.bool_],
    population: npt.NDArray[np.bool_],
    mode: str = "offline",
    a: float = 0.0,
) -> FloatArray:
    """P(x): how likely the label of each row is without knowing whether the target saw the row.

    Args:
        references: [references, rows] probability of the label, in [0, 1].
        membership: [references, rows] true where the reference was trained on the row.
        population: [rows] true on population rows, which need no reference that saw them.
        mode: online or offline.
        a: of the offline mode, in [0, 1].

    Returns:
        [rows] float64 in [0, 1].

    Raises:
        ConfigError: unknown mode, or a outside [0, 1]. NeedsError: a row without a reference that the mode needs.

    Source: the paper's online mean and its offline approximation of it.

    Example:
        >>> told = {"membership": np.array([[True], [False]]), "population": np.array([False])}
        >>> prior(np.array([[0.8], [0.4]]), mode="online", **told).round(3).tolist()
        [0.6]
    """
    check("mode", mode, ", ".join(MODES), mode in MODES)
    check("a", a, "in [0, 1]", 0 <= a <= 1)
    _check_membership(references, membership)
    without = _mean(references, ~membership)
    if mode == "offline":
        _check_there(without, "without")
        return np.asarray(((1 + a) * without + 1 - a) / 2)
    within = _mean(references, membership)
    within = np.where(population & np.isnan(within), without, within)
    without = np.where(population & np.isnan(without), within, without)
    _check_there(without, "without")
    _check_there(within, "with")
    return np.asarray((within + without) / 2)


def choose_a(
    references: FloatArray,
    *,
    membership: npt.NDArray[np.bool_],
    population: npt.NDArray[np.bool_],
    gamma: float = 1.0,
    paired: int = 0,
) -> tuple[float, FloatArray]:
    """The a under which a reference model, attacked with the help of the others, tells its own rows best.

    No target and no gold model is looked at.

    Args:
        references: [references >= 2, rows] probability of the label, in [0, 1].
        membership: [references, rows] bool.
        population: [rows] true on the rows that serve as z.
        gamma: > 0.
        paired: index of the reference that is attacked; rows that no other reference left out are not used.

    Returns:
        a, and the AUC for every a of GRID, [11]; on equal AUC the smallest a.

    Raises:
        NeedsError: fewer than 2 references, or no usable member or non-member row.

    Example:
        >>> p = np.array([[0.9, 0.1, 0.5], [0.5, 0.5, 0.5]])
        >>> saw = np.array([[True, False, False], [False, False, False]])
        >>> choose_a(p, membership=saw, population=np.array([False, False, True]))[0]
        0.0
    """
    _check_membership(references, membership)
    if len(references) < 2:
        raise NeedsError("RMIA needs 2 reference models to choose a, got 1", hint="give a, 0.3 say, or more references")
    others = np.delete(np.arange(len(references)), paired)
    without = _mean(references[others], ~membership[others])
    used = ~np.isnan(without)
    z, saw = population[used], membership[paired, used]
    members = saw[~z]
    if members.all() or not members.any() or not z.any():
        raise NeedsError("RMIA cannot choose a: the paired reference needs member, non-member and population rows")
    found = np.empty(len(GRID))
    for at, a in enumerate(GRID):
        weight = ((1 + a) * without[used] + 1 - a) / 2
        score = rmia_scores(references[[paired]][:, used], weight, population=z, gamma=gamma)
        found[at] = auc(score[:, members], score[:, ~members])[0]
    return GRID[int(found.argmax())], found


def _mean(values: FloatArray, chosen: npt.NDArray[np.bool_]) -> FloatArray:
    """Mean over the chosen models of each row, NaN where none is chosen."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(chosen, values, 0.0).sum(axis=0, dtype=np.float64) / chosen.sum(axis=0))


def _check_membership(references: FloatArray, membership: npt.NDArray[np.bool_]) -> None:
    if membership.shape != references.shape or membership.dtype != np.bool_:
        raise ShapeError(f"membership: expected {references.shape} bool, got {membership.shape} {membership.dtype}")


def _check_there(mean: FloatArray, side: str) -> None:
    missing = np.flatnonzero(np.isnan(mean))
    if len(missing):
        raise NeedsError(
            f"RMIA needs a reference model trained {side} each row, got none for row {missing[0]}",
            hint="draw the fleet's masks with half_masks",
        )
