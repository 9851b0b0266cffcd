"""Floors: the smallest numbers of models and rows at which a claim can be made at all.

Source:     ranks and Clopper-Pearson bounds by arithmetic; floors of a method audit from measured nulls and powers.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from expunge.errors import check

METHOD_FLOORS = {  # models a side of a method audit; see each measure's page
    "gaussian_kl": 20,
    "klom": 50,
    "auc_half_sd": 64,
    "u_lira": 64,
    "epsilon": 128,
    "auc_quarter_sd": 256,
    "challenge": 512,
}


def model_floors(alpha: float = 0.05) -> dict[str, int]:
    """Smallest number of gold models for each claim of a model audit.

    Args:
        alpha: level, in (0, 0.5).

    Returns:
        `joint` (a joint rank p can reach alpha), `one_row_abs` and `one_row` (pooled p with absolute or signed
        tails can flag a single row), whatever the number of rows.

    Example:
        >>> model_floors(0.05)
        {'joint': 19, 'one_row_abs': 20, 'one_row': 40}
    """
    check("alpha", alpha, "in (0, 0.5)", 0 < alpha < 0.5)
    least = {"joint": 1 / alpha - 1, "one_row_abs": 1 / alpha, "one_row": 2 / alpha}
    return {claim: math.ceil(number - 1e-9) for claim, number in least.items()}


def own_rank_floor(rows: int, flagged: int, *, alpha: float = 0.05) -> int:
    """Smallest N at which rank p within their own rows survive Benjamini-Hochberg.

    Args:
        rows: forget rows, >= 1.
        flagged: rows that stand beyond every gold, in 1..rows.
        alpha: false discovery rate, in (0, 0.5).

    Example:
        >>> own_rank_floor(200, 5)
        1599
    """
    check("flagged", flagged, f"in 1..{rows}", 1 <= flagged <= rows)
    return math.ceil(2 * rows / (alpha * flagged) - 1e-9) - 1


def auc_half_width(forget: int, holdout: int | None = None) -> float:
    """95% half width of an AUC near 0.5.

    Args:
        forget: rows of one class, >= 1.
        holdout: rows of the other, None for as many.

    Example:
        >>> [round(auc_half_width(n), 3) for n in (10, 100, 1000)]
        [0.259, 0.08, 0.025]
    """
    holdout = forget if holdout is None else holdout
    check("rows", (forget, holdout), ">= 1", min(forget, holdout) >= 1)
    return float(ndtri(0.975)) * math.sqrt((forget + holdout + 1) / (12 * forget * holdout))


def zero_hits(count: int, *, alpha: float = 0.05) -> float:
    """Upper bound on a rate of which 0 of `count` were seen, one-sided.

    Args:
        count: rows without a false positive, >= 1.
        alpha: in (0, 1).

    Example:
        >>> [round(zero_hits(n), 3) for n in (10, 100, 1000, 3000)]
        [0.259, 0.03, 0.003, 0.001]
    """
    check("count", count, ">= 1", count >= 1)
    return float(-np.expm1(math.log(alpha) / count))
