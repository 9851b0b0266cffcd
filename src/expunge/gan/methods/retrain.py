"""Retraining: a fresh pair, trained on retain alone by the same recipe. Exact, and what all others save.

Source:     by definition; with `share` < 1 it is the curve of quality against cost that every method has to beat.
Objective:  that of the recipe, on D_r.
Deviations: none.
Cost:       `share` of one retraining.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from expunge.errors import check
from expunge.gan.fit import fit_pair
from expunge.gan.methods.method import GanMethod
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Retrain(GanMethod):
    """Retraining from scratch on retain."""

    paper: ClassVar = "by definition"
    needs: ClassVar = frozenset({"retain"})
    status: ClassVar = "exact"

    share: float = 1.0
    """Share of the recipe's epochs, in (0, 1]; at least one epoch is trained."""

    def __post_init__(self) -> None:
        check("share", self.share, "in (0, 1]", 0 < self.share <= 1)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Train a fresh pair on retain."""
        recipe = replace(problem.recipe, epochs=max(1, round(self.share * problem.recipe.epochs)))
        anew = replace(run, seed=derive(run.seed, "retrain"))  # not where an original of the same seed began
        return fit_pair(recipe, problem.rows, problem.retain, seed=anew.seed, run=anew, role="retain").pair
