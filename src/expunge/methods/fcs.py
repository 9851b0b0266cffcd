"""FCS: flatten the forget predictions, then take turns between contrastive forget rounds and retain rounds.

Source:     a winner of the NeurIPS 2023 unlearning challenge, as surveyed in arXiv:2410.01276 (2024).
            Reconstruction from a table of its steps, not a port.
Objective:  (a) min_w  mean_{D_f} KL(uniform || p_w)                          `uniform_epochs` passes
            (b) `rounds` times, a forget pass and then a retain pass:
                min_w  -mean_{i, j} log softmax_j(f_i . sg(r_j) / tau)        f_i, r_j: outputs (logits) on a forget
                                                                              and on a retain batch
                min_w  mean_{D_r} loss(w)
            E -> rounds,  tau -> temperature,  sg: no gradient passes
Deviations: 1. the table names no positive pair. It is read as written: a mean over the whole matrix of forget and
               retain rows, so that every retain row of the batch counts as a positive of every forget row. The
               least value, log(retain batch), is reached where a forget row is equally near to all of them. The
               other reading, row i of one batch with row i of the other, has the same mean over random pairings.
            2. outputs enter the products as they are, not scaled to length 1.
            3. every forget batch meets its own random retain batch, full even when |D_f| is smaller.
            4. the recipe's batch size for the 256 there; `retain_lr` grows with it (0.004 at 256, as published).
            5. SGD with momentum 0.9 in all phases (the table says so for (a) alone), begun anew in each pass; the
               cosine runs over the forget steps of all rounds. No augmentation.
            6. normalisation statistics move in retain passes only, so that none are of forget rows alone.
            Published step sizes belong to a ResNet-18 and thousands of steps. A small problem stays whole at them,
            but its forget rows are answered nearly as before: raise uniform_lr and forget_lr.
Cost:       `uniform_epochs` + `rounds` passes over forget and `rounds` over retain, and in each round a retain batch
            forward-only for every forget batch. The notes hold the share of one retraining.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from expunge.errors import ConfigError, check
from expunge.methods.method import Method
from expunge.methods.share import note_share
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.training import Batch, Run, descend
from expunge.training.optim import rate

LR_ROWS = 64
"""Batch size to which `retain_lr` belongs."""


@dataclass(frozen=True, kw_only=True)
class Fcs(Method):
    """Uniform predictions on forget first, then contrastive forget rounds in turn with retain rounds."""

    paper: ClassVar = "arXiv:2410.01276"
    needs: ClassVar = frozenset({"retain"})

    uniform_epochs: int = 1
    """Passes over forget towards uniform predictions, >= 0. (code: xcadet/deepunlearn)"""
    uniform_lr: float = 0.005
    """Step size of these passes, > 0. (code: xcadet/deepunlearn; see Deviations for small networks)"""
    rounds: int = 8
    """E, forget passes that are each followed by a retain pass, >= 0. (code: xcadet/deepunlearn)"""
    temperature: float = 1.15
    """tau > 0, which divides the products of outputs. (code: xcadet/deepunlearn)"""
    forget_lr: float = 3e-4
    """First step size of the forget passes, > 0. (code: xcadet/deepunlearn; see Deviations for small networks)"""
    forget_lr_end: float = 1e-6
    """Step size to which it falls by a cosine over all rounds, in [0, forget_lr]. (code: xcadet/deepunlearn)"""
    retain_lr: float = 0.001
    """Step size of the retain passes at 64 rows a batch, > 0; in proportion at others. (code: xcadet/deepunlearn)"""
    weight_decay: float = 0.01
    """L2 coefficient of the retain passes, >= 0. (code: xcadet/deepunlearn)"""
    momentum: float = 0.9
    """Of all phases, in [0, 1). (code: xcadet/deepunlearn for the first; ours for the others)"""

    def __post_init__(self) -> None:
        check("uniform_epochs", self.uniform_epochs, ">= 0", self.uniform_epochs >= 0)
        check("uniform_lr", self.uniform_lr, "> 0", self.uniform_lr > 0)
        check("rounds", self.rounds, ">= 0", self.rounds >= 0)
        check("temperature", self.temperature, "> 0", self.temperature > 0)
        check("forget_lr", self.forget_lr, "> 0", self.forget_lr > 0)
        inside = 0 <= self.forget_lr_end <= self.forget_lr
        check("forget_lr_end", self.forget_lr_end, f"in [0, {self.forget_lr:g}], which is forget_lr", inside)
        check("retain_lr", self.retain_lr, "> 0", self.retain_lr > 0)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Flatten, then alternate."""
        kind = problem.recipe.task.kind
        if kind != "classification":
            raise ConfigError(f"fcs: expected a classification problem, got {kind}")
        model = deepcopy(problem.original).to(run.device).eval()
        self.flatten(model, problem, run)
        for turn in range(self.rounds):
            self.push(model, problem, run, turn)
            self.repair(model, problem, run, turn)
        note_share(problem, run, "rounds")
        return model

    def flatten(self, model: nn.Module, problem: Problem, run: Run) -> None:
        """Bring predictions on forget near to uniform; `model` moves in place."""
        task = problem.recipe.task

        def objective(forget: Batch) -> Tensor:
            outputs = model(forget.x)
            return task.divergence(outputs, torch.zeros_like(outputs)).mean()  # equal logits: uniform

        descend(
            model,
            run.epochs("forget", problem.rows, problem.forget, count=self.uniform_epochs),
            objective,
            run=run,
            lr=self.uniform_lr,
            momentum=self.momentum,
        )

    def push(self, model: nn.Module, problem: Problem, run: Run, turn: int) -> None:
        """One contrastive pass over forget, the round `turn` from 0; `model` moves in place."""
        source = generator(run.seed, "fcs/retain", turn)
        stream = run.epochs("forget", problem.rows, problem.forget, count=1, first=self.uniform_epochs + turn)
        floor, before, steps = self.forget_lr_end / self.forget_lr, turn * len(stream), self.rounds * len(stream)

        def objective(forget: Batch) -> Tensor:
            gone = model(forget.x)  # first: casts of weights that autocast keeps must be casts with gradients
            some = torch.randperm(len(problem.retain), generator=source)[: run.batch_size].numpy()
            at = problem.retain[some]
            kept = run.outputs(model, Batch(*problem.rows.batch(at, run.device), at, "retain"))
            return contrast(gone, kept, self.temperature)

        descend(
            model,
            stream,
            objective,
            run=run,
            lr=self.forget_lr,
            momentum=self.momentum,
            schedule=lambda step: floor + (1 - floor) * rate("cosine", before + step, steps),
        )

    def repair(self, model: nn.Module, problem: Problem, run: Run, turn: int) -> None:
        """One pass over retain, the round `turn` from 0; `model` moves in place."""

        def objective(retain: Batch) -> Tensor:
            return problem.recipe.task.loss(model(retain.x), retain.y).mean()

        descend(
            model,
            run.epochs("retain", problem.rows, problem.retain, count=1, first=turn),
            objective,
            run=run,
            lr=self.retain_lr * run.batch_size / LR_ROWS,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            statistics="running",
        )


def contrast(gone: Tensor, kept: Tensor, temperature: float) -> Tensor:
    """The forget rounds' loss in nats, from outputs `[forget, width]` and `[retain, width]`, the latter held.

    Example:
        >>> contrast(torch.zeros(1, 3), torch.ones(2, 3), 1.0)  # log(2): equally near to both
        tensor(0.6931)
    """
    return -log_softmax(gone @ kept.detach().to(gone.dtype).T / temperature, -1).mean()
