"""Tug of war (ToW): one product of the agreements with gold in forget, retain and test accuracy.

Source:     Zhao et al., "What makes unlearning hard and what to do about it" (RUM), arXiv:2406.01257.
Objective:  ToW = product over forget, retain, test of (1 - |accuracy - mean accuracy of gold|); distance = 1 - ToW.
            ToW-MIA: the forget factor takes the share of forget rows that an attack calls non-members instead.
Deviations: the mean of several gold models stands in the place of one; the interval is over models of both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_finite, summary
from expunge.audit.jackknife import FloatArray, two_sided
from expunge.errors import NeedsError, ShapeError

LEAST = {"unlearned": 1, "gold": 2}
TERMS = ("forget", "retain", "test")  # the columns; "mia" may follow


def tug_of_war(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """1 - ToW: how far the product of the agreements with gold in three accuracies is from 1.

    Args:
        unlearned: [models_u, 3] accuracies on forget, retain and test, in [0, 1]; a fourth column is the share of
            forget rows that an attack calls non-members, and adds ToW-MIA.
        gold: [models_g, 3 or 4] likewise.
        original: [models_o, 3 or 4] likewise, or None: where the audit starts.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1], 0 = gold's mean; the null is the mean of each gold against the other golds. `.rows`
        [3 or 4] are the gaps of the columns' means. Extra: `tow`, `tow_gold` (of each gold against the others),
        `tow_original`, and with four columns the same with `tow_mia`.

    Raises:
        ShapeError: other columns, values outside [0, 1], groups of another length. NeedsError: fewer models than
        LEAST.

    Source: arXiv:2406.01257, definition of ToW and ToW-MIA.

    Example:
        >>> gold = np.array([[0.5, 1.0, 1.0], [0.5, 1.0, 1.0]])
        >>> tug_of_war(np.array([[1.0, 1.0, 0.5]]), gold, None).value
        0.75
    """
    sides = {"unlearned": unlearned, "gold": gold, "original": original}
    for role, part in sides.items():
        if part is not None:
            _check_terms(role, part, gold.shape[1:])
    if groups is not None and groups.shape != unlearned.shape[:1]:
        raise ShapeError(f"groups: expected one id per unlearned model ({len(unlearned)}), got {groups.shape}")

    def lost(candidate: FloatArray, reference: FloatArray) -> float:
        return 1 - float(tow(candidate, reference.mean(axis=0)).mean())

    others = (gold.sum(axis=0) - gold) / (len(gold) - 1)  # mean of the other golds, for each gold
    value = lost(unlearned, gold)
    half = two_sided(lambda u, g: lost(unlearned[u], gold[g]), (len(unlearned), len(gold)), clusters=groups)
    extra = {"tow": 1 - value, "tow_gold": float(tow(gold, others).mean())}
    start = None if original is None else lost(original, gold)
    if start is not None:
        extra["tow_original"] = 1 - start
    if gold.shape[1] > len(TERMS):
        extra["tow_mia"] = float(tow(unlearned, gold.mean(axis=0), mia=True).mean())
        extra["tow_mia_gold"] = float(tow(gold, others, mia=True).mean())
        if original is not None:
            extra["tow_mia_original"] = float(tow(original, gold.mean(axis=0), mia=True).mean())
    rows = np.abs(unlearned.mean(axis=0) - gold.mean(axis=0))
    interval = None if half is None else (value - half, value + half)
    return Estimate("tug_of_war", value, interval, 1 - extra["tow_gold"], start, rows, summary(rows), extra)


def tow(terms: FloatArray, reference: FloatArray, *, mia: bool = False) -> FloatArray:
    """ToW of every model.

    Args:
        terms: [models, 3 or 4] accuracies on forget, retain and test, then the attack's share.
        reference: [3 or 4] or [models, 3 or 4] of gold.
        mia: take the attack's share in the place of forget accuracy; needs the fourth column.

    Returns:
        [models] float64 in [0, 1], 1 = gold.

    Example:
        >>> tow(np.array([[0.5, 1.0, 1.0]]), np.array([1.0, 1.0, 0.5])).tolist()
        [0.25]
    """
    agreement = 1 - np.abs(terms - reference)
    return np.asarray(agreement[:, [3, 1, 2] if mia else [0, 1, 2]].prod(axis=1))


def _check_terms(role: str, part: FloatArray, shape: tuple[int, ...]) -> None:
    if part.ndim != 2 or part.shape[1] not in (len(TERMS), len(TERMS) + 1) or part.shape[1:] != shape:
        raise ShapeError(f"{role}: expected [models, 3 or 4] {', '.join(TERMS)} (and mia) like gold, got {part.shape}")
    check_finite(role, part)
    if part.min(initial=0) < 0 or part.max(initial=0) > 1:
        raise ShapeError(f"{role}: expected shares in [0, 1], got {part.min():g}..{part.max():g}")
    if len(part) < LEAST.get(role, 1):
        raise NeedsError(f"{role}: needs at least {LEAST.get(role, 1)} models, got {len(part)}")
