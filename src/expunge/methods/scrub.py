"""SCRUB and SCRUB+R: drive the student away from its teacher on forget, and keep it near on retain.

Source:     Kurmanji, Triantafillou, Hayes, Triantafillou, NeurIPS 2023, arXiv:2302.09880. From the equations.
Objective:  max epoch on D_f:  max_w  T^2 mean KL(p_w0 || p_w)
            min epoch on D_r:  min_w  alpha T^2 mean KL(p_w0 || p_w) + gamma mean loss(w)
            Epochs 1..msteps are a max epoch and then a min epoch, later ones min only; one optimiser over all.
            alpha -> alpha,  gamma -> gamma,  msteps -> msteps,  T -> temperature, which softens both sides
Rewind:     the paper's +R. A checkpoint after each epoch; the one is returned whose forget error is nearest the
            error on holdout rows with the forget rows' labels. Reconstruction: no code was released. The
            reference error is the final model's ("final") or each checkpoint's own ("per_epoch").
Deviations: 1. holdout rows are weighted to the forget rows' class shares, in place of a stratified draw.
            2. normalisation statistics stay frozen. At w = w0 the gradient of the KL is then 0 up to rounding,
               so that under plain SGD the first max epoch hardly moves; the climb happens in the later ones.
            3. the defaults are the small-scale preset with a weight decay of 5e-4 in place of 0.1, and with the
               recipe's batch size for both phases; the presets are as published.
            4. a regression task has its squared distance in the place of the KL.
Cost:       `epochs` passes over retain and `msteps` over forget, each also forward-only by the teacher; with
            rewind, forget and holdout forward-only once an epoch.
"""

from __future__ import annotations

from bisect import bisect_right
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from expunge.errors import check, unknown
from expunge.methods.method import Method
from expunge.methods.reference import matched, measured
from expunge.methods.search import Choice, Log, Search, Whole
from expunge.problem import Problem
from expunge.training import Batch, Run, Stream, descend
from expunge.training.optim import OPTIMIZERS

REFERENCES = ("final", "per_epoch")
FEW = 100
"""With fewer holdout rows than this, the reference error of a rewind is coarse."""


@dataclass(frozen=True, kw_only=True)
class Scrub(Method):
    """SCRUB; with `rewind`, SCRUB+R."""

    paper: ClassVar = "arXiv:2302.09880"
    needs: ClassVar = frozenset({"retain", "holdout"})
    search: ClassVar[Search] = {
        "lr": Log(1e-4, 1e-2),
        "alpha": Log(1e-3, 1.0),
        "epochs": Whole(3, 8),
        "msteps": Whole(1, 3),
        "decay_after": Choice(((),)),
    }
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "small_scale": {
            "optimizer": "adam", "lr": 5e-4, "epochs": 10, "msteps": 3, "alpha": 0.5, "gamma": 1.0,
            "temperature": 2.0, "batch_size": 32, "forget_batch_size": 64, "weight_decay": 0.1,
            "decay_after": (5, 8, 9),
        },
        "large_scale": {
            "optimizer": "sgd", "lr": 5e-4, "epochs": 3, "msteps": 2, "alpha": 0.001, "gamma": 0.99,
            "temperature": 4.0, "batch_size": 128, "forget_batch_size": 32, "weight_decay": 5e-4,
            "decay_after": (3, 5, 9),
        },
        "membership_attack": {
            "optimizer": "sgd", "lr": 5e-4, "epochs": 5, "msteps": 3, "alpha": 0.5, "gamma": 1.0,
            "temperature": 4.0, "batch_size": 32, "forget_batch_size": 16, "weight_decay": 5e-4,
            "decay_after": (3, 5, 9),
        },
        "confusion_small": {
            "optimizer": "adam", "lr": 5e-4, "epochs": 10, "msteps": 2, "alpha": 0.01, "gamma": 99.0,
            "temperature": 2.0, "batch_size": 32, "forget_batch_size": 32, "weight_decay": 0.1,
            "decay_after": (5, 6, 9),
        },
        "confusion_large": {
            "optimizer": "sgd", "lr": 5e-4, "epochs": 10, "msteps": 2, "alpha": 0.01, "gamma": 1.0,
            "temperature": 2.0, "batch_size": 32, "forget_batch_size": 32, "weight_decay": 5e-4,
            "decay_after": (7, 10, 10),
        },
    }  # fmt: skip
    """Settings of the authors' notebooks. (code: meghdadk/SCRUB)"""

    epochs: int = 10
    """Passes over retain, >= 1. (code: meghdadk/SCRUB, small scale)"""
    msteps: int = 3
    """First epochs that also climb on forget, in [0, epochs]. (code: meghdadk/SCRUB, small scale)"""
    alpha: float = 0.5
    """Weight of the teacher on retain, >= 0. (code: meghdadk/SCRUB, small scale)"""
    gamma: float = 1.0
    """Weight of the true labels on retain, >= 0. (code: meghdadk/SCRUB, small scale)"""
    temperature: float = 2.0
    """T > 0; the divergence is multiplied by T^2. (code: meghdadk/SCRUB, small scale)"""
    lr: float = 5e-4
    """Step size, > 0. (code: meghdadk/SCRUB)"""
    optimizer: str = "adam"
    """"sgd", "adam" or "adamw". (code: meghdadk/SCRUB, small scale)"""
    momentum: float = 0.9
    """Of "sgd", in [0, 1). (code: meghdadk/SCRUB, large scale)"""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0. (code: meghdadk/SCRUB, large scale; its small scale has 0.1)"""
    decay_after: tuple[int, ...] = (5, 8, 9)
    """Epochs, >= 1, after each of which lr falls to a tenth. (code: meghdadk/SCRUB, small scale)"""
    batch_size: int = 0
    """Retain rows a step, >= 1, or 0 for the recipe's. (ours; code: meghdadk/SCRUB, small scale has 32)"""
    forget_batch_size: int = 0
    """Forget rows a step, >= 1, or 0 for the recipe's. (ours; code: meghdadk/SCRUB, small scale has 64)"""
    rewind: bool = False
    """SCRUB+R: return the checkpoint whose forget error is nearest that of unseen rows. (paper)"""
    rewind_reference: str = "final"
    """"final" (paper) or "per_epoch" (ours): whose error on the holdout rows a rewind aims at."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "decay_after", tuple(self.decay_after))
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("msteps", self.msteps, f"in [0, {self.epochs}]", 0 <= self.msteps <= self.epochs)
        check("alpha", self.alpha, ">= 0", self.alpha >= 0)
        check("gamma", self.gamma, ">= 0", self.gamma >= 0)
        check("temperature", self.temperature, "> 0", self.temperature > 0)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("optimizer", self.optimizer, f"one of {', '.join(OPTIMIZERS)}", self.optimizer in OPTIMIZERS)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)
        check("decay_after", self.decay_after, "epochs >= 1", all(epoch >= 1 for epoch in self.decay_after))
        check("batch_size", self.batch_size, ">= 0", self.batch_size >= 0)
        check("forget_batch_size", self.forget_batch_size, ">= 0", self.forget_batch_size >= 0)
        check("rewind", self.rewind, "true or false", isinstance(self.rewind, bool))
        known = self.rewind_reference in REFERENCES
        check("rewind_reference", self.rewind_reference, f"one of {', '.join(REFERENCES)}", known)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:  # noqa: ANN401
        """The published settings of that name, with changes.

        Raises:
            ConfigError: no preset is called that.
        """
        if name not in cls.PRESETS:
            raise unknown("preset", name, cls.PRESETS, "expunge methods scrub")
        return cls(**{**cls.PRESETS[name], **changes})

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Alternate between the two objectives; rewind where asked."""
        student, task = deepcopy(problem.original), problem.recipe.task
        teacher = deepcopy(problem.original).to(run.device).eval()
        stream, ends = self.plan(problem, run)
        checkpoints = Checkpoints(problem, run) if self.rewind else None

        def objective(batch: Batch) -> Tensor:
            ours = student(batch.x)
            gap = task.divergence(ours, run.outputs(teacher, batch), self.temperature)  # [batch]
            gap = gap * self.temperature**2
            if batch.role == "forget":
                return -gap.mean()
            return self.alpha * gap.mean() + self.gamma * task.loss(ours, batch.y).mean()

        def after_step(step: int) -> None:
            if checkpoints and step + 1 in ends:
                checkpoints.keep(student)

        descend(
            student,
            stream,
            objective,
            run=run,
            lr=self.lr,
            optimizer_name=self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=lambda step: self.decay(bisect_right(ends, step)),
            after_step=after_step,
        )
        return checkpoints.rewind(student, self.rewind_reference) if checkpoints else student

    def decay(self, epoch: int) -> float:
        """Factor on lr in one epoch, counted from 0."""
        return 0.1 ** sum(epoch >= after for after in self.decay_after)

    def plan(self, problem: Problem, run: Run) -> tuple[Stream, list[int]]:
        """The stream of all epochs, and after how many steps each of them ends, `[epochs]`."""
        stream, ends = Stream(()), []
        for epoch in range(self.epochs):
            if epoch < self.msteps:
                stream += run.epochs(
                    "forget",
                    problem.rows,
                    problem.forget,
                    count=1,
                    first=epoch,
                    batch_size=self.forget_batch_size,
                )
            stream += run.epochs(
                "retain", problem.rows, problem.retain, count=1, first=epoch, batch_size=self.batch_size
            )
            ends.append(len(stream))
        return stream, ends


class Checkpoints:
    """The student after each epoch, with its error on forget and on holdout rows of the same labels."""

    def __init__(self, problem: Problem, run: Run) -> None:
        self.problem, self.run = problem, run
        self.at, self.weights = matched(problem)
        self.states: list[dict[str, Tensor]] = []
        self.forget_errors: list[float] = []
        self.holdout_errors: list[float] = []
        if len(self.at) < FEW:
            run.notes["warning"] = (
                f"rewind: expected {FEW} or more holdout rows with the forget rows' labels, got {len(self.at)}"
                "; the reference error is coarse"
            )

    def keep(self, student: nn.Module) -> None:
        """Store the student as it is, and measure it."""
        problem, correct = self.problem, self.problem.recipe.task.correct
        gone = measured(correct, student, problem.rows, problem.forget, self.run, "forget")
        unseen = measured(correct, student, problem.holdout, self.at, self.run, "holdout")
        self.states.append({name: value.detach().cpu().clone() for name, value in student.state_dict().items()})
        self.forget_errors.append(1 - float(gone.mean()))
        self.holdout_errors.append(1 - float((unseen * self.weights).sum()))

    def rewind(self, student: nn.Module, reference: str) -> nn.Module:
        """The student at the checkpoint whose forget error is nearest the reference."""
        final = self.holdout_errors[-1:] * len(self.states)
        best = nearest(self.forget_errors, final if reference == "final" else self.holdout_errors)
        self.run.notes |= {
            "forget_errors": self.forget_errors,
            "holdout_errors": self.holdout_errors,
            "returned_epoch": best + 1,
        }
        student.load_state_dict(self.states[best])
        return student


def nearest(errors: list[float], references: list[float]) -> int:
    """Where an error is nearest its reference, both `[epochs]`; of equals the last.

    Example:
        >>> nearest([0.1, 0.3, 0.5], [0.38, 0.38, 0.38])
        1
    """
    gaps = [abs(error - aim) for error, aim in zip(errors, references, strict=True)]
    return len(gaps) - 1 - gaps[::-1].index(min(gaps))
