"""EU-k: initialise the last k layers anew and train them on retain by the recipe, holding the others.

Source:     Goel, Prabhu, Sanyal, Lim, Torr, Kumaraguru, 2022, arXiv:2201.06640 ("exact" unlearning, k).
Objective:  min over the last k layers of mean_{D_r} loss(w), from a fresh initialisation of these layers.
Deviations: 1. k counts the modules that hold parameters of their own (normalisation included), from the
               output; published code names blocks of one architecture. The notes list them.
            2. trained by the recipe of the original (its optimiser, schedule and augmentation), so that all
               layers is retraining; published code uses a rate of 0.01 with three drops and no decay.
Cost:       `share` of one retraining in visits: by default as much as retraining, though no gradient passes
            below the last k layers. Only a smaller `share` saves visits.
Not exact:  in spite of its name; the held layers keep what they learned from the forget rows.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.errors import check
from expunge.methods.layers import last_layers, newborn, only, reset
from expunge.methods.method import Method
from expunge.problem import Problem
from expunge.training import Batch, Run, follow


@dataclass(frozen=True, kw_only=True)
class EuK(Method):
    """EU-k: the last k layers, initialised anew and trained on retain."""

    paper: ClassVar = "arXiv:2201.06640"
    needs: ClassVar = frozenset({"retain"})

    k: int = 1
    """Layers that start anew, >= 1, counted from the output; all of them is retraining. (code:
    OPTML-Group/Unlearn-WorstCase)"""
    share: float = 1.0
    """Share of the recipe's epochs, in (0, 1]; at least one is trained. (code: meghdadk/SCRUB notebooks, all;
    OPTML-Group/Unlearn-WorstCase, 10 epochs)"""

    def __post_init__(self) -> None:
        check("k", self.k, ">= 1", self.k >= 1)
        check("share", self.share, "in (0, 1]", 0 < self.share <= 1)

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Reset the last layers, then train them as the recipe does."""
        model, recipe = deepcopy(problem.original).to(run.device), problem.recipe
        part = last_layers(model, self.k)
        run.notes["layers"] = part.layers
        reset(part, newborn(problem, run))
        moving, count = part.together(), max(1, round(self.share * recipe.epochs))

        def objective(retain: Batch) -> Tensor:
            return recipe.task.loss(model(retain.x), retain.y).mean()

        with only(model, moving):
            stream = run.epochs("retain", problem.rows, problem.retain, count=count)
            follow(recipe, moving, stream, objective, run)
        return model
