"""What a run costs: row visits, forward-only and forward+backward counted apart, and seconds."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

FORWARD_SHARE = 1 / 3
"""A forward pass is about a third of forward+backward: the backward pass computes two products a layer."""


@dataclass(frozen=True)
class Cost:
    """Row visits by role ("retain", "forget", ...) and wall time."""

    forward: dict[str, int]
    """Rows seen without a gradient (a teacher's outputs, a stop rule), by role."""
    backward: dict[str, int]
    """Rows seen with a gradient, by role."""
    seconds: float
    """Wall time."""
    threads: int = 1
    """Of the process that did it; seconds compare only at equal numbers."""

    @property
    def visits(self) -> float:
        """Forward+backward visits, plus a third of the forward-only ones."""
        return sum(self.backward.values()) + FORWARD_SHARE * sum(self.forward.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        return {"forward": self.forward, "backward": self.backward, "seconds": self.seconds, "threads": self.threads}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Cost:
        """The cost that `to_dict` wrote down."""
        return Cost(data["forward"], data["backward"], data["seconds"], data["threads"])


class Meter:
    """Counts while a run goes on; `cost()` is what it has come to so far."""

    def __init__(self) -> None:
        self._forward: Counter[str] = Counter()
        self._backward: Counter[str] = Counter()
        self._start = time.perf_counter()

    def forward(self, role: str, rows: int) -> None:
        """Count `rows` forward-only visits."""
        self._forward[role] += rows

    def backward(self, role: str, rows: int) -> None:
        """Count `rows` forward+backward visits."""
        self._backward[role] += rows

    def cost(self) -> Cost:
        """Visits and seconds up to now."""
        seconds = time.perf_counter() - self._start
        return Cost(dict(self._forward), dict(self._backward), seconds, torch.get_num_threads())
