"""RNI: reset the last layer, then train a few random tensors an epoch, each begun with noise, and at last all.

Source:     a winner of the NeurIPS 2023 unlearning challenge, as surveyed in arXiv:2410.01276 (2024).
            Reconstruction from a table of its steps, not a port.
Objective:  reset the last layer; then in each of `epochs` epochs but the last ones
            S <- `tensors` random parameter tensors;  w_S <- w_S + N(0, noise^2) at `share` of their entries
            min over S and normalisation of mean_{D_r} loss(w)              one pass, at lr
            and, for each of `last_rates`, min_w mean_{D_r} loss(w)         one pass, at that rate
Deviations: 1. "9 epochs" is read as all of them, the last 4 included: 5 with noise and 4 without. With epochs = 13
               there are 9 with noise.
            2. the 9 tensors are drawn from those outside normalisation layers, uniformly; normalisation is trained
               in every epoch and gets no noise. The table is silent on both. Of a model with fewer, all are taken.
            3. entries are drawn tensor by tensor, round(share * size) of each, anew in every epoch.
            4. the table ends its list of rates after the fourth: 0.001 is the last epoch's.
            5. SGD, momentum 0.9 and weight decay 5e-4 are ours, begun anew in each epoch; the recipe's batch size;
               constant rate within an epoch; no augmentation; running statistics go on; the last dense or
               convolutional layer is reset by the architecture's own initialiser.
            Published step sizes belong to a ResNet-18 and thousands of steps. On a small problem they leave the
            network broken, for in a few steps the reset layer does not recover: raise lr and last_rates.
Cost:       `epochs` passes over retain; no second model. The notes hold the share of one retraining.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.resets import disturb, lowest, weight_layers, whole
from expunge.methods.share import note_share
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.training import Batch, Run, descend

NORMALISATION = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, kw_only=True)
class Rni(Method):
    """Reset of the last layer, then noise on, and training of, a new choice of tensors every epoch."""

    paper: ClassVar = "arXiv:2410.01276"
    needs: ClassVar = frozenset({"retain"})

    epochs: int = 9
    """Passes over retain, those of `last_rates` included, >= 1. (code: xcadet/deepunlearn)"""
    tensors: int = 9
    """Parameter tensors, beside normalisation, that one epoch trains, >= 1. (code: xcadet/deepunlearn)"""
    share: float = 0.7
    """Share of their entries that get noise, in (0, 1]. (code: xcadet/deepunlearn)"""
    noise: float = 0.04
    """Standard deviation of the noise, in units of the weights, >= 0. (code: xcadet/deepunlearn)"""
    lr: float = 2e-4
    """Step size of all epochs but the last ones, > 0. (code: xcadet/deepunlearn; see Deviations for small
    networks)"""
    last_rates: tuple[float, ...] = (2e-4, 2e-4, 2e-4, 1e-3)
    """Step sizes, > 0, of the last epochs, which train everything without noise. (code: xcadet/deepunlearn)"""
    momentum: float = 0.9
    """In [0, 1). (ours)"""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0. (ours)"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "last_rates", tuple(self.last_rates))
        least = max(1, len(self.last_rates))
        check("epochs", self.epochs, f">= {least}, with {len(self.last_rates)} last_rates", self.epochs >= least)
        check("tensors", self.tensors, ">= 1", self.tensors >= 1)
        check("share", self.share, "in (0, 1]", 0 < self.share <= 1)
        check("noise", self.noise, ">= 0", self.noise >= 0)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("last_rates", self.last_rates, "numbers > 0", all(lr > 0 for lr in self.last_rates))
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Reset, train parts under noise, train everything."""
        model = deepcopy(problem.original).to(run.device).eval().requires_grad_()
        head = list(weight_layers(model))[-1]
        disturb(model, whole(model, {head}), "reinitialise", 0.0, problem, run, 0)
        first = self.epochs - len(self.last_rates)
        run.notes |= {"reset": head, "trained": [], "noisy": []}
        for epoch, lr in enumerate((*[self.lr] * first, *self.last_rates)):
            names = self.disturbed(model, problem, run, epoch) if epoch < first else None
            self.train(model, problem, run, epoch, lr, names)
        note_share(problem, run, "epochs")
        return model

    def disturbed(self, model: nn.Module, problem: Problem, run: Run, epoch: int) -> list[str]:
        """Add noise to a random choice of tensors, in place; returns their names, with those of normalisation."""
        source, normal = generator(run.seed, "rni/choose", epoch), normalisation(model)
        others = {name: p for name, p in model.named_parameters() if name not in normal}
        order = torch.randperm(len(others), generator=source).tolist()
        chosen = [list(others)[i] for i in sorted(order[: self.tensors])]
        if self.noise:
            masks = {name: lowest(torch.rand(others[name].shape, generator=source), self.share) for name in chosen}
            masks = {name: mask.to(run.device) for name, mask in masks.items()}
            run.notes["noisy"].append(disturb(model, masks, "add_noise", self.noise, problem, run, epoch))
        run.notes["trained"].append(chosen)
        return chosen + normal

    def train(
        self, model: nn.Module, problem: Problem, run: Run, epoch: int, lr: float, names: list[str] | None
    ) -> None:
        """One pass over retain that moves the named tensors, or all of them; `model` moves in place."""

        def objective(retain: Batch) -> Tensor:
            return problem.recipe.task.loss(model(retain.x), retain.y).mean()

        descend(
            model,
            run.epochs("retain", problem.rows, problem.retain, count=1, first=epoch),
            objective,
            run=run,
            lr=lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            parameters=None if names is None else [model.get_parameter(name) for name in names],
            statistics="running",
        )


def normalisation(model: nn.Module) -> list[str]:
    """Names of the parameters of normalisation layers, whichever they are."""
    layers = {name for name, module in model.named_modules() if isinstance(module, NORMALISATION)}
    return [name for name, _ in model.named_parameters() if name.rpartition(".")[0] in layers]
