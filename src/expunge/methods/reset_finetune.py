"""Reset and fine-tune: disturb a part of the network, then repair it on retain. One method, many settings.

Source:     the family of the winners of the NeurIPS 2023 unlearning challenge, as surveyed in
            arXiv:2410.01276 (2024). A preset is a reconstruction from a table of its steps, not a port.
Objective:  `cycles` times: w <- perturbation of the weights that `selector` picks; then
            min_w mean_{D_r} objective(w, w0) for `epochs` passes, from there.
Presets:    msg   re-initialise the 30 % of weights with the smallest gradient of loss(D_r) - loss(D_f)
            ct    transpose all convolution kernels
            cfw   add strong noise to the first kernel
            prmq  re-initialise the 99 % smallest weights; match entropies; round to float16 at the end
            kde   reset the first and the last layer; distil on holdout rows, then on retain (an audit must
                  then draw its unseen rows elsewhere)
            cyc   re-initialise random layers and imitate the original's outputs on noisy retain rows, thrice
Deviations: 1. all: SGD with momentum 0.9 and the recipe's batch size; no augmentation; running statistics go
               on; new weights come from the architecture's own initialiser.
            2. msg: dense layers take part beside convolutions; weights outside the selection of their tensor
               learn at 0.1 of the rate, other tensors (biases, normalisation) at the full rate.
            3. cfw: no class weights (in public code they have no effect on a row) and no faint noise before
               the last epoch; on models without convolutions the first dense layer is disturbed.
            4. prmq: 3 epochs for 3.2; no class weights, which are all equal for balanced classes.
            5. kde: one step size for both phases (0.0009 and 0.001 there); the sum of soft cross-entropy and
               KL is twice the KL up to a constant; the softened terms are multiplied by T^2.
            6. cyc: share, noise, epochs and step size are ours.
            7. two more winners are algorithms of their own and no presets of this one: contrastive forget rounds
               without a reset (method `fcs`), and a new choice of tensors to train and of noise every epoch
               (method `rni`).
            Published step sizes belong to a ResNet-18 and thousands of steps. On a small problem all but msg
            and cfw leave the network broken at them: raise lr.
Cost:       `cycles` * `epochs` passes over retain; msg adds one pass over D_f and as many retain rows; kde adds
            passes over holdout. Teachers' forward passes count. The notes hold the share of one retraining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, Rows
from expunge.errors import ConfigError, check
from expunge.methods.method import Method
from expunge.methods.objectives import OBJECTIVES, softened
from expunge.methods.presets import FROM_PRESET, PRESETS, fill
from expunge.methods.resets import PERTURBATIONS, SELECTORS, Masks, disturb
from expunge.methods.share import note_share
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.training import Batch, Run, descend
from expunge.training.optim import SCHEDULES

MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class ResetFineTune(Method):
    """Reset and fine-tune: a preset names a full configuration, of which any setting can be replaced."""

    paper: ClassVar = "arXiv:2410.01276"
    needs: ClassVar = frozenset({"retain", "forget_labels", "holdout"})  # labels: msg; holdout: kde

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = PRESETS
    """Name -> every other setting. (code: xcadet/deepunlearn; see Deviations)"""

    preset: str = field(default="msg", compare=False)
    """"msg", "ct", "cfw", "prmq", "kde" or "cyc": where every setting that is not given comes from."""
    selector: str = FROM_PRESET
    """Which weights are disturbed: "small_gradient", "small_magnitude", "random_weights", "random_layers",
    "ends" (first and last layer), "first" or "convolutions"."""
    share: float = FROM_PRESET
    """Share of weights, or of layers for "random_layers", that is disturbed, in (0, 1]; no effect with "ends",
    "first" and "convolutions"."""
    perturbation: str = FROM_PRESET
    """"reinitialise", "add_noise", "transpose" (of square kernels), "shuffle" or "none"."""
    noise: float = FROM_PRESET
    """Standard deviation of "add_noise", in units of the weights, >= 0."""
    objective: str = FROM_PRESET
    """"loss", "distil" (+ 2 KL to the original), "mimic" (squared error to its outputs) or "match_entropy"."""
    temperature: float = FROM_PRESET
    """That softens both sides of "distil" and of the holdout phase, > 0."""
    input_noise: float = FROM_PRESET
    """Standard deviation of noise on the inputs, in units of the inputs, >= 0."""
    cycles: int = FROM_PRESET
    """Times that reset and repair are gone through, >= 1."""
    epochs: int = FROM_PRESET
    """Passes over retain per cycle, >= 0; 0 leaves the model as disturbed."""
    holdout_epochs: int = FROM_PRESET
    """Passes of distillation over holdout before those over retain, >= 0. An audit must then use other rows."""
    kept_rate: float = FROM_PRESET
    """Factor, in [0, 1], on gradients of weights left alone in tensors of which a part was disturbed."""
    lr: float = FROM_PRESET
    """Step size, > 0."""
    schedule: str = FROM_PRESET
    """"constant", "cosine", "linear" or "triangle", anew in each cycle."""
    weight_decay: float = FROM_PRESET
    """L2 coefficient, >= 0."""
    half: bool = FROM_PRESET
    """Whether the finished weights are rounded to float16."""

    def __post_init__(self) -> None:
        fill(self, self.preset, self.PRESETS)
        kinds = ("none", *PERTURBATIONS)
        check("selector", self.selector, f"one of {', '.join(SELECTORS)}", self.selector in SELECTORS)
        check("share", self.share, "in (0, 1]", 0 < self.share <= 1)
        check("perturbation", self.perturbation, f"one of {', '.join(kinds)}", self.perturbation in kinds)
        check("noise", self.noise, ">= 0", self.noise >= 0)
        check("objective", self.objective, f"one of {', '.join(OBJECTIVES)}", self.objective in OBJECTIVES)
        check("temperature", self.temperature, "> 0", self.temperature > 0)
        check("input_noise", self.input_noise, ">= 0", self.input_noise >= 0)
        check("cycles", self.cycles, ">= 1", self.cycles >= 1)
        check("epochs", self.epochs, ">= 0", self.epochs >= 0)
        check("holdout_epochs", self.holdout_epochs, ">= 0", self.holdout_epochs >= 0)
        check("kept_rate", self.kept_rate, "in [0, 1]", 0 <= self.kept_rate <= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("schedule", self.schedule, f"one of {', '.join(SCHEDULES)}", self.schedule in SCHEDULES)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Disturb and repair, `cycles` times."""
        check_fit(self.objective, problem)
        model = deepcopy(problem.original).to(run.device).eval().requires_grad_()
        teacher = deepcopy(model)
        run.notes["selected"] = []
        for cycle in range(self.cycles):
            masks: Masks = {}
            if self.perturbation != "none":
                masks = SELECTORS[self.selector](model, problem, run, self.share, cycle)
                share = disturb(model, masks, self.perturbation, self.noise, problem, run, cycle)
                run.notes["selected"].append(share)
            with slowed(model, masks, self.kept_rate):
                self.repair(model, teacher, problem, run, cycle)
        note_share(problem, run, "cycles or epochs")
        return model.half().float() if self.half else model

    def repair(self, model: nn.Module, teacher: nn.Module, problem: Problem, run: Run, cycle: int) -> None:
        """Descend on holdout rows if wanted, then on retain; `model` moves in place."""
        task, draw = problem.recipe.task, generator(run.seed, "input_noise", cycle)

        def imitate(holdout: Batch) -> Tensor:
            return softened(task, model(holdout.x), run.outputs(teacher, holdout), self.temperature).mean()

        def objective(retain: Batch) -> Tensor:
            seen = noisy(retain, self.input_noise, draw)
            outputs = model(seen.x)
            taught = outputs if self.objective == "loss" else run.outputs(teacher, seen)
            return OBJECTIVES[self.objective](task, outputs, seen.y, taught, self.temperature).mean()

        phases: list[tuple[str, Rows, Indices, int, Callable[[Batch], Tensor]]] = [
            ("holdout", problem.holdout, np.arange(len(problem.holdout)), self.holdout_epochs, imitate),
            ("retain", problem.rows, problem.retain, self.epochs, objective),
        ]
        for role, rows, indices, count, aim in phases:
            if count:
                descend(
                    model,
                    run.epochs(role, rows, indices, count=count, first=cycle * count),
                    aim,
                    run=run,
                    lr=self.lr,
                    momentum=MOMENTUM,
                    weight_decay=self.weight_decay,
                    schedule=self.schedule,
                    statistics="running",
                )
                run.notes[f"{role}_rows_trained_on"] = len(indices)


def check_fit(objective: str, problem: Problem) -> None:
    """The problem has what the settings ask for.

    Raises:
        ConfigError: entropies are to be matched, and the task is no classification.
    """
    kind = problem.recipe.task.kind
    if objective == "match_entropy" and kind != "classification":
        raise ConfigError(f"objective 'match_entropy': expected a classification problem, got {kind}")


def noisy(batch: Batch, noise: float, source: torch.Generator) -> Batch:
    """The batch with N(0, noise^2) on its inputs."""
    if noise == 0:
        return batch
    return replace(batch, x=batch.x + noise * torch.randn(batch.x.shape, generator=source).to(batch.x.device))


@contextmanager
def slowed(model: nn.Module, masks: Masks, rate: float) -> Iterator[None]:
    """While the context lasts, gradients outside the masks, of parameters that have one, shrink by `rate`."""

    def scaled(mask: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: torch.where(mask, gradient, rate * gradient)

    hooks = [
        p.register_hook(scaled(masks[name]))  # type: ignore[no-untyped-call]
        for name, p in model.named_parameters()
        if name in masks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
