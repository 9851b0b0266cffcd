"""Foretold: was it known beforehand which rows gold gets right?

Source:     Guo et al., arXiv:2408.11433 (twin unlearning), accuracy of predicting which forget rows gold gets right;
            a fleet in place of one gold model, AUROC, balanced accuracy and the gain over "all easy" are ours.
Objective:  a row is easy if at least half of the gold models get it right;
            mean over models and rows of 1[called easy != easy].
Deviations: the paper's accuracy, against one gold model, stands beside it as `one_gold`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_finite, summary
from expunge.audit.jackknife import FloatArray, IntArray, two_sided
from expunge.audit.population_attack import auc
from expunge.errors import NeedsError, ShapeError

LEAST = {"unlearned": 1, "gold": 2}
BoolArray = npt.NDArray[np.bool_]


def foretold(
    scores: FloatArray, called: BoolArray, gold: BoolArray, *, groups: npt.NDArray[Any] | None = None
) -> Estimate:
    """Share of rows on which a prediction of what gold gets right is wrong.

    Args:
        scores: [models_u, rows] how easy each row was thought to be, higher = easier; of each model its own.
        called: [models_u, rows] true where the row was called easy.
        gold: [models_g, rows] true where the gold model gets the row right.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1], mean over rows. The null is each gold model in turn against the others; the start is to
        call every row easy, which a prediction has to beat. Extra: `gain` (start - value), `auroc` of the scores with
        its 95% interval `auroc_low` and `auroc_high`, `balanced_accuracy` (these NaN where all rows are easy, or
        none is), `one_gold` (accuracy against single gold models) and `one_gold_gain` (that minus the same of "all
        easy"), `easy` and `called_easy` (shares of rows).

    Raises:
        ShapeError: arrays that do not fit, or scores that are not finite. NeedsError: fewer than 2 gold models.

    Source: see the head of the file.

    Example:
        >>> gold = np.array([[True, True, False], [True, False, False]])
        >>> found = foretold(np.array([[3.0, 2.0, 1.0]]), np.array([[True, False, False]]), gold)
        >>> round(found.value, 3), found.extra["auroc"]
        (0.333, 1.0)
    """
    _check(scores, called, gold)
    easy = mostly_right(gold)

    def wrong(models: IntArray, golds: IntArray) -> float:
        return float((called[models] != mostly_right(gold[golds])).mean())

    def ranked(models: IntArray, golds: IntArray) -> float:
        return _auroc(scores[models], mostly_right(gold[golds]))

    sizes = len(called), len(gold)
    rows = np.asarray((called != easy).mean(axis=0), dtype=np.float64)
    value, half, around = float(rows.mean()), *(two_sided(one, sizes, clusters=groups) for one in (wrong, ranked))
    auroc, width = _auroc(scores, easy), np.nan if around is None else around
    start, single = float((~easy).mean()), float((called == gold[:, None]).mean())
    extra = {
        "gain": start - value,
        "auroc": auroc,
        "auroc_low": max(auroc - width, 0.0),  # NaN stays NaN: it is no smaller than anything
        "auroc_high": min(auroc + width, 1.0),
        "balanced_accuracy": _balanced(called, easy),
        "one_gold": single,
        "one_gold_gain": single - float(gold.mean()),
        "easy": float(easy.mean()),
        "called_easy": float(called.mean()),
    }
    interval = None if half is None else (value - half, value + half)
    return Estimate("foretold", value, interval, _null(gold), start, rows, summary(rows), extra)


def mostly_right(gold: BoolArray) -> BoolArray:
    """Whether at least half of the gold models [models, rows] get a row right: [rows].

    Example:
        >>> mostly_right(np.array([[True, True, False], [True, False, False]])).tolist()
        [True, True, False]
    """
    return np.asarray(2 * gold.sum(axis=0) >= len(gold))


def _auroc(scores: FloatArray, easy: BoolArray) -> float:
    """Mean over models of P(an easy row scores higher than a hard one) + P(tie) / 2; NaN without rows of both kinds."""
    if easy.all() or not easy.any():
        return np.nan
    return float(auc(scores[:, easy], scores[:, ~easy]).mean())


def _balanced(called: BoolArray, easy: BoolArray) -> float:
    """Mean of the shares of easy rows called easy and of hard rows called hard; NaN without rows of both kinds."""
    if easy.all() or not easy.any():
        return np.nan
    return float((called[:, easy].mean() + (~called[:, ~easy]).mean()) / 2)


def _null(gold: BoolArray) -> float:
    """How often one gold model differs from most of the others."""
    others = (mostly_right(np.delete(gold, at, axis=0)) for at in range(len(gold)))
    return float(np.mean([one != most for one, most in zip(gold, others, strict=True)]))


def _check(scores: FloatArray, called: BoolArray, gold: BoolArray) -> None:
    if len(gold) < LEAST["gold"]:
        raise NeedsError(f"gold: needs at least {LEAST['gold']} models, got {len(gold)}")
    if gold.ndim != 2 or called.ndim != 2 or called.shape != scores.shape or called.shape[1:] != gold.shape[1:]:
        shapes = f"scores {scores.shape}, called {called.shape}, gold {gold.shape}"
        raise ShapeError(f"expected scores and called [models, rows], and gold with the same rows, got {shapes}")
    if 0 in called.shape:
        raise ShapeError(f"called: expected at least 1 model and 1 row, got {called.shape}")
    for name, array in (("called", called), ("gold", gold)):
        if array.dtype != np.bool_:
            raise ShapeError(f"{name}: expected bool, got {array.dtype}")
    check_finite("scores", scores)
