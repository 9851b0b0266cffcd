"""Retraining: a fresh model, trained on retain alone by the same recipe. Exact, and what all others save.

Source:     by definition; with `share` < 1 it is the retrain-compute curve that every method has to beat.
Objective:  that of the recipe, on D_r.
Deviations: none.
Cost:       `share` of one retraining.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from expunge.errors import check
from expunge.methods.method import Method
from expunge.problem import Problem
from expunge.seeds import derive
from expunge.training import Run, train


@dataclass(frozen=True, kw_only=True)
class Retrain(Method):
    """Retraining from scratch on retain."""

    paper: ClassVar = "by definition"
    needs: ClassVar = frozenset({"retain"})
    status: ClassVar = "exact"

    share: float = 1.0
    """Share of the recipe's epochs, in (0, 1]; at least one epoch is trained."""

    def __post_init__(self) -> None:
        check("share", self.share, "in (0, 1]", 0 < self.share <= 1)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Train a fresh model on retain."""
        epochs = max(1, round(self.share * problem.recipe.epochs))
        recipe = replace(problem.recipe, epochs=epochs)
        anew = replace(run, seed=derive(run.seed, "retrain"))  # not where an original of the same seed began
        return train(recipe, problem.rows, problem.retain, anew, role="retain").model
