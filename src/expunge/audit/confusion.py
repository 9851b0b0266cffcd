"""Confusion: do two classes whose labels were swapped on the forget rows still get confused on unseen rows?

Source:     Goel et al., "Evaluating Inexact Unlearning Requires Revisiting Forgetting", arXiv:2201.06640
            (interclass confusion).
Objective:  E = (C_AB + C_BA) / (n_A + n_B) on held-out rows of the two classes, C_AB rows of A called B; distance
            = |E - mean of gold's E|. Beside it: error on the forget rows against their true labels.
Deviations: read against a fleet of gold models instead of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import check_logits
from expunge.audit.per_model import gap_to_gold
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2}


def confusion(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    labels: npt.NDArray[Any],
    forget: npt.NDArray[np.bool_],
    classes: tuple[int, int],
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between the unlearned models' targeted error and gold's, after a planted swap of two classes' labels.

    Args:
        unlearned: [models_u, rows, classes] logits on forget rows and unseen rows together.
        gold: [models_g, rows, classes] logits of models trained without the forget rows.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        labels: [rows] true labels, integers; also on forget rows, which were trained with the swapped ones.
        forget: [rows] true on forget rows, false on unseen rows.
        classes: the two classes that were swapped.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1]; `.rows` [unseen rows of the two classes] is the gap in the share of models that confuse
        a row. Extra: `forget_unlearned`, `forget_gold`, `forget_original` (error on forget rows against true
        labels), `forget_gap` (unlearned - gold), and those of `gap_to_gold`.

    Raises:
        ConfigError: classes that are equal or outside the logits. ShapeError: see `check_margins`; forget is no
        [rows] bool. NeedsError: see `check_margins`; no forget row, or no unseen row of the two classes.

    Source: arXiv:2201.06640.

    Example:
        >>> right = np.array([[[1.0, 0.0], [0.0, 1.0]]]).repeat(2, axis=0)
        >>> swapped = (np.array([0, 1]), np.array([True, False]))
        >>> confusion(-right, right, None, labels=swapped[0], forget=swapped[1], classes=(0, 1)).value
        1.0
    """
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=3)
    check_logits(gold, labels)
    if forget.shape != labels.shape or forget.dtype != np.bool_:
        raise ShapeError(f"forget: expected {labels.shape} bool, got {forget.shape} {forget.dtype}")
    first, second = classes
    width = gold.shape[2]
    check("classes", classes, f"two of 0..{width - 1}", first != second and 0 <= min(classes) <= max(classes) < width)
    unseen = ~forget & np.isin(labels, classes)
    if not forget.any() or not unseen.any():
        raise NeedsError(
            f"confusion: needs forget rows and unseen rows of classes {first} and {second}, "
            f"got {forget.sum()} and {unseen.sum()}"
        )
    other = np.where(labels == first, second, first)
    sides = {"unlearned": unlearned, "gold": gold, "original": original}
    called = {role: side.argmax(axis=-1) for role, side in sides.items() if side is not None}
    confused = {role: (top == other)[:, unseen] for role, top in called.items()}
    wrong = {role: float((top != labels)[:, forget].mean()) for role, top in called.items()}
    errors = {role: part.mean(axis=1) for role, part in confused.items()}
    rows = np.abs(confused["unlearned"].mean(axis=0) - confused["gold"].mean(axis=0))
    result = gap_to_gold(
        "confusion", errors["unlearned"], errors["gold"], errors.get("original"), rows=rows, groups=groups
    )
    result.extra.update({f"forget_{role}": value for role, value in wrong.items()})
    result.extra["forget_gap"] = wrong["unlearned"] - wrong["gold"]
    return result
