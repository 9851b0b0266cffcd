"""Disagreement: on what share of rows is one model right and the other wrong?

Source:     Guo et al., arXiv:2408.11433 (twin unlearning), accuracy of predicting which forget rows gold gets right;
            as a distance between fleets, with gold against gold beside it, ours.
Objective:  mean over pairs (unlearned, gold) and rows of 1[exactly one of the two is right].
Deviations: none. Two accuracies can agree while the models are right on different rows; this sees it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import check_logits
from expunge.audit.pairs import estimate_over_pairs

LEAST = {"unlearned": 1, "gold": 2}


def disagreement(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    labels: npt.NDArray[Any],
    heldout: FloatArray | None = None,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Share of rows on which an unlearned and a gold model are not both right or both wrong.

    Args:
        unlearned: [models_u, rows, classes] logits.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        labels: [rows] integers.
        heldout: [models_h, rows, classes] logits of gold models kept for the null, or None.
        seed: of the splits of gold behind the null.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1], mean over rows. The null is two gold models: they disagree too. Extra: `ratio` = matched /
        null, and those of `estimate`.

    Raises:
        ShapeError, NeedsError: see `check_margins`.

    Source: see the head of the file.

    Example:
        >>> right = np.array([[[1.0, 0.0], [0.0, 1.0]]]).repeat(2, axis=0)
        >>> disagreement(-right, right, None, labels=np.array([0, 1]), seed=0).value
        1.0
    """
    check_margins(unlearned, gold, original, heldout, least=LEAST, ndim=3)
    check_logits(gold, labels)

    def right(logits: FloatArray) -> FloatArray:
        return np.asarray(logits.argmax(axis=-1) == labels, dtype=np.float64)[..., None]

    return estimate_over_pairs(
        "disagreement",
        _apart,
        unlearned,
        gold,
        original,
        heldout,
        least=LEAST,
        seed=seed,
        groups=groups,
        prepare=right,
    )


def _apart(one: FloatArray, gold: FloatArray) -> FloatArray:
    """|right - right| of one model [rows, 1] against [models, rows, 1]."""
    return np.asarray(np.abs(gold - one)[..., 0])
