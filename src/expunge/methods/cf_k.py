"""CF-k: fine-tune the last k layers on retain and hold the others, hoping that the forget rows fade.

Source:     Goel, Prabhu, Sanyal, Lim, Torr, Kumaraguru, 2022, arXiv:2201.06640 (catastrophic forgetting, k).
Objective:  min over the last k layers of mean_{D_r} loss(w), from the original's weights.
Deviations: 1. k counts the modules that hold parameters of their own (normalisation included), from the
               output; published code names blocks of one architecture. The notes list them.
            2. constant step size; running statistics stay, in trained layers too.
Cost:       `epochs` passes over retain; no gradient below the last k layers, which visits do not show.
Not exact:  the held layers keep what they learned from the forget rows.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.layers import last_layers, only
from expunge.methods.method import Method
from expunge.problem import Problem
from expunge.training import Batch, Run, descend


@dataclass(frozen=True, kw_only=True)
class CfK(Method):
    """CF-k: fine-tuning of the last k layers on retain."""

    paper: ClassVar = "arXiv:2201.06640"
    needs: ClassVar = frozenset({"retain"})

    k: int = 1
    """Layers that move, >= 1, counted from the output; all of them is `finetune`. (code:
    OPTML-Group/Unlearn-WorstCase)"""
    epochs: int = 10
    """Passes over retain, >= 1. (code: meghdadk/SCRUB notebooks)"""
    lr: float = 0.01
    """Step size, > 0. (code: meghdadk/SCRUB notebooks)"""
    momentum: float = 0.9
    """In [0, 1); as for `finetune`."""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0; as for `finetune`."""

    def __post_init__(self) -> None:
        check("k", self.k, ">= 1", self.k >= 1)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Descend on retain, in the last layers alone."""
        model, task = deepcopy(problem.original).to(run.device), problem.recipe.task
        part = last_layers(model, self.k)
        run.notes["layers"] = part.layers
        moving = part.together()

        def objective(retain: Batch) -> Tensor:
            return task.loss(model(retain.x), retain.y).mean()

        with only(model, moving):
            descend(
                moving,
                run.epochs("retain", problem.rows, problem.retain, count=self.epochs),
                objective,
                run=run,
                lr=self.lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
            )
        return model
