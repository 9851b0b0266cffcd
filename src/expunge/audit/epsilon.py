"""Epsilon: lower bound on the epsilon of (epsilon, delta)-unlearning, row by row, valid at finite N.

Source:     Clopper & Pearson 1934, on a held-out half of the models.
Objective:  epsilon_lo = max(0, ln((TPR_lo - delta) / FPR_hi)), TPR_lo = Beta.ppf(a / 2; k, n - k + 1),
            FPR_hi = Beta.ppf(1 - a / 2; k0 + 1, n0 - k0); k of n and k0 of n0 models lie beyond the threshold.
Deviations: 1. half A of the models (even positions) chooses threshold and tail so that the bound on A is largest;
            half B judges that one choice, so nothing has to be corrected for the search.
            2. both directions of the definition are judged on B, each with a = alpha / 2 (Bonferroni).
Note:       conservative: a bound of 0 is no evidence of forgetting. Read it beside a measure that has power.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from expunge.audit.estimate import Estimate, check_margins, estimate
from expunge.audit.jackknife import FloatArray
from expunge.errors import check

LEAST = {"unlearned": 16, "gold": 16, "original": 16, "heldout": 16}  # legal: half of them show at most 0.2
POWERED = 128  # models a side
DIRECTIONS = 2  # judged on half B
BLOCK = 1 << 20  # margins handled at once


def epsilon(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    alpha: float = 0.05,
    delta: float = 1e-5,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Mean over rows of a lower confidence bound on epsilon, by thresholds judged on held-out models.

    Args:
        unlearned: [models_u, rows] margins, nats; 128 models advised, independent of each other.
        gold: [models_g, rows] margins, nats; need not be as many.
        original: [models_o, rows] margins, nats, or None: where the audit starts.
        heldout: [models_h, rows] margins of gold models kept for the null, or None.
        alpha: each row's bound exceeds its true epsilon with at most this probability, in (0, 0.5).
        delta: of the definition, in [0, 1); 1e-5 is the unlearning challenge's.
        seed: of the splits behind the null.
        groups: [models_u] id of the original behind each unlearned model; only the first model of each original
            is used, because the bound counts independent models.

    Returns:
        Estimate in nats, 0 = no leak shown, mean over rows; `.rows` [rows] are the rows' bounds. Extra: `ceiling`
        (what a perfect attack would show at these numbers of models), `share` of rows above 0 (at most alpha for
        gold), `largest` (largest of bounds that hold for all rows at once, alpha / rows each), `models` used,
        `underpowered` (1 below 128 a side), and those of `estimate`.

    Raises:
        ConfigError: alpha or delta out of range. ShapeError, NeedsError: see `check_margins`.

    Source: see the head of the file.

    Example:
        >>> gold = np.arange(64.0).reshape(32, 2)
        >>> round(epsilon(gold + 99, gold, None, seed=0).value, 2)
        1.16
    """
    check("alpha", alpha, "in (0, 0.5)", 0 < alpha < 0.5)
    check("delta", delta, "in [0, 1)", 0 <= delta < 1)
    if groups is not None and groups.shape == (len(unlearned),):
        unlearned = unlearned[np.sort(np.unique(groups, return_index=True)[1])]
        groups = None
    check_margins(unlearned, gold, original, heldout, least=LEAST)

    def per_row(candidate: FloatArray, reference: FloatArray) -> FloatArray:
        return epsilon_rows(candidate, reference, alpha=alpha, delta=delta)

    result = estimate("epsilon", per_row, unlearned, gold, original, heldout, headline="mean", seed=seed, groups=groups)
    at_once = epsilon_rows(unlearned, gold, alpha=alpha / gold.shape[1], delta=delta)
    result.extra.update(
        ceiling=ceiling(len(unlearned) // 2, alpha / DIRECTIONS, golds=len(gold) // 2, delta=delta),
        share=float((result.rows > 0).mean()),
        largest=float(at_once.max()),
        models=float(len(unlearned)),
        underpowered=float(min(len(unlearned), len(gold)) < POWERED),
    )
    return result


def ceiling(n: int, alpha: float = 0.05, *, golds: int | None = None, delta: float = 0.0) -> float:
    """Largest bound that a perfect attack can reach: every one of n models told right, none of gold's told wrong.

    Args:
        n: unlearned models that judge one direction, >= 1.
        alpha: level of that direction, in (0, 1).
        golds: gold models that judge, None for n.
        delta: of the definition, in [0, 1).

    Returns:
        Nats, >= 0.

    Example:
        >>> [round(ceiling(n), 2) for n in (8, 64, 512)]
        [0.53, 2.82, 4.93]
    """
    check("n", n, ">= 1", n >= 1)
    golds = n if golds is None else golds
    most = max(float(_bounds(n, golds, alpha, delta)[n, 0]), float(_bounds(golds, n, alpha, delta)[golds, 0]))
    return max(0.0, most)


def epsilon_rows(
    unlearned: FloatArray, gold: FloatArray, *, alpha: float = 0.05, delta: float = 1e-5
) -> npt.NDArray[np.float64]:
    """Lower bound on epsilon for every row; even models choose the threshold, odd models judge.

    Args:
        unlearned: [models_u >= 2, rows] margins, nats, finite.
        gold: [models_g >= 2, rows] margins, nats, finite.
        alpha: level of each row, in (0, 1).
        delta: of the definition, in [0, 1).

    Returns:
        [rows] float64, nats, >= 0.

    Example:
        >>> epsilon_rows(np.zeros((50, 1)), np.zeros((50, 1))).tolist()
        [0.0]
    """
    rows = gold.shape[1]
    step = max(1, BLOCK // (len(unlearned) + len(gold)))
    out = np.empty(rows)
    for at in range(0, rows, step):
        u, g = unlearned[:, at : at + step], gold[:, at : at + step]
        ours = _direction(u, g, alpha / DIRECTIONS, delta)
        theirs = _direction(g, u, alpha / DIRECTIONS, delta)
        out[at : at + step] = np.maximum(np.maximum(ours, theirs), 0.0)
    return out


def _direction(first: FloatArray, second: FloatArray, level: float, delta: float) -> FloatArray:
    """Bound on ln(P[first beyond t] / P[second beyond t]) for each row, t and tail chosen on even models."""
    cut, upper = _choice(first[::2].astype(np.float64), second[::2].astype(np.float64), level, delta)
    hits = [np.where(upper, side[1::2] >= cut, side[1::2] < cut).sum(axis=0) for side in (first, second)]
    return np.asarray(_bounds(len(first) // 2, len(second) // 2, level, delta)[hits[0], hits[1]])


def _choice(
    first: FloatArray, second: FloatArray, level: float, delta: float
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Threshold [rows] halfway between two margins, and whether its upper tail [rows] gives the larger bound."""
    pool = np.concatenate([first, second])
    order = np.argsort(pool, axis=0)
    pool = np.take_along_axis(pool, order, axis=0)
    below = np.zeros((len(pool), pool.shape[1]), dtype=np.intp)  # models of `first` under each margin of the pool
    below[1:] = np.cumsum(order < len(first), axis=0)[:-1]
    under = np.arange(len(pool))[:, None] - below
    table = _bounds(len(first), len(second), level, delta)
    cuttable = np.ones(pool.shape, dtype=bool)
    cuttable[1:] = pool[1:] > pool[:-1]  # equal margins fall on one side of a threshold
    tails = table[len(first) - below, len(second) - under], table[below, under]
    best = np.where(cuttable, np.maximum(*tails), -np.inf).argmax(axis=0)[None]
    high, low = (np.take_along_axis(pool, at, axis=0)[0] for at in (best, np.maximum(best - 1, 0)))
    upper, lower = (np.take_along_axis(tail, best, axis=0)[0] for tail in tails)
    return low + (high - low) / 2, upper >= lower


def _bounds(n: int, others: int, level: float, delta: float) -> FloatArray:
    """[n + 1, others + 1] bound from k of n against k0 of others, in nats; -inf where nothing is shown."""
    k, k0 = np.arange(n + 1), np.arange(others + 1)
    least = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, level / 2), 0.0)
    most = np.where(k0 < others, betaincinv(k0 + 1, np.maximum(others - k0, 1), 1 - level / 2), 1.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.maximum(least - delta, 0.0))[:, None] - np.log(most))
