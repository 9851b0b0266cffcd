"""SalUn: random labelling that moves only the weights which the forget rows pull at.

Source:     Fan, Liu, Zhang, Wong, Wei, Liu, ICLR 2024, arXiv:2310.12508.
Objective:  m_i = 1 where |sum_{D_f} d loss / d w_i| at w0 is among the largest share of all weights
            min over m * w of  mean_{D_f'} loss(w), then mean_{D_r} loss(w), an epoch each in turn, where D_f'
            is D_f with random labels                                  share of ones in m -> share
Deviations: 1. weights outside the mask stay exactly as they were; in the released code before 2026 momentum and
               weight decay moved them.
            2. the saliency sums rows, not batch means: a smaller last batch counts no more than others.
            3. "redraw" once an epoch has the distribution of the released draw per batch.
            4. normalisation statistics stay frozen.
Cost:       one gradient pass over forget for the mask, then `epochs` passes over forget and retain.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.relabel import REDRAW, label_stream
from expunge.methods.saliency import forget_saliency, top_share
from expunge.methods.search import Choice, Log, Search, Whole
from expunge.problem import Problem
from expunge.training import Batch, Run, descend, hold_outside


@dataclass(frozen=True, kw_only=True)
class Salun(Method):
    """Random labelling on the most salient weights."""

    paper: ClassVar = "arXiv:2310.12508"
    needs: ClassVar = frozenset({"retain", "forget_labels"})
    search: ClassVar[Search] = {"lr": Log(1e-5, 5e-2), "share": Choice((0.25, 0.5, 1.0)), "epochs": Whole(1, 5)}

    share: float = 0.5
    """Share of all weights that may move, in (0, 1]; 1 is `random_label` with order="alternate".
    (code: OPTML-Group/Unlearn-Saliency)"""
    epochs: int = 10
    """Passes over forget and over retain, >= 1. (code: OPTML-Group/Unlearn-Saliency, CIFAR-10, 10 % random)"""
    lr: float = 0.013
    """Step size, > 0; tied to ResNet-18 on CIFAR-10, users also report 6e-3.
    (code: OPTML-Group/Unlearn-Saliency)"""
    momentum: float = 0.9
    """In [0, 1). (code: OPTML-Group/Unlearn-Saliency)"""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0, on the masked weights. (code: OPTML-Group/Unlearn-Saliency)"""
    exclude_true: bool = False
    """Never draw a row's own label. (code: OPTML-Group/Unlearn-Saliency lets it be drawn)"""
    redraw: str = "epoch"
    """"once" or "epoch": when labels are drawn. (code: OPTML-Group/Unlearn-Saliency)"""

    def __post_init__(self) -> None:
        check("share", self.share, "in (0, 1]", 0 < self.share <= 1)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)
        check("exclude_true", self.exclude_true, "true or false", isinstance(self.exclude_true, bool))
        check("redraw", self.redraw, f"one of {', '.join(REDRAW)}", self.redraw in REDRAW)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Rank the weights, then descend on the relabelled rows with the others held."""
        model, task = deepcopy(problem.original).to(run.device), problem.recipe.task
        masks = top_share(forget_saliency(model, problem, run), self.share)
        run.notes["share_selected"] = {name: float(mask.float().mean()) for name, mask in masks.items()}

        def objective(batch: Batch) -> Tensor:
            return task.loss(model(batch.x), batch.y).mean()

        return descend(
            model,
            label_stream(
                problem,
                run,
                epochs=self.epochs,
                order="alternate",
                redraw=self.redraw,
                exclude_true=self.exclude_true,
            ),
            objective,
            run=run,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            after_step=hold_outside(model, masks),
        )
