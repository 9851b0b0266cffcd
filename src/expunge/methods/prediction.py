"""What gold would put out, as attribution foretells it for a method, and what that cost beside the method itself."""

from __future__ import annotations

from expunge.attribution import Fitted
from expunge.attribution.estimator import Prediction
from expunge.attribution.named import configured
from expunge.errors import ProblemError
from expunge.problem import Problem
from expunge.seeds import derive
from expunge.training import Run

REQUESTS = 20
"""Requests over which attribution's own cost is spread in the notes: one fit serves all of them."""


def foretold(problem: Problem, run: Run, estimator: str) -> Fitted:
    """The estimator, fitted on the problem's model and training rows; its cost is noted, not counted on the run.

    Args:
        problem: Its forget set plays no part in the fit.
        run: Seed, device and notes. "attribution" holds visits of the fit, their share of one retraining, and that
            share spread over REQUESTS requests.
        estimator: In text form, such as "trak" or "influence:damping=0.1".

    Raises:
        ProblemError: the problem's model is itself a prediction: the rows would be taken off twice.
    """
    if isinstance(problem.original, Prediction):
        raise ProblemError(
            "the original is itself a prediction without rows: to take rows off twice answers no question",
            hint="predict from the trained model, for all rows at once",
        )
    fitted = configured(estimator).fit(problem, seed=derive(run.seed, "attribution"), device=run.device)
    visits = fitted.cost.visits
    share = visits / (problem.recipe.epochs * len(problem.retain))
    run.notes["attribution"] = {
        "estimator": estimator,
        "visits": visits,
        "share_of_retraining": share,
        "share_over_requests": share / REQUESTS,
        **{name: value for name, value in fitted.notes.items() if isinstance(value, int | float | str)},
    }
    return fitted


def counted(fitted: Fitted, before: float, run: Run, rows: int) -> None:
    """Count on the run what a prediction cost after the fit, and pass on what the estimator warned of.

    That is the estimator's own visits, or one look at each row.

    Args:
        fitted: Whose cost goes on.
        before: Its visits before the prediction.
        run: On whose meter.
        rows: Rows predicted.
    """
    spent = fitted.cost.visits - before
    run.meter.forward("attribution", max(rows, round(3 * spent)))
    if "warning" in fitted.notes:
        run.notes["warning"] = f"attribution: {fitted.notes['warning']}"
