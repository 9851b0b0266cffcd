"""Bad teacher: the student follows a network that knows nothing on forget, and the original on retain.

Source:     Chundawat, Tarun, Mandal, Kankanhalli, AAAI 2023, arXiv:2205.08096.
Objective:  min_w  mean over D_f and a share of D_r of KL(target || p_w), where
            target = p of a freshly initialised network on D_f       T_d, the incompetent teacher
            target = p of the original on D_r                        T_s, the competent teacher
            both softened by                                         T -> temperature
Deviations: 1. the divergence is summed over classes and averaged over rows; the released code also divides by
               the number of classes, which changes the step size with their number.
            2. normalisation statistics stay frozen and dropout is on; the released loop never sets the mode.
            3. regression teachers are followed by squared distance, the task's own divergence.
Cost:       `epochs` passes over forget and `retain_share` of retain, each also forward-only by its teacher.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices
from expunge.errors import check
from expunge.methods.method import Method
from expunge.methods.search import Choice, Log, Search, Whole
from expunge.problem import Problem
from expunge.seeds import derive, generator
from expunge.training import Batch, Run, descend, input_shape, member_mask
from expunge.training.optim import OPTIMIZERS


@dataclass(frozen=True, kw_only=True)
class BadTeacher(Method):
    """A student of two teachers, one of which knows nothing."""

    paper: ClassVar = "arXiv:2205.08096"
    needs: ClassVar = frozenset({"retain"})
    search: ClassVar[Search] = {"lr": Log(1e-5, 1e-2), "epochs": Whole(1, 5), "retain_share": Choice((0.3, 1.0))}

    retain_share: float = 0.3
    """Share of retain that is used, in (0, 1], drawn once. (code: vikram2000b/bad-teaching-unlearning)"""
    temperature: float = 1.0
    """T > 0. (code: vikram2000b/bad-teaching-unlearning)"""
    epochs: int = 1
    """Passes over the mixture, >= 1. (code: vikram2000b/bad-teaching-unlearning; pretrained networks. A small
    network trained from scratch needs more, or a larger lr)"""
    lr: float = 1e-4
    """Step size, > 0. (code: vikram2000b/bad-teaching-unlearning)"""
    optimizer: str = "adam"
    """"sgd", "adam" or "adamw". (code: vikram2000b/bad-teaching-unlearning)"""
    weight_decay: float = 0.0
    """L2 coefficient, >= 0. (code: vikram2000b/bad-teaching-unlearning)"""

    def __post_init__(self) -> None:
        check("retain_share", self.retain_share, "in (0, 1]", 0 < self.retain_share <= 1)
        check("temperature", self.temperature, "> 0", self.temperature > 0)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("optimizer", self.optimizer, f"one of {', '.join(OPTIMIZERS)}", self.optimizer in OPTIMIZERS)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Follow both teachers over shuffled mixtures."""
        student, task = deepcopy(problem.original), problem.recipe.task
        competent = deepcopy(problem.original).to(run.device).eval()
        blank = problem.recipe.fresh(input_shape(problem.rows), derive(run.seed, "bad teacher"))
        incompetent = blank.to(run.device).eval()
        gone = member_mask(problem.rows, problem.forget)

        def objective(mixed: Batch) -> Tensor:
            ours = student(mixed.x)
            target = torch.empty_like(ours, dtype=torch.float32)
            for role, teacher, where in (
                ("forget", incompetent, gone[mixed.indices]),
                ("retain", competent, ~gone[mixed.indices]),
            ):
                at = torch.as_tensor(np.flatnonzero(where), device=mixed.x.device)
                if len(at):
                    part = Batch(mixed.x[at], mixed.y[at], mixed.indices[where], role)
                    target[at] = run.outputs(teacher, part)
            return task.divergence(ours, target, self.temperature).mean()

        kept = share_of(problem.retain, self.retain_share, run.seed)
        return descend(
            student,
            run.mixed(problem.rows, kept, problem.forget, epochs=self.epochs),
            objective,
            run=run,
            lr=self.lr,
            optimizer_name=self.optimizer,
            weight_decay=self.weight_decay,
        )


def share_of(indices: Indices, share: float, seed: int) -> Indices:
    """A random share of `indices` `[n]`, at least one of them, sorted."""
    at = torch.randperm(len(indices), generator=generator(seed, "retain share")).numpy()
    return np.sort(indices[at[: max(1, round(share * len(indices)))]])
