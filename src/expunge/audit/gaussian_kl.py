"""Gaussian KL: KL divergence of margins, per row, with a normal law fitted to each side.

Source:     closed form; the default measure for few models, where KLoM's histograms are mostly bias.
Objective:  0.5 * (ln(v_g / v_u) + (v_u + (m_u - m_g)^2) / v_g - 1), variances with n - 1.
Deviations: none; blind to the shape of the margins by construction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins, estimate, summary
from expunge.audit.jackknife import FloatArray

LEAST = {"unlearned": 2, "gold": 4, "original": 2, "heldout": 2}
POWERED = 20  # models a side; 50 advised
FLOOR = 1e-6  # smallest sd, as a fraction of gold's median sd over rows: a constant unlearner scores above 13 nats
TINY = 1e-12  # nats; the floor where gold never varies on any row


def gaussian_kl(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """KL divergence of the rows' margins from gold's, each side taken as a normal law.

    Args:
        unlearned: [models_u, rows] margins, nats; 50 models advised, 20 have little power.
        gold: [models_g, rows] margins, nats; need not be as many.
        original: [models_o, rows] margins, nats, or None: where the audit starts.
        heldout: [models_h, rows] margins of gold models kept for the null, or None.
        seed: of the splits behind the null.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate of KL(unlearned || gold) in nats, 0 = gold, P95 over rows. Extra: `reverse` = KL(gold ||
        unlearned), `variance_ratio` = median over rows of v_u / v_g, `debiased`, `underpowered` (1 below 20
        models a side), and those of `estimate`.

    Raises:
        ShapeError, NeedsError: see `check_margins`.

    Source: closed form.

    Example:
        >>> gold = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> round(gaussian_kl(gold + 1, gold, None, seed=0).value, 3)
        0.3
    """
    check_margins(unlearned, gold, original, heldout, least=LEAST)
    result = estimate("gaussian_kl", gaussian_kl_rows, unlearned, gold, original, heldout, seed=seed, groups=groups)
    ratio = _moments(unlearned, gold)[1] / _moments(gold, gold)[1]
    result.extra.update(
        reverse=summary(_divergence(*_moments(gold, gold), *_moments(unlearned, gold)))["p95"],
        variance_ratio=float(np.median(ratio)),
        underpowered=float(min(len(unlearned), len(gold)) < POWERED),
    )
    return result


def gaussian_kl_rows(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """KL(unlearned || gold) of every row.

    Args:
        unlearned: [models_u >= 2, rows] margins, nats.
        gold: [models_g >= 2, rows] margins, nats; sets the floor on both sd.

    Returns:
        [rows] float64, nats, finite also where a side never varies.

    Example:
        >>> bool(gaussian_kl_rows(np.zeros((3, 1)), np.array([[0.0], [1.0], [2.0]]))[0] > 13)
        True
    """
    return _divergence(*_moments(unlearned, gold), *_moments(gold, gold))


def _moments(side: FloatArray, gold: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and floored variance of every row, [rows] each."""
    floor = max(FLOOR * float(np.median(gold.std(axis=0, ddof=1, dtype=np.float64))), TINY)
    deviation = side.std(axis=0, ddof=1, dtype=np.float64)
    return side.mean(axis=0, dtype=np.float64), np.maximum(deviation, floor) ** 2


def _divergence(m_p: FloatArray, v_p: FloatArray, m_q: FloatArray, v_q: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (np.log(v_q / v_p) + (v_p + (m_p - m_q) ** 2) / v_q - 1))
