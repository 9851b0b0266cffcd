"""NegGrad+: descend on retain and climb on forget, in one weighted loss.

Source:     Kurmanji, Triantafillou, Hayes, Triantafillou, NeurIPS 2023, arXiv:2302.09880 (a baseline there).
Objective:  min_w  a * mean_{D_r} loss(w) - (1 - a) * mean_{D_f} loss(w)          a -> retain_weight
Deviations: 1. forget rows are drawn with replacement, not cycled: full batches even when |D_f| < batch size.
            2. no pull towards the original weights (the authors' notebooks add one).
Cost:       `epochs` passes over retain and as many forget visits; no second model.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.search import Log, NearOne, Search, Whole
from expunge.problem import Problem
from expunge.training import Batch, Run, descend


@dataclass(frozen=True, kw_only=True)
class NegGradPlus(Method):
    """NegGrad+: one weighted loss over retain and forget."""

    paper: ClassVar = "arXiv:2302.09880"
    needs: ClassVar = frozenset({"retain", "forget_labels"})
    search: ClassVar[Search] = {"retain_weight": NearOne(1e-4, 0.1), "lr": Log(1e-3, 0.1), "epochs": Whole(1, 10)}

    retain_weight: float = 0.95
    """a in (0, 1]; search 1 - a on a log scale. (code: meghdadk/SCRUB, small scale)"""
    epochs: int = 10
    """Passes over retain, >= 1. (code: meghdadk/SCRUB, small scale)"""
    lr: float = 0.01
    """Step size, > 0. (code: meghdadk/SCRUB, small scale)"""
    momentum: float = 0.9
    """In [0, 1). (code: meghdadk/SCRUB, small scale)"""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0; as for `finetune`, which a = 1 is."""

    def __post_init__(self) -> None:
        check("retain_weight", self.retain_weight, "in (0, 1]", 0 < self.retain_weight <= 1)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Descend on the weighted loss of paired batches."""
        model, task = deepcopy(problem.original), problem.recipe.task

        def objective(retain: Batch, forget: Batch) -> Tensor:
            kept = task.loss(model(retain.x), retain.y)  # [retain batch]
            gone = task.loss(model(forget.x), forget.y)  # [forget batch]
            return weighted(kept, gone, self.retain_weight)

        return descend(
            model,
            run.pairs(problem.rows, problem.retain, problem.forget, epochs=self.epochs),
            objective,
            run=run,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


def weighted(kept: Tensor, gone: Tensor, a: float) -> Tensor:
    """The objective from per-row losses `[batch]`; a = 1 is fine-tuning on retain."""
    return a * kept.mean() - (1 - a) * gone.mean()
