"""Noise AUC: do rows with planted wrong labels turn out as those that are worth least?

Source:     planted label noise as ground truth, Koh & Liang 2017, arXiv:1703.04730; as a benchmark: dattri.
Objective:  P(a row with a wrong label has a lower value than a clean row) + P(tie) / 2. A row's value is what it does
            for clean rows, such as the sum of its scores over them.
Deviations: none.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray
from expunge.audit.population_attack import auc as ranked_auc
from expunge.errors import NeedsError, ShapeError


def noise_auc(values: FloatArray, noisy: npt.NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """Probability that a row with a planted wrong label has a lower value than a clean one.

    Args:
        values: [rows] what each training row is worth, such as its score summed over clean rows; low = harmful.
        noisy: [rows] true where the label was planted.

    Returns:
        AUC in [0, 1], ties counted half, and its 95% interval (Hanley & McNeil 1982). The null is 0.5.

    Raises:
        ShapeError: arrays that do not fit or are not finite. NeedsError: no noisy row, or none that is clean.

    Example:
        >>> noise_auc(np.array([-2.0, 1.0, 3.0, -1.0]), np.array([True, False, False, True]))[0]
        1.0
    """
    if values.ndim != 1 or noisy.shape != values.shape or noisy.dtype != np.bool_ or not np.isfinite(values).all():
        raise ShapeError(f"expected finite values [rows] and noisy [rows] bool, got {values.shape}, {noisy.shape}")
    bad, good = int(noisy.sum()), int((~noisy).sum())
    if not bad or not good:
        raise NeedsError(f"noise_auc needs noisy and clean rows, got {bad} and {good}")
    auc = float(ranked_auc(-values[None, noisy], -values[None, ~noisy])[0])
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (auc * (1 - auc) + (bad - 1) * (one - auc**2) + (good - 1) * (two - auc**2)) / (bad * good)
    half = 1.959964 * math.sqrt(max(spread, 0.0))
    return auc, (max(auc - half, 0.0), min(auc + half, 1.0))
