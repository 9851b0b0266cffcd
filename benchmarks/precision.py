"""bf16 and channels_last against float32 on this processor, on random rows of two shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options
from expunge.data import MemoryRows, Rows
from expunge.training import Recipe, fit
from expunge.training.recipes import RECIPES

CASES: tuple[tuple[str, dict[str, int], tuple[int, ...], int], ...] = (
    ("fashion-cnn", {}, (1, 28, 28), 2048),
    ("cifar10-resnet9", {"channels": 8}, (3, 32, 32), 1024),
)
"""Recipe, arguments of its model, shape of a row, rows of the one measured epoch."""
WAYS: dict[str, tuple[str, bool]] = {
    "float32": ("float32", False),
    "float32 + channels_last": ("float32", True),
    "bf16 + channels_last": ("bf16", True),
}
"""Way of computing -> precision and channels_last of the recipe."""


def measure(options: Options) -> Iterator[Figure]:
    """Rows a second in training, on one thread, the ways in turn."""
    for name, arguments, shape, count in CASES:
        known = RECIPES[name]
        recipe = replace(known, arguments={**known.arguments, **arguments}, epochs=1, augmentation=())
        ways = {way: replace(recipe, precision=bits, channels_last=last) for way, (bits, last) in WAYS.items()}
        rows = random_rows(count, shape, recipe.task.width)
        with threads(1):
            for warm_up in ways.values():  # the first steps of a kind are slow
                train(warm_up, rows.take(np.arange(recipe.batch_size)))
            runs = [{way: seconds(partial(train, ways[way], rows)) for way in ways} for _ in range(options.times)]
        speeds = {way: count / median(run[way] for run in runs) for way in ways}
        settings = "".join(f", {key}={value}" for key, value in arguments.items())
        yield Figure(
            what=f"precision, {recipe.model}{settings}, rows {shape}, batches of {recipe.batch_size}, one thread",
            measured=speeds["bf16 + channels_last"] / speeds["float32"],
            unit="times",
            text=verdict(speeds),
        )
        for way, speed in speeds.items():
            yield Figure(what=f"  {way}", measured=speed, unit="rows/s")


def random_rows(count: int, shape: tuple[int, ...], classes: int) -> MemoryRows:
    """Noise with labels in turn."""
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    return MemoryRows(x, torch.arange(count) % classes)


def train(recipe: Recipe, rows: Rows) -> None:
    """The recipe on every row."""
    fit(recipe, rows, np.arange(len(rows)), seed=0)


def verdict(speeds: Mapping[str, float]) -> str:
    """Which way is the fastest here, and by how much, in words."""
    fastest = max(speeds, key=lambda way: speeds[way])
    others = ", ".join(f"{speeds[fastest] / speed:.1f} x {way}" for way, speed in speeds.items() if way != fastest)
    return f"{fastest} is fastest here: {others}"
