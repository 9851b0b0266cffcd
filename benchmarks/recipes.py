"""Test accuracy and seconds of the named recipes, in the words of `expunge.training.recipes.MEASURED`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, median, stdev

import numpy as np

from benchmarks.clock import threads
from benchmarks.figure import Figure, Options, skipped
from expunge.data import load
from expunge.errors import NeedsError
from expunge.runs import accuracy_on
from expunge.training import Recipe, fit
from expunge.training.recipes import recipe as find


def measure(options: Options) -> Iterator[Figure]:
    """One figure for each recipe, on one thread."""
    for name in options.recipes:
        recipe = find(name)
        try:
            accuracies, seconds = trainings(recipe, range(options.times))
        except NeedsError as error:
            yield skipped(f"recipes, {name}", error)
        else:
            text = words(accuracies, seconds)
            yield Figure(what=f"recipes, {name}", measured=100 * mean(accuracies), unit="% test", text=text)


def trainings(recipe: Recipe, seeds: Sequence[int]) -> tuple[list[float], list[float]]:
    """Test accuracy and seconds of one training per seed."""
    splits = load(recipe.data)
    accuracies, seconds = [], []
    with threads(1):
        for seed in seeds:
            trained = fit(recipe, splits.train, np.arange(len(splits.train)), seed=seed)
            accuracies.append(accuracy_on(trained.model, recipe, splits.test))
            seconds.append(trained.cost.seconds)
    return accuracies, seconds


def words(accuracies: Sequence[float], seconds: Sequence[float]) -> str:
    """Mean and spread of the accuracies, in [0, 1], and the median of the seconds."""
    spread = f"sd {100 * stdev(accuracies):.1f}, {len(accuracies)} seeds" if len(accuracies) > 1 else "1 seed"
    middle = median(seconds)
    time = f"{middle:.1f}" if middle < 10 else f"{middle:.0f}"
    return f"{100 * mean(accuracies):.1f} % test ({spread}), {time} s on one thread"
