"""Count-sketch of a large gradient: seconds, error of inner products, and attribution by it beside a dense P."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import torch

from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options
from benchmarks.lds import margins
from expunge.attribution.estimator import Source
from expunge.attribution.projection import projection
from expunge.attribution.subsets import train_subsets
from expunge.attribution.trak import Trak
from expunge.attribution.watched import Floats
from expunge.audit.lds import lds, summed
from expunge.data import Rows, load
from expunge.fleet import Fleet
from expunge.store import Store
from expunge.training import fit
from expunge.training.recipes import RECIPES

WEIGHTS, DIMENSION = 2_300_000, 2_048
"""Of a ResNet-9, and the usual number of features of TRAK."""
AT_ONCE = 8
"""Gradients in one call."""
DRAWS = 100
"""Projections behind the error of inner products."""
ROWS, TARGETS, SUBSETS, SEEDS = 800, 200, 40, 4
"""Of the comparison by LDS, on the digits."""
FEATURES = 512
PAIRS = 8
"""Projections of each kind: LDS moves by about 0.01 from one to the next."""


def measure(options: Options) -> Iterator[Figure]:
    """Seconds a gradient, error over the Johnson-Lindenstrauss rate, and LDS of TRAK with both projections."""
    with threads(1):
        yield Figure(
            what=f"projection, count-sketch of a gradient of {WEIGHTS:,} weights to {DIMENSION:,}, one core",
            measured=1000 * per_gradient(options.times),
            unit="ms",
            most=25,
        )
        for angle in (0.0, 0.5, 1.0):
            yield Figure(
                what=f"  error of inner products at cosine {angle:g} over the JL rate, {DRAWS} projections",
                measured=over_rate(angle),
                most=1 + 3 / (2 * DRAWS) ** 0.5,  # the rate itself, and three standard errors of a root mean square
            )
        yield from by_lds()


def per_gradient(times: int) -> float:
    """Median seconds a gradient, P drawn beforehand."""
    sketch = projection("count_sketch", WEIGHTS, DIMENSION, seed=0)
    vectors = torch.randn(AT_ONCE, WEIGHTS, generator=torch.Generator().manual_seed(0))
    sketch.down(vectors)
    return median(seconds(lambda: sketch.down(vectors)) for _ in range(times)) / AT_ONCE


def over_rate(angle: float) -> float:
    """Root mean square error of <P'a, P'b> over sqrt((|a|^2 |b|^2 + <a, b>^2) / dimension)."""
    a, b = torch.randn(2, WEIGHTS, generator=torch.Generator().manual_seed(1))
    both = torch.stack([a, angle * a + (1 - angle**2) ** 0.5 * b]).double()
    true = both @ both.T
    errors = []
    for seed in range(DRAWS):
        low = projection("count_sketch", WEIGHTS, DIMENSION, seed=seed).down(both)
        errors.append(float((low[0] @ low[1] - true[0, 1]).square()))
    rate = float((true[0, 0] * true[1, 1] + true[0, 1].square()) / DIMENSION)
    return float((mean(errors) / rate) ** 0.5)


def by_lds() -> Iterator[Figure]:
    """LDS of TRAK with a count-sketch and with dense signs, the same number of features."""
    recipe, splits = RECIPES["digits-mlp"], load("digits")
    rows, targets = splits.train.take(np.arange(ROWS)), splits.test.take(np.arange(TARGETS))
    with tempfile.TemporaryDirectory() as folder:
        fleet = train_subsets(
            recipe, rows, [targets], SUBSETS * SEEDS, equal=True, repeats=SEEDS, seed=0, store=Store(Path(folder))
        )
        truth = margins(fleet, targets).reshape(SUBSETS, SEEDS, -1).transpose(1, 0, 2)
    source = Source(recipe=recipe, rows=rows, model=fit(recipe, rows, seed=1).model)
    found = {
        kind: [quality(source, targets, fleet, truth, kind, seed) for seed in range(PAIRS)]
        for kind in ("count_sketch", "rademacher")
    }
    what = f"  LDS of TRAK, digits-mlp, {ROWS} rows, {FEATURES} features, {PAIRS} projections"
    for kind, values in found.items():
        yield Figure(
            what=f"{what}: {kind}",
            measured=mean(values),
            text=f"{mean(values):.3f} (sd over projections {stdev(values):.3f})",
        )
    error = (sum(stdev(values) ** 2 for values in found.values()) / PAIRS) ** 0.5
    short = mean(found["rademacher"]) - mean(found["count_sketch"])
    yield Figure(
        what="  LDS that the count-sketch falls short of the dense one",
        measured=short,
        most=0.01,
        text=f"{short:+.4f} (standard error {error:.4f})",
    )


def quality(source: Source, targets: Rows, fleet: Fleet, truth: Floats, kind: str, seed: int) -> float:
    """LDS of one fit."""
    fitted = Trak(projection=kind, dimension=FEATURES).fit(source, seed=seed)
    scores = np.concatenate([part for _, part in fitted.stream(targets)])
    return lds(summed(scores, fleet.masks[::SEEDS]), truth, seed=0).value
