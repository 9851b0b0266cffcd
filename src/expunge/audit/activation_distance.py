"""Activation distance: Euclidean distance between the softmax outputs of unlearned and gold models.

Source:     public unlearning code under this name; it compares outputs, not hidden activations, and so do we.
Objective:  mean over rows of mean over pairs (u, g) of ||softmax u - softmax g||_2.
Deviations: sixteen pairs per model with a gold fleet, beside gold's own distance; a single gold confounds seeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate
from expunge.audit.jackknife import FloatArray
from expunge.audit.pairs import estimate_over_pairs, pair_table

LEAST = {"unlearned": 1, "gold": 2}


def activation_distance(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Mean Euclidean distance between the softmax outputs of unlearned and gold models.

    Args:
        unlearned: [models_u, rows, classes] logits.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        heldout: [models_h, rows, classes] logits of gold models kept for the null, or None.
        seed: of the splits of gold behind the null.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, sqrt(2)], mean over rows. The null is gold against other gold models and lies above 0;
        `extra["ratio"]` = matched / null, 1 = as far from gold as gold is. Further extra: see `estimate`.

    Raises:
        ShapeError, NeedsError: see `check_margins`.

    Source: audit of output distances; see the head of the file.

    Example:
        >>> sure = np.array([[[50.0, 0.0]], [[50.0, 0.0]]])
        >>> round(activation_distance(-sure, sure, None, seed=0).value, 4)
        1.4142
    """
    return estimate_over_pairs(
        "activation_distance", _euclidean, unlearned, gold, original, heldout, least=LEAST, seed=seed, groups=groups
    )


def activation_distance_rows(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """Mean distance over pairs of models (see `pair_table`), for every row.

    Args:
        unlearned: [models_u, rows, classes] probabilities.
        gold: [models_g, rows, classes] probabilities.

    Returns:
        [rows] float64 in [0, sqrt(2)].

    Example:
        >>> activation_distance_rows(np.ones((1, 2, 1)), np.ones((3, 2, 1))).tolist()
        [0.0, 0.0]
    """
    return pair_table(_euclidean, unlearned, gold)[1]


def _euclidean(one: FloatArray, gold: FloatArray) -> FloatArray:
    gap = gold - one
    return np.asarray(np.sqrt(np.einsum("mrc,mrc->mr", gap, gap)))
