"""Streams: which rows each step sees, planned beforehand as index arrays.

A step is one batch or several side by side; a stream is a list of steps, and `a + b` runs `b` after `a`:

    mixed        one shuffled mixture of retain and forget rows
    pairs        a retain batch and a forget batch of the same size at every step
    alternating  streams added together: forget epoch + retain epoch + ...

Because the plan stands before the first step, its length drives the schedule, its visits can be printed
before any work, and the order of retain rows is the same whether or not a method also draws forget rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge.data import Indices, Rows
from expunge.seeds import generator


@dataclass(frozen=True)
class Draw:
    """Planned rows of one batch: from which rows, at which positions, in what role."""

    role: str
    rows: Rows
    indices: Indices
    """`[batch]` positions."""


@dataclass(frozen=True)
class Batch:
    """Rows on the device: x `[batch, ...]`, y `[batch]`, their positions and their role."""

    x: Tensor
    y: Tensor
    indices: Indices
    role: str

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Stream:
    """A plan of steps; iterating over it loads the batches."""

    steps: tuple[tuple[Draw, ...], ...]

    def __len__(self) -> int:
        return len(self.steps)

    def __add__(self, other: Stream) -> Stream:
        return Stream(self.steps + other.steps)

    def load(self, device: torch.device | str) -> Iterator[tuple[Batch, ...]]:
        """The batches of each step, in order, on `device`."""
        for step in self.steps:
            yield tuple(Batch(*draw.rows.batch(draw.indices, device), draw.indices, draw.role) for draw in step)


def order(indices: Indices, seed: int, role: str, epoch: int) -> Indices:
    """`indices` in the shuffled order of one epoch; the only place where an order is drawn."""
    at = torch.randperm(len(indices), generator=generator(seed, f"order/{role}", epoch))
    shuffled: Indices = indices[at.numpy()]
    return shuffled


def cut(shuffled: Indices, batch_size: int) -> list[Indices]:
    """Batches of one pass over `shuffled` `[n]`; a last batch of one row joins the one before it.

    One row alone has no batch statistics, and a network with batch normalisation could not train on it.

    Example:
        >>> [len(part) for part in cut(np.arange(9), 4)]
        [4, 5]
    """
    parts = [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]
    if len(parts) > 1 and len(parts[-1]) == 1 < batch_size:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def epochs(
    role: str, rows: Rows, indices: Indices, *, seed: int, count: int, batch_size: int, first: int = 0
) -> Stream:
    """Shuffled passes over some rows, cut into batches by `cut`.

    Args:
        role: What the rows are, for the cost meter and the order's seed.
        rows: Where they lie.
        indices: `[n]` positions.
        seed: Root seed of the order.
        count: Number of passes, >= 0.
        batch_size: Rows per step, >= 1.
        first: Number of the first pass, so that later passes are drawn anew.
    """
    steps = []
    for epoch in range(first, first + count):
        shuffled = order(indices, seed, role, epoch)
        steps += [(Draw(role, rows, part),) for part in cut(shuffled, batch_size)]
    return Stream(tuple(steps))


def beside(stream: Stream, role: str, rows: Rows, indices: Indices, *, seed: int) -> Stream:
    """Each step of `stream` with a second batch of the same size, drawn with replacement from `indices`.

    With replacement, so that the batch is full even when `indices` `[n]` holds fewer rows than a batch.
    """
    source = generator(seed, f"beside/{role}")
    steps = []
    for step in stream.steps:
        at = torch.randint(len(indices), (len(step[0].indices),), generator=source).numpy()
        steps.append((*step, Draw(role, rows, indices[at])))
    return Stream(tuple(steps))


def member_mask(rows: Rows, indices: Indices) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """`[rows]` bool, true at `indices` `[n]`."""
    mask = np.zeros(len(rows), dtype=bool)
    mask[indices] = True
    return mask
