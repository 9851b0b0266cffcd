"""Ridge datamodels in the dual: seconds for all effects of all rows, beside the primal solution and planted effects."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np

from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options
from expunge.attribution.datamodel import Dual
from expunge.attribution.subsets import subset_masks
from expunge.attribution.watched import Floats
from expunge.data import Indices
from expunge.fleet.task import Mask

MODELS, ROWS, TARGETS, OUTPUTS = 1000, 2500, 500, 10
CHECKED = 20
"""Targets of which the primal solution is computed too."""
NOISE = 2.0
"""Of the planted outputs, in standard deviations of what one row does."""
FORGET = np.arange(50)


def measure(options: Options) -> Iterator[Figure]:
    """Seconds from masks and outputs to effects, the largest difference to the primal, and what was planted."""
    masks, outputs, effects = planted()
    found: list[tuple[float, Floats]] = []
    with threads(1):
        runs = [seconds(lambda: found.append(everything(masks, outputs))) for _ in range(options.times)]
    ridge, ours = found[0]
    sizes = f"{MODELS:,} masks x {ROWS:,} rows x {TARGETS} targets x {OUTPUTS} outputs"
    what = f"dual ridge datamodels, {sizes}: penalty chosen, effects of every row, one core"
    yield Figure(what=what, measured=median(runs), unit="s", most=10)
    off = float(np.abs(primal(masks, outputs[:, :CHECKED], ridge) - ours[:, :CHECKED]).max())
    yield Figure(what=f"  largest difference to the primal solution, {CHECKED} targets", measured=off, most=1e-8)
    dual = Dual(masks)
    removal = [seconds(lambda: dual.summed(outputs, ridge, FORGET)) for _ in range(options.times)]
    yield Figure(what=f"  {len(FORGET)} rows removed, with errors", measured=median(removal), unit="s")
    sums, error = dual.summed(outputs, ridge, FORGET)
    z = (sums - effects[FORGET].sum(axis=0)) / error
    yield Figure(
        what="  distance from planted effects, in standard errors: root mean square",
        measured=float(np.sqrt((z**2).mean())),
        least=0.9,
        most=1.1,
    )


def everything(masks: Mask, outputs: Floats) -> tuple[float, Floats]:
    """The penalty, and `[rows, targets]` all effects on `[models, targets]`."""
    dual = Dual(masks)
    ridge = dual.choose(dual.moments(outputs))
    return ridge, dual.effects(outputs, ridge, rows())


def rows() -> Indices:
    """Every row."""
    return np.arange(ROWS)


def planted() -> tuple[Mask, Floats, Floats]:
    """Masks, outputs `[models, targets x outputs]` and the additive effects `[rows, targets x outputs]` behind them."""
    draw = np.random.default_rng(0)
    masks = subset_masks(MODELS, ROWS, seed=0)
    effects = draw.normal(size=(ROWS, TARGETS * OUTPUTS))
    noise = NOISE * draw.normal(size=(MODELS, TARGETS * OUTPUTS))
    return masks, masks.astype(np.float64) @ effects + noise, effects


def primal(masks: Mask, outputs: Floats, ridge: float) -> Floats:
    """The same effects by normal equations of rows x rows; the mean effect is one more, unpenalised, column."""
    z = masks - masks.mean(axis=0)
    z = np.column_stack([z, z.sum(axis=1)])
    penalty = np.diag([ridge] * masks.shape[1] + [0.0])
    solved = np.linalg.solve(z.T @ z + penalty, z.T @ (outputs - outputs.mean(axis=0)))
    return np.asarray(solved[:-1] + solved[-1])
