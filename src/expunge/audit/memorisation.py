"""Memorisation: how much being trained on a row helps a model to get it right; and forget sets by difficulty.

Source:     Feldman, STOC 2020; Feldman & Zhang, NeurIPS 2020, subset estimator; strata after Zhao et al.,
            arXiv:2406.01257 (RUM).
Objective:  mem(x) = P[correct on x | trained on x] - P[correct on x | not trained on x].
Deviations: standard errors add one right and one wrong model to each side (Agresti & Caffo 2000), so that a row
            that every model gets right is not given an error of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import summary
from expunge.audit.jackknife import FloatArray, IntArray
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"fleet": 2}  # one model with and one without every row; 64 give a standard error of at most 0.12
NAMES = ("low", "medium", "high")


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Result of `memorisation`.

    Args:
        scores: [rows] mem(x) in [-1, 1]; negative by chance, or where a label is harmful.
        errors: [rows] standard error of each score, > 0.
        inside: [rows] models trained on the row.
        outside: [rows] models not trained on the row.
        correct_inside: [rows] share of the former that are right.
        correct_outside: [rows] share of the latter that are right.
        stats: mean, p50, p95, p99 of the scores.
    """

    scores: FloatArray
    errors: FloatArray
    inside: IntArray
    outside: IntArray
    correct_inside: FloatArray
    correct_outside: FloatArray
    stats: dict[str, float]

    def to_json(self, *, rows: bool = False) -> dict[str, Any]:
        """Plain dict for `json.dumps`; per-row entries are personal data and only there if `rows`."""
        plain: dict[str, Any] = {"stats": self.stats, "models": int((self.inside + self.outside).max())}
        plain |= {"fewest_inside": int(self.inside.min()), "fewest_outside": int(self.outside.min())}
        plain["mean_error"] = float(self.errors.mean())
        if rows:
            plain |= {name: value.tolist() for name, value in vars(self).items() if name != "stats"}
        return plain


def memorisation(correct: npt.NDArray[np.bool_], membership: npt.NDArray[np.bool_]) -> Memorisation:
    """Memorisation score of every row, from a fleet whose models were each trained on some of the rows.

    Args:
        correct: [models, rows] bool, whether the model gets the row right.
        membership: [models, rows] bool, whether the model was trained on the row, see `half_masks`.

    Returns:
        Memorisation.

    Raises:
        ShapeError: arrays that are not bool or do not fit. NeedsError: a row that is never left out or never in.

    Source: Feldman & Zhang 2020. A half-sampled fleet estimates memorisation at half of the training rows.

    Example:
        >>> right, inside = np.array([[True], [True], [False]]), np.array([[True], [True], [False]])
        >>> memorisation(right, inside).scores.tolist()
        [1.0]
    """
    for name, part in (("correct", correct), ("membership", membership)):
        if part.ndim != 2 or part.shape != correct.shape or part.dtype != np.bool_ or not part.size:
            raise ShapeError(f"{name}: expected [models, rows] bool, got {part.shape} {part.dtype}")
    inside = membership.sum(axis=0)
    outside = len(membership) - inside
    for counts, said in ((inside, "never in"), (outside, "never left out")):
        if not counts.all():
            raise NeedsError(
                f"memorisation needs models with and without each row, row {int(counts.argmin())} is {said}",
                hint="draw the fleet's masks with half_masks",
            )
    right_inside, right_outside = (correct & membership).sum(axis=0), (correct & ~membership).sum(axis=0)
    share_inside, share_outside = right_inside / inside, right_outside / outside
    scores = share_inside - share_outside
    errors = np.sqrt(_variance(right_inside, inside) + _variance(right_outside, outside))
    return Memorisation(scores, errors, inside, outside, share_inside, share_outside, summary(scores))


def _variance(right: IntArray, models: IntArray) -> FloatArray:
    """Variance of a share, with one right and one wrong model added."""
    share = (right + 1) / (models + 2)
    return np.asarray(share * (1 - share) / (models + 2))


def strata(scores: FloatArray, *, size: int | None = None, cuts: tuple[float, float] | None = None) -> npt.NDArray[Any]:
    """Difficulty of every row: low, medium or high memorisation.

    Args:
        scores: [rows] memorisation scores, finite; of the rows that may be forgotten.
        size: rows in each stratum, >= 1: the lowest, the middle and the highest ranks; the others get "". RUM takes
            3000. None gives every row one of three strata of equal size.
        cuts: two increasing scores instead of ranks: low below the first, high from the second on.

    Returns:
        [rows] of "low", "medium", "high" or "". Equal scores are ranked by position, so ties may be cut by `size`.

    Raises:
        ConfigError: size and cuts together, cuts that do not increase, size < 1. NeedsError: fewer than 3 strata of
        `size` rows. ShapeError: scores that are not [rows] or not finite.

    Source: Zhao et al., arXiv:2406.01257; equal thirds and cuts are ours.

    Example:
        >>> strata(np.array([0.9, 0.0, 0.4])).tolist()
        ['high', 'low', 'medium']
    """
    check("size", size, "None where cuts are given", size is None or cuts is None)
    check("cuts", cuts, "two increasing scores", cuts is None or cuts[0] < cuts[1])
    check("size", size, ">= 1", size is None or size >= 1)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ShapeError(f"scores: expected [rows], finite, got {scores.shape}")
    if cuts is not None:
        return np.array(NAMES)[np.digitize(scores, cuts)]
    count = len(scores)
    if count < 3 * (size or 1):
        raise NeedsError(f"strata need 3 x {size or 1} rows, got {count}")
    order = np.argsort(scores, kind="stable")
    out = np.full(count, "", dtype="<U6")
    if size is None:
        parts = np.array_split(order, 3)
    else:
        middle = (count - size) // 2
        parts = [order[:size], order[middle : middle + size], order[-size:]]
    for name, part in zip(NAMES, parts, strict=True):
        out[part] = name
    return out
