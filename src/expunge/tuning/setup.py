"""What is decided before anything is trained: objective, kind of twin, methods, and which rows are whose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from expunge.data import Indices
from expunge.errors import NeedsError, ProblemError, check
from expunge.methods import METHODS, Method
from expunge.methods import method as find_method
from expunge.methods.twin import Twin as Tmu
from expunge.methods.twin_problem import auxiliary_counts, called, groups
from expunge.problem import Problem
from expunge.tuning.rules import Way, way
from expunge.tuning.space import optuna
from expunge.tuning.twins import Parts, check_kind, divide, framed

ALL = "auto"
"""In place of a method: all that can be tuned."""
GUARD = 0.02
"""Accuracy on check rows that a setting may lose."""


@dataclass(frozen=True)
class Setup:
    """How a search will go about its work."""

    way: Way
    methods: tuple[type[Method], ...]
    parts: Parts
    counts: dict[int, int]
    """Class -> auxiliary rows of a twin."""
    warnings: tuple[str, ...]

    @property
    def twins(self) -> int:
        """How many twins are made."""
        return len(self.parts.auxiliary) if self.way.objective == "twin" else 0

    @property
    def unseen(self) -> Indices:
        """Holdout positions of the forget rows' classes: what the rivals compare with."""
        return self.parts.auxiliary[0]


def check_options(*, trials: int, seeds: int, guard: float, budget: float | None) -> None:
    """The numbers of a search are in their ranges, and its library is there.

    Raises:
        ConfigError: one is not.
        NeedsError: Optuna is not installed.
    """
    check("trials", trials, ">= 1", trials >= 1)
    check("seeds", seeds, ">= 1", seeds >= 1)
    check("guard", guard, "in [0, 1]", 0 <= guard <= 1)
    check("budget", budget, "> 0 or None", budget is None or budget > 0)
    optuna()  # before any twin is trained


def set_up(method: str, problem: Problem, *, twins: int, objective: str, kind: str, seed: int) -> Setup:
    """Decide; the arguments are those of `tune`.

    Raises:
        ConfigError: no objective or kind is called that, or `twins` is below 1.
        NeedsError: the method cannot be tuned here, the task is not classification, or holdout rows are too few.
        ProblemError: the problem holds gold models.
    """
    chosen = way(objective, kind, problem.kind)
    if problem.recipe.task.kind != "classification":
        raise NeedsError(
            f"tune: expected a classification task, got {problem.recipe.task.kind}",
            hint="settings are compared by margins, which only classes have; compare errors on unseen rows yourself",
        )
    if problem.gold:
        raise ProblemError(
            f"tune: expected a problem without gold models, got {len(problem.gold)}",
            hint="settings that were chosen on gold are no settings for whoever has none: leave gold=... out",
        )
    methods = candidates(method, problem)
    if chosen.objective == "twin":
        check_kind(problem, chosen.kind)
    wanted = twins if chosen.objective == "twin" else 1
    parts, counts = divide(problem, wanted, seed=seed)
    warnings = []
    if len(parts.auxiliary) < wanted:
        warnings.append(
            f"{len(parts.auxiliary)} of {wanted} twins: holdout rows ran out, of a class or altogether, so that "
            "settings are compared on few draws"
        )
    if Tmu in methods:
        lacking = short_of_rows(problem, parts, counts, seed=seed, twin=chosen.objective == "twin")
        if lacking and len(methods) == 1:
            raise NeedsError(
                f"tuning twin: {lacking}", hint="more holdout rows of that class, fewer forget rows, or fewer --twins"
            )
        if lacking:
            methods.remove(Tmu)
            warnings.append(f"twin was passed over: {lacking}")
    return Setup(chosen, tuple(methods), parts, counts, tuple(warnings))


def candidates(method: str, problem: Problem) -> list[type[Method]]:
    """The methods to tune: the one named, or with "auto" all that declare a search space and fit the problem."""
    if method != ALL:
        kind = find_method(method)
        if not kind.search:
            able = ", ".join(name for name, one in METHODS.items() if one.search)
            raise NeedsError(f"{method} declares no search space", hint=f"those that do: {able}")
        return [kind]
    return [kind for kind in METHODS.values() if kind.search and problem.kind in kind.forget_kinds]


def short_of_rows(problem: Problem, parts: Parts, counts: dict[int, int], *, seed: int, twin: bool) -> str:
    """What twin unlearning lacks for auxiliary rows of its own, which it takes from the guide rows; empty: nothing.

    Half of them must be rows, and the rest may be changed copies of these.

    Args:
        problem: The true problem.
        parts: From `divide`.
        counts: Class -> auxiliary rows of the outer twin.
        seed: Root seed of the twins.
        twin: Whether it is run on the twin problem, and so needs a twin of the twin, or on the true one.
    """
    inner = auxiliary_counts(framed(problem, parts, counts, 0, seed=seed)[0], scope="class") if twin else counts
    of = groups(problem, problem.holdout)[parts.guide].numpy()
    for group, needed in inner.items():
        there, least = int((of == group).sum()), math.ceil(needed / 2)
        if there < least:
            return (
                f"expected at least {least} rows of class {called(problem, group)} among those that methods look at, "
                f"for {needed} auxiliary rows of its own, got {there}"
            )
    return ""


def retraining(problem: Problem) -> float:
    """Row visits of training once without the forget rows."""
    return float(problem.recipe.epochs * len(problem.retain))
