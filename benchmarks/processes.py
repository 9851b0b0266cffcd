"""A fleet of convolutional networks in single-threaded processes against a loop in one process of as many threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.clock import paired, seconds, threads
from benchmarks.figure import Figure, Options
from expunge.data import Indices, Rows, load
from expunge.fleet import Executor, Local, plan_fleet, same_rows
from expunge.fleet.work import train_job
from expunge.store import Store
from expunge.training import Recipe, fit, predict
from expunge.training.recipes import RECIPES

MODELS, CORES, EPOCHS = 16, 2, 1
WATCHED = 1000
"""Test rows whose outputs both sides compute."""


def measure(options: Options) -> Iterator[Figure]:
    """Seconds of both ways; the processes run already, as they do from a fleet's second job on."""
    recipe = replace(RECIPES["fashion-cnn"], epochs=EPOCHS)
    splits = load(recipe.data)
    rows, watch = splits.train, splits.test.take(np.arange(WATCHED))
    with TemporaryDirectory() as folder, Local(CORES) as executor, threads(CORES):
        store, everything, few = Store(Path(folder)), np.arange(len(rows)), np.arange(1)
        start = seconds(partial(as_fleet, recipe, rows, few, watch, range(CORES), store, executor))
        runs = []
        for repetition in range(options.times):  # other seeds each time: the store keeps what is finished
            seeds = range(repetition * MODELS, (repetition + 1) * MODELS)
            ours = seconds(partial(as_fleet, recipe, rows, everything, watch, seeds, store, executor))
            theirs = seconds(partial(as_loop, recipe, rows, everything, watch, seeds))
            runs.append((ours, theirs))
    pair = paired(runs)
    what = f"{MODELS} x {recipe.name}, {EPOCHS} epoch (the recipe has {RECIPES[recipe.name].epochs}), {len(rows)} rows"
    yield Figure(what=f"processes, {what}, {CORES} processes of one thread", measured=pair.ours, unit="s")
    yield Figure(what=f"  one process of {CORES} threads", measured=pair.theirs, unit="s")
    yield Figure(what="  processes over threads", measured=pair.ratio, unit="times", least=1.5)
    yield Figure(what=f"  start of {CORES} processes, once, not counted above", measured=start, unit="s")


def as_fleet(
    recipe: Recipe,
    rows: Rows,
    indices: Indices,
    watch: Rows,
    seeds: Sequence[int],
    store: Store,
    executor: Executor,
) -> list[str]:
    """One model per seed on the rows at `indices` `[n]`, one model a job; the ids in the store."""
    masks = same_rows(rows, indices, len(seeds))
    tasks = plan_fleet(recipe, rows, masks, seeds, watch=[watch], store=store)
    root = str(store.root.resolve())
    jobs = [{"store": root, "tasks": [task.to_dict()], "stacked": False, "device": "cpu"} for task in tasks]
    return [key for keys in executor.map(train_job, jobs) for key in keys]


def as_loop(recipe: Recipe, rows: Rows, indices: Indices, watch: Rows, seeds: Sequence[int]) -> None:
    """The same trainings and outputs in this process."""
    for seed in seeds:
        predict(fit(recipe, rows, indices, seed=seed).model, watch)
