"""`attribute`: what a model would put out if some rows had never been there, and which rows its answers hang on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from expunge.attribution import Estimator, Fitted, Source
from expunge.attribution.calibration import FEWEST
from expunge.attribution.effect import Effect, effect
from expunge.attribution.estimator import Removal
from expunge.attribution.held_out import Sure, calibrated_for, removals
from expunge.attribution.kept import Extremes, keep_scores, request
from expunge.attribution.subsets import held_out_removals, train_subsets
from expunge.data import ForgetSet, Indices, Rows
from expunge.errors import ConfigError, ExpungeError, NeedsError, check
from expunge.fleet import Executor, Fleet, timing
from expunge.problem import Problem
from expunge.runs import keep_subsets, latest_subsets
from expunge.store import Store
from expunge.training import Progress, predict, silent

PARTS = ("test", "forget", "retain")
"""Where targets may be chosen from."""
WHOLE = 2_000
"""Parameters up to which influence takes all of them by default, which is then the work of seconds."""
SMALL, LARGE = "influence:solver=explicit", "ekfac"
"""Estimators of a model with so many parameters, and of one with more."""
QUICK = 60.0
"""Seconds on one process that calibration may take without having been asked for."""
MODELS = 20
"""Held-out models where it does."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, beside the problem.

    Raises:
        ConfigError: a number is out of range, or a part is unknown.
    """

    of: str = "test"
    """Where the targets are chosen from: test, forget or retain."""
    targets: str = "5"
    """How many: those whose margin changes most; or which, in the text form of a forget set."""
    top: int = 10
    """Training rows named for each target, at either end, >= 1."""
    calibrate: int = 0
    """Held-out models to calibrate on, 3..20; 0 for none."""
    subsets: int = 0
    """Models on random halves of the rows to train for estimators that need them; 0: those in the store."""

    def __post_init__(self) -> None:
        check("of", self.of, f"one of {', '.join(PARTS)}", self.of in PARTS)
        check("top", self.top, ">= 1", self.top >= 1)
        check("calibrate", self.calibrate, "0, or 3..20", self.calibrate == 0 or 3 <= self.calibrate <= 20)
        check("subsets", self.subsets, "0, or >= 4", self.subsets == 0 or self.subsets >= 4)
        if self.targets.lstrip("-").isdecimal():
            check("targets", int(self.targets), ">= 1", int(self.targets) >= 1)
        else:
            _spelled(self.targets, self.of)


@dataclass(frozen=True)
class Part:
    """Rows of one kind, and what happens to them."""

    rows: Rows
    at: Indices | None
    """`[rows]` positions among the training rows; None for rows that were not trained on."""
    effect: Effect
    sure: Sure | None
    """How sure that is; None where nothing was held out."""

    @property
    def errors(self) -> tuple[float, float]:
        """Standard errors of the mean changes of output and margin; NaN where nothing tells them."""
        return (self.sure.output.mean_error, self.sure.margin.mean_error) if self.sure else self.effect.mean_errors


@dataclass(frozen=True)
class Visits:
    """Row visits of the estimator's own work; those of held-out models come on top."""

    fitting: float
    """Once for all requests, subset models included."""
    calibrating: float
    """Predictions for the sets that held-out models were trained without, once for all requests of that size."""
    predicting: float
    """For this request alone: predictions, and scores that the store did not hold."""


@dataclass(frozen=True)
class Answer:
    """What was found."""

    fitted: Fitted
    parts: dict[str, Part]
    """Forget and test rows, and those that the targets were chosen from; only these where nothing is predicted."""
    targets: Indices
    """`[targets]` positions within their part."""
    extremes: Extremes
    """The training rows that the targets hang on."""
    fleet: Fleet | None
    """The held-out models."""
    visits: Visits


def cheap_estimator(problem: Problem) -> tuple[str, str]:
    """An estimator that is cheap for this model, in text form, and why that one."""
    size = sum(parameter.numel() for parameter in problem.original.parameters())
    if size <= WHOLE:
        return SMALL, f"the model has {size:,} parameters; up to {WHOLE:,} all of them are taken"
    return LARGE, f"the model has {size:,} parameters; beyond {WHOLE:,} the curvature is taken layer by layer"


def quick_models(problem: Problem, store: Store) -> int:
    """Held-out models to calibrate on where nobody said how many: 20 where they take less than a minute, else none."""
    measured = timing(problem.recipe, problem.rows, store)
    speeds = [measured.get("stacked_visits_per_second"), measured.get("single_visits_per_second")]
    visits = MODELS * problem.recipe.epochs * len(problem.retain)
    return MODELS if visits / max(speed for speed in speeds if speed) <= QUICK else 0


def attribute(
    problem: Problem,
    estimator: Estimator,
    question: Question,
    *,
    seed: int = 0,
    store: Store,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Answer:
    """Fit an estimator, predict what taking the forget rows away does, and find the rows that the targets hang on.

    Args:
        problem: A trained model, its rows and those that would go.
        estimator: How to attribute.
        question: What is asked.
        seed: Of everything that is drawn.
        store: Where models and scores are kept.
        executor: Who trains; by default this process.
        device: Where to compute.
        progress: Called with (what, done, total).

    Raises:
        NeedsError: the estimator needs subset models and none are in the store.
        ProblemError: no such targets.
        StoreError: what lies in the store is damaged.
    """
    source = with_subsets(
        problem, estimator, question, seed=seed, store=store, executor=executor, device=device, progress=progress
    )
    asked_of = {name: one for name, one in rows_of(problem).items() if name in ("forget", "test", question.of)}
    if estimator.predicts:
        fitted = estimator.fit(source, seed=seed, device=device, progress=progress)
        fleet = held_out(problem, question, seed=seed, store=store, executor=executor, device=device, progress=progress)
        parts, visits = _foretold(problem, fitted, fleet, asked_of, progress)
        targets = _chosen(question, parts[question.of], estimator)
    else:  # nothing is predicted that targets could be chosen by, so that they are known before anything is fitted
        fleet, parts = None, {question.of: _unmoved(problem, *asked_of[question.of])}
        targets = _chosen(question, parts[question.of], estimator)
        source = replace(source, probes=parts[question.of].rows.take(targets))
        fitted = estimator.fit(source, seed=seed, device=device, progress=progress)
        visits = Visits(fitted.cost.visits, 0.0, 0.0)
    rows = parts[question.of].rows.take(targets)
    before = fitted.cost.visits
    scores = keep_scores(fitted, request(source, estimator, rows, seed=seed), rows, store, progress=progress)
    extremes = scores.extremes(question.top)
    visits = replace(visits, predicting=visits.predicting + fitted.cost.visits - before)
    return Answer(fitted, parts, targets, extremes, fleet, visits)


def _foretold(
    problem: Problem,
    fitted: Fitted,
    fleet: Fleet | None,
    asked_of: dict[str, tuple[Rows, Indices | None]],
    progress: Progress,
) -> tuple[dict[str, Part], Visits]:
    """What happens to each kind of rows, calibrated where models were held out, and what it took to say so."""
    fitting, task = fitted.cost.visits, problem.recipe.task
    sure: dict[str, Sure] = {}
    if fleet is not None:
        progress("calibrate", 0, 1)
        own = {name: None if name == "forget" else rows for name, (rows, _) in asked_of.items()}
        sure = calibrated_for(fitted, fleet, own)
        progress("calibrate", 1, 1)
    calibrating = fitted.cost.visits - fitting
    found = removals(fitted, problem.forget, {name: rows for name, (rows, _) in asked_of.items()})
    parts = {}
    for name, (rows, at) in asked_of.items():
        line = sure.get(name)
        one = line.effect(found[name], rows, task) if line else effect(found[name], rows.labels, task)
        parts[name] = Part(rows, at, one, line)
    return parts, Visits(fitting, calibrating, fitted.cost.visits - fitting - calibrating)


def _unmoved(problem: Problem, rows: Rows, at: Indices | None) -> Part:
    """Rows as they are, where nothing can be predicted for them."""
    outputs = predict(problem.original, rows).double().numpy()
    still = Removal(outputs, outputs, np.full_like(outputs, np.nan))
    return Part(rows, at, effect(still, rows.labels, problem.recipe.task), None)


def with_subsets(
    problem: Problem,
    estimator: Estimator,
    question: Question,
    *,
    seed: int,
    store: Store,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Source:
    """The problem's source, with the subset models that were asked for, or else those that the store knows.

    Raises:
        NeedsError: the estimator needs them, none were asked for, and the store knows none.
    """
    fleet = problem.subsets
    if question.subsets:
        watch = (problem.rows, problem.holdout, problem.test)
        fleet = train_subsets(
            problem.recipe,
            problem.rows,
            watch,
            question.subsets,
            seed=seed,
            store=store,
            executor=executor,
            device=device,
            progress=progress,
        )
        keep_subsets(fleet, store)
    elif "subsets" in estimator.needs:
        fleet = fleet or latest_subsets(problem.recipe, problem.rows, store)
        if fleet is None:
            raise NeedsError(
                f"{estimator.name()} needs models trained on random subsets of the rows, {store.root} holds none",
                hint="--subsets 200 trains them once for all requests",
            )
    return replace(Source.of(problem), subsets=fleet)


def held_out(
    problem: Problem,
    question: Question,
    *,
    seed: int,
    store: Store,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Fleet | None:
    """Models without sets of rows like those that are to go, as many of them; None where none were asked for."""
    if not question.calibrate:
        return None
    return held_out_removals(
        problem.recipe,
        problem.rows,
        (problem.rows, problem.holdout, problem.test),
        question.calibrate,
        size=len(problem.forget),
        groups=alike(problem),
        seed=seed,
        store=store,
        executor=executor,
        device=device,
        progress=progress,
    )


def alike(problem: Problem) -> list[Indices]:
    """Where to draw rows that have as much in common as those that are to go; empty for all rows.

    Rows of one class move together: the mean of their outputs is foretold worse than that of random rows, and its error
    is too small if it is measured on random ones. So where all have one label, each set is of one class, of those that
    have enough rows, if there are three.
    """
    if problem.rows.labels.is_floating_point() or len(problem.forget) == 1:
        return []
    labels = problem.rows.labels.numpy()
    if len(np.unique(labels[problem.forget])) > 1:
        return []
    classes = [np.flatnonzero(labels == one) for one in np.unique(labels)]
    enough = [one for one in classes if len(one) >= len(problem.forget)]
    return enough if len(enough) >= FEWEST else []


def rows_of(problem: Problem) -> dict[str, tuple[Rows, Indices | None]]:
    """Name -> rows, and where they stand among the training rows."""
    return {
        "forget": (problem.rows.take(problem.forget), problem.forget),
        "test": (problem.test, None),
        "retain": (problem.rows.take(problem.retain), problem.retain),
    }


def _chosen(question: Question, part: Part, estimator: Estimator) -> Indices:
    """Positions of the targets within their part; the least sure rows where nothing says which change."""
    if question.targets.isdecimal():
        count, margins = int(question.targets), np.abs(part.effect.margin_before)
        return part.effect.most(count) if estimator.predicts else np.argsort(margins, kind="stable")[:count]
    try:
        return _spelled(question.targets, question.of).indices(part.rows)
    except ExpungeError as error:
        raise type(error)(_worded(error.message, question.of), error.hint) from None


def _spelled(text: str, of: str) -> ForgetSet:
    """Targets in the text form of a forget set."""
    try:
        return ForgetSet(text)
    except ConfigError as error:
        raise ConfigError(f"{_worded(error.message, of)}, or how many", error.hint) from None


def _worded(message: str, of: str) -> str:
    """What is said of a forget set among training rows, said of targets.

    Example:
        >>> _worded("forget set class:7: no training row matches", "test")
        'targets class:7: no test row matches'
    """
    return message.replace("forget set", "targets").replace("training row", f"{of} row")
