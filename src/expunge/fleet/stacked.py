"""Many small models trained at once: their parameters stacked along a first axis, one batched product a layer.

The result of each model is the one that `fit` gives with the same seed and rows, up to rounding: same
initialisation, same order, same schedule. Only models of equal step counts share a stack, so that one
optimiser serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from expunge.data import Indices, Rows
from expunge.errors import DivergedError
from expunge.training import Recipe, input_shape
from expunge.training.optim import optimizer, rate, set_rate
from expunge.training.stream import cut, order


@dataclass(frozen=True)
class Stack:
    """Trained models as one: parameters and buffers `[models, ...]` by name."""

    base: nn.Module
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]

    @torch.no_grad()
    def outputs(self, rows: Rows, batch_size: int = 1024) -> Tensor:
        """`[models, rows, outputs]` float32 on the CPU, in evaluation mode."""
        self.base.eval()
        device = next(iter(self.parameters.values())).device
        call = vmap(self._call, in_dims=(0, 0, None))
        parts = []
        for start in range(0, len(rows), batch_size):
            x, _ = rows.batch(np.arange(start, min(start + batch_size, len(rows))), device)
            parts.append(call(self.parameters, self.buffers, x).float().cpu())
        return torch.cat(parts, dim=1)

    def weights(self, model: int) -> dict[str, Tensor]:
        """The state dict of one model."""
        return {name: value[model].detach().clone() for name, value in {**self.parameters, **self.buffers}.items()}

    def _call(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.base, (parameters, buffers), (x,))  # type: ignore[no-any-return]


def stackable(recipe: Recipe, rows: Rows) -> bool:
    """Whether stacking gives what `fit` gives: no batch statistics, dropout, augmentation or bf16."""
    model = recipe.fresh(input_shape(rows), seed=0)
    special = any(isinstance(m, _BatchNorm) or (isinstance(m, _DropoutNd) and m.p > 0) for m in model.modules())
    return not special and not recipe.augmentation and recipe.precision == "float32"


def train_stack(
    recipe: Recipe, rows: Rows, chosen: Sequence[Indices], seeds: Sequence[int], *, device: str = "cpu"
) -> Stack:
    """Train one model per entry of `chosen`.

    Args:
        recipe: How, the same for all; see `stackable`.
        rows: Where the training rows lie.
        chosen: `[models]` arrays of positions `[n]`, all of the same number of batches.
        seeds: `[models]` root seeds.
        device: Such as "cpu" or "cuda".

    Raises:
        DivergedError: a loss became non-finite; names the model.
    """
    shape = input_shape(rows)
    models = [recipe.fresh(shape, seed).to(device) for seed in seeds]
    parameters, buffers = stack_module_state(models)
    base = deepcopy(models[0])
    stack = Stack(base, parameters, buffers)
    moving = optimizer(
        recipe.optimizer,
        list(parameters.values()),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    call = vmap(stack._call, in_dims=(0, 0, 0))
    base.train()
    steps = recipe.epochs * len(cut(chosen[0], recipe.batch_size))
    for step, (at, weight) in enumerate(_plan(recipe, chosen, seeds)):
        x, y = rows.batch(at.reshape(-1), device)
        outputs = call(parameters, buffers, x.reshape(*at.shape, *x.shape[1:]))  # [models, batch, outputs]
        losses = recipe.task.loss(outputs.flatten(0, 1), y).reshape(at.shape)  # [models, batch]
        per_model = (losses * weight.to(device)).sum(1)  # [models]
        _guard(per_model, step, recipe)
        set_rate(moving, recipe.lr * rate(recipe.schedule, step, steps))
        moving.zero_grad(set_to_none=True)
        per_model.sum().backward()  # type: ignore[no-untyped-call]
        moving.step()
    return stack


def _plan(recipe: Recipe, chosen: Sequence[Indices], seeds: Sequence[int]) -> Iterator[tuple[Indices, Tensor]]:
    """Positions `[models, batch]` and loss weights `[models, batch]` of each step.

    Models with fewer rows in a batch are padded with a repeated row of weight 0.
    """
    for epoch in range(recipe.epochs):
        passes = [
            cut(order(indices, seed, "train", epoch), recipe.batch_size)
            for indices, seed in zip(chosen, seeds, strict=True)
        ]
        for batches in zip(*passes, strict=True):
            sizes = torch.tensor([len(batch) for batch in batches])
            width = int(sizes.max())
            short = [np.full(width - len(batch), batch[-1]) for batch in batches]  # np.pad takes seven times as long
            at = np.stack([np.concatenate(both) for both in zip(batches, short, strict=True)])
            yield at, (torch.arange(width) < sizes[:, None]) / sizes[:, None]


def _guard(per_model: Tensor, step: int, recipe: Recipe) -> None:
    finite = per_model.isfinite()
    if not bool(finite.all()):
        which = int((~finite).nonzero()[0])
        raise DivergedError(
            f"the loss of model {which} of the stack is not finite at step {step}",
            hint=f"lower lr from {recipe.lr:g}",
        )
