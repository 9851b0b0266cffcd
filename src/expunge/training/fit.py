"""`fit`: the only place where a model is trained from scratch. Original, gold and shadow all pass here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, Rows
from expunge.errors import ProblemError
from expunge.training.cost import Cost
from expunge.training.descend import descend
from expunge.training.recipe import Recipe
from expunge.training.run import Progress, Run, silent
from expunge.training.stream import Batch, Stream


@dataclass(frozen=True)
class Trained:
    """A model that `fit` made, in evaluation mode."""

    model: nn.Module
    cost: Cost
    history: list[float]
    """The loss of every step."""


def input_shape(rows: Rows, at: int = 0) -> tuple[int, ...]:
    """The shape of one row's input, read from the row at position `at`."""
    return tuple(rows.batch(np.array([at], dtype=np.int64))[0].shape[1:])


def fit(
    recipe: Recipe,
    rows: Rows,
    indices: Indices | None = None,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress = silent,
) -> Trained:
    """Train a fresh model on some rows.

    Args:
        recipe: How.
        rows: Where the training rows lie.
        indices: `[n]` int64, the rows to train on, by default all; no other is looked at.
        seed: Root seed of initialisation, order, augmentation and dropout.
        device: Such as "cpu" or "cuda".
        progress: Called after each step.

    Raises:
        ProblemError: no rows, positions that are negative, repeated or out of range, or labels beyond the
            model's outputs.
        DivergedError: the loss became non-finite.
    """
    if indices is None:
        indices = np.arange(len(rows))
    run = Run(seed, recipe.batch_size, device, recipe.precision, f"train {recipe.name}", progress)
    return train(recipe, rows, indices, run)


def train(recipe: Recipe, rows: Rows, indices: Indices, run: Run, *, role: str = "train") -> Trained:
    """`fit` inside a run that exists already, so that its visits are counted there."""
    check_indices(indices, len(rows))
    recipe.task.check_labels(rows.labels[torch.as_tensor(indices)])
    model = recipe.fresh(input_shape(rows, int(indices[0])), run.seed)

    def objective(batch: Batch) -> Tensor:
        return recipe.task.loss(model(batch.x), batch.y).mean()

    stream = run.epochs(role, rows, indices, count=recipe.epochs, batch_size=recipe.batch_size)
    follow(recipe, model, stream, objective, run)
    return Trained(model, run.meter.cost(), run.history)


def follow(recipe: Recipe, model: nn.Module, stream: Stream, objective: Callable[..., Tensor], run: Run) -> nn.Module:
    """`descend` the way the recipe says: its optimiser, schedule and augmentation, statistics running."""
    return descend(
        model,
        stream,
        objective,
        run=run,
        lr=recipe.lr,
        optimizer_name=recipe.optimizer,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        schedule=recipe.schedule,
        statistics="running",
        augmentation=recipe.augmentation,
    )


def check_indices(indices: Indices, rows: int) -> None:
    """Positions `[n]` to train on: at least one, whole numbers within the rows, none twice."""
    if len(indices) == 0:
        raise ProblemError("fit: expected at least one row to train on, got none")
    sound = indices.dtype.kind in "iu" and indices.min() >= 0 and indices.max() < rows
    if not sound or len(np.unique(indices)) != len(indices):
        raise ProblemError(
            f"fit: expected different positions in 0..{rows - 1}, got {indices.dtype} "
            f"from {indices.min()} to {indices.max()}, {len(np.unique(indices))} different of {len(indices)}"
        )
