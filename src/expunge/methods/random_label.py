"""Random labelling: train on the forget rows under random labels, and on retain under the true ones.

Source:     Graves, Nagisetty, Ganesh, AAAI 2021, arXiv:2010.10981 (its "unlearning" variant; often called
            "amnesiac", which is the other, history-based algorithm of that paper).
Objective:  min_w  mean over D_r and D_f' of loss(w), where D_f' is D_f with labels drawn at random
                                                                    y' != y  ->  exclude_true
Deviations: 1. no draw per batch: a forget row is met once an epoch, so redraw="epoch" has that distribution.
            2. normalisation statistics stay frozen (public code differs among itself).
Cost:       `epochs` passes over forget and, unless order="forget", over retain.
Failure:    on a random forget set it over-forgets: accuracy there falls below that of unseen rows. Lower lr or
            epochs, or let the truth be drawn too (exclude_true=False).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.relabel import ORDERS, REDRAW, label_stream
from expunge.methods.search import Log, Search, Whole
from expunge.problem import Problem
from expunge.training import Batch, Run, descend
from expunge.training.optim import OPTIMIZERS


@dataclass(frozen=True, kw_only=True)
class RandomLabel(Method):
    """Random labelling of the forget rows."""

    paper: ClassVar = "arXiv:2010.10981"
    needs: ClassVar = frozenset({"retain", "forget_labels"})
    search: ClassVar[Search] = {"lr": Log(1e-5, 1e-2), "epochs": Whole(1, 5)}

    order: str = "mixed"
    """"mixed" (code: if-loops/selective-synaptic-dampening), "alternate": a forget epoch, then a retain epoch
    (code: OPTML-Group/Unlearn-Saliency), or "forget": the forget rows alone, retain is never read."""
    exclude_true: bool = True
    """Never draw a row's own label. (paper; code: if-loops/selective-synaptic-dampening)"""
    redraw: str = "once"
    """"once" or "epoch": when labels are drawn. (code: if-loops/selective-synaptic-dampening: once)"""
    epochs: int = 3
    """Passes, >= 1. (code: if-loops/selective-synaptic-dampening)"""
    lr: float = 1e-4
    """Step size, > 0; for "sgd" begin near 0.01. (code: if-loops/selective-synaptic-dampening, Adam)"""
    optimizer: str = "adam"
    """"sgd", "adam" or "adamw". (code: if-loops/selective-synaptic-dampening)"""
    momentum: float = 0.9
    """Of "sgd", in [0, 1). (code: OPTML-Group/Unlearn-Saliency)"""
    weight_decay: float = 0.0
    """L2 coefficient, >= 0. (code: if-loops/selective-synaptic-dampening)"""

    def __post_init__(self) -> None:
        check("order", self.order, f"one of {', '.join(ORDERS)}", self.order in ORDERS)
        check("exclude_true", self.exclude_true, "true or false", isinstance(self.exclude_true, bool))
        check("redraw", self.redraw, f"one of {', '.join(REDRAW)}", self.redraw in REDRAW)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("optimizer", self.optimizer, f"one of {', '.join(OPTIMIZERS)}", self.optimizer in OPTIMIZERS)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Descend on the rows with their new labels."""
        model, task = deepcopy(problem.original), problem.recipe.task

        def objective(batch: Batch) -> Tensor:
            return task.loss(model(batch.x), batch.y).mean()

        return descend(
            model,
            label_stream(
                problem,
                run,
                epochs=self.epochs,
                order=self.order,
                redraw=self.redraw,
                exclude_true=self.exclude_true,
            ),
            objective,
            run=run,
            lr=self.lr,
            optimizer_name=self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
