"""A stack of models against the same models one after another, in one process with the same threads for both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from benchmarks.clock import in_turn, threads
from benchmarks.figure import Figure, Options
from expunge.data import Rows, load
from expunge.fleet import Stack, train_stack
from expunge.fleet.executor import cores
from expunge.fleet.fleet import STACK
from expunge.training import Recipe, fit, predict
from expunge.training.recipes import RECIPES

MODELS = 128
ALONE = 8
"""Models trained one after another; their seconds are scaled to MODELS."""
GOAL = 5.0


def measure(options: Options) -> Iterator[Figure]:
    """Row visits a second of both ways, and whether they give the same models."""
    recipe, rows = RECIPES["digits-mlp"], load("digits").train
    what = f"stacked, {recipe.name} x {MODELS}, {recipe.epochs} epochs of {len(rows)} rows"
    with threads(cores()):
        yield from _compare(recipe, rows, MODELS, f"{what}, one stack, {cores()} threads", GOAL, options.times)
    with threads(1):
        yield from _compare(recipe, rows, MODELS, f"{what}, one stack, one thread", GOAL, options.times)
        yield from _compare(
            recipe, rows, STACK, f"{what}, stacks of {STACK} as in a fleet, one thread", None, options.times
        )


def _compare(recipe: Recipe, rows: Rows, size: int, what: str, least: float | None, times: int) -> Iterator[Figure]:
    together: list[Stack] = []
    alone: list[nn.Module] = []
    pair = in_turn(
        lambda: together.extend(in_stacks(recipe, rows, range(MODELS), size)),
        lambda: alone.extend(one_by_one(recipe, rows, range(ALONE))),
        times=times,
    )
    difference = largest_difference(together[0], alone[:ALONE], rows)
    visits = recipe.epochs * len(rows)
    yield Figure(what=what, measured=MODELS * visits / pair.ours, unit="visits/s")
    yield Figure(what=f"  one after another ({ALONE})", measured=ALONE * visits / pair.theirs, unit="visits/s")
    yield Figure(
        what="  stacked over one after another", measured=pair.ratio * MODELS / ALONE, unit="times", least=least
    )
    yield Figure(what=f"  largest logit difference, {ALONE} models", measured=difference, most=1e-4)


def in_stacks(recipe: Recipe, rows: Rows, seeds: Sequence[int], size: int) -> list[Stack]:
    """One model per seed on every row, in stacks of `size`."""
    everything = np.arange(len(rows))
    cuts = [seeds[cut : cut + size] for cut in range(0, len(seeds), size)]
    return [train_stack(recipe, rows, [everything] * len(part), part) for part in cuts]


def one_by_one(recipe: Recipe, rows: Rows, seeds: Sequence[int]) -> list[nn.Module]:
    """One model per seed on every row."""
    return [fit(recipe, rows, np.arange(len(rows)), seed=seed).model for seed in seeds]


def largest_difference(stack: Stack, models: Sequence[nn.Module], rows: Rows) -> float:
    """Of any logit on `rows`, between `models` and the first ones of the stack."""
    alone = torch.stack([predict(model, rows) for model in models])
    return float((stack.outputs(rows)[: len(models)] - alone).abs().max())
