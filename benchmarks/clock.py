"""Seconds, as medians, on a stated number of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Pair:
    """Two ways of doing the same, timed in turn."""

    ours: float
    """Median seconds."""
    theirs: float
    """Median seconds."""
    ratio: float
    """Median over the repetitions of theirs / ours: what both suffered from the machine cancels."""


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], *, times: int) -> Pair:
    """Ours, theirs, ours, theirs, ...: each `times` times."""
    return paired([(seconds(ours), seconds(theirs)) for _ in range(times)])


def paired(runs: list[tuple[float, float]]) -> Pair:
    """The medians of (ours, theirs) seconds."""
    ours, theirs = zip(*runs, strict=True)
    return Pair(median(ours), median(theirs), median(their / our for our, their in runs))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute on `count` threads while the context lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
