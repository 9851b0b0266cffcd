"""Random labels for the forget rows: drawn, put in the place of the true ones, and planned beside retain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from expunge.data import Indices, Rows
from expunge.errors import NeedsError
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.training import Run, Stream

REDRAW = ("once", "epoch")
ORDERS = ("mixed", "alternate", "forget")


class Relabelled(Rows):
    """Rows with other labels; inputs, ids and subjects are those of `rows`, which stay as they are."""

    def __init__(self, rows: Rows, labels: Tensor) -> None:
        self.rows, self.labels = rows, labels
        self.ids, self.subjects = rows.ids, rows.subjects

    def batch(self, indices: Indices, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Inputs as they were, labels from here."""
        return self.rows.batch(indices, device)[0], self.labels[torch.as_tensor(indices)].to(device)

    def take(self, indices: Indices) -> Relabelled:
        """The rows at `indices` `[rows]`, with their labels from here."""
        return Relabelled(self.rows.take(indices), self.labels[torch.as_tensor(indices)])


def draw(labels: Tensor, classes: int, source: torch.Generator, *, exclude_true: bool) -> Tensor:
    """One random label per row, uniform over the classes, int64 `[rows]`.

    Args:
        labels: `[rows]` the true ones.
        classes: How many there are, >= 2.
        source: Where the draw comes from.
        exclude_true: Whether a row may not get its own label.

    Example:
        >>> y = torch.zeros(4, dtype=torch.int64)
        >>> draw(y, 2, torch.Generator().manual_seed(0), exclude_true=True).tolist()
        [1, 1, 1, 1]
    """
    if exclude_true:
        return (labels + 1 + torch.randint(classes - 1, labels.shape, generator=source)) % classes
    return torch.randint(classes, labels.shape, generator=source)


def relabelled(problem: Problem, seed: int, epoch: int, *, exclude_true: bool) -> Relabelled:
    """The training rows with random labels on the forget rows, as drawn for one epoch.

    Raises:
        NeedsError: the task has no classes to draw from.
    """
    task = problem.recipe.task
    if task.kind != "classification":
        raise NeedsError(
            f"random labels: expected a classification task, got {task.kind}",
            hint="`bad_teacher` and `neggrad_plus` serve every task",
        )
    labels, at = problem.rows.labels.clone(), torch.as_tensor(problem.forget)
    labels[at] = draw(labels[at], task.width, generator(seed, "relabel", epoch), exclude_true=exclude_true)
    return Relabelled(problem.rows, labels)


def label_stream(problem: Problem, run: Run, *, epochs: int, order: str, redraw: str, exclude_true: bool) -> Stream:
    """Epochs over randomly labelled forget rows and truly labelled retain rows.

    Args:
        problem: Whose rows.
        run: Seed and batch size.
        epochs: Passes, >= 1.
        order: "mixed" is one shuffled mixture an epoch, "alternate" a forget epoch and then a retain epoch,
            "forget" the forget rows alone.
        redraw: "once" for the whole run, or "epoch" anew in each.
        exclude_true: Whether a row may not get its own label.
    """
    stream = Stream(())
    for epoch in range(epochs):
        rows = relabelled(problem, run.seed, epoch if redraw == "epoch" else 0, exclude_true=exclude_true)
        if order == "mixed":
            both = np.concatenate([problem.retain, problem.forget])
            stream += run.epochs("mixed", rows, both, count=1, first=epoch)
            continue
        stream += run.epochs("forget", rows, problem.forget, count=1, first=epoch)
        if order == "alternate":
            stream += run.epochs("retain", rows, problem.retain, count=1, first=epoch)
    return stream
