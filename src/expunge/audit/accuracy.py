"""Accuracy on one split, and its gap to gold: the target is gold's value, neither 0 nor 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins, summary
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import check_logits
from expunge.audit.per_model import gap_to_gold
from expunge.errors import NeedsError

LEAST = {"unlearned": 1, "gold": 2}


def accuracy(logits: FloatArray, labels: npt.NDArray[Any]) -> FloatArray:
    """Share of rows whose largest logit is the label's; ties go to the lower class.

    Args:
        logits: [models, rows, classes].
        labels: [rows] integers in 0..classes-1.

    Returns:
        [models] float64 in [0, 1].

    Raises:
        ShapeError: see `check_logits`.

    Example:
        >>> accuracy(np.array([[[2.0, 1.0], [0.0, 1.0]]]), np.array([0, 0])).tolist()
        [0.5]
    """
    check_logits(logits, labels)
    return np.asarray((logits.argmax(axis=-1) == labels).mean(axis=-1))


def accuracy_gap(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Mean absolute gap between the unlearned models' accuracy and gold's mean accuracy.

    Args:
        unlearned: [models_u, rows, classes] logits on one split.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        labels: [rows] integers.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1]; `.rows` [rows] is the gap in the share of models that are right. Extra: the
        accuracies themselves as `unlearned_mean`, `gold_mean`, `gold_sd`, ... see `gap_to_gold`.

    Raises:
        ShapeError, NeedsError: see `check_margins`.

    Source: forget, retain and test accuracy as reported by most unlearning papers, read against gold.

    Example:
        >>> logits = np.array([[[2.0, 1.0]], [[2.0, 1.0]]])
        >>> accuracy_gap(-logits, logits, None, labels=np.array([0])).value
        1.0
    """
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=3)
    check_logits(gold, labels)
    ours, golds = unlearned.argmax(axis=-1) == labels, gold.argmax(axis=-1) == labels
    before = None if original is None else accuracy(original, labels)
    rows = np.abs(ours.mean(axis=0) - golds.mean(axis=0))
    return gap_to_gold("accuracy_gap", ours.mean(axis=1), golds.mean(axis=1), before, rows=rows, groups=groups)


def average_gap(terms: Mapping[str, Estimate]) -> Estimate:
    """Mean of several distances to gold: forget, retain and test accuracy and an attack, as SalUn reports them.

    Args:
        terms: Estimates by name, such as forget_accuracy, retain_accuracy, test_accuracy, mia_auc.

    Returns:
        Estimate whose value, null and start are the means of the terms'; `extra` lists every term's value and
        `.rows` [terms] holds them. The interval takes the mean of the terms' half widths: no narrower than the
        truth, because the terms share their models.

    Raises:
        NeedsError: no terms.

    Source: Fan et al. 2023 (SalUn), table heading "Avg. Gap".

    Example:
        >>> one = Estimate("a", 0.25, None, 0.0, None, np.zeros(1), {})
        >>> average_gap({"forget": one, "test": one}).value
        0.25
    """
    if not terms:
        raise NeedsError("average_gap: needs at least 1 term, got 0")
    parts = list(terms.values())
    values = np.array([part.value for part in parts])
    halves = [part.interval[1] - part.value for part in parts if part.interval is not None]
    starts = [part.start for part in parts if part.start is not None]
    value, half = float(values.mean()), float(np.mean(halves)) if halves else np.nan
    return Estimate(
        "average_gap",
        value,
        (value - half, value + half) if len(halves) == len(parts) else None,
        float(np.mean([part.null for part in parts])),
        float(np.mean(starts)) if len(starts) == len(parts) else None,
        values,
        summary(values),
        {name: part.value for name, part in terms.items()},
    )
