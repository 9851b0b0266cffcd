"""AUS (adaptive unlearning score): test accuracy kept, divided by what accuracy on forget rows is left.

Source:     Cotogni et al., "DUCK: Distance-based Unlearning via Centroid Kinematics", 2023.
Objective:  AUS = (1 - (A_O^test - A^test)) / (1 + D); D = |A^forget| where a class was removed, else
            D = |A^forget - A^test|; distance = |AUS - mean of gold's AUS|.
Deviations: published AUS is "higher is better" without a reference; here gold's AUS is the target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_finite
from expunge.audit.jackknife import FloatArray
from expunge.audit.per_model import gap_to_gold
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2, "original": 1}
KINDS = ("random", "class")


def aus(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray,
    *,
    kind: str = "random",
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between the unlearned models' AUS and gold's mean AUS.

    Args:
        unlearned: [models_u, 2] accuracies on forget and test, in [0, 1].
        gold: [models_g, 2] likewise.
        original: [models_o, 2] likewise; their mean test accuracy is A_O^test.
        kind: "random" or "class": what the forget rows have in common. Where a class was removed, test holds the
            other classes only.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in units of AUS, 0 = gold's mean; `.rows` [2] are the gaps of the mean accuracies. Extra: the scores
        as `unlearned_mean`, `gold_mean`, `original_mean`, ... see `gap_to_gold`.

    Raises:
        ConfigError: unknown kind. ShapeError: arrays that are not [models, 2] in [0, 1]. NeedsError: fewer models
        than LEAST.

    Source: Cotogni et al. 2023, definition of AUS.

    Example:
        >>> gold = np.array([[0.5, 0.5], [0.5, 0.5]])
        >>> aus(np.array([[1.0, 0.5]]), gold, np.array([[1.0, 0.5]])).extra["unlearned_mean"].__round__(4)
        0.6667
    """
    check("kind", kind, " or ".join(KINDS), kind in KINDS)
    sides = {"unlearned": unlearned, "gold": gold, "original": original}
    for role, part in sides.items():
        _check_pairs(role, part)
    before = float(original[:, 1].mean())
    scores = {role: aus_per_model(part, before, kind=kind) for role, part in sides.items()}
    rows = np.abs(unlearned.mean(axis=0) - gold.mean(axis=0))
    return gap_to_gold("aus", scores["unlearned"], scores["gold"], scores["original"], rows=rows, groups=groups)


def aus_per_model(accuracies: FloatArray, before: float, *, kind: str = "random") -> FloatArray:
    """Published AUS of every model.

    Args:
        accuracies: [models, 2] on forget and test, in [0, 1].
        before: test accuracy of the original.
        kind: "random" or "class".

    Returns:
        [models] float64; 1 = nothing lost and, for "class", nothing left.

    Example:
        >>> aus_per_model(np.array([[0.25, 1.0]]), 1.0, kind="class").tolist()
        [0.8]
    """
    forget, test = accuracies[:, 0], accuracies[:, 1]
    left = np.abs(forget) if kind == "class" else np.abs(forget - test)
    return np.asarray((1 - (before - test)) / (1 + left))


def _check_pairs(role: str, part: FloatArray) -> None:
    if part.ndim != 2 or part.shape[1] != 2:
        raise ShapeError(f"{role}: expected [models, 2] accuracies on forget and test, got {part.shape}")
    check_finite(role, part)
    if len(part) < LEAST[role]:
        raise NeedsError(f"{role}: needs at least {LEAST[role]} models, got {len(part)}")
    if part.min() < 0 or part.max() > 1:
        raise ShapeError(f"{role}: expected accuracies in [0, 1], got {part.min():g}..{part.max():g}")
