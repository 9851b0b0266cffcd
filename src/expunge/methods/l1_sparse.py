"""l1-sparse fine-tuning: fine-tune on retain under an L1 penalty that fades away.

Source:     Jia, Liu, Ram, Yao, Liu, Liu, Sharma, Liu, NeurIPS 2023, arXiv:2304.04934.
Objective:  min_w  mean_{D_r} loss(w) + alpha_t |w|_1,   alpha_t = alpha (1 - t / (E - E0)), 0 from epoch E - E0
            alpha -> alpha,  t: epoch from 0,  E -> epochs,  E0 -> no_l1_epochs;  w: every parameter, biases and
            normalisation included.
Deviations: 1. gradient steps never make a weight exactly 0: the share below `threshold` is noted instead.
            2. no pruning beforehand ("prune first, then unlearn").
            3. normalisation statistics stay frozen.
Cost:       `epochs` passes over retain.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.search import Log, Search, Whole
from expunge.problem import Problem
from expunge.training import Batch, Run, descend


@dataclass(frozen=True, kw_only=True)
class L1Sparse(Method):
    """Fine-tuning on retain with a fading L1 penalty."""

    paper: ClassVar = "arXiv:2304.04934"
    needs: ClassVar = frozenset({"retain"})
    search: ClassVar[Search] = {"alpha": Log(1e-5, 1e-2), "lr": Log(1e-3, 0.1), "epochs": Whole(3, 10)}

    alpha: float = 5e-4
    """Weight of the penalty in epoch 0, >= 0; search it on a log scale. (paper, unverified; the 0.2 that the released
    command line defaults to destroys the model)"""
    epochs: int = 10
    """Passes over retain, >= 1. (code: OPTML-Group/Unlearn-Sparse)"""
    no_l1_epochs: int = 0
    """Last epochs without a penalty, in [0, epochs]. (code: OPTML-Group/Unlearn-Sparse)"""
    lr: float = 0.01
    """Step size, > 0. (code: OPTML-Group/Unlearn-Sparse)"""
    momentum: float = 0.9
    """In [0, 1). (code: OPTML-Group/Unlearn-Sparse)"""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0. (code: OPTML-Group/Unlearn-Sparse)"""
    threshold: float = 1e-3
    """A weight whose magnitude is below this counts as zero in the noted sparsity, > 0. (ours)"""

    def __post_init__(self) -> None:
        check("alpha", self.alpha, ">= 0", self.alpha >= 0)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("no_l1_epochs", self.no_l1_epochs, f"in [0, {self.epochs}]", 0 <= self.no_l1_epochs <= self.epochs)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)
        check("threshold", self.threshold, "> 0", self.threshold > 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Descend on retain and the penalty of the epoch."""
        model, task = deepcopy(problem.original), problem.recipe.task
        stream = run.epochs("retain", problem.rows, problem.retain, count=self.epochs)
        per_epoch, done = len(stream) // self.epochs, 0

        def objective(retain: Batch) -> Tensor:
            loss = task.loss(model(retain.x), retain.y).mean()
            weight = self.penalty(done // per_epoch)
            return loss + weight * l1(model) if weight else loss

        def count(step: int) -> None:
            nonlocal done
            done = step + 1

        run.notes["sparsity_original"] = sparsity(model, self.threshold)
        descend(
            model,
            stream,
            objective,
            run=run,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            after_step=count,
        )
        run.notes["sparsity"] = sparsity(model, self.threshold)
        return model

    def penalty(self, epoch: int) -> float:
        """alpha_t of one epoch, counted from 0."""
        fading = self.epochs - self.no_l1_epochs
        return self.alpha * (1 - epoch / fading) if epoch < fading else 0.0


def l1(model: nn.Module) -> Tensor:
    """Sum of the magnitudes of all parameters, a scalar."""
    return torch.stack([p.abs().sum() for p in model.parameters()]).sum()


@torch.no_grad()
def sparsity(model: nn.Module, threshold: float) -> float:
    """Share of parameters whose magnitude is below `threshold`."""
    flat = torch.cat([p.abs().flatten() for p in model.parameters()])
    return float((flat < threshold).float().mean())
