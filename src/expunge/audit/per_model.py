"""Measures that give one number per model (an accuracy, an attack's AUC): their distance to gold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, summary
from expunge.audit.jackknife import FloatArray, two_sided
from expunge.errors import ShapeError


def rank_p(value: float, gold: FloatArray) -> float:
    """Two-sided rank p of one number among N gold numbers: exact where it is exchangeable with them.

    Args:
        value: the unlearned model's number.
        gold: [models_g] the gold models' numbers.

    Returns:
        p in [2 / (N + 1), 1]: with N < 39 it cannot reach 0.05.

    Example:
        >>> rank_p(9.0, np.array([1.0, 2.0, 3.0]))
        0.5
    """
    tail = min(int((gold <= value).sum()), int((gold >= value).sum())) + 1
    return min(1.0, 2 * tail / (len(gold) + 1))


def gold_gaps(gold: FloatArray) -> FloatArray:
    """|each gold - mean of the other golds|, [models_g >= 2].

    Example:
        >>> gold_gaps(np.array([0.0, 0.0, 3.0])).tolist()
        [1.5, 1.5, 3.0]
    """
    return np.asarray(np.abs(gold - gold.mean()) * len(gold) / (len(gold) - 1))


def gap_to_gold(
    name: str,
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    rows: FloatArray,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Mean absolute gap between the unlearned models' number and gold's mean.

    Args:
        name: the measure.
        unlearned: [models_u] one number per model.
        gold: [models_g >= 2] likewise.
        original: [models_o] likewise, or None.
        rows: [rows] companion distances of the rows, for the statistics.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in the number's unit, 0 = gold's mean; the null is the mean gap of one gold to the others,
        which a perfect method reaches, not zero. Extra: `unlearned_mean`, `unlearned_sd`, `gold_mean`,
        `gold_sd`, `gold_min`, `gold_max`, `signed` (unlearned_mean - gold_mean), `null_low` and `null_high` (5%
        and 95% quantile over golds), `original_mean`, and with one unlearned model `rank_p`.

    Raises:
        ShapeError: `groups` has another length than `unlearned`.
    """
    if groups is not None and groups.shape != unlearned.shape:
        raise ShapeError(f"groups: expected one id per unlearned model ({len(unlearned)}), got {groups.shape}")

    def gap(candidate: FloatArray, reference: FloatArray) -> float:
        return float(np.abs(candidate - reference.mean()).mean())

    value, gaps = gap(unlearned, gold), gold_gaps(gold)
    half = two_sided(lambda u, g: gap(unlearned[u], gold[g]), (len(unlearned), len(gold)), clusters=groups)
    extra = {
        "unlearned_mean": float(unlearned.mean()),
        "unlearned_sd": float(unlearned.std(ddof=1)) if len(unlearned) > 1 else np.nan,
        "gold_mean": float(gold.mean()),
        "gold_sd": float(gold.std(ddof=1)),
        "gold_min": float(gold.min()),
        "gold_max": float(gold.max()),
        "signed": float(unlearned.mean() - gold.mean()),
        "null_low": float(np.quantile(gaps, 0.05)),
        "null_high": float(np.quantile(gaps, 0.95)),
    }
    if original is not None:
        extra["original_mean"] = float(original.mean())
    if len(unlearned) == 1:
        extra["rank_p"] = rank_p(float(unlearned[0]), gold)
    interval = None if half is None else (value - half, value + half)
    start = None if original is None else gap(original, gold)
    return Estimate(name, value, interval, float(gaps.mean()), start, rows, summary(rows), extra)
