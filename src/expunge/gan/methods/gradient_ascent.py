"""Gradient ascent: climb the discriminator's own loss on forget rows. The naive baseline.

Source:     folklore.
Objective:  D:  max  mean_{D_f} softplus(-D(x))          G:  in ordinary training against that D
Deviations: the discriminator's loss on its fakes stays as it is, else nothing would hold it.
Cost:       `steps` steps on forget rows; no retain row is read.

The loss has no upper bound: where the discriminator ends is a matter of `steps` and `lr` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.errors import check
from expunge.gan.methods.method import GanMethod
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.gan.steps import duel_of, forget_steps


@dataclass(frozen=True, kw_only=True)
class GradientAscent(GanMethod):
    """Gradient ascent on forget."""

    paper: ClassVar = "folklore"
    needs: ClassVar = frozenset({"forget"})

    steps: int = 20
    """Steps of both nets, >= 0. (ours)"""
    lr: float | None = None
    """Step size, > 0; by default the recipe's. (ours)"""

    def __post_init__(self) -> None:
        check("steps", self.steps, ">= 0", self.steps >= 0)
        check("lr", self.lr, "> 0", self.lr is None or self.lr > 0)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Climb."""
        duel = duel_of(problem, run, self.steps, lr=self.lr)
        for step, (forget,) in enumerate(forget_steps(problem, run, self.steps).load(run.device)):
            run.note(step, self.steps, duel.learn(forget, of_real=-1.0))
        return duel.finished()
