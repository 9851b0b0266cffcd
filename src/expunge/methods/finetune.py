"""Fine-tuning on retain: go on training without the forget rows and hope that they fade.

Source:     folklore; the baseline of every unlearning paper.
Objective:  min_w mean_{D_r} loss(w), from the original's weights.
Deviations: none.
Cost:       `epochs` passes over retain.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.search import Log, Search, Whole
from expunge.problem import Problem
from expunge.training import Batch, Run, descend


@dataclass(frozen=True, kw_only=True)
class FineTune(Method):
    """Fine-tuning on retain."""

    paper: ClassVar = "folklore"
    needs: ClassVar = frozenset({"retain"})
    search: ClassVar[Search] = {"lr": Log(1e-3, 0.3), "epochs": Whole(1, 10)}

    epochs: int = 5
    """Passes over retain, >= 1. (code: if-loops/selective-synaptic-dampening)"""
    lr: float = 0.02
    """Step size, > 0. (code: if-loops/selective-synaptic-dampening)"""
    momentum: float = 0.9
    """In [0, 1). (code: OPTML-Group/Unlearn-Sparse)"""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0. (code: OPTML-Group/Unlearn-Sparse)"""

    def __post_init__(self) -> None:
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Descend on retain."""
        model, task = deepcopy(problem.original), problem.recipe.task

        def objective(retain: Batch) -> Tensor:
            return task.loss(model(retain.x), retain.y).mean()

        return descend(
            model,
            run.epochs("retain", problem.rows, problem.retain, count=self.epochs),
            objective,
            run=run,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
