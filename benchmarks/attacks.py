"""Membership attacks that need other models, LiRA and RMIA: seconds, memory, and the same scores by slow forms."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import norm

from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options
from benchmarks.klom import margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.lira import half_masks, lira_scores
from expunge.audit.rmia_scores import GRID, choose_a, prior, rmia_scores

Indices = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

SHADOWS, ROWS = 255, 10_000
REFERENCES, ATTACKED, POPULATION = 4, 50_000, 10_000
CHECKED = 1000
"""Rows on which the slow forms are run."""
GAIN = 1.5
"""Nats that training on a row adds to its margin."""


def measure(options: Options) -> Iterator[Figure]:
    """LiRA with both variances, then RMIA with its search of a."""
    with threads(1):
        for variance in ("per_row", "pooled_centered"):
            yield from _lira(variance, options.times)
        yield from _rmia(options.times)


def _lira(variance: str, times: int) -> Iterator[Figure]:
    found, trained = fleet(SHADOWS + 1, ROWS)
    target, shadows, membership = found[:1], found[1:], trained[1:]
    at = np.arange(0, ROWS, max(1, ROWS // CHECKED))
    work = partial(lira_scores, target, shadows, membership=membership, variance=variance)
    runs = [seconds(work) for _ in range(times)]
    slow = with_scipy(target[0], shadows, membership, at, variance=variance)
    what = f"attacks, LiRA online, {SHADOWS} shadows x {ROWS:,} rows, variance {variance}, one core"
    yield Figure(what=what, measured=median(runs), unit="s", most=0.5)
    what = f"  largest difference to a loop with scipy.stats, {len(at):,} rows, nats"
    yield Figure(what=what, measured=float(np.abs(work()[0, at] - slow).max()), most=1e-10)


def _rmia(times: int) -> Iterator[Figure]:
    logits, trained = fleet(REFERENCES + 1, ATTACKED + POPULATION)
    likely = expit(logits)
    likely[:, ::3] = likely[:, ::3].round(2)  # many ties on every third row, hardly any on the others
    target, references, membership = likely[:1], np.maximum(likely[1:], 1e-3), trained[1:]  # P = 0: no definition
    population = np.arange(ATTACKED + POPULATION) >= ATTACKED
    at = np.arange(0, ATTACKED, max(1, ATTACKED // CHECKED))
    work = partial(attack, target, references, membership, population)
    runs = [seconds(work) for _ in range(times)]
    what = f"attacks, RMIA, {ATTACKED:,} x {POPULATION:,} rows, {REFERENCES} references, a out of {len(GRID)}, one core"
    yield Figure(what=what, measured=median(runs), unit="s", most=2)
    yield Figure(what="  peak of the memory it allocates", measured=allocated(work) / 1e6, unit="MB", most=200)
    out, difference, ties = mean_out(references, membership), 0.0, 0
    for a in GRID:
        weight = prior(references, membership=membership, population=population, a=a)
        scores = rmia_scores(target, weight, population=population)[0, at]
        slow, equal = all_pairs(target[0] / (((1 + a) * out + 1 - a) / 2), population, at)
        difference, ties = max(difference, float(np.abs(scores - slow).max())), ties + equal
    what = f"  largest difference to all pairs, every a, {len(at):,} x {POPULATION:,} rows, {ties:,} ties"
    yield Figure(what=what, measured=difference, most=0)


def fleet(models: int, rows: int) -> tuple[FloatArray, BoolArray]:
    """Margins `[models, rows]`, nats, float32, and which rows each model was trained on, half of them."""
    trained = half_masks(models + models % 2, rows, seed=0)[:models]
    return margins(models, rows, seed=0) + np.float32(GAIN) * trained, trained


def with_scipy(
    target: FloatArray, shadows: FloatArray, membership: BoolArray, at: Indices, *, variance: str
) -> FloatArray:
    """Online LiRA with medians, one row at a time.

    Args:
        target: [rows] margins, nats.
        shadows: [shadows, rows] margins, nats.
        membership: [shadows, rows] bool.
        at: [checked] rows to score; all of them count for a pooled sd.
        variance: per_row or pooled_centered.

    Returns:
        [checked] float64, nats.
    """
    found = np.zeros(len(at))
    for sign, side in ((1, membership), (-1, ~membership)):
        rows = [shadows[there, row].astype(np.float64) for row, there in enumerate(side.T)]
        pooled = np.concatenate([values - np.median(values) for values in rows]).std()
        for place, row in enumerate(at):
            sd = rows[row].std() if variance == "per_row" else pooled
            found[place] += sign * norm.logpdf(target[row], np.median(rows[row]), sd + 1e-30)
    return found


def attack(target: FloatArray, references: FloatArray, membership: BoolArray, population: BoolArray) -> FloatArray:
    """Offline scores `[targets, attacked rows]` with the a that is chosen; arguments as of `choose_a`."""
    a = choose_a(references, membership=membership, population=population)[0]
    weight = prior(references, membership=membership, population=population, a=a)
    return rmia_scores(target, weight, population=population)


def mean_out(references: FloatArray, membership: BoolArray) -> FloatArray:
    """Mean `[rows]` over the references `[references, rows]` that were not trained on a row, one row at a time."""
    pairs = zip(references.T.astype(np.float64), membership.T, strict=True)
    return np.array([values[~there].mean() for values, there in pairs])


def all_pairs(ratio: FloatArray, population: BoolArray, at: Indices) -> tuple[FloatArray, int]:
    """RMIA's scores by the whole matrix of quotients.

    Args:
        ratio: [rows] p(x) / P(x).
        population: [rows] true on the rows z of the comparison.
        at: [checked] which of the other rows to score.

    Returns:
        Share of z beaten by each row, [checked], and the number of equal pairs.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # a z that the target finds impossible is beaten
        quotients = ratio[~population][at, None] / ratio[population]
    return (quotients > 1).mean(axis=1), int((quotients == 1).sum())


def allocated(work: Callable[[], object]) -> int:
    """Peak bytes that one call of `work` allocates."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
