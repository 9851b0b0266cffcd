"""Margins: log-odds of the label, the number per model and row on which most measures work."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray
from expunge.errors import ShapeError


def margins(logits: FloatArray, labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Margin of every model and row: logit of the label minus logsumexp of the other logits, in nats.

    Computed by logsumexp in float64, so that it neither saturates nor needs a floor on probabilities.

    Args:
        logits: [..., rows, classes] finite, classes >= 2; left unchanged.
        labels: [rows] integers in 0..classes-1.

    Returns:
        [..., rows] float32, nats; 0 where the label has probability one half.

    Raises:
        ShapeError: a value that is not finite, a label outside the classes, or shapes that do not fit.

    Source: log p_y - log(1 - p_y), as in likelihood-ratio attacks (Carlini et al., S&P 2022).

    Example:
        >>> margins(np.array([[3.0, 3.0]]), np.array([0])).tolist()
        [0.0]
    """
    check_logits(logits, labels)
    rows, classes = logits.shape[-2:]
    models = logits.reshape(-1, rows, classes)
    out = np.empty((len(models), rows), dtype=np.float32)
    for model, one in enumerate(models):
        out[model] = log_odds(one.astype(np.float64), labels)
    return out.reshape(logits.shape[:-1])


def log_odds(logits: FloatArray, labels: npt.NDArray[Any]) -> FloatArray:
    """The margin of one model, [rows] float64, from a [rows, classes] float64 array that may be overwritten."""
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    logits[rows, labels] = -np.inf
    top = logits.max(axis=1)
    return np.asarray(own - top - np.log(np.exp(logits - top[:, None]).sum(axis=1)))


def log_probabilities(logits: FloatArray) -> FloatArray:
    """Logarithm of softmax over the last axis, float64; input unchanged.

    Args:
        logits: [..., classes] finite.

    Returns:
        [..., classes] float64, nats, <= 0.

    Example:
        >>> log_probabilities(np.array([1e4, 0.0])).tolist()
        [0.0, -10000.0]
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.asarray(shifted)


def probabilities(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis, float64; input unchanged.

    Args:
        logits: [..., classes] finite.

    Returns:
        [..., classes] float64 in [0, 1], summing to 1.

    Raises:
        ShapeError: a value that is not finite.

    Example:
        >>> probabilities(np.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    _check_finite_logits(logits)
    return np.asarray(np.exp(log_probabilities(logits)))


def check_logits(logits: FloatArray, labels: npt.NDArray[Any]) -> None:
    """Refuse [..., rows, classes] logits that are not finite or do not fit the [rows] labels.

    Raises:
        ShapeError: see above.
    """
    if logits.ndim < 2 or logits.shape[-1] < 2 or labels.shape != (logits.shape[-2],):
        raise ShapeError(
            f"expected logits [..., rows, classes >= 2] and labels [rows], got {logits.shape}, {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ShapeError(f"labels: expected integers, got {labels.dtype}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < logits.shape[-1]):
        span = f"{labels.min()}..{labels.max()}"
        raise ShapeError(f"labels: expected classes 0..{logits.shape[-1] - 1}, got {span}")
    _check_finite_logits(logits)


def _check_finite_logits(logits: FloatArray) -> None:
    if np.isfinite(logits).all():
        return
    where = tuple(int(at) for at in np.argwhere(~np.isfinite(logits))[0])
    raise ShapeError(
        f"logits: expected finite values, got {logits[where]} at {where} of {logits.shape}",
        hint="take logits in float32; half precision overflows at 65504",
    )
