"""Datamodel direct: no weight is changed; the outputs that gold would give are predicted by data attribution.

Source:     arXiv:2410.23232 (DM-direct). Reconstruction: the authors' file is not public.
Objective:  p(x) = f_0(x) + predicted change of f_0(x) when D_f is taken away      attribution -> estimator
Deviations: 1. any estimator of `expunge estimators` serves; the published one, regression on subset models, is
               "datamodel" and needs those models.
            2. the group correction of kernel estimators replaces the sum over rows.
            3. predictions are taken at their word: nothing is calibrated on held-out models.
            4. the public wrapper answers by position in the data set; here kernel estimators answer for any input, and
               regression for the inputs that its subset models were watched on.
Cost:       attribution's, once for all requests (in the notes), and the group solve for this one; no training.
Limits:     a prediction, not a model: it cannot be kept in a run folder, and it holds the original, which knows D_f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.methods.method import Method
from expunge.methods.prediction import counted, foretold
from expunge.problem import Problem
from expunge.training import Run


@dataclass(frozen=True, kw_only=True)
class DatamodelDirect(Method):
    """Predicted outputs in place of a changed model."""

    paper: ClassVar = "arXiv:2410.23232"
    needs: ClassVar = frozenset({"retain", "forget_labels"})
    makes_model: ClassVar = False

    estimator: str = "ekfac"
    """One of `expunge estimators`, with settings behind it if wanted: "influence:damping=0.1". (ours; the paper's is
    "datamodel", which needs subset models)"""

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """The original with the predicted change added to its outputs."""
        fitted = foretold(problem, run, self.estimator)
        before = fitted.cost.visits
        model = fitted.counterfactual(problem.forget)
        counted(fitted, before, run, len(problem.forget))
        return model
