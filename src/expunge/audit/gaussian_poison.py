"""Gaussian poison: does the model still lean towards noise that was planted in its forget rows? Needs no gold.

Source:     Pawelczyk et al., arXiv:2406.17216 (GUS).
Objective:  g_i = d loss(clean x_i, y_i) / d x;  I_i = <g_i, noise_i> / (sd |g_i|);  z = sqrt(p) mean(I).
            A model that never saw the noise is independent of it: I_i ~ N(0, 1) and z ~ N(0, 1), exactly.
Deviations: 1. p is two-sided: an over-forgetting model leans away from the noise.
            2. TPR at 1% FPR takes the noise-free law N(0, 1) itself, which fresh noise only samples.
Note:       a model that remembers has a lower loss at x + noise, so its I_i are below 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from expunge.audit.estimate import check_finite
from expunge.audit.jackknife import FloatArray
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1}


@dataclass(frozen=True, eq=False)
class GaussianPoison:
    """Result of `gaussian_poison`.

    Args:
        value: mean of I over rows, sd; 0 = the noise is gone, below 0 = remembered, above = over-forgotten.
        interval: 95% interval of the value under the exact law, `value` +- 1.96 / sqrt(rows used).
        null: 0, the value that a model which never saw the noise has on average.
        z: sqrt(rows used) * value, N(0, 1) for a model that never saw the noise.
        p: exact two-sided p of z.
        tpr: share of rows called remembered at false positive rate `fpr`, which is also its value for gold.
        fpr: that rate.
        used: rows with a gradient.
        dropped: rows whose gradient is exactly zero (saturated loss).
        rows: [planted rows] I, NaN where dropped.
    """

    value: float
    interval: tuple[float, float]
    null: float
    z: float
    p: float
    tpr: float
    fpr: float
    used: int
    dropped: int
    rows: FloatArray

    def to_json(self, *, rows: bool = False) -> dict[str, Any]:
        """Plain dict for `json.dumps`; per-row entries are personal data and only there if `rows`."""
        plain = {name: value for name, value in vars(self).items() if name != "rows"}
        plain["interval"] = list(self.interval)
        if rows:
            plain["rows"] = [None if math.isnan(one) else one for one in self.rows.tolist()]
        return plain


def gaussian_poison(gradients: FloatArray, noise: FloatArray, *, sd: float, fpr: float = 0.01) -> GaussianPoison:
    """Exact test of one model for noise that was planted in rows which it should have forgotten.

    Args:
        gradients: [rows, ...] gradient of each row's loss with respect to its clean input.
        noise: [rows, ...] what was added to these rows in training: independent N(0, sd^2) entries, which the
            unlearning method must not have seen.
        sd: of the noise, > 0, in units of the input.
        fpr: false positive rate behind `tpr`, in (0, 1).

    Returns:
        GaussianPoison.

    Raises:
        ConfigError: sd or fpr out of range. ShapeError: arrays that do not fit or are not finite.
        NeedsError: no rows, or every gradient is zero: the model is saturated or constant, and nothing is shown.

    Source: arXiv:2406.17216, section on Gaussian poisoning.

    Example:
        >>> found = gaussian_poison(np.array([[3.0, 4.0]]), np.array([[5.0, 0.0]]), sd=1.0)
        >>> found.z, round(found.p, 4)
        (3.0, 0.0027)
    """
    check("sd", sd, "> 0", sd > 0)
    check("fpr", fpr, "in (0, 1)", 0 < fpr < 1)
    overlap = overlaps(gradients, noise, sd=sd)
    known = overlap[np.isfinite(overlap)]
    if not len(known):
        raise NeedsError(f"gaussian_poison: needs a row with a gradient, all {len(overlap)} gradients are zero")
    value, used = float(known.mean()), len(known)
    z = math.sqrt(used) * value
    half = float(ndtri(0.975)) / math.sqrt(used)
    return GaussianPoison(
        value=value,
        interval=(value - half, value + half),
        null=0.0,
        z=z,
        p=float(2 * ndtr(-abs(z))),
        tpr=float((known < ndtri(fpr)).mean()),
        fpr=fpr,
        used=used,
        dropped=len(overlap) - used,
        rows=overlap,
    )


def overlaps(gradients: FloatArray, noise: FloatArray, *, sd: float) -> FloatArray:
    """Normalised overlap I of gradient and noise, per row.

    Args:
        gradients: [rows, ...] of the loss with respect to the clean inputs.
        noise: [rows, ...] planted; or [draws, rows, ...], one set of overlaps for each draw.
        sd: of the noise, > 0.

    Returns:
        [rows] or [draws, rows] float64, N(0, 1) where the noise is independent; NaN where the gradient is zero.

    Raises:
        ShapeError: shapes that do not fit, or a value that is not finite.

    Example:
        >>> overlaps(np.array([[0.0], [-2.0]]), np.array([[1.0], [3.0]]), sd=1.5).tolist()
        [nan, -2.0]
    """
    if gradients.ndim < 2 or noise.shape[noise.ndim - gradients.ndim :] != gradients.shape:
        raise ShapeError(f"noise: expected the gradients' shape {gradients.shape}, got {noise.shape}")
    check_finite("gradients", gradients[None])
    check_finite("noise", noise[None])
    flat = gradients.reshape(len(gradients), -1).astype(np.float64)
    largest = np.abs(flat).max(axis=1, initial=0.0, keepdims=True)
    scaled = flat / np.where(largest > 0, largest, 1.0)  # squares of tiny gradients must not underflow
    norms = np.linalg.norm(scaled, axis=1)
    planted = noise.reshape(*noise.shape[: noise.ndim - gradients.ndim], *flat.shape).astype(np.float64)
    inner = np.einsum("rp,...rp->...r", scaled, planted)
    return np.asarray(np.where(norms > 0, inner / (sd * np.where(norms > 0, norms, 1.0)), np.nan))
