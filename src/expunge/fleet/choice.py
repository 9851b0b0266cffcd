"""Stacked or one by one? Measured once per architecture, input shape and machine, and recorded in the store."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from expunge.data import Indices, Rows
from expunge.fleet.stacked import stackable, train_stack
from expunge.store import Contents, Store, key_of
from expunge.training import Recipe, fit, input_shape

MODELS = 16
"""Models in the measured stack."""
BATCHES = 4
"""Batches of rows in the measured training."""


def prefer_stacked(recipe: Recipe, rows: Rows, store: Store) -> bool:
    """Whether stacking trains more rows a second on one thread than one model after another.

    The measurement lies in the store under kind "timing", with both speeds in its manifest.
    """
    return bool(timing(recipe, rows, store)["stacked"])


def timing(recipe: Recipe, rows: Rows, store: Store) -> dict[str, Any]:
    """The recorded measurement: row visits a second of both ways, and which one won."""
    key = key_of(
        {
            "model": recipe.model,
            "arguments": recipe.arguments,
            "batch_size": recipe.batch_size,
            "shape": list(input_shape(rows)),
            "machine": [platform.node(), platform.machine(), torch.__version__],
        }
    )
    if not store.has("timing", key):
        store.put(key, Contents("timing", _measure(recipe, rows)))
    return store.get("timing", key).facts


def _measure(recipe: Recipe, rows: Rows) -> dict[str, Any]:
    short = replace(recipe, epochs=1)
    chosen = np.arange(min(len(rows), BATCHES * recipe.batch_size))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = _speed(lambda part: fit(short, rows, part, seed=0), chosen, recipe.batch_size, 1)
        together = _stacked_speed(short, rows, chosen)
    finally:
        torch.set_num_threads(threads)
    if together is None:
        reason = "batch statistics, dropout, augmentation, bf16, or an operation that cannot be stacked"
        return {"stacked": False, "single_visits_per_second": alone, "reason": reason}
    return {"stacked": together > alone, "stacked_visits_per_second": together, "single_visits_per_second": alone}


def _stacked_speed(recipe: Recipe, rows: Rows, chosen: Indices) -> float | None:
    """Row visits a second of a stack, or None where the model cannot be stacked."""
    if not stackable(recipe, rows):
        return None
    seeds = list(range(MODELS))
    try:
        return _speed(lambda part: train_stack(recipe, rows, [part] * MODELS, seeds), chosen, recipe.batch_size, MODELS)
    except RuntimeError:  # the model's own forward draws random numbers, or does what vmap has no rule for
        return None


def _speed(train: Callable[[Indices], object], rows: Indices, warm_up: int, models: int) -> float:
    """Row visits a second of one epoch over `rows` `[n]`; the faster of two, after a short warm-up."""
    train(rows[:warm_up])
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        train(rows)
        seconds.append(time.perf_counter() - begin)
    return models * len(rows) / min(seconds)
