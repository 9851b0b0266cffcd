"""One-run audit: lower bound on epsilon from canaries that were each included in one run with probability 1/2.

Source:     Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run", arXiv:2305.08846.
Objective:  m canaries, r guesses, v of them right; q = 1 / (1 + e^-epsilon); beta = P[Bin(r, q) >= v];
            a = max_{1<=i<=v} P[v > Bin(r, q) >= v - i] / i; p = min(1, beta + 2 m delta a);
            epsilon_lo = the epsilon at which p reaches alpha.
Deviations: 1. r is fixed in advance, or each of several r is held to alpha / (number of r); a maximum over r
            without that correction, as in public code, gives a p that is not valid.
            2. half of the guesses are "included" (highest scores), half "excluded" (lowest); ties by a seeded draw.
Claim:      under unlearning, about training and unlearning as one mechanism: all included canaries are unlearned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, expit, gammaln, log_expit

from expunge.audit.estimate import check_finite
from expunge.audit.jackknife import FloatArray
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1}
FEWEST = 8  # canaries; 5 right guesses of 5 are the fewest that show anything at alpha = 0.05
WIDEST = 50.0  # nats; no epsilon beyond is looked for
STEPS = 40  # bisections: to 50 * 2^-40 nats


@dataclass(frozen=True)
class OneRun:
    """Result of `one_run`.

    Args:
        epsilon: lower bound, nats.
        guesses: the number of guesses behind it.
        correct: how many of them were right.
        p: p of epsilon = 0, over all numbers of guesses tried (Bonferroni), in (0, 1].
        canaries: how many there were.
        delta: of the definition.
        alpha: probability that the bound is wrong.
        ceiling: the bound if every guess were right.
        tried: (guesses, correct, bound) of each number of guesses.
    """

    epsilon: float
    guesses: int
    correct: int
    p: float
    canaries: int
    delta: float
    alpha: float
    ceiling: float
    tried: tuple[tuple[int, int, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`."""
        return asdict(self) | {"tried": [list(one) for one in self.tried]}


def one_run(
    scores: FloatArray,
    included: npt.NDArray[np.bool_],
    *,
    guesses: int | Sequence[int],
    delta: float = 1e-5,
    alpha: float = 0.05,
    seed: int,
) -> OneRun:
    """Lower bound on epsilon of one run from how well the canaries' inclusion is guessed.

    Args:
        scores: [canaries] of one model, higher = rather included (minus the loss, a margin).
        included: [canaries] bool, drawn with probability 1/2 each, independently, before training.
        guesses: how many canaries to guess, fixed before the scores are seen; or several such numbers, of which
            the best is taken at alpha / (their number).
        delta: of the definition, in [0, 1).
        alpha: the bound exceeds the true epsilon with at most this probability, in (0, 0.5).
        seed: of the order among equal scores, which must not follow the canaries' own order.

    Returns:
        OneRun; 0 is no evidence of forgetting.

    Raises:
        ConfigError: guesses outside 1..canaries, alpha or delta out of range. ShapeError: scores and included do
        not fit or are not finite. NeedsError: fewer than 8 canaries.

    Source: arXiv:2305.08846, theorem 5.2 and its algorithm for p.

    Example:
        >>> told = np.arange(200) < 100
        >>> round(one_run(told * 1.0, told, guesses=100, delta=0, seed=0).epsilon, 2)
        3.49
    """
    check("alpha", alpha, "in (0, 0.5)", 0 < alpha < 0.5)
    check("delta", delta, "in [0, 1)", 0 <= delta < 1)
    if scores.ndim != 1 or scores.shape != included.shape or included.dtype != np.bool_:
        raise ShapeError(
            f"one_run: expected scores [canaries] and included bool [canaries], got {scores.shape}, "
            f"{included.shape} {included.dtype}"
        )
    check_finite("scores", scores[None])
    count = len(scores)
    if count < FEWEST:
        raise NeedsError(f"one_run: needs at least {FEWEST} canaries, got {count}")
    grid = [guesses] if isinstance(guesses, int) else list(guesses)
    check("guesses", guesses, f"numbers from 1 to {count}", bool(grid) and all(1 <= r <= count for r in grid))
    order = _order(scores, seed)
    level = alpha / len(grid)
    rights = [_correct(included, order, r) for r in grid]
    bounds = [lower_bound(count, r, v, delta=delta, alpha=level) for r, v in zip(grid, rights, strict=True)]
    ps = [p_value(0.0, count, r, v, delta=delta) for r, v in zip(grid, rights, strict=True)]
    best = int(np.argmax(bounds))
    return OneRun(
        epsilon=bounds[best],
        guesses=grid[best],
        correct=rights[best],
        p=min(1.0, len(grid) * min(ps)),
        canaries=count,
        delta=delta,
        alpha=alpha,
        ceiling=max(lower_bound(count, r, r, delta=delta, alpha=level) for r in grid),
        tried=tuple(zip(grid, rights, bounds, strict=True)),
    )


def p_value(epsilon: float, canaries: int, guesses: int, correct: int, *, delta: float = 1e-5) -> float:
    """The p of the hypothesis that the run is (epsilon, delta)-private.

    Args:
        epsilon: nats, >= 0.
        canaries: m >= guesses.
        guesses: r >= 1.
        correct: v in 0..r.
        delta: in [0, 1).

    Example:
        >>> p_value(0.0, 10, 2, 2, delta=0)
        0.25
    """
    if correct == 0:
        return 1.0
    beta = float(bdtr(guesses - correct, guesses, expit(-epsilon)))  # wrong ones are Bin(r, 1 - q)
    if delta == 0:
        return min(1.0, beta)
    k = np.arange(correct - 1, -1, -1)  # v - 1, ..., 0 right
    ways = gammaln(guesses + 1) - gammaln(k + 1) - gammaln(guesses - k + 1)
    chance = np.exp(ways + k * log_expit(epsilon) + (guesses - k) * log_expit(-epsilon))
    worst = float((np.cumsum(chance) / np.arange(1, correct + 1)).max())
    return min(1.0, beta + 2 * canaries * delta * worst)


def lower_bound(canaries: int, guesses: int, correct: int, *, delta: float = 1e-5, alpha: float = 0.05) -> float:
    """Largest epsilon that the guesses reject, by bisection; 0 where they do not even reject epsilon = 0.

    Args:
        canaries: m >= guesses.
        guesses: r >= 1, fixed in advance.
        correct: v in 0..r.
        delta: in [0, 1).
        alpha: level, in (0, 1).

    Returns:
        Nats in [0, 50].

    Example:
        >>> round(lower_bound(1000, 1000, 620), 4), round(lower_bound(1000, 200, 195), 4)
        (0.3803, 2.8994)
    """
    low, high = 0.0, WIDEST
    if p_value(low, canaries, guesses, correct, delta=delta) >= alpha:
        return 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if p_value(middle, canaries, guesses, correct, delta=delta) < alpha:
            low = middle
        else:
            high = middle
    return low


def _order(scores: FloatArray, seed: int) -> npt.NDArray[np.intp]:
    """Canaries from the lowest to the highest score, equal scores in a drawn order."""
    drawn = np.random.default_rng(abs(seed)).permutation(len(scores))
    return np.asarray(drawn[np.argsort(scores[drawn], kind="stable")])


def _correct(included: npt.NDArray[np.bool_], order: npt.NDArray[np.intp], guesses: int) -> int:
    """Right ones among ceil(r / 2) guesses "included" at the top and floor(r / 2) "excluded" at the bottom."""
    top, bottom = math.ceil(guesses / 2), guesses // 2
    return int(included[order[len(order) - top :]].sum() + (~included[order[:bottom]]).sum())
