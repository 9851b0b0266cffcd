"""How much of the change that gold brings do unlearned models, or predictions, bring too? A check on directions.

Source:     coefficient of determination; own use. Not a distance: it knows means over models alone, not their spread.
Formula:    d(x) = mean logits of a side less the original's mean logits, each row less its mean over classes, as only
            differences of logits matter. share = 1 - sum (d_u - d_g)^2 / sum d_g^2 over rows and classes; slope and
            correlation of d_g on d_u beside it: a high correlation with a slope above 1 is the right way, too short.
"""

from __future__ import annotations

import numpy as np

from expunge.audit.jackknife import FloatArray
from expunge.errors import ShapeError


def explained(unlearned: FloatArray, gold: FloatArray, original: FloatArray) -> dict[str, float]:
    """Share of gold's mean change of the outputs that unlearned models bring; 1 for gold, 0 for doing nothing.

    Args:
        unlearned: [models_u, rows, classes] logits.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits: where the change begins.

    Returns:
        `share`, at most 1, below 0 where the change is worse than none; `slope` of gold's change on theirs, and
        `correlation`; NaN where a side does not change.

    Raises:
        ShapeError: rows or classes differ.

    Example:
        >>> zero = np.zeros((1, 1, 2))
        >>> found = explained(zero + [1.0, -1.0], zero + [2.0, -2.0], zero)
        >>> found["share"], found["slope"]
        (0.75, 2.0)
    """
    sides = (unlearned, gold, original)
    if len({side.shape[1:] for side in sides}) != 1 or any(side.ndim != 3 for side in sides):
        raise ShapeError(f"explained: expected [models, rows, classes] alike, got {[list(s.shape) for s in sides]}")
    means = [side.mean(axis=0, dtype=np.float64) for side in sides]
    ours, theirs = (centred(one - means[2]).ravel() for one in means[:2])
    power, needed = float(ours @ ours), float(theirs @ theirs)
    away = float(np.square(ours - theirs).sum())
    return {
        "share": 1 - away / needed if needed > 0 else np.nan,
        "slope": float(ours @ theirs) / power if power > 0 else np.nan,
        "correlation": float(ours @ theirs) / np.sqrt(power * needed) if power * needed > 0 else np.nan,
    }


def centred(change: FloatArray) -> FloatArray:
    """Rows `[rows, classes]` less their mean over classes; one output alone is left as it is."""
    return change - change.mean(axis=1, keepdims=True) if change.shape[1] > 1 else change
