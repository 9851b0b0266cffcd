"""The challenge score: seconds and memory of its rows, and whether its shortcuts change any of them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

import expunge
from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options
from benchmarks.klom import margins
from benchmarks.memory import AVAILABLE
from expunge.audit.challenge import challenge_rows, row_points
from expunge.audit.jackknife import FloatArray

Sides = tuple[FloatArray, FloatArray]

ROWS, MODELS = 500, 512
CHECKED, FEW = 200, 64
"""Rows, and models a side, on which every threshold is tried; 512 a side would take minutes."""
SHIFT = 0.25
"""Nats, which are sd of gold here."""
DELTA, CEILING = 1e-5, 50.0
KINDS: dict[str, Callable[[np.random.Generator, int], Sides]] = {
    "shifted": lambda draw, n: (draw.normal(draw.normal(), 1, n), draw.normal(0, 1, n)),
    "unequal spread": lambda draw, n: (draw.normal(0, 10 ** draw.uniform(-1, 1), n), draw.normal(0, 1, n)),
    "narrow": lambda draw, n: (draw.normal(0, 1, n), draw.normal(0, 10 ** draw.uniform(-2.2, -1), n)),
    "peaky": lambda draw, n: (draw.normal(0, 1e-3, n), draw.normal(0, 1, n)),
    "disjoint": lambda draw, n: (draw.uniform(3, 4, n), draw.uniform(0, 2, n)),
    "tied": lambda draw, n: (draw.integers(-2, 4, n) / 2, draw.integers(-3, 3, n) / 2),
    "equal ranges": lambda draw, n: (
        np.append(draw.beta(2, 3, n - 2) * 4, [0, 4]),
        np.append(np.arange(n - 2) % 5, [0, 4]),
    ),
    "long tails": lambda draw, n: (draw.standard_t(2, n), draw.standard_t(2, n)),
    "close": lambda draw, n: (draw.uniform(0, 1e-3, n), draw.uniform(0, 1e-3, n)),
    "constant": lambda draw, n: (np.full(n, draw.normal()), np.full(n, draw.normal())),
    "constant and equal": lambda draw, n: (np.full(n, 1.5), np.full(n, 1.5)),
}
"""Kind of row -> (generator, models) -> unlearned and gold margins; the last kind discards every threshold."""
ALONE = """
import sys, types
package = types.ModuleType("expunge")  # without what the package imports, torch among it
package.__path__ = [sys.argv[1]]
sys.modules["expunge"] = package
import numpy as np
from expunge.audit.challenge import challenge_rows
challenge_rows(np.load(sys.argv[2]), np.load(sys.argv[3]))
with open("/proc/self/status") as lines:
    print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
"""
"""What a fresh process does: argv is the package's folder and two files of margins; prints its peak in bytes."""


def measure(options: Options) -> Iterator[Figure]:
    """Seconds a row, memory, the largest difference, and F where its value is known."""
    unlearned, gold = (margins(MODELS, ROWS, seed=seed, sd=1) for seed in (0, 1))
    found: list[FloatArray] = []
    with threads(1):
        runs = [seconds(lambda: found.append(challenge_rows(unlearned, gold))) for _ in range(options.times)]
    what = f"challenge, one row of {MODELS} + {MODELS} models, mean of {ROWS} rows, one core"
    yield Figure(what=what, measured=median(runs) / ROWS, unit="s", most=0.05)
    yield memory(unlearned, gold)
    few = cases(CHECKED, FEW, seed=0)
    difference = np.abs(challenge_rows(*few) - every_threshold(*few)).max()
    what = f"  largest difference to every threshold tried, which is slow: {CHECKED} rows, {FEW} + {FEW} models, nats"
    yield Figure(what=what, measured=float(difference), most=1e-6)
    null, shifted = quality(found[0]), quality(challenge_rows(unlearned + np.float32(SHIFT), gold))
    yield Figure(what=f"  F of gold against gold, {ROWS} rows, sd of 1 nat", measured=null, least=0.17, most=0.21)
    yield Figure(what=f"  F with unlearned {SHIFT} sd above gold", measured=shifted)


def quality(epsilon: FloatArray) -> float:
    """F from the rows' epsilon `[rows]`."""
    return float(row_points(epsilon, MODELS).mean())


def memory(unlearned: FloatArray, gold: FloatArray) -> Figure:
    """The largest resident memory of a process that loads NumPy, SciPy and the measure, and measures these rows."""
    what = f"  peak memory of a process that loads NumPy, SciPy and the measure, {unlearned.shape[1]} rows"
    if not AVAILABLE:
        return Figure(what=what, measured=None, text="not measured: Linux only")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as folder:
        files = [Path(folder) / "unlearned.npy", Path(folder) / "gold.npy"]
        for file, side in zip(files, (unlearned, gold), strict=True):
            np.save(file, side)
        command = [sys.executable, "-c", ALONE, expunge.__path__[0], *map(str, files)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process alone ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return Figure(what=what, measured=int(done.stdout) / 1e6, unit="MB", most=300)


def cases(rows: int, models: int, *, seed: int) -> Sides:
    """Unlearned and gold margins `[models, rows]`, float32, the kinds in turn."""
    draw, kinds = np.random.default_rng(seed), list(KINDS.values())
    drawn = [kinds[row % len(kinds)](draw, models) for row in range(rows)]
    unlearned, gold = (np.stack(side, axis=1).astype(np.float32) for side in zip(*drawn, strict=True))
    return unlearned, gold


def every_threshold(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """Epsilon of every row as the definition says it; arguments and result as of `challenge_rows`."""
    pairs = zip(unlearned.T.astype(np.float64), gold.T.astype(np.float64), strict=True)
    return np.array([one_row(*pair) for pair in pairs])


def one_row(u: FloatArray, g: FloatArray) -> float:
    """Epsilon of one row's margins, `[models_u]` and `[models_g]` float64, over every threshold of both families."""
    range_u, range_g = u.max() - u.min(), g.max() - g.min()
    wider, narrower = max(range_u, range_g), min(range_u, range_g)
    if wider > 0 and narrower / wider < 0.01:
        return CEILING
    positive, negative = (u, g) if np.median(u) >= np.median(g) else (g, u)
    low, high = min(u.min(), g.min()), max(u.max(), g.max())
    cuts = np.linspace(low, high, math.ceil((high - low) * 100))[:, None]
    found = [shown(positive >= cuts, negative >= cuts)]
    if range_u == range_g:
        positive, negative = negative, positive
    else:
        positive, negative = (u, g) if range_u < range_g else (g, u)
    first, last = positive.min() + narrower - 2, positive.max() + 2
    for right in np.linspace(first, last, math.ceil((last - first) * 100)):  # all at once would take gigabytes
        left = np.linspace(right - narrower - 2, right - narrower + 2, 400)[:, None]
        found.append(shown((left <= positive) & (positive <= right), (left <= negative) & (negative <= right)))
    return min(max(found), CEILING)


def shown(positive: npt.NDArray[np.bool_], negative: npt.NDArray[np.bool_]) -> float:
    """Largest epsilon, not yet clipped, of thresholds that call these `[thresholds, models]` bool positive."""
    missed, alarms = (~positive).mean(axis=1), negative.mean(axis=1)
    if ((missed == 0) & (alarms == 0)).any():
        return math.inf
    kept = (missed > 0) & (alarms > 0)
    missed, alarms = missed[kept], alarms[kept]
    with np.errstate(invalid="ignore"):  # the logarithm of a share below 0 says nothing
        terms = [np.log(1 - DELTA - alarms) - np.log(missed), np.log(1 - DELTA - missed) - np.log(alarms)]
    return float(np.fmax.reduce([0.0, *terms[0], *terms[1]]))
