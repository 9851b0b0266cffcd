"""Loss-free selective synaptic dampening (LFSSD): SSD with the sensitivity of the outputs, without labels.

Source:     Foster, Schoepf, Brintrup, ICLR 2024 (tiny paper), arXiv:2402.19308.
Objective:  w_i <- w_i * min(l * I_D,i / I_f,i, 1)  where  I_f,i > a * I_D,i            l -> dampening
            I_D, I_f: mean |gradient of ||f(x)||_2^2| over D, over D_f; D includes D_f    a -> selection
Deviations: as for `ssd`: 1. single rows' gradients by default, batch means with `importance="batch"`;
            2. one fixed order of rows; 3. float32.
Cost:       one pass over D and one over D_f with gradients, no training; running statistics stay.
Signs of failure, in the run's notes: nothing selected, or more than half. A ratio of mean sizes is smaller
            than one of mean squares: the same a selects fewer weights than in `ssd`.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.importance import KINDS, dampen, importances
from expunge.methods.method import Method
from expunge.problem import Problem
from expunge.training import Run


@dataclass(frozen=True, kw_only=True)
class LossFreeSsd(Method):
    """Loss-free selective synaptic dampening (LFSSD)."""

    paper: ClassVar = "arXiv:2402.19308"
    needs: ClassVar = frozenset({"retain"})
    stochastic: ClassVar = False

    dampening: float = 1.0
    """l > 0: smaller shrinks the selected weights more. (that of `ssd`)"""
    selection: float = 10.0
    """a > 0: smaller selects more weights; at or above |D| / |D_f| nothing, row by row. (that of `ssd`)"""
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
            model, problem, run, squared_norm, kind=self.importance, power=1, batch_size=self.batch_size
        )
        dampen(model, of_all, of_forget, run, dampening=self.dampening, selection=self.selection)
        return model


def squared_norm(outputs: Tensor, y: Tensor) -> Tensor:
    """||f(x)||_2^2 of each row, `[batch]`; labels are not looked at."""
    return outputs.square().sum(-1)
