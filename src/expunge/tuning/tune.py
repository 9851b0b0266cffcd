"""`tune`: choose a method's hyper-parameters without any gold model.

Source:     own proposal (see `tuning/twins.py`); no publication known. Experimental.
Procedure:  1. the default, then settings from Optuna's tree of Parzen estimators (two thirds drawn at random, one
               third where the first did well), each on the first twin with one seed;
            2. the best third and "no change" on every twin with every seed: only these can be chosen;
            3. settings that diverge or lose more than the guard on check rows are dropped;
            4. of those within one standard error of the smallest objective, the one with the fewest row visits.
            Where "no change" wins, or the twins show nothing to forget, nothing is chosen and it is said why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from expunge.bench.cell import Cell
from expunge.errors import ConfigError, NeedsError, check
from expunge.fleet import Executor, Here
from expunge.methods import METHODS, Method
from expunge.methods import method as find_method
from expunge.methods.search import Choice
from expunge.problem import Problem
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Progress, silent
from expunge.tuning.checks import Check, checks
from expunge.tuning.space import distributions, optuna, settings
from expunge.tuning.trial import OBJECTIVES, Numbers, Scene, cell, numbers, of_truth, of_twin, run, unchanged
from expunge.tuning.twins import Twin, build, divide

GUARD = 0.02
"""Accuracy on check rows that a setting may lose."""
KEPT = 3
"""One in this many settings reaches the second round."""
NO_CHANGE = "no change"
UNFINISHED = "first round only"
"""Why a setting that was not run on every twin with every seed cannot be chosen: one run is not a mean."""


@dataclass(frozen=True)
class Trial:
    """One setting, or doing nothing, and how it did.

    Args:
        method: Its name, or "no change".
        settings: Those that were searched.
        value: Mean of the objective over runs; NaN where it was dropped.
        error: Standard error of that mean; NaN with one run.
        forget: Mean distance of margins on forget rows, nats.
        check: The same on check rows.
        lost: Accuracy lost on check rows.
        visits: Mean row visits.
        runs: How many runs stand behind it.
        dropped: Why it cannot be chosen; empty where it can.
    """

    method: str
    settings: dict[str, Any]
    value: float
    error: float
    forget: float
    check: float
    lost: float
    visits: float
    runs: int
    dropped: str = ""


@dataclass(frozen=True)
class Tuning:
    """Result of `tune`.

    Args:
        method: The chosen method with its settings; None where nothing was chosen.
        reason: Why this, or why nothing.
        expected: The chosen trial's objective: under "twin" the expected distance to gold over the start's.
        trials: All trials, the best first.
        checks: How far the twins resemble the true problem.
        cost: Row visits by what they were for: twins, trials; and `retraining`, one retraining.
        objective, kind, twins: How it was tuned; how many twins.
    """

    method: Method | None
    reason: str
    expected: float
    trials: tuple[Trial, ...]
    checks: tuple[Check, ...]
    cost: dict[str, float]
    objective: str
    kind: str
    twins: int

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`."""
        chosen = None if self.method is None else {"method": self.method.name(), "settings": self.method.settings()}
        return {
            "chosen": chosen,
            "reason": self.reason,
            "expected": _known(self.expected),
            "trials": [{key: _known(value) for key, value in vars(trial).items()} for trial in self.trials],
            "checks": [{key: _known(value) for key, value in vars(one).items()} for one in self.checks],
            "cost": self.cost,
            "objective": self.objective,
            "kind": self.kind,
            "twins": self.twins,
        }


def tune(
    method: str,
    problem: Problem,
    *,
    trials: int = 24,
    twins: int = 3,
    seeds: int = 2,
    kind: str = "finetune",
    objective: str = "twin",
    guard: float = GUARD,
    budget: float | None = None,
    seed: int = 0,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Tuning:
    """The settings of a method that come nearest to gold on twin problems, whose gold is the original.

    Args:
        method: Name of a method that declares a search space, or "auto" for all of them under one number of trials.
        problem: What is to be forgotten. Its gold models are neither needed nor looked at.
        trials: Settings tried, the default among them, >= 1.
        twins: Twins to tune on, >= 1; fewer where the holdout rows run out.
        seeds: Runs of each surviving setting on each twin, >= 1.
        kind: "finetune" or "fresh", see `tuning/twins.py`.
        objective: "twin", or a rival that needs none: "holdout", "accuracy", "close"; see `tuning/trial.py`.
        guard: Accuracy on check rows that a setting may lose, in [0, 1].
        budget: Most row visits of all trials, as a share of one retraining; None: no limit.
        seed: Root seed of twins, draws and runs.
        store: Where finished twins and trials lie; by default `Store()`.
        executor: Who runs trials; by default this process.
        progress: Called with (what, done, total).

    Raises:
        ConfigError: an option out of range, or a budget that the first trial already exceeds.
        NeedsError: the method declares no search space, holdout rows are too few, or Optuna is not installed.
    """
    check("trials", trials, ">= 1", trials >= 1)
    check("seeds", seeds, ">= 1", seeds >= 1)
    check("objective", objective, ", ".join(OBJECTIVES), objective in OBJECTIVES)
    check("guard", guard, "in [0, 1]", 0 <= guard <= 1)
    check("budget", budget, "> 0 or None", budget is None or budget > 0)
    kinds = candidates(method, problem)
    store, executor = store or Store(), executor or Here()
    parts, counts = divide(problem, twins if objective == "twin" else 1, seed=seed)
    made: list[Twin] = []
    if objective == "twin":
        for at in range(len(parts.auxiliary)):
            progress("train twins", at, len(parts.auxiliary))
            made.append(build(problem, parts, counts, at, kind=kind, seed=seed, store=store))
        scenes = [of_twin(twin) for twin in made]
    else:
        scenes = [of_truth(problem, parts.guide, parts.check, parts.auxiliary[0], store)]
    once = float(problem.recipe.epochs * len(problem.retain))
    limit = math.inf if budget is None else budget * once
    search = _Search(scenes, objective, guard, seed, store, executor, progress, limit)
    for each, share in zip(kinds, _shares(trials, len(kinds)), strict=True):
        search.first_round(each, share)
    search.second_round(seeds)
    table = sorted(search.trials(), key=lambda trial: (bool(trial.dropped), math.isnan(trial.value), trial.value))
    found = checks(problem, made, kind=kind, seed=seed)
    chosen, reason = choose(table, found)
    cost = {"twins": float(sum(twin.cost.visits for twin in made)), "trials": search.spent, "retraining": once}
    return Tuning(
        None if chosen is None else METHODS[chosen.method](**chosen.settings),
        reason,
        math.nan if chosen is None else chosen.value,
        tuple(table),
        found,
        cost,
        objective,
        kind,
        len(made),
    )


def usual(method: type[Method]) -> dict[str, Any]:
    """The method's defaults for what is searched; a setting that has but one value while tuning has that."""
    spaces = method.search.items()
    fixed = {name: one.values[0] for name, one in spaces if isinstance(one, Choice) and len(one.values) == 1}
    made = method(**fixed)
    return {name: getattr(made, name) for name in method.search}


def candidates(method: str, problem: Problem) -> list[type[Method]]:
    """The methods to tune: the one named, or with "auto" all that declare a search space and fit the problem."""
    if method != "auto":
        kind = find_method(method)
        if not kind.search:
            able = ", ".join(name for name, one in METHODS.items() if one.search)
            raise NeedsError(f"{method} declares no search space", hint=f"those that do: {able}")
        return [kind]
    return [kind for kind in METHODS.values() if kind.search and problem.kind in kind.forget_kinds]


def choose(table: Sequence[Trial], found: Sequence[Check]) -> tuple[Trial | None, str]:
    """The trial to take and why, or None and why not.

    Args:
        table: All trials, the best first, "no change" among them.
        found: The checks; one that is decisive and does not hold rules out any choice.
    """
    for one in found:
        if one.decisive and one.holds is False:
            return None, f"{one.name}: {one.detail}"
    able = [trial for trial in table if not trial.dropped]
    best = able[0]
    if best.method == NO_CHANGE and len(able) == 1:
        return None, "no setting had all its runs, stayed finite and kept utility: see why each was dropped"
    if best.method == NO_CHANGE:
        return None, "no setting comes nearer to gold than the original as it is"
    reach = best.value + (0.0 if math.isnan(best.error) else best.error)
    near = [trial for trial in able if trial.method != NO_CHANGE and trial.value <= reach]
    chosen = min(near, key=lambda trial: trial.visits)
    if chosen is best:
        return chosen, f"smallest objective, {best.value:.3g}"
    reason = f"objective {chosen.value:.3g}, within one standard error of the smallest ({best.value:.3g})"
    return chosen, f"{reason}, with fewer visits"


@dataclass
class _Entry:
    """A setting under trial."""

    method: type[Method]
    settings: dict[str, Any]
    numbers: list[Numbers | None] = field(default_factory=list)
    whole: bool = False
    """Whether it was run on every scene with every seed."""

    def value(self, guard: float) -> float:
        """What the optimiser is told: dropped settings count as very far."""
        known = [one for one in self.numbers if one is not None]
        if len(known) < len(self.numbers) or not known or np.mean([one.lost for one in known]) > guard:
            return 1e6
        return float(np.mean([one.value for one in known]))


@dataclass
class _Search:
    """The two rounds; every run lies in the store, so a search that was stopped goes on where it was."""

    scenes: list[Scene]
    objective: str
    guard: float
    seed: int
    store: Store
    executor: Executor
    progress: Progress
    budget: float
    entries: list[_Entry] = field(default_factory=list)
    spent: float = 0.0

    def first_round(self, method: type[Method], count: int) -> None:
        """The default, then drawn settings, on the first scene with one seed."""
        library = optuna()
        drawn = max(1, (2 * count) // 3)
        seed = derive(self.seed, "tuning/sampler") % 2**32
        sampler = library.samplers.TPESampler(seed=seed, n_startup_trials=max(1, drawn - 1))  # the default is not told
        study = library.create_study(sampler=sampler)
        space = distributions(method.search)
        default = _Entry(method, usual(method))
        self._run([(default, 0, 0)])
        self.entries += [default] if default.numbers else []
        for size in (drawn - 1, count - drawn):
            if size < 1 or self.spent >= self.budget:
                continue
            asked = [study.ask(space) for _ in range(size)]
            batch = [_Entry(method, settings(method.search, one.params)) for one in asked]
            self._run([(entry, 0, 0) for entry in batch])
            for one, entry in zip(asked, batch, strict=True):
                study.tell(one, entry.value(self.guard))
            self.entries += [entry for entry in batch if entry.numbers]

    def second_round(self, seeds: int) -> None:
        """The best third on all scenes with all seeds."""
        ranked = sorted(self.entries, key=lambda entry: entry.value(self.guard))
        kept = ranked[: max(1, math.ceil(len(ranked) / KEPT))]
        rest = [
            (entry, scene, turn)
            for entry in kept
            for scene in range(len(self.scenes))
            for turn in range(seeds if entry.method.stochastic else 1)
            if (scene, turn) != (0, 0)
        ]
        self._run(rest)
        for entry in self.entries:
            entry.whole = len(entry.numbers) == len(self.scenes) * (seeds if entry.method.stochastic else 1)

    def trials(self) -> list[Trial]:
        """Every setting and "no change"."""
        nothing = [unchanged(scene, objective=self.objective) for scene in self.scenes]
        return [_trial(NO_CHANGE, {}, list(nothing), math.inf)] + [
            _trial(entry.method.name(), entry.settings, entry.numbers, self.guard, whole=entry.whole)
            for entry in self.entries
        ]

    def _run(self, wanted: Sequence[tuple[_Entry, int, int]]) -> None:
        """Run settings on scenes with seeds `(setting, scene, turn)`, in the order given, within the budget."""
        size = max(1, 2 * self.executor.processes)
        for cut in range(0, len(wanted), size):
            if self.spent >= self.budget:
                return
            part = wanted[cut : cut + size]
            cells = [self._cell(*one) for one in part]
            run(cells, self.store, self.executor)
            self.progress("tune", cut + len(part), len(wanted))
            for (entry, scene, _), one in zip(part, cells, strict=True):
                found = numbers(self.scenes[scene], one, self.store, objective=self.objective)
                entry.numbers.append(found)
                self.spent += 0 if found is None else found.visits
            if not self.entries and self.spent > self.budget:
                raise ConfigError(
                    f"budget: the first trial takes {self.spent:,.0f} row visits, the budget is {self.budget:,.0f}",
                    hint="raise --budget, or tune a cheaper method",
                )

    def _cell(self, entry: _Entry, scene: int, turn: int) -> Cell:
        """Common random numbers: one seed a scene and turn, the same for every setting."""
        seed = derive(self.seed, f"tuning/run/{scene}", turn)
        return cell(self.scenes[scene], entry.method, entry.settings, seed, self.store)


def _trial(
    method: str, chosen: dict[str, Any], found: Sequence[Numbers | None], guard: float, *, whole: bool = True
) -> Trial:
    known = [one for one in found if one is not None]
    if not known:
        nothing = math.nan
        return Trial(method, chosen, nothing, nothing, nothing, nothing, nothing, nothing, len(found), "diverged")
    values = np.array([one.value for one in known])
    finite = bool(np.isfinite(values).all())
    lost = float(np.mean([one.lost for one in known]))
    dropped = "" if whole else UNFINISHED
    if len(known) < len(found):
        dropped = "diverged"
    elif lost > guard:
        dropped = f"loses {lost:.3f} accuracy"
    return Trial(
        method,
        chosen,
        float(values.mean()),
        float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 and finite else math.nan,
        float(np.mean([one.forget for one in known])),
        float(np.mean([one.check for one in known])),
        lost,
        float(np.mean([one.visits for one in known])),
        len(known),
        dropped,
    )


def _shares(trials: int, methods: int) -> list[int]:
    """The trials of each method, as even as can be, at least one."""
    return [max(1, len(part)) for part in np.array_split(np.arange(trials), methods)]


def _known(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
