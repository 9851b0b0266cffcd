"""Rows in memory, indexed, against a DataLoader of worker processes in a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.clock import in_turn, threads
from benchmarks.figure import Figure, Options, skipped
from benchmarks.plain import loader, train
from expunge.data import MemoryRows, load
from expunge.errors import NeedsError
from expunge.training import Recipe, fit, input_shape
from expunge.training.recipes import RECIPES

WORKERS = 2
CASES = (("digits-mlp", 10, 2.0), ("fashion-cnn", 2, 1.0))
"""Recipe, epochs of the measured training, and how many times as fast rows in memory shall be."""


def measure(options: Options) -> Iterator[Figure]:
    """Rows a second of both, the main process on one thread."""
    for name, epochs, least in CASES:
        try:
            yield from _compare(replace(RECIPES[name], epochs=epochs), least, options.times)
        except NeedsError as error:
            yield skipped(f"rows, {name}", error)


def _compare(recipe: Recipe, least: float, times: int) -> Iterator[Figure]:
    rows = load(recipe.data).train
    if not isinstance(rows, MemoryRows):
        raise TypeError(f"{recipe.data}: expected rows in memory, got {type(rows).__name__}")
    with threads(1):
        pair = in_turn(
            lambda: fit(recipe, rows, np.arange(len(rows)), seed=0),
            lambda: with_loader(recipe, rows, WORKERS),
            times=times,
        )
    visits = recipe.epochs * len(rows)
    what = f"rows, {recipe.name}, {recipe.epochs} epochs of {len(rows)} rows, one thread"
    yield Figure(what=f"{what}, in memory", measured=visits / pair.ours, unit="rows/s")
    yield Figure(what=f"  DataLoader of {WORKERS} workers", measured=visits / pair.theirs, unit="rows/s")
    yield Figure(what="  in memory over DataLoader", measured=pair.ratio, unit="times", least=least)


def with_loader(recipe: Recipe, rows: MemoryRows, workers: int) -> None:
    """The recipe's training in the plain loop."""
    batches = loader(rows, recipe.batch_size, workers)
    epochs = (batches for _ in range(recipe.epochs))
    train(recipe, input_shape(rows), epochs, steps=recipe.epochs * len(batches), seed=0)
