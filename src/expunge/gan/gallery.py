"""Pictures for people to look at: grids from the same latents, and what was put in the place of what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from expunge.data import MemoryRows
from expunge.data.thumbnails import thumbnails
from expunge.gan.candidate import Candidate
from expunge.gan.fit import TrainedPair
from expunge.gan.measures import Yardstick, shown
from expunge.gan.pair import drawn
from expunge.gan.problem import GanProblem

GRID = 60
"""Pictures in a grid: whole turns of ten labels, where a generator is asked for labels."""
MOST_SWAPS = 10
"""Substituted latents that are shown."""


def grids(stick: Yardstick, gold: Sequence[TrainedPair], candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The first pictures of original, one gold and every candidate: the same latents, one scale of grey."""
    pairs = {"original": stick.problem.original, "gold": gold[0].pair}
    pairs |= {one.name: one.made.pair for one in candidates}
    count = min(GRID, stick.pictures)
    every = torch.cat([shown(stick, pair, count=count) for pair in pairs.values()])
    pictures = thumbnails(_rows(every), np.arange(len(every)))
    cuts = range(0, len(pictures), count)
    return [
        {"name": name, "pictures": pictures[at : at + count]} for name, at in zip(pairs, cuts, strict=bool(pictures))
    ]


def swaps(problem: GanProblem, one: Candidate) -> list[dict[str, str]]:
    """Pictures of the same latents before and after, and what was wanted between."""
    z, labels, wanted = one.made.swaps
    if z is None or wanted is None or not len(z):
        return []
    z, y, wanted = z[:MOST_SWAPS], None if labels is None else labels[:MOST_SWAPS], wanted[:MOST_SWAPS]
    before, after = (drawn(pair.generator, z, y) for pair in (problem.original, one.made.pair))
    pictures = thumbnails(_rows(torch.cat([before, wanted.cpu(), after])), np.arange(3 * len(z)))
    parts = [pictures[at : at + len(z)] for at in range(0, len(pictures), len(z))]
    return [{"before": a, "wanted": b, "after": c} for a, b, c in zip(*parts, strict=True)] if parts else []


def _rows(x: torch.Tensor) -> MemoryRows:
    return MemoryRows(x, torch.zeros(len(x)), ids=[str(i) for i in range(len(x))])
