"""Gradients of single rows together against one row after another, and the memory of a stream of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.clock import in_turn, threads
from benchmarks.figure import Figure, Options
from benchmarks.memory import AVAILABLE, resident
from expunge.attribution.gradients import Network
from expunge.data import MemoryRows
from expunge.seeds import generator
from expunge.tasks import Task
from expunge.training.recipes import RECIPES

ROWS = 5_000
ALONE = 200
"""Rows taken one after another; their seconds are scaled to ROWS."""
KEPT = 20
"""Gradients of the loop that are kept, to compare with."""
CASES = (("digits-mlp", (1, 8, 8)), ("fashion-mlp", (1, 28, 28)), ("fashion-cnn", (1, 28, 28)))
"""Recipe, and the shape of a row. Speed does not depend on what is in the rows, so they are drawn."""
GOAL = 10.0
LONGER = 4
"""By how much longer the stream is whose memory is compared."""
MOST = 50.0
"""Megabytes that the longer one may take more: what the allocator leaves unused."""


@dataclass(frozen=True)
class Case:
    """A model, rows and what is differentiated."""

    model: nn.Module
    rows: MemoryRows
    task: Task


def measure(options: Options) -> Iterator[Figure]:
    """Rows a second of both, the largest difference, and how memory grows with rows."""
    for name, shape in CASES:
        case = made(name, shape, ROWS)
        with threads(1):
            yield from compared(case, f"gradients, {name}, {ROWS:,} rows, one core", options.times)
        yield Figure(
            what="  largest difference to the loop, of the largest number", measured=difference(case), most=1e-4
        )
        yield grown(case)


def compared(case: Case, what: str, times: int) -> Iterator[Figure]:
    """Speed of both ways."""
    pair = in_turn(lambda: together(case, len(case.rows)), lambda: alone(case, ALONE), times=times)
    yield Figure(what=what, measured=ROWS / pair.ours, unit="rows/s")
    yield Figure(what=f"  one after another ({ALONE})", measured=ALONE / pair.theirs, unit="rows/s")
    yield Figure(what="  together over one after another", measured=pair.ratio * ROWS / ALONE, unit="times", least=GOAL)


def made(name: str, shape: tuple[int, ...], rows: int) -> Case:
    """A fresh model of a recipe, and drawn rows."""
    recipe = RECIPES[name]
    draw = generator(0, "benchmark rows")
    x, y = torch.randn(rows, *shape, generator=draw), torch.randint(recipe.task.width, (rows,), generator=draw)
    return Case(
        recipe.fresh(shape, seed=0).eval(), MemoryRows(x, y, ids=[str(row) for row in range(rows)]), recipe.task
    )


def together(case: Case, rows: int) -> int:
    """Gradients of the first rows, a batch at a time, each dropped once it is there; the largest resident memory."""
    network, largest = Network(case.model), 0
    for _, x, y in network.batches(case.rows, np.arange(rows)):
        found = network.gradients(x, y, case.task)
        largest = max(largest, resident(os.getpid()) if AVAILABLE else 0)
        del found
    return largest


def grown(case: Case) -> Figure:
    """By how much the memory of a stream grows with its length; all gradients at once are told beside it."""
    few, size = ROWS // LONGER, sum(p.numel() for p in case.model.parameters())
    what = f"  memory beyond that of {few:,} rows (all gradients: {4 * ROWS * size / 1e6:,.0f} MB)"
    if not AVAILABLE:
        return Figure(what=what, measured=None, text="not measured: Linux only")
    before = together(case, few)
    return Figure(what=what, measured=max(0, together(case, ROWS) - before) / 1e6, unit="MB", most=MOST)


def alone(case: Case, rows: int) -> list[Tensor]:
    """`[p]` of each of the first rows, by a backward pass for each; of more than KEPT, the last ones."""
    parameters = list(case.model.parameters())
    found: deque[Tensor] = deque(maxlen=KEPT)
    for row in range(rows):
        x, y = case.rows.batch(np.array([row]))
        parts = torch.autograd.grad(case.task.loss(case.model(x), y).sum(), parameters)
        found.append(torch.cat([part.reshape(-1) for part in parts]))
    return list(found)


def difference(case: Case) -> float:
    """Largest difference of both ways on KEPT rows, over the largest number."""
    x, y = case.rows.batch(np.arange(KEPT))
    ours, theirs = Network(case.model).gradients(x, y, case.task), torch.stack(alone(case, KEPT))
    return float((ours - theirs).abs().max() / theirs.abs().max())
