"""Jensen-Shannon divergence between the softmax outputs of unlearned and gold models, in bits.

Source:     Lin 1991; under unlearning, the distance inside ZRF ("bad teaching", AAAI 2023).
Objective:  JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2, m = (p + q) / 2, base 2; mean over pairs and rows.
Deviations: a true JS; public codes average a reversed KL over batch and classes instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import probabilities
from expunge.audit.pairs import estimate_over_pairs, pair_table

LEAST = {"unlearned": 1, "gold": 2}


def jensen_shannon(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Mean Jensen-Shannon divergence between the softmax outputs of unlearned and gold models.

    Args:
        unlearned: [models_u, rows, classes] logits.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        heldout: [models_h, rows, classes] logits of gold models kept for the null, or None.
        seed: of the splits of gold behind the null.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in bits, in [0, 1], mean over rows. The null is gold against other gold models and lies above
        0; `extra["ratio"]` = matched / null, 1 = as far from gold as gold is. Further extra: see `estimate`.

    Raises:
        ShapeError, NeedsError: see `check_margins`.

    Source: Lin 1991, eq. 5.1, base 2.

    Example:
        >>> sure = np.array([[[900.0, 0.0]], [[900.0, 0.0]]])
        >>> jensen_shannon(-sure, sure, None, seed=0).value
        1.0
    """
    return estimate_over_pairs(
        "jensen_shannon",
        _divergence,
        unlearned,
        gold,
        original,
        heldout,
        least=LEAST,
        seed=seed,
        groups=groups,
        prepare=lambda logits: _with_entropy(probabilities(logits)),
    )


def jensen_shannon_rows(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """Mean divergence over pairs of models (see `pair_table`), for every row.

    Args:
        unlearned: [models_u, rows, classes] probabilities.
        gold: [models_g, rows, classes] probabilities.

    Returns:
        [rows] float64, bits, in [0, 1].

    Example:
        >>> jensen_shannon_rows(np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]])).tolist()
        [1.0]
    """
    return pair_table(_divergence, _with_entropy(unlearned), _with_entropy(gold))[1]


def _with_entropy(shares: FloatArray) -> FloatArray:
    """[..., classes + 1]: a distribution and, behind it, its entropy, which every pair of it needs."""
    return np.concatenate([shares, _entropy(shares)[..., None]], axis=-1)


def _divergence(one: FloatArray, gold: FloatArray) -> FloatArray:
    """H(m) - (H(p) + H(q)) / 2 of one model [rows, classes + 1] against [models, rows, classes + 1]."""
    both = (gold + one) / 2
    return np.clip(_entropy(both[..., :-1]) - both[..., -1], 0.0, 1.0)


def _entropy(shares: FloatArray) -> FloatArray:
    logs = np.log2(np.maximum(shares, np.finfo(np.float64).tiny))  # 0 log 0 = 0; faster than a masked logarithm
    return np.asarray(-np.einsum("...c,...c->...", shares, logs))
