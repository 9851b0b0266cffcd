"""Optimisers and step-size schedules by name: one place for recipes, methods and stacked fleets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from expunge.errors import check

OPTIMIZERS = ("sgd", "adam", "adamw")


def optimizer(
    name: str, parameters: Iterable[Tensor], *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """A torch optimiser.

    Args:
        name: "sgd" (with momentum), "adam" or "adamw".
        parameters: What it may move; nothing else.
        lr: Step size, > 0.
        momentum: Of "sgd"; the others keep their usual averages.
        weight_decay: L2 coefficient, >= 0; decoupled for "adamw".

    Raises:
        ConfigError: the name is unknown or a number out of range.
    """
    check("optimizer", name, f"one of {', '.join(OPTIMIZERS)}", name in OPTIMIZERS)
    check("lr", lr, "> 0", lr > 0)
    check("weight_decay", weight_decay, ">= 0", weight_decay >= 0)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=lr, weight_decay=weight_decay)


def _constant(share: float) -> float:
    return 1.0


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _linear(share: float) -> float:
    return 1.0 - share


def _triangle(share: float) -> float:
    return share / 0.25 if share < 0.25 else (1 - share) / 0.75


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "triangle": _triangle,
}


def rate(schedule: str, step: int, steps: int) -> float:
    """Factor on the step size at `step` (from 0) of `steps`, in [0, 1].

    Example:
        >>> [round(rate("cosine", step, 4), 2) for step in range(4)]
        [0.96, 0.69, 0.31, 0.04]
    """
    return SCHEDULES[schedule]((step + 0.5) / steps)


def set_rate(chosen: torch.optim.Optimizer, lr: float) -> None:
    """Let every group of an optimiser step at `lr`."""
    for group in chosen.param_groups:
        group["lr"] = lr
