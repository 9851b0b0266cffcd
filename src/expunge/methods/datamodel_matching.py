"""Datamodel matching: predict by data attribution what gold would put out, then fine-tune towards it.

Source:     arXiv:2410.23232 (DMM). Reconstruction: the authors' file is not public; settings and losses follow a
            description of it.
Objective:  p(x) = f_0(x) + predicted change of f_0(x) when D_f is taken away      attribution -> estimator
            min_w  mean over the stream and the outputs of (f_w(x) - p(x))^2
            the stream of an epoch: D_f forget_times over and retain_times |D_f| rows of D_r, in one shuffled mixture
Presets:    published   as the authors' scripts for CIFAR-10: one draw of retain rows, all alike, no stop
            ours        retain rows drawn anew for every pass, those more that are predicted to change more;
                        group-corrected targets; stops where the forget rows are as near to their targets as the
                        targets are to the truth by the attribution's own error, if it tells one (EK-FAC does not,
                        and all passes are run); more steps, the last ones small
            "published" predicts by regression on subset models, which the problem must hold; "ours" by EK-FAC, which
            needs the model alone. Any estimator of `expunge estimators` serves either.
Deviations: 1. the published regression is LASSO or a difference of means on thousands of models, "datamodel" is ridge.
            2. statistics of normalisation stay frozen; the published runs let them go ("running").
            3. predictions are taken at their word: nothing is calibrated on held-out models, which would cost more than
               the method does.
Cost:       epochs (forget_times + retain_times) |D_f| visits, and the prediction on these rows; with affected on all of
            D_r. The fit of the attribution, subset models included, serves every later request too: it stands apart
            in the notes, whole and spread over 20 requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from expunge.attribution import Removal
from expunge.data import Indices
from expunge.errors import check
from expunge.methods.matching import by_change, check_matching, match, passes, settings_of
from expunge.methods.method import Method
from expunge.methods.prediction import counted, foretold
from expunge.methods.presets import FROM_PRESET, fill
from expunge.methods.search import Choice, Log, Search, Whole
from expunge.problem import Problem
from expunge.training import Run, predict

PUBLISHED: dict[str, Any] = {
    "estimator": "datamodel",
    "epochs": 4,
    "lr": 1e-4,
    "decay": 0.95,
    "batch_size": 512,
    "forget_times": 5.0,
    "retain_times": 20.0,
    "fresh": False,
    "affected": False,
    "stop": False,
    "optimizer": "adam",
    "statistics": "frozen",
}
OURS = PUBLISHED | {
    "estimator": "ekfac",
    "epochs": 8,
    "lr": 2e-3,
    "decay": 0.8,
    "batch_size": 16,
    "forget_times": 1.0,
    "retain_times": 5.0,
    "fresh": True,
    "affected": True,
    "stop": True,
}


@dataclass(frozen=True, kw_only=True)
class DatamodelMatching(Method):
    """Fine-tuning towards predicted outputs."""

    paper: ClassVar = "arXiv:2410.23232"
    needs: ClassVar = frozenset({"retain", "forget_labels"})
    search: ClassVar[Search] = {"preset": Choice(("ours",)), "lr": Log(1e-4, 1e-2), "epochs": Whole(2, 12)}

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"published": PUBLISHED, "ours": OURS}
    """Name -> every other setting."""

    preset: str = field(default="published", compare=False)
    """"published" (code: RoyRin/data-unlearning-bench) or "ours": where every setting that is not given comes from."""
    estimator: str = FROM_PRESET
    """One of `expunge estimators`, with settings behind it if wanted: "ekfac:share=1". (paper: "datamodel")"""
    epochs: int = FROM_PRESET
    """Passes over the stream, >= 1."""
    lr: float = FROM_PRESET
    """Step size of the first pass, > 0."""
    decay: float = FROM_PRESET
    """Factor on the step size from pass to pass, in (0, 1]."""
    batch_size: int = FROM_PRESET
    """Rows a step, >= 1."""
    forget_times: float = FROM_PRESET
    """How often each forget row stands in a pass, > 0; a fraction is drawn."""
    retain_times: float = FROM_PRESET
    """Retain rows in a pass, per forget row, >= 0."""
    fresh: bool = FROM_PRESET
    """Whether retain rows are drawn anew for every pass. (ours: true)"""
    affected: bool = FROM_PRESET
    """Whether retain rows are drawn in proportion to how much they are predicted to change. (ours: true)"""
    stop: bool = FROM_PRESET
    """Whether to stop once the forget rows are as near to their targets as these are known. (ours: true) Estimators
    fitted on subset models tell how near that is; others do not, every pass is run, and the notes say so."""
    optimizer: str = FROM_PRESET
    """"sgd", "adam" or "adamw"."""
    statistics: str = FROM_PRESET
    """"frozen" (ours) or "running" (code: RoyRin/data-unlearning-bench): statistics of normalisation layers."""

    def __post_init__(self) -> None:
        fill(self, self.preset, self.PRESETS)
        check_matching(settings_of(self))
        for name in ("affected", "stop"):
            check(name, getattr(self, name), "true or false", isinstance(getattr(self, name), bool))

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Predict, then match."""
        own, gone = settings_of(self), problem.forget
        fitted = foretold(problem, run, self.estimator)

        def predicted(at: Indices) -> Removal:
            before = fitted.cost.visits
            found = fitted.removal(gone, problem.rows.take(at))
            counted(fitted, before, run, len(at))
            return found

        def targets(at: Indices) -> Tensor:
            return torch.as_tensor(predicted(at).logits).float()

        weights = by_change(torch.as_tensor(predicted(problem.retain).change)) if self.affected else None
        foreseen = predicted(gone)
        aim, near = torch.as_tensor(foreseen.logits).float(), float(foreseen.error.mean())
        run.notes |= {"predicted_change": float((aim - predict(problem.original, problem.rows, gone)).abs().mean())}
        run.notes["predicted_error"] = None if np.isnan(near) else near

        def enough(model: nn.Module) -> bool:
            run.meter.forward("forget", len(gone))
            away = float((predict(model, problem.rows, gone, device=run.device) - aim).abs().mean())
            run.notes["residual"] = away
            return away <= near

        watched = enough if self.stop and not np.isnan(near) else None
        return match(problem, run, own, passes(problem, run, own, weights), targets, enough=watched)
