"""Gradient ascent on the forget rows, with a bound: climbing stops where unseen rows would stand.

Source:     folklore (also "NegGrad"); the bounds are ours.
Objective:  max_w  mean_{D_f} min(loss(w), cap)                  cap -> cap; a row above it has no gradient
Stop rule:  the mean forget loss has reached the original's mean loss on holdout rows of the same classes.
Deviations: 1. bounded, where the published one climbs without end: stop="never" with unbounded=True does that.
            2. no momentum and no weight decay by default, both of which carry the weights on past the bound.
            3. normalisation statistics stay frozen; those of D_f alone would leak into the model.
Cost:       at most `epochs` passes over forget; the rule reads the matched holdout rows once, and all forget
            rows forward-only every `check_every` steps. No retain rows are read.
Failure:    for a whole class the holdout rule stops early, since the original knows unseen rows of that class
            well: use stop="cap". The cap ends the pull of a row, not its loss: rows still below it may carry
            others far above, so a large lr with stop="cap" can still ruin the model.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import ConfigError, check
from expunge.methods.method import Method
from expunge.methods.reference import matched, measured
from expunge.methods.search import Log, Search, Whole
from expunge.problem import Problem
from expunge.tasks import Task
from expunge.training import Batch, Run, descend
from expunge.training.cost import FORWARD_SHARE
from expunge.training.stream import cut

STOPS = ("holdout", "cap", "never")


@dataclass(frozen=True, kw_only=True)
class GradientAscent(Method):
    """Bounded gradient ascent on the forget rows."""

    paper: ClassVar = "folklore"
    needs: ClassVar = frozenset({"forget_labels", "holdout"})
    search: ClassVar[Search] = {"lr": Log(1e-4, 0.3), "epochs": Whole(1, 10)}

    stop: str = "holdout"
    """"holdout": at the loss of unseen rows; "cap": only the cap bounds each row; "never" needs
    `unbounded`. (ours)"""
    cap: float | None = None
    """Largest loss that a row is pushed to, > 0, nats; by default log(classes), where the model knows nothing
    of the row, and none for other tasks. (ours)"""
    epochs: int = 10
    """Most passes over forget, >= 1. (code: xcadet/deepunlearn; OPTML-Group/Unlearn-Sparse has 5)"""
    lr: float = 0.01
    """Step size, > 0; where nothing moves, the holdout rule bears 0.05 to 0.1 on small networks.
    (code: xcadet/deepunlearn; OPTML-Group/Unlearn-Sparse has 1e-4 for ResNet-18)"""
    clip: float | None = 1.0
    """Largest gradient norm, > 0, so no step is longer than lr times this without momentum. (ours)"""
    momentum: float = 0.0
    """In [0, 1). (ours; OPTML-Group/Unlearn-Sparse has 0.9)"""
    check_every: int = 1
    """Steps between two looks at the stop rule, >= 1; the loss overshoots by no more than these. (ours)"""
    unbounded: bool = False
    """Consent to stop="never", true or false: no cap and no stop rule; expect the model to collapse. (ours)"""

    def __post_init__(self) -> None:
        check("stop", self.stop, f"one of {', '.join(STOPS)}", self.stop in STOPS)
        check("cap", self.cap, "> 0", self.cap is None or self.cap > 0)
        check("epochs", self.epochs, ">= 1", self.epochs >= 1)
        check("lr", self.lr, "> 0", self.lr > 0)
        check("clip", self.clip, "> 0", self.clip is None or self.clip > 0)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("check_every", self.check_every, ">= 1", self.check_every >= 1)
        if self.stop == "never" and not self.unbounded:
            raise ConfigError(
                "stop: expected holdout or cap, got 'never' without unbounded=True",
                hint="unbounded ascent destroys the model; set unbounded=True if that is what you want to see",
            )
        if self.unbounded and (self.stop != "never" or self.cap is not None):
            raise ConfigError(
                f"unbounded: expected stop='never' and no cap, got stop={self.stop!r} and cap={self.cap}",
                hint="leave unbounded out for a bounded climb",
            )

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Climb until the rule, the cap or the last epoch."""
        model, task, cap = deepcopy(problem.original), problem.recipe.task, self.bound(problem.recipe.task)
        run.notes["cap"] = cap
        reference = math.inf
        if self.stop == "holdout":
            at, weights = matched(problem)
            reference = float((measured(task.loss, model, problem.holdout, at, run, "holdout") * weights).sum())
            run.notes["reference_loss"] = reference

        def reached() -> bool:
            losses = measured(task.loss, model, problem.rows, problem.forget, run, "forget")
            run.notes["forget_loss"] = now = float(losses.mean())
            return now >= reference

        def after_step(step: int) -> bool:
            return self.stop == "holdout" and (step + 1) % self.check_every == 0 and reached()

        def objective(forget: Batch) -> Tensor:
            return climb(task.loss(model(forget.x), forget.y), cap)

        if self.stop == "holdout" and reached():
            return model  # forget rows already look unseen
        return descend(
            model,
            run.epochs("forget", problem.rows, problem.forget, count=self.epochs),
            objective,
            run=run,
            lr=self.lr,
            momentum=self.momentum,
            clip=self.clip,
            after_step=after_step,
        )

    def most_visits(self, problem: Problem) -> float | None:
        """Those of a climb that the rule never stops."""
        if self.stop != "holdout":
            return None
        rows, batches = len(problem.forget), len(cut(problem.forget, problem.recipe.batch_size))
        looks = 1 + self.epochs * batches // self.check_every
        return self.epochs * rows + FORWARD_SHARE * (len(matched(problem)[0]) + looks * rows)

    def bound(self, task: Task) -> float:
        """The cap in force, nats.

        Raises:
            ConfigError: stop="cap" where neither the caller nor the task gives one.
        """
        if self.cap is not None:
            return self.cap
        if self.stop != "never" and task.kind == "classification":
            return math.log(task.width)
        check("cap", self.cap, f"a number > 0 for a {task.kind} task with stop='cap'", self.stop != "cap")
        return math.inf


def climb(losses: Tensor, cap: float) -> Tensor:
    """What is descended, from per-row losses `[batch]`: minus their mean, each counted up to `cap`."""
    return -losses.clamp(max=cap).mean()
