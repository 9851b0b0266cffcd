"""KLoM of many rows at once against a loop over rows with `numpy.histogram`."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np

from benchmarks.clock import in_turn, seconds, threads
from benchmarks.figure import Figure, Options
from expunge.audit.jackknife import FloatArray
from expunge.audit.klom import CLIP, EPS, PRESETS, klom_rows

ROWS, MODELS = 10_000, 100
LARGE = 60_000
"""Rows of the timing without a loop beside it."""
CHECKED = 500
"""Rows on which the loop is run."""


def measure(options: Options) -> Iterator[Figure]:
    """Seconds of the measure, rows a second of both, and the largest difference."""
    unlearned, gold = margins(MODELS, ROWS, seed=0), margins(MODELS, ROWS, seed=1)
    few = np.arange(0, ROWS, ROWS // CHECKED)
    with threads(1):
        pair = in_turn(
            lambda: klom_rows(unlearned, gold), lambda: loop(unlearned[:, few], gold[:, few]), times=options.times
        )
    difference = np.abs(klom_rows(unlearned, gold)[few] - loop(unlearned[:, few], gold[:, few])).max()
    what = f"klom, {ROWS:,} rows x ({MODELS} + {MODELS}) models, one core"
    yield Figure(what=what, measured=pair.ours, unit="s", most=1)
    yield Figure(what=f"  over the loop ({len(few)} rows)", measured=pair.ratio * ROWS / len(few), unit="times")
    yield Figure(what=f"  largest difference to the loop, {len(few)} rows, nats", measured=float(difference), most=1e-9)
    unlearned, gold = margins(MODELS, LARGE, seed=0), margins(MODELS, LARGE, seed=1)
    with threads(1):
        runs = [seconds(lambda: klom_rows(unlearned, gold)) for _ in range(options.times)]
    yield Figure(
        what=f"  {LARGE:,} rows x ({MODELS} + {MODELS}) models, one core", measured=median(runs), unit="s", most=2
    )


def margins(models: int, rows: int, *, seed: int, sd: float = 2) -> FloatArray:
    """Gaussian margins `[models, rows]`, nats, float32; the rows' own means are the same for every seed."""
    means = np.random.default_rng(99).normal(4, 4, rows)
    drawn = means + np.random.default_rng(seed).normal(0, sd, (models, rows))
    return drawn.astype(np.float32)


def loop(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """KLoM of every row, preset "default", one row at a time; arguments and result as of `klom_rows`."""
    return np.array([one_row(*pair) for pair in zip(unlearned.T, gold.T, strict=True)])


def one_row(unlearned: FloatArray, gold: FloatArray) -> float:
    """KL(unlearned || gold) of one row's margins, `[models_u]` and `[models_g]`, in nats."""
    p_values, q_values = (np.clip(side.astype(np.float64), -CLIP, CLIP) for side in (unlearned, gold))
    both = np.concatenate([p_values, q_values])
    low, high = both.min(), both.max()
    edges = np.linspace(low, high if high > low else low + 1, PRESETS["default"].bins + 1)
    p = np.histogram(p_values, edges)[0] / len(p_values)
    q = np.histogram(q_values, edges)[0] / len(q_values)
    floored = [max(q_bin, EPS) if p_bin > 0 else q_bin for p_bin, q_bin in zip(p, q, strict=True)]
    total = sum(floored)
    return float(
        sum(p_bin * np.log(p_bin * total / q_bin) for p_bin, q_bin in zip(p, floored, strict=True) if p_bin > 0)
    )
