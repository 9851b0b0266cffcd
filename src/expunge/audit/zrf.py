"""ZRF (zero retrain forgetting): likeness of outputs on forget rows to those of randomly initialised models.

Source:     Chundawat et al., "Can Bad Teaching Induce Forgetting?", AAAI 2023.
Objective:  ZRF = 1 - mean over forget rows of JS(model(x), random(x)), base 2; distance = |ZRF - mean of gold's ZRF|.
Deviations: 1. a true JS in bits; public codes take a reversed KL averaged over batch and classes.
            2. several random models; the first 16 are used. 3. gold's ZRF is the target, not 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_finite, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.jensen_shannon import jensen_shannon_rows
from expunge.audit.margins import probabilities
from expunge.audit.per_model import gap_to_gold
from expunge.errors import ShapeError

LEAST = {"unlearned": 1, "gold": 2, "random": 1}  # one random model is enough: gold meets the same ones


def zrf(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    random: FloatArray,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between the unlearned models' ZRF on forget rows and gold's mean ZRF.

    Args:
        unlearned: [models_u, rows, classes] logits on forget rows.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        random: [models_r, rows, classes] logits of models that were never trained, from the same architecture.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in bits, in [0, 1]; `.rows` [rows] is the gap of the mean divergence. Extra: ZRF itself as
        `unlearned_mean`, `gold_mean`, `gold_sd`, `original_mean`, ... see `gap_to_gold`.

    Raises:
        ShapeError: see `check_margins`; random models of other rows or classes. NeedsError: see `check_margins`.

    Source: AAAI 2023, section "Zero Retrain Forgetting metric"; JS as in Lin 1991, base 2.

    Example:
        >>> sure = np.array([[[900.0, 0.0]], [[900.0, 0.0]]])
        >>> zrf(-sure, sure, None, random=sure).value
        1.0
    """
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=3)
    if random.ndim != 3 or random.shape[1:] != gold.shape[1:] or not len(random):
        raise ShapeError(f"random: expected [models >= 1, {gold.shape[1:]}], got {random.shape}")
    check_finite("random", random)
    untrained = probabilities(random)
    sides = {"unlearned": unlearned, "gold": gold, "original": original}
    far = {role: _divergences(side, untrained) for role, side in sides.items() if side is not None}
    scores = {role: 1 - part.mean(axis=1) for role, part in far.items()}
    rows = np.abs(far["unlearned"].mean(axis=0) - far["gold"].mean(axis=0))
    return gap_to_gold("zrf", scores["unlearned"], scores["gold"], scores.get("original"), rows=rows, groups=groups)


def _divergences(logits: FloatArray, untrained: FloatArray) -> FloatArray:
    """[models, rows] mean JS of each model's outputs to those of the same random models, bits."""
    return np.stack([jensen_shannon_rows(probabilities(one[None]), untrained) for one in logits])
