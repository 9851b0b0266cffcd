"""Population attack: tell forget rows from holdout rows by one model's outputs alone, and compare with gold.

Source:     loss threshold: Yeom et al. 2018; modified entropy: Song & Mittal, USENIX Security 2021.
Objective:  AUC of forget (member) against holdout (non-member) rows; the target is gold's AUC, not 0.5.
Deviations: exact one-dimensional threshold in place of the SVC of SalUn and L1-sparse; modified entropy as in
            its paper, not as in public unlearning codes, where a row's score depends on its batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import check_logits, log_odds, log_probabilities
from expunge.audit.per_model import gap_to_gold
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2}
SCORES = ("loss", "confidence", "entropy", "modified_entropy")


def population_attack(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    labels: npt.NDArray[Any],
    forget: npt.NDArray[np.bool_],
    score: str = "loss",
    match: str = "none",
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between the attack's AUC on the unlearned models and its mean AUC on gold.

    Args:
        unlearned: [models_u, rows, classes] logits on forget and holdout rows together.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        labels: [rows] integers.
        forget: [rows] true on forget rows, false on holdout rows.
        score: loss, confidence, entropy or modified_entropy.
        match: "class" weights holdout rows so that their classes are as frequent as in forget; else "none".
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate of |AUC - gold's mean AUC|, in [0, 1]; `.rows` [forget rows] is the gap of the mean score.
        Extra: the AUCs as `unlearned_mean`, `gold_mean`, `gold_sd`, `gold_min`, `gold_max`, `original_mean`,
        the balanced accuracy of the best threshold as `threshold_unlearned`, `threshold_gold`, and those of
        `gap_to_gold`.

    Raises:
        ConfigError: unknown score or match. ShapeError, NeedsError: see `check_margins`; a class of forget
        without a holdout row under match="class"; no forget or no holdout row.

    Source: see the head of the file.

    Example:
        >>> logits = np.array([[[9.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
        >>> attacked = np.array([True, False])
        >>> population_attack(logits[:1], logits, None, labels=np.array([0, 0]), forget=attacked).value
        0.25
    """
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=3)
    weights = holdout_weights(labels, forget, match=match)

    def attacked(part: FloatArray) -> FloatArray:
        return auc(part[:, forget], part[:, ~forget], weights=weights)

    ours, golds = scores(unlearned, labels, score=score), scores(gold, labels, score=score)
    before = None if original is None else attacked(scores(original, labels, score=score))
    rows = np.abs(ours[:, forget].mean(axis=0) - golds[:, forget].mean(axis=0))
    result = gap_to_gold("population_attack", attacked(ours), attacked(golds), before, rows=rows, groups=groups)
    for role, part in (("unlearned", ours), ("gold", golds)):
        best = [threshold(one[forget], one[~forget], weights=weights)[0] for one in part]
        result.extra[f"threshold_{role}"] = float(np.mean(best))
    return result


def scores(logits: FloatArray, labels: npt.NDArray[Any], *, score: str = "loss") -> FloatArray:
    """Membership score of every model and row: higher = more like a member. A row's score needs no other row.

    Args:
        logits: [models, rows, classes] finite.
        labels: [rows] integers.
        score: "loss" = log p_y; "confidence" = p_y; "entropy" = sum_j p_j log p_j;
            "modified_entropy" = (1 - p_y) log p_y + sum_{j != y} p_j log(1 - p_j).

    Returns:
        [models, rows] float64, nats (confidence: in [0, 1]); loss and confidence rank rows alike.

    Raises:
        ConfigError: unknown score. ShapeError: see `check_logits`.

    Example:
        >>> scores(np.zeros((1, 1, 2)), np.array([0]), score="confidence").tolist()
        [[0.5]]
    """
    check("score", score, ", ".join(SCORES), score in SCORES)
    check_logits(logits, labels)
    return np.stack([_score(one.astype(np.float64), labels, score) for one in logits])


def _score(logits: FloatArray, labels: npt.NDArray[Any], score: str) -> FloatArray:
    """[rows] from the [rows, classes] float64 logits of one model."""
    log_p = log_probabilities(logits)
    rows = np.arange(len(labels))
    if score == "loss":
        return np.asarray(log_p[rows, labels])
    p = np.exp(log_p)
    if score == "confidence":
        return np.asarray(p[rows, labels])
    if score == "entropy":
        return np.asarray((p * log_p).sum(axis=1))
    top = logits.argmax(axis=1)  # only the top class can have 1 - p that rounds to 0: take it from the margin
    log_odds_top = log_odds(logits, top)
    p_top = p[rows, top]
    p[rows, top] = 0.0
    log_rest = np.log1p(-p)
    log_rest[rows, top] = log_p[rows, top] - log_odds_top
    p[rows, top] = p_top
    own = np.exp(log_rest[rows, labels]) * log_p[rows, labels]
    p[rows, labels] = 0.0
    return np.asarray(own + (p * log_rest).sum(axis=1))


def holdout_weights(
    labels: npt.NDArray[Any], forget: npt.NDArray[np.bool_], *, match: str = "none"
) -> npt.NDArray[np.float64]:
    """Weights of the holdout rows, summing to 1.

    Args:
        labels: [rows] integers.
        forget: [rows] true on forget rows, false on holdout rows.
        match: "none" or "class"; weights, not a subsample: every row counts and nothing is drawn.

    Returns:
        [holdout rows] weights; with "class", a class weighs as much as among forget rows.

    Raises:
        ConfigError: unknown match. ShapeError: `forget` is no [rows] bool array. NeedsError: no forget or no
        holdout row, or a class of forget is missing in holdout.

    Example:
        >>> holdout_weights(np.array([1, 0, 1]), np.array([True, False, False]), match="class").tolist()
        [0.0, 1.0]
    """
    check("match", match, "none or class", match in {"none", "class"})
    if forget.shape != labels.shape or forget.dtype != np.bool_:
        raise ShapeError(f"forget: expected {labels.shape} bool, got {forget.shape} {forget.dtype}")
    wanted, there = labels[forget], labels[~forget]
    if not len(wanted) or not len(there):
        raise NeedsError(f"population attack needs forget and holdout rows, got {len(wanted)} and {len(there)}")
    if match == "none":
        return np.full(len(there), 1 / len(there))
    missing = np.setdiff1d(wanted, there)
    if len(missing):
        raise NeedsError(f"match='class' needs holdout rows of every forget class, none of class {missing[0]}")
    size = int(labels.max()) + 1
    share = np.bincount(wanted, minlength=size) / len(wanted)
    return np.asarray((share / np.maximum(np.bincount(there, minlength=size), 1))[there])


def auc(
    forget: FloatArray, holdout: FloatArray, *, weights: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Area under the ROC curve: P(forget scores higher) + P(tie) / 2, by sorting, O(n log n).

    Args:
        forget: [models, forget rows] scores, higher = member.
        holdout: [models, holdout rows] scores.
        weights: [holdout rows] summing to 1; None weighs all rows alike.

    Returns:
        [models] float64 in [0, 1].

    Example:
        >>> auc(np.array([[1.0, 2.0]]), np.array([[1.0]])).tolist()
        [0.75]
    """
    if weights is None:
        weights = np.full(holdout.shape[1], 1 / holdout.shape[1])
    out = np.empty(len(forget))
    for model, (inside, outside) in enumerate(zip(forget, holdout, strict=True)):
        order = np.argsort(outside)
        below = np.concatenate([[0.0], np.cumsum(weights[order])])
        left, right = (np.searchsorted(outside[order], inside, side=side) for side in ("left", "right"))
        out[model] = (below[left] + below[right]).mean() / 2
    return out


def threshold(
    forget: FloatArray, holdout: FloatArray, *, weights: npt.NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Best balanced accuracy of "member if score >= t" over all t, exact, O(n log n).

    Args:
        forget: [forget rows] scores, higher = member.
        holdout: [holdout rows] scores.
        weights: [holdout rows] summing to 1; None weighs all rows alike.

    Returns:
        Balanced accuracy in [0.5, 1] and its t; t is chosen on these rows, so gold scores above 0.5 too.

    Example:
        >>> threshold(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
        (1.0, 2.0)
    """
    if weights is None:
        weights = np.full(len(holdout), 1 / len(holdout))
    order = np.argsort(holdout)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    cuts = np.unique(np.concatenate([forget, holdout]))
    hits = 1 - np.searchsorted(np.sort(forget), cuts) / len(forget)
    balanced = (hits + below[np.searchsorted(holdout[order], cuts)]) / 2
    best = int(balanced.argmax())
    return float(balanced[best]), float(cuts[best])
