"""Relearn: how soon fine-tuning brings the forget rows back, beside the same for gold (AIN).

Source:     relearn time, Golatkar et al. 2020; anamnesis index (AIN), Chundawat et al., "Zero-Shot Machine
            Unlearning", 2023.
Objective:  t = first step at which forget accuracy >= (1 - slack) * accuracy of the original on forget;
            AIN = (t_U + 1) / (t_G + 1), 1 = gold; distance = |ln AIN|, capped at ln(cap).
Deviations: 1. one is added to both times, because t = 0 is common. 2. means over models are of ln(t + 1).
            3. both too fast (remembered) and too slow (over-forgotten) are distances.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_finite
from expunge.audit.jackknife import FloatArray
from expunge.audit.per_model import gap_to_gold
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2, "original": 1}


def relearn(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray,
    *,
    slack: float = 0.05,
    cap: float = 100.0,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between unlearned and gold models in the logarithm of the relearning time.

    Args:
        unlearned: [models_u, steps + 1] accuracy on the forget rows while these are fine-tuned on, column 0 before
            the first step; all curves with the same optimiser and order of rows.
        gold: [models_g, steps + 1] likewise.
        original: [models_o, steps + 1] likewise; its column 0 sets the accuracy to come back to. One column is enough.
        slack: share of that accuracy that may be missing, in [0, 1); 0.05 to 0.1 are published.
        cap: largest ratio of times that counts, > 1: curves end, and ratios against t = 0 are unstable.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate of |ln((t_U + 1) / (t_G + 1))|, nats, 0 = gold; `.rows` [steps + 1] is the gap of the mean
        accuracy at each step. Extra: `ain`, `steps_unlearned`, `steps_gold` (mean steps), `target` (accuracy),
        `unfinished_unlearned`, `unfinished_gold` (share of curves that end below the target; counted as
        steps + 1), and those of `gap_to_gold`, in ln(t + 1).

    Raises:
        ConfigError: slack or cap out of range. ShapeError: curves of different lengths, or outside [0, 1].
        NeedsError: fewer models than LEAST.

    Source: see the head of the file; AIN's published ratio has no + 1 and one model a side.

    Example:
        >>> gold = np.array([[0.0, 0.5, 0.9, 1.0], [0.0, 0.5, 0.9, 1.0]])
        >>> round(relearn(np.array([[0.0, 1.0, 1.0, 1.0]]), gold, np.array([[1.0]])).extra["ain"], 6)
        0.5
    """
    check("slack", slack, "in [0, 1)", 0 <= slack < 1)
    check("cap", cap, "> 1", cap > 1)
    sides = {"unlearned": unlearned, "gold": gold, "original": original}
    for role, curves in sides.items():
        _check_curves(role, curves, gold.shape[1:] if role != "original" else original.shape[1:])
    target = (1 - slack) * float(original[:, 0].mean())
    steps = {role: steps_to(curves, target) for role, curves in sides.items()}
    logs = {role: np.log1p(times) for role, times in steps.items()}
    centre, reach = float(logs["gold"].mean()), math.log(cap)
    logs = {role: np.clip(times, centre - reach, centre + reach) for role, times in logs.items()}
    rows = np.abs(unlearned.mean(axis=0) - gold.mean(axis=0))
    result = gap_to_gold("relearn", logs["unlearned"], logs["gold"], logs["original"], rows=rows, groups=groups)
    result.extra.update(ain=math.exp(result.extra["signed"]), target=target)
    for role in ("unlearned", "gold"):
        result.extra[f"steps_{role}"] = float(steps[role].mean())
        result.extra[f"unfinished_{role}"] = float((sides[role].max(axis=1) < target).mean())
    return result


def steps_to(curves: FloatArray, target: float) -> npt.NDArray[np.intp]:
    """First step at which each curve reaches the target.

    Args:
        curves: [models, steps + 1] accuracy, column 0 before the first step.
        target: accuracy.

    Returns:
        [models] steps; steps + 1 where the curve ends below the target.

    Example:
        >>> steps_to(np.array([[0.1, 0.9], [0.1, 0.2], [0.9, 0.9]]), 0.8).tolist()
        [1, 2, 0]
    """
    reached = curves >= target
    return np.asarray(np.where(reached.any(axis=1), reached.argmax(axis=1), curves.shape[1]))


def _check_curves(role: str, curves: FloatArray, shape: tuple[int, ...]) -> None:
    if curves.ndim != 2 or curves.shape[1:] != shape or curves.shape[1] < 1:
        raise ShapeError(f"{role}: expected curves [models, {shape}], got {curves.shape}")
    check_finite(role, curves)
    if len(curves) < LEAST[role]:
        raise NeedsError(f"{role}: needs at least {LEAST[role]} models, got {len(curves)}")
    if curves.min() < 0 or curves.max() > 1:
        raise ShapeError(f"{role}: expected accuracies in [0, 1], got {curves.min():g}..{curves.max():g}")
