"""Brittleness: how few rows have to go before a right answer turns wrong? Scores that name the right rows flip more.

Source:     counterfactual data support, Ilyas et al. 2022, arXiv:2202.00622; arXiv:2303.14186; as a benchmark: dattri.
Objective:  share of targets, right before, that are wrong after the k rows which raise each of them most were taken
            away and models were trained again; beside the same for k random rows, which holds what seeds flip.
Deviations: a target counts as right where more than half of the models give its label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from expunge.audit.estimate import plain_number
from expunge.audit.jackknife import FloatArray
from expunge.errors import NeedsError, ShapeError

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Brittleness:
    """Result of `brittleness`.

    Args:
        removed: [sizes] how many rows were taken away.
        flipped: [sizes] share of the targets right before that are wrong after.
        intervals: [sizes, 2] 95% interval of each share over targets (Clopper & Pearson).
        null: [sizes] the same share with random rows taken away.
        right: targets that were right before.
        targets: all of them.
    """

    removed: npt.NDArray[np.int64]
    flipped: FloatArray
    intervals: FloatArray
    null: FloatArray
    right: int
    targets: int

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`."""
        return {
            key: value.tolist() if isinstance(value, np.ndarray) else plain_number(value)
            for key, value in vars(self).items()
        }


def brittleness(labels: Labels, before: Labels, after: Labels, random: Labels, removed: Labels) -> Brittleness:
    """Share of right answers that turn wrong once the rows which support them most are gone.

    Args:
        labels: [targets] true labels, integers.
        before: [models, targets] predicted labels of models trained on all rows.
        after: [models, sizes, targets] predicted label of each target by models trained without the `removed` rows that
            raise this target most.
        random: [models, sizes, targets] likewise, without as many random rows.
        removed: [sizes] how many rows were taken away.

    Returns:
        Brittleness.

    Raises:
        ShapeError: arrays that do not fit. NeedsError: no target was right before.

    Source: Ilyas et al. 2022; the null is ours.

    Example:
        >>> labels, right = np.array([1, 0]), np.array([[1, 0]])
        >>> gone = np.array([[[0, 0]]])  # the first target flips
        >>> found = brittleness(labels, right, gone, np.array([[[1, 0]]]), np.array([5]))
        >>> found.flipped.tolist(), found.null.tolist()
        ([0.5], [0.0])
    """
    sizes = (len(removed), *labels.shape)
    for name, array, shape in (("before", before, labels.shape), ("after", after, sizes), ("random", random, sizes)):
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not array.size:
            raise ShapeError(f"{name}: expected [models, {', '.join(map(str, shape))}], got {array.shape}")
    right = is_right(before, labels)
    if not right.any():
        raise NeedsError("brittleness: no target is right before anything is removed, so none can turn wrong")
    flipped = ~is_right(after, labels)[:, right]
    share = flipped.mean(axis=1)
    bounds = np.array([clopper_pearson(int(count), flipped.shape[1]) for count in flipped.sum(axis=1)])
    null = (~is_right(random, labels)[:, right]).mean(axis=1)
    return Brittleness(np.asarray(removed), share, bounds, null, int(right.sum()), len(labels))


def is_right(predicted: Labels, labels: Labels) -> npt.NDArray[np.bool_]:
    """Whether more than half of the models [models, ..., targets] give the label [targets]: [..., targets].

    Example:
        >>> is_right(np.array([[1, 0], [1, 1]]), np.array([1, 1])).tolist()
        [True, False]
    """
    return np.asarray((predicted == labels).mean(axis=0) > 0.5)


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share, `count` of `total`.

    Example:
        >>> [round(bound, 3) for bound in clopper_pearson(0, 10)]
        [0.0, 0.308]
    """
    tail = (1 - level) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
