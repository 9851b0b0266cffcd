"""Challenge: forgetting quality and final score of the NeurIPS 2023 unlearning challenge.

Source:     organisers' metric document; report arXiv:2406.09073.
Objective:  row epsilon = max over thresholds of max(0, ln((1 - d - FPR) / FNR), ln((1 - d - FNR) / FPR)), d = 1e-5,
            clipped to [0, 50]; FPR = FNR = 0 gives 50, exactly one of them 0 discards the threshold;
            H = 2^-floor(epsilon / 0.5), 0 beyond ceil(ln(N - 1)); F = mean over rows of H.
            Single family: margin >= t, 100 t a nat over the joint range; positive is the side with the larger median.
            Double family: left <= margin <= right; positive is the side with the smaller range w; 100 rights a nat
            from min + w - 2 to max + 2, and 400 lefts from right - w - 2 to right - w + 2 for each of them.
            Ranges that differ by more than a factor 100 give epsilon 50.
Deviations: 1. thresholds and margins are float64; the released scorer's dtype depends on the version of NumPy.
            2. two constant sides go through the thresholds (the published guard is 0 / 0); no threshold left gives 0.
            3. the distance is 1 - F; F itself, which is about 0.19 for a perfect method and not 1, stands in `extra`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, Models, check_margins, from_numbers, summary
from expunge.audit.jackknife import FloatArray, IntArray
from expunge.errors import ShapeError

LEAST = {"unlearned": 8, "gold": 8}  # legal; the published score takes POWERED a side
POWERED = 512
DELTA = 1e-5  # d of the definition
CEILING = 50.0  # largest epsilon
PEAKY = 0.01  # ratio of ranges below which epsilon is CEILING
DENSITY, WINDOW, LEFTS = 100, 2.0, 400  # thresholds a nat; nats beyond the narrow side; left thresholds per right
WIDEST = 1e5  # nats; the published grid on a wider range would hold more than 10^7 thresholds
BIN = 0.5  # nats of epsilon that halve a row's points
Logs = tuple[FloatArray, FloatArray]
REPEATED_ROWS = 50  # rows behind the repeated evaluations (jackknife, split null) when there are more


def challenge(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    parity: bool = True,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """1 - F, the forgetting quality of the NeurIPS 2023 challenge, with F of gold against gold beside it.

    Multiplying all margins by one factor changes F though nothing was learned or forgotten, and run-to-run
    noise that imitates gold's spread raises it: read it beside `variance_ratio`.

    Args:
        unlearned: [models_u, rows] margins of forget rows, nats; published with 512 runs from one original.
        gold: [models_g, rows] margins, nats; published with 512.
        original: [models_o, rows] margins, nats, or None: where the audit starts.
        heldout: [models_h, rows] margins of gold models kept for the null, or None; models_u are needed for an
            F_null at the same N, with fewer it comes from halves of gold.
        parity: refuse models_u != models_g, which the published score does not know.
        seed: of the splits behind the null.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1]; the null is near 0.81, not 0. `.rows` [rows] are the rows' epsilon, nats. Extra:
        `quality` = F, `quality_null` = F_null, `quality_ratio` = F / F_null at equal numbers of models,
        `variance_ratio` = median over rows of v_u / v_g, `underpowered` (1 below 512 a side), and those of
        `estimate`. Interval and split null use at most 50 rows, evenly spaced.

    Raises:
        ShapeError: see `check_margins`; unequal numbers of models under `parity`; a row whose margins span more
        than 1e5 nats. NeedsError: see `check_margins`.

    Source: see the head of the file; `final_score` multiplies F with the utility ratios.

    Example:
        >>> gold = np.arange(16.0).reshape(8, 2)
        >>> challenge(gold + 100, gold, None, seed=0).extra["quality"]
        0.0
    """
    check_margins(unlearned, gold, original, heldout, least=LEAST)
    if parity and len(unlearned) != len(gold):
        text = f"challenge: expected as many unlearned as gold models, got {len(unlearned)} and {len(gold)}"
        raise ShapeError(text, hint="pass parity=False")
    sides = {"unlearned": unlearned, "gold": gold, "original": original, "heldout": heldout}
    few = np.unique(np.linspace(0, gold.shape[1] - 1, REPEATED_ROWS).astype(np.intp))

    def number(role: str, models: Models, reference: Models, repeated: bool) -> float:
        side, at = sides[role], few if repeated else slice(None)
        assert side is not None
        candidate, golds = side[models][:, at], gold[reference][:, at]
        return 1 - float(row_points(challenge_rows(candidate, golds), max(len(candidate), len(golds))).mean())

    counts = {role: len(side) for role, side in sides.items() if side is not None}
    rows = challenge_rows(unlearned, gold)
    lost = 1 - row_points(rows, max(len(unlearned), len(gold)))
    result = from_numbers("challenge", lost, number, counts, headline="mean", seed=seed, groups=groups)
    null = 1 - result.null
    result.extra.update(
        quality=1 - result.value,
        quality_null=null,
        quality_ratio=(1 - result.extra["matched"]) / null if null > 0 else math.nan,
        variance_ratio=_variance_ratio(unlearned, gold),
        underpowered=float(min(len(unlearned), len(gold)) < POWERED),
    )
    return replace(result, rows=rows, stats=summary(rows))


def final_score(quality: float, *, retain: tuple[FloatArray, FloatArray], test: tuple[FloatArray, FloatArray]) -> float:
    """The challenge's final score: F * (RA_U / RA_G) * (TA_U / TA_G), ratios not clipped at 1.

    Args:
        quality: F, in [0, 1].
        retain: retain accuracies of the unlearned [models_u] and of the gold models [models_g].
        test: likewise on test.

    Example:
        >>> final_score(0.2, retain=(np.array([0.5]), np.array([1.0])), test=(np.array([1.0]), np.array([0.5])))
        0.2
    """
    (retain_u, retain_g), (test_u, test_g) = retain, test
    return quality * float(retain_u.mean() / retain_g.mean()) * float(test_u.mean() / test_g.mean())


def challenge_rows(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """Largest epsilon that a threshold shows, for every row.

    Args:
        unlearned: [models_u, rows] margins, nats, finite.
        gold: [models_g, rows] margins, nats, finite; need not be as many.

    Returns:
        [rows] float64 in [0, 50], nats.

    Raises:
        ShapeError: a row's margins span more than 1e5 nats.

    Example:
        >>> challenge_rows(np.array([[0.0], [1.0]]), np.array([[5.0], [6.0]])).tolist()
        [50.0]
    """
    wide = np.maximum(unlearned.max(axis=0), gold.max(axis=0)) - np.minimum(unlearned.min(axis=0), gold.min(axis=0))
    if wide.max(initial=0) > WIDEST:
        at = int(wide.argmax())
        raise ShapeError(
            f"challenge: expected margins within {WIDEST:g} nats, row {at} spans {wide[at]:g}",
            hint="the published grid has 100 thresholds a nat",
        )
    logs = _logs(len(unlearned)), _logs(len(gold))
    pairs = zip(unlearned.T, gold.T, strict=True)
    return np.array([_row(u.astype(np.float64), g.astype(np.float64), *logs) for u, g in pairs])


def row_points(epsilon: FloatArray, models: int) -> FloatArray:
    """Points H of every row: halved per 0.5 nats of epsilon, 0 from ceil(ln(N - 1)) on.

    Args:
        epsilon: [rows] nats.
        models: N >= 3 of the larger side; no finite epsilon lies beyond the last bin.

    Returns:
        [rows] float64 in [0, 1].

    Example:
        >>> row_points(np.array([0.4, 0.5, 6.9, 7.0]), 512).tolist()
        [1.0, 0.5, 0.0001220703125, 0.0]
    """
    return np.where(epsilon < math.ceil(math.log(models - 1)), 2.0 ** -np.floor(epsilon / BIN), 0.0)


def _row(u: FloatArray, g: FloatArray, logs_u: Logs, logs_g: Logs) -> float:
    """Epsilon of one row from float64 margins [models_u] and [models_g]."""
    span_u, span_g = float(np.ptp(u)), float(np.ptp(g))
    if max(span_u, span_g) > 0 and min(span_u, span_g) / max(span_u, span_g) < PEAKY:
        return CEILING
    both = np.concatenate([u, g])
    order = np.argsort(both)
    pool = both[order]
    under_u = np.concatenate([[0], np.cumsum(order < len(u))])  # unlearned margins among the first i of the pool
    under_g = np.arange(len(pool) + 1) - under_u
    above = bool(np.median(u) >= np.median(g))  # unlearned is positive in the single family, also on a tie
    narrow = not above if span_u == span_g else span_u < span_g  # ... and in the double family
    cuts = np.linspace(pool[0], pool[-1], math.ceil((pool[-1] - pool[0]) * DENSITY))
    all_right = np.full(1, len(pool))  # the single family has no right threshold
    families = ((above, np.searchsorted(pool, cuts), all_right), (narrow, *_windows(pool, u if narrow else g)))
    found = 0.0
    for ours, left, right in families:
        called_u, called_g = (np.maximum(under[right] - under[left], 0) for under in (under_u, under_g))
        wrong_u, wrong_g = (len(u) - called_u, called_g) if ours else (called_u, len(g) - called_g)
        found = max(found, _largest(wrong_u, wrong_g, logs_u, logs_g))
    return found


def _windows(pool: FloatArray, narrow: FloatArray) -> tuple[IntArray, IntArray]:
    """Places of all left [400, rights] and right [rights] thresholds of the double family in the sorted pool."""
    low, high = narrow.min(), narrow.max()
    span = high - low
    first, last = low + span - WINDOW, high + WINDOW
    rights = np.linspace(first, last, math.ceil((last - first) * DENSITY))
    lefts = np.linspace(rights - span - WINDOW, rights - span + WINDOW, LEFTS)
    return np.searchsorted(pool, lefts), np.searchsorted(pool, rights, side="right")


def _logs(models: int) -> Logs:
    """ln(1 - d - k / models) and ln(k / models) for k = 0..models wrong ones, -inf where not defined."""
    share = np.arange(models + 1) / models
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(1 - DELTA - share, 0.0)), np.log(share)


def _largest(wrong_u: IntArray, wrong_g: IntArray, logs_u: Logs, logs_g: Logs) -> float:
    """Largest epsilon over thresholds, from the numbers of models that each of them calls wrongly."""
    some_u, some_g = wrong_u > 0, wrong_g > 0
    if not (some_u | some_g).all():
        return CEILING
    keep = some_u & some_g
    if not keep.any():
        return 0.0
    at_u, at_g = wrong_u[keep], wrong_g[keep]
    best = np.maximum(logs_u[0][at_u] - logs_g[1][at_g], logs_g[0][at_g] - logs_u[1][at_u]).max()
    return float(np.clip(best, 0.0, CEILING))


def _variance_ratio(unlearned: FloatArray, gold: FloatArray) -> float:
    """Median over rows of v_u / v_g; rows on which gold never varies do not count, NaN where there are no others."""
    ours, golds = (side.var(axis=0, ddof=1, dtype=np.float64) for side in (unlearned, gold))
    varied = golds > 0
    return float(np.median(ours[varied] / golds[varied])) if varied.any() else math.nan
