"""A training that keeps a ledger of what each row does to some probes; what is booked stands in in_run.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from expunge.attribution.ghost import Trace
from expunge.attribution.layers import Layers
from expunge.data import Indices, Rows
from expunge.errors import NeedsError, ProblemError, ShapeError, check
from expunge.training import Batch, Cost, Recipe, Run, input_shape, train
from expunge.training.optim import rate
from expunge.training.stream import cut

MEASURES = ("margin", "loss")
"""What of a probe rises: its margin, or minus its loss."""


@dataclass(frozen=True)
class Ledger:
    """What each training row did to each probe during one training."""

    values: npt.NDArray[np.float32]
    """`[rows, probes]` nats; 0 for rows that were not trained on."""
    model: nn.Module
    """The model that was trained, in evaluation mode: the one of `fit` with the same seed, to rounding."""
    cost: Cost
    """Training in role "train", probes in role "attribution"."""


def keep_ledger(
    recipe: Recipe, rows: Rows, indices: Indices, probes: Rows, run: Run, *, order: int = 1, of: str = "margin"
) -> Ledger:
    """`in_run` inside a run that exists already; arguments and errors as there."""
    check_recipe(recipe, order)
    check("of", of, f"one of {', '.join(MEASURES)}", of in MEASURES)
    if len(probes) == 0:
        raise ProblemError("probes: expected at least one row to watch, got none")
    recipe.task.check_labels(probes.labels)
    if input_shape(probes) != input_shape(rows):
        raise ShapeError(f"probes: expected inputs {input_shape(rows)} as in training, got {input_shape(probes)}")
    watch = _Watch(recipe, indices, probes, run, order, of)
    values = torch.zeros(len(rows), len(probes), device=run.device)
    with ExitStack() as hooks:
        trained = train(recipe, rows, indices, run, objective=lambda model: watch.objective(model, values, hooks))
    return Ledger(values.cpu().numpy(), trained.model, run.meter.cost())


def check_recipe(recipe: Recipe, order: int) -> None:
    """A ledger of this order can be kept while training by the recipe.

    Raises:
        ConfigError: the order is neither 1 nor 2.
        NeedsError: the recipe's steps are not along the gradient.
    """
    check("order", order, "1 or 2", order in (1, 2))
    if recipe.optimizer != "sgd":
        raise NeedsError(
            f"in_run: expected a recipe that steps along the gradient (sgd), got {recipe.optimizer}: its steps do not "
            "add up over rows",
            hint='train with Recipe(optimizer="sgd"), or take an estimator that asks for the trained model alone',
        )
    if order == 2 and recipe.momentum > 0:
        raise NeedsError(
            f"in_run: expected momentum 0 at second order, got {recipe.momentum:g}: a step is then not the batch's own",
            hint="order=1, or a recipe with momentum=0",
        )


def step_sizes(recipe: Recipe, steps: int) -> list[float]:
    """`[steps]` by how much the gradient of each step moves the weights until the end of training.

    Example:
        >>> from expunge.tasks import Classification
        >>> plain = Recipe(name="two", task=Classification(2), lr=1.0, momentum=0.5, schedule="constant")
        >>> step_sizes(plain, 3)
        [1.75, 1.5, 1.0]
    """
    sizes, after = [], 0.0
    for step in reversed(range(steps)):
        after = recipe.lr * rate(recipe.schedule, step, steps) + recipe.momentum * after
        sizes.append(after)
    return sizes[::-1]


class _Watch:
    """The objective of a training that also looks at the probes before every step."""

    def __init__(self, recipe: Recipe, indices: Indices, probes: Rows, run: Run, order: int, of: str) -> None:
        self.recipe, self.run, self.order, self.of = recipe, run, order, of
        self.x, self.y = probes.batch(np.arange(len(probes)), run.device)
        self.sizes = iter(step_sizes(recipe, recipe.epochs * len(cut(indices, recipe.batch_size))))

    def objective(self, model: nn.Module, values: Tensor, hooks: ExitStack) -> Callable[[Batch], Tensor]:
        """What training descends; it books each step in `values` `[rows, probes]`."""
        layers = Layers(model.to(self.run.device))
        layers.check_apart(self.x)
        hooks.enter_context(layers)

        def watched(batch: Batch) -> Tensor:
            loss, ours, theirs = self.passed(layers, batch)
            at, size = torch.as_tensor(batch.indices, device=values.device), next(self.sizes)
            with torch.no_grad(), self.exact():
                values.index_add_(0, at, layers.collect(ours, theirs), alpha=-size)
                if self.order == 2:
                    values.index_add_(0, at, self.bends(layers, ours, theirs), alpha=size**2 / 2)
            self.run.meter.backward("attribution", len(self.y) * (1 if self.order == 1 else 3))
            # every gradient is in place already: the backward pass of the loop finds nothing behind this loss
            return loss.detach().requires_grad_()

        return watched

    def passed(self, layers: Layers, batch: Batch) -> tuple[Tensor, list[Trace], list[Trace]]:
        """The mean loss of the batch, and what each layer saw of its rows and of the probes.

        The probes ride behind the batch, in one pass, unless the model is another one in training than in evaluation.
        """
        if layers.one_mode:
            outputs = layers.forward(torch.cat([batch.x, self.x]))
            own, others = torch.split(outputs, [len(batch), len(self.x)])
            loss = self.recipe.task.loss(own, batch.y).mean()
            with self.exact():
                pairs = [trace.split(len(batch)) for trace in layers.traces(loss + self.measured(others))]
            return loss, [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
        layers.model.eval()
        measured = self.measured(layers.forward(self.x))
        with self.exact():
            theirs = layers.traces(measured)
        layers.model.train()
        loss = self.recipe.task.loss(layers.forward(batch.x), batch.y).mean()
        with self.exact():
            return loss, layers.traces(loss), theirs

    def bends(self, layers: Layers, ours: list[Trace], theirs: list[Trace]) -> Tensor:
        """`[batch, probes]` each row's gradient times H times the whole step, weight decay counted twice."""
        decay = 2 * self.recipe.weight_decay
        named = layers.model.named_parameters()
        direction = {name: torch.add(p.grad, p.detach(), alpha=decay) for name, p in named if p.grad is not None}
        layers.model.eval()
        moves = layers.moves(self.x, self.measured, direction)
        layers.model.train()
        return layers.tangent_products(ours, theirs, moves)

    def measured(self, outputs: Tensor) -> Tensor:
        """What rises, summed over probes: their rows do not meet, so one pass serves all of them."""
        task = self.recipe.task
        return task.margin(outputs, self.y).sum() if self.of == "margin" else -task.loss(outputs, self.y).sum()

    def exact(self) -> AbstractContextManager[object]:
        """Outside autocast, where backward passes and products belong."""
        if self.run.precision == "float32":
            return nullcontext()
        return torch.autocast(self.run.device.split(":")[0], enabled=False)
