"""Normal law of every row's margin over models: the building block of likelihood-ratio attacks.

Source:     Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022.
Objective:  center = median or mean over models, sd per row or one for all rows, plus 1e-30.
Deviations: pooled_raw is there for parity only: it mixes the spread between rows into the sd.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray

VARIANCES = ("per_row", "pooled_centered", "pooled_raw")
CENTERS = ("median", "mean")
TINY = 1e-30  # nats, added to a sd: published value
BLOCK = 1 << 18  # margins handled at once: bounds memory and stays in cache


class Law(NamedTuple):
    """Normal law of the margin of every row: `center` [rows] and `sd` [rows], nats."""

    center: FloatArray
    sd: FloatArray


def log_density(margin: FloatArray, law: Law) -> FloatArray:
    """Logarithm of the normal density of the rows' margins.

    Args:
        margin: [..., rows] nats.
        law: of the rows.

    Returns:
        [..., rows] float64.

    Example:
        >>> float(log_density(np.zeros(1), Law(np.zeros(1), np.ones(1)))[0].round(4))
        -0.9189
    """
    return np.asarray(-0.5 * ((margin - law.center) / law.sd) ** 2 - np.log(law.sd) - 0.5 * math.log(2 * math.pi))


def normal_law(
    values: FloatArray, member: npt.NDArray[np.bool_], *, variance: str = "per_row", center: str = "median"
) -> Law:
    """Normal law of every row, from the models that `member` names.

    Args:
        values: [models, rows] margins, nats.
        member: [models, rows] bool, at least one model for every row.
        variance: per_row, pooled_centered or pooled_raw; sd divide by n, plus 1e-30.
        center: median or mean.

    Returns:
        Law, [rows] float64 each.

    Example:
        >>> law = normal_law(np.array([[1.0], [3.0], [9.0]]), np.array([[True], [True], [False]]))
        >>> float(law.center[0]), float(law.sd[0])
        (2.0, 1.0)
    """
    models, rows = values.shape
    counts = member.sum(axis=0)
    mean, spread, middle = np.empty(rows), np.empty(rows), np.empty(rows)
    step = max(1, BLOCK // models)
    for at in range(0, rows, step):
        block = slice(at, at + step)
        part, there = values[:, block].T.astype(np.float64, order="C"), member[:, block].T
        mean[block] = np.where(there, part, 0.0).sum(axis=1) / counts[block]
        spread[block] = (np.where(there, part - mean[block, None], 0.0) ** 2).sum(axis=1) / counts[block]
        if center == "median":
            middle[block] = _median(part, there, counts[block])
    middle = middle if center == "median" else mean
    if variance == "per_row":
        return Law(middle, np.sqrt(spread) + TINY)
    share = counts / counts.sum()
    off = mean - middle if variance == "pooled_centered" else mean
    pooled = (share * (spread + (off - (share * off).sum()) ** 2)).sum()
    return Law(middle, np.full(rows, math.sqrt(pooled) + TINY))


def _median(part: FloatArray, there: npt.NDArray[np.bool_], counts: npt.NDArray[np.intp]) -> FloatArray:
    """Median of the entries that are there, [rows] from [rows, models]."""
    ordered = np.sort(np.where(there, part, np.inf), axis=1)
    low, high = (np.take_along_axis(ordered, at[:, None], axis=1)[:, 0] for at in ((counts - 1) // 2, counts // 2))
    return np.asarray((low + high) / 2)
