"""Selective synaptic dampening: shrink the weights that matter to the forget rows far more than to all rows.

Source:     Foster, Schoepf, Brintrup, AAAI 2024, arXiv:2308.07707.
Objective:  w_i <- w_i * min(l * I_D,i / I_f,i, 1)  where  I_f,i > a * I_D,i            l -> dampening
            I_D, I_f: mean squared gradient of the loss over D, over D_f; D includes D_f  a -> selection
Deviations: 1. `importance="per_row"` averages the squares of single rows' gradients (the diagonal of the
               empirical Fisher matrix). The authors' code squares batch means: `importance="batch"`. That
               depends on the batch size, and inflates I_f where D_f is smaller than a batch.
            2. in "batch" the rows come in one fixed shuffled order, so that two runs agree.
            3. importances are taken in float32 whatever the precision of the recipe.
Cost:       one pass over D and one over D_f with gradients, no training; running statistics stay.
Signs of failure, in the run's notes: nothing selected, or more than half. Row by row I_f,i / I_D,i cannot
            exceed |D| / |D_f|: with 10 % of the rows to forget, the published a = 10 selects nothing.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.errors import check
from expunge.methods.importance import KINDS, dampen, importances
from expunge.methods.method import Method
from expunge.methods.search import Log, Search
from expunge.problem import Problem
from expunge.training import Run


@dataclass(frozen=True, kw_only=True)
class Ssd(Method):
    """Selective synaptic dampening (SSD)."""

    paper: ClassVar = "arXiv:2308.07707"
    needs: ClassVar = frozenset({"retain", "forget_labels"})
    stochastic: ClassVar = False
    search: ClassVar[Search] = {"selection": Log(1.0, 100.0), "dampening": Log(0.1, 10.0)}

    dampening: float = 1.0
    """l > 0: smaller shrinks the selected weights more. (code: if-loops/selective-synaptic-dampening)"""
    selection: float = 10.0
    """a > 0: smaller selects more weights; at or above |D| / |D_f| nothing, row by row. (code:
    if-loops/selective-synaptic-dampening, ResNet-18; ViT there 5 for a class, 25 for a subclass)"""
    importance: str = "per_row"
    """"per_row", or "batch" as in the authors' code."""
    batch_size: int = 0
    """Rows at once, >= 0. 0: the recipe's in "batch", where it changes the result; what fits in memory in
    "per_row", where it does not."""

    def __post_init__(self) -> None:
        check("dampening", self.dampening, "> 0", self.dampening > 0)
        check("selection", self.selection, "> 0", self.selection > 0)
        check("importance", self.importance, f"one of {', '.join(KINDS)}", self.importance in KINDS)
        check("batch_size", self.batch_size, ">= 0", self.batch_size >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Measure both importances, then dampen."""
        model = deepcopy(problem.original).to(run.device).eval()
        of_all, of_forget = importances(
            model,
            problem,
            run,
            problem.recipe.task.loss,
            kind=self.importance,
            power=2,
            batch_size=self.batch_size,
        )
        dampen(model, of_all, of_forget, run, dampening=self.dampening, selection=self.selection)
        return model
