"""LDS: do the scores of data attribution order subsets of the training rows as models trained on them do?

Source:     linear datamodelling score, Park et al. 2023 (TRAK), arXiv:2303.14186, after Ilyas et al. 2022.
Objective:  for each target the Spearman correlation, over held-out random subsets of the training rows, of the
            predicted output with the mean output of models trained on the subset; then the mean over targets. The
            prediction is the sum of the scores of the subset's rows (`summed`), or whatever else foretells outputs.
Ceiling:    models of several seeds on each subset are halved, and the halves' means correlated, over all ways to halve.
            What true expected outputs would reach is sqrt(r_S), r_S the reliability of the mean over all S seeds by
            Spearman & Brown 1910; exact for linear correlation, close for ranks.
Deviations: ties share their mean rank; a target on which a side is constant counts as 0. Ceiling, null and interval
            always stand beside the value: a low one may be the seeds' fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import check_finite, plain_number
from expunge.audit.jackknife import FEWEST, FloatArray, IntArray, groups_of, half_width, replicates, variance
from expunge.errors import NeedsError, ShapeError

LEAST = {"subsets": 10, "seeds": 2}  # seeds: without a second model on each subset there is no ceiling
SHUFFLES = 1000  # orders of the subsets behind the null
HALVES = 10  # most ways to halve the seeds that are looked at
LEVEL = 95.0  # percentile of the null


@dataclass(frozen=True, eq=False)
class Lds:
    """Result of `lds` and `loo_correlation`.

    Args:
        name: the measure.
        value: mean over targets, in [-1, 1]; the target is the ceiling.
        interval: 95% interval over subsets, or None where there are too few of them.
        null: 95th percentile of the value with the subsets in random order.
        ceiling: what the true expected outputs would reach at these seeds, in [0, 1].
        split_half: correlation of the means over two halves of the seeds.
        rows: [targets] the correlation of every target.
        subsets: held-out subsets (rows left out, for `loo_correlation`).
        seeds: models on each.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    null: float
    ceiling: float
    split_half: float
    rows: FloatArray
    subsets: int
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`: targets as a list, NaN and infinities as None."""
        plain = {key: plain_number(value) for key, value in vars(self).items() if key != "rows"}
        return plain | {"rows": [plain_number(value) for value in self.rows.tolist()]}


def lds(predicted: FloatArray, actual: FloatArray, *, seed: int) -> Lds:
    """Linear datamodelling score of predictions for held-out subsets.

    Args:
        predicted: [subsets, targets] predicted output (margin, nats) of a model of each subset, on any scale; such as
            `summed` scores.
        actual: [seeds, subsets, targets] output of models trained on the subset; none that was fitted on; 2 seeds or
            more.
        seed: of the shuffles behind the null and of the halves where there are many seeds.

    Returns:
        Lds.

    Raises:
        ShapeError: arrays that do not fit or are not finite. NeedsError: fewer than 10 subsets or 2 seeds.

    Source: Park et al. 2023; ceiling and null are ours.

    Example:
        >>> truth = np.arange(12.0)[:, None]
        >>> found = lds(truth**3, np.stack([truth, truth]), seed=0)
        >>> round(found.value, 6), round(found.ceiling, 6)
        (1.0, 1.0)
    """
    return correlated("lds", predicted, actual, seed=seed)


def summed(scores: FloatArray, subsets: npt.NDArray[np.bool_]) -> FloatArray:
    """Sum of the scores of the rows in each subset.

    Args:
        scores: [training rows, targets]; positive: the row raises the target's output.
        subsets: [subsets, training rows] true where the row is in.

    Returns:
        [subsets, targets] float64.

    Raises:
        ShapeError: other training rows on the two sides.

    Example:
        >>> summed(np.array([[1.0], [2.0]]), np.array([[True, True], [False, True]])).tolist()
        [[3.0], [2.0]]
    """
    if subsets.ndim != 2 or scores.ndim != 2 or subsets.shape[1] != len(scores):
        raise ShapeError(
            f"expected scores [training rows, targets] and subsets [subsets, training rows], got {scores.shape}, "
            f"{subsets.shape}"
        )
    return np.asarray(subsets.astype(np.float64) @ scores.astype(np.float64))


def correlated(name: str, predicted: FloatArray, actual: FloatArray, *, seed: int) -> Lds:
    """Mean Spearman correlation with interval, null and ceiling; arguments as of `lds`."""
    check(predicted, actual)
    truth = actual.mean(axis=0, dtype=np.float64)
    rows = spearman(predicted, truth)
    halves, ceiling = split_half(actual, seed=seed)
    return Lds(
        name=name,
        value=float(rows.mean()),
        interval=interval(predicted, truth),
        null=null(predicted, truth, seed=seed),
        ceiling=ceiling,
        split_half=halves,
        rows=rows,
        subsets=len(predicted),
        seeds=len(actual),
    )


def check(predicted: FloatArray, actual: FloatArray) -> None:
    """Refuse arrays that do not fit together.

    Raises:
        ShapeError: shapes that do not fit, or an entry that is not finite. NeedsError: too few subsets or seeds.
    """
    if predicted.ndim != 2 or actual.ndim != 3 or actual.shape[1:] != predicted.shape or not predicted.size:
        raise ShapeError(
            f"expected predicted [subsets, targets] and actual [seeds, subsets, targets], got {predicted.shape}, "
            f"{actual.shape}"
        )
    for side, array in (("predicted", predicted), ("actual", actual)):
        if not np.isfinite(array).all():
            check_finite(side, array)
    if len(predicted) < LEAST["subsets"]:
        raise NeedsError(f"a rank correlation needs at least {LEAST['subsets']} subsets, got {len(predicted)}")
    if len(actual) < LEAST["seeds"]:
        raise NeedsError(
            f"the ceiling needs at least {LEAST['seeds']} seeds on each subset, got {len(actual)}",
            hint="train every subset again with another seed",
        )


def spearman(one: FloatArray, other: FloatArray) -> FloatArray:
    """Spearman correlation of every column.

    Args:
        one: [subsets, targets].
        other: [subsets, targets].

    Returns:
        [targets] float64 in [-1, 1]; 0 where a side is constant.

    Example:
        >>> spearman(np.array([[1.0], [2.0], [9.0]]), np.array([[3.0], [2.0], [1.0]])).round(6).tolist()
        [-1.0]
    """
    return np.asarray((ranked(one) * ranked(other)).sum(axis=0))


def ranked(values: FloatArray) -> FloatArray:
    """Ranks [subsets, targets] of every column, centred and of length 1; 0 where the column is constant."""
    order = np.argsort(values, axis=0)
    along = np.take_along_axis(values, order, axis=0)
    ranks = np.empty(values.shape)
    if (along[1:] > along[:-1]).all():  # without ties this takes a fifth of the time
        np.put_along_axis(ranks, order, np.arange(1.0, len(values) + 1)[:, None], axis=0)
    else:
        from scipy.stats import rankdata  # takes a second to import

        ranks = rankdata(values, axis=0)
    ranks -= (len(values) + 1) / 2
    length = np.sqrt((ranks**2).sum(axis=0))
    return np.asarray(np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0))


def interval(predicted: FloatArray, truth: FloatArray) -> tuple[float, float] | None:
    """95% interval over subsets of the mean correlation: delete-group jackknife; arguments [subsets, targets]."""
    groups = groups_of(len(predicted))
    if len(groups) < FEWEST:
        return None
    without = replicates(lambda keep: float(spearman(predicted[keep], truth[keep]).mean()), len(predicted), groups)
    half = float(half_width(float(variance(without)), len(groups)))
    value = float(spearman(predicted, truth).mean())
    return max(value - half, -1.0), min(value + half, 1.0)


def null(predicted: FloatArray, truth: FloatArray, *, seed: int) -> float:
    """95th percentile of the mean correlation, one side's subsets in random order; arguments [subsets, targets]."""
    cross = ranked(predicted) @ ranked(truth).T / predicted.shape[1]  # [subsets, subsets], summed over targets
    draw, here = np.random.default_rng(seed), np.arange(len(cross))
    orders = draw.random((SHUFFLES, len(cross))).argsort(axis=1)
    return float(np.percentile(cross[orders, here].sum(axis=1), LEVEL))


def split_half(actual: FloatArray, *, seed: int) -> tuple[float, float]:
    """How well models on the same subsets agree: correlation of two halves of the seeds, and the ceiling from it.

    Args:
        actual: [seeds >= 2, subsets, targets].
        seed: of the halves, where there are many ways.

    Returns:
        The mean correlation, and sqrt of the reliability of the mean over all seeds, in [0, 1].

    Example:
        >>> draw = np.random.default_rng(0)
        >>> truth, noise = draw.normal(size=(400, 50)), draw.normal(size=(2, 400, 50))
        >>> [round(value, 1) for value in split_half(truth + noise, seed=0)]  # r = 1/2, sqrt(2 r / (1 + r))
        [0.5, 0.8]
    """
    seeds = len(actual)
    half = seeds // 2
    found = [
        float(spearman(actual[one].mean(axis=0), actual[other].mean(axis=0)).mean())
        for one, other in _halves(seeds, half, seed)
    ]
    agreement = float(np.mean(found))
    single = agreement / (half - (half - 1) * agreement) if agreement > 0 else 0.0  # reliability of one model
    return agreement, math.sqrt(seeds * single / (1 + (seeds - 1) * single))


def _halves(seeds: int, half: int, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Two halves of the seeds, without what is left over: all ways where they are few, else HALVES of them."""
    if math.comb(seeds, half) <= 2 * HALVES:
        for one in combinations(range(seeds), half):
            rest = [at for at in range(seeds) if at not in one]
            for other in combinations(rest, half):
                if one < other:
                    yield np.array(one), np.array(other)
        return
    draw = np.random.default_rng(seed)
    for _ in range(HALVES):
        order = draw.permutation(seeds)
        yield order[:half], order[half : 2 * half]
