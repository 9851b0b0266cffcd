"""Fine-tuning on retain: go on training without the forget rows and hope that they fade.

Source:     folklore; the baseline of every unlearning paper.
Objective:  that of the recipe, on D_r, from the original's weights.
Deviations: none.
Cost:       `steps` ordinary steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.errors import check
from expunge.gan.methods.method import GanMethod
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.gan.steps import duel_of, retain_steps


@dataclass(frozen=True, kw_only=True)
class FineTune(GanMethod):
    """Fine-tuning on retain."""

    paper: ClassVar = "folklore"
    needs: ClassVar = frozenset({"retain"})

    steps: int = 150
    """Ordinary steps of both nets, >= 0. (ours: as many as cascade takes)"""
    lr: float | None = None
    """Step size, > 0; by default the recipe's. (ours)"""

    def __post_init__(self) -> None:
        check("steps", self.steps, ">= 0", self.steps >= 0)
        check("lr", self.lr, "> 0", self.lr is None or self.lr > 0)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Go on training."""
        duel = duel_of(problem, run, self.steps, lr=self.lr)
        for step, (retain,) in enumerate(retain_steps(problem, run, self.steps).load(run.device)):
            run.note(step, self.steps, duel.learn(retain))
        return duel.finished()
