"""`fit`: the only place where a model is trained from scratch. Original, gold and shadow all pass here."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, Rows
from expunge.errors import ProblemError
from expunge.training.cost import Cost
from expunge.training.descend import descend
from expunge.training.optim import rate
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
    halfway: nn.Module | None = None
    """The model as it was after `recipe.half` epochs; None where it was not asked for."""


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
    halfway: bool = False,
) -> Trained:
    """Train a fresh model on some rows.

    Args:
        recipe: How.
        rows: Where the training rows lie.
        indices: `[n]` int64, the rows to train on, by default all; no other is looked at.
        seed: Root seed of initialisation, order, augmentation and dropout.
        device: Such as "cpu" or "cuda".
        progress: Called after each step.
        halfway: Keep a copy of the model after half of the epochs too, from which a rewound twin starts.

    Raises:
        ProblemError: no rows, positions that are negative, repeated or out of range, or labels beyond the
            model's outputs.
        DivergedError: the loss became non-finite.
    """
    if indices is None:
        indices = np.arange(len(rows))
    run = Run(seed, recipe.batch_size, device, recipe.precision, f"train {recipe.name}", progress)
    return train(recipe, rows, indices, run, halfway=halfway)


def train(
    recipe: Recipe,
    rows: Rows,
    indices: Indices,
    run: Run,
    *,
    role: str = "train",
    halfway: bool = False,
    objective: Callable[[nn.Module], Callable[[Batch], Tensor]] | None = None,
) -> Trained:
    """`fit` inside a run that exists already, so that its visits are counted there.

    `objective` makes of the fresh model what is descended, by default `mean_loss`: for who watches every step.
    """
    check_indices(indices, len(rows))
    recipe.task.check_labels(rows.labels[torch.as_tensor(indices)])
    model = recipe.fresh(input_shape(rows, int(indices[0])), run.seed)
    stream = run.epochs(role, rows, indices, count=recipe.epochs, batch_size=recipe.batch_size)
    last = recipe.half * (len(stream) // recipe.epochs)  # every pass is cut into as many steps
    kept = deepcopy(model).eval() if halfway and last == 0 else None

    def keep(step: int) -> None:
        nonlocal kept
        if step + 1 == last:
            kept = deepcopy(model).eval()

    descended = mean_loss(recipe, model) if objective is None else objective(model)
    follow(recipe, model, stream, descended, run, after_step=keep if halfway else None)
    return Trained(model, run.meter.cost(), run.history, kept)


def train_on(recipe: Recipe, model: nn.Module, rows: Rows, indices: Indices, run: Run, *, first: int) -> Trained:
    """The rest of a training by the recipe, on rows that need not be those of its beginning.

    The schedule goes on where it was, but the optimiser starts anew: momentum and running averages begin at zero.

    Args:
        recipe: How.
        model: As it was after `first` epochs; moved in place.
        rows: Where the training rows lie.
        indices: `[n]` int64, the rows to train on.
        run: Seed, device and meter.
        first: Epochs that the model has had, in [0, recipe.epochs).
    """
    check_indices(indices, len(rows))
    recipe.task.check_labels(rows.labels[torch.as_tensor(indices)])
    left = recipe.epochs - first
    stream = run.epochs("train", rows, indices, count=left, first=first, batch_size=recipe.batch_size)
    before = first * (len(stream) // left)

    def schedule(step: int) -> float:
        return rate(recipe.schedule, before + step, before + len(stream))

    follow(recipe, model, stream, mean_loss(recipe, model), run, schedule=schedule)
    return Trained(model, run.meter.cost(), run.history)


def mean_loss(recipe: Recipe, model: nn.Module) -> Callable[[Batch], Tensor]:
    """What training by a recipe descends: the mean loss of a batch."""

    def objective(batch: Batch) -> Tensor:
        return recipe.task.loss(model(batch.x), batch.y).mean()

    return objective


def follow(
    recipe: Recipe,
    model: nn.Module,
    stream: Stream,
    objective: Callable[..., Tensor],
    run: Run,
    *,
    schedule: Callable[[int], float] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> nn.Module:
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
        schedule=schedule or recipe.schedule,
        statistics="running",
        augmentation=recipe.augmentation,
        after_step=after_step,
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
