"""Training as a tutorial writes it: a map-style data set, a DataLoader and a loop. What `rows` compares with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from expunge.data import MemoryRows
from expunge.training import Recipe
from expunge.training.optim import rate


class OneByOne(Dataset[tuple[Tensor, Tensor]]):
    """Rows that answer one at a time, as data sets of pictures do."""

    def __init__(self, rows: MemoryRows) -> None:
        self.x, self.y = rows.x, rows.labels

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.x[row], self.y[row]


def loader(rows: MemoryRows, batch_size: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Shuffled batches; worker processes stay from one epoch to the next."""
    return DataLoader(OneByOne(rows), batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def train(
    recipe: Recipe, shape: tuple[int, ...], epochs: Iterable[Iterable[tuple[Tensor, Tensor]]], *, steps: int, seed: int
) -> nn.Module:
    """A model of the recipe, which must use SGD.

    Args:
        recipe: Architecture, step size and schedule.
        shape: Of one row's input.
        epochs: Batches (x, y) of each epoch.
        steps: Batches of all epochs together.
        seed: Of the initialisation.
    """
    model = recipe.fresh(shape, seed)
    sgd = torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: rate(recipe.schedule, step, steps))
    model.train()
    for batches in epochs:
        for x, y in batches:
            sgd.zero_grad()
            cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            sgd.step()
            schedule.step()
    return model.eval()
