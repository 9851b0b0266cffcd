"""`tune`: choose a method's hyper-parameters without any gold model.

Source:     own proposal (see `tuning/twins.py`); no publication known. Experimental.
Procedure:  1. the default, then settings from Optuna's tree of Parzen estimators (two thirds drawn at random, one
               third where the first did well), each on the first twin with one seed; of several methods, all
               defaults come first;
            2. the best third and "no change" on every twin with every seed: only these can be chosen;
            3. settings that diverge or lose more than the guard on check rows are dropped;
            4. of those within one standard error of the smallest objective, the one with the fewest row visits.
            Where "no change" wins, nothing is chosen and it is said why. Where the twins show nothing to forget, or
            their rows are of another kind than the forget rows, nothing is even tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from expunge.audit.estimate import plain_number
from expunge.fleet import Executor, Here
from expunge.methods import METHODS, Method
from expunge.problem import Problem
from expunge.store import Store
from expunge.training import Progress, silent
from expunge.tuning.checks import Check, checks
from expunge.tuning.rounds import NO_CHANGE, Rounds, Trial
from expunge.tuning.setup import GUARD, check_options, retraining, set_up
from expunge.tuning.space import usual
from expunge.tuning.trial import of_truth, of_twin
from expunge.tuning.twins import Twin, build

__all__ = ["GUARD", "Tuning", "choose", "told", "tune", "usual"]


@dataclass(frozen=True)
class Tuning:
    """Result of `tune`.

    Args:
        method: The chosen method with its settings; None where nothing was chosen.
        reason: Why this, or why nothing.
        expected: The chosen trial's objective: under "twin" the expected distance to gold over the start's, a little
            too small, as the choice looked at the same runs.
        trials: All trials, the best first.
        checks: How far the twins resemble the true problem.
        cost: Row visits by what they were for: twins, trials; and `retraining`, one retraining.
        objective, kind, twins: How it was tuned; how many twins.
        why: Why that objective and kind, where nobody named them.
        warnings: What a person should know: copies among the auxiliary rows, a twin that did not learn, fewer twins.
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
    why: str = ""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`."""
        chosen = None if self.method is None else {"method": self.method.name(), "settings": self.method.settings()}
        return {
            "chosen": chosen,
            "reason": self.reason,
            "expected": plain_number(self.expected),
            "trials": [{key: plain_number(value) for key, value in vars(trial).items()} for trial in self.trials],
            "checks": [{key: plain_number(value) for key, value in vars(one).items()} for one in self.checks],
            "cost": self.cost,
            "objective": self.objective,
            "kind": self.kind,
            "twins": self.twins,
            "why": self.why,
            "warnings": list(self.warnings),
        }


def tune(
    method: str,
    problem: Problem,
    *,
    trials: int = 24,
    twins: int = 3,
    seeds: int = 2,
    kind: str = "auto",
    objective: str = "auto",
    guard: float = GUARD,
    budget: float | None = None,
    seed: int = 0,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Tuning:
    """The settings of a method that come nearest to gold on twin problems, whose gold is the original.

    Args:
        method: Name of a method that declares a search space, or "auto" for all of them under one budget.
        problem: What is to be forgotten; it must hold no gold models.
        trials: Settings tried, of all methods together, the defaults among them, >= 1.
        twins: Twins to tune on, >= 1; fewer where the holdout rows run out.
        seeds: Runs of each surviving setting on each twin, >= 1.
        kind: "finetune", "rewind" or "fresh", see `tuning/twins.py`; "auto": see `tuning/rules.py`.
        objective: "twin", or a rival that needs none: "holdout", "accuracy", "close"; see `tuning/trial.py`. "auto":
            what did best on such forget sets, see `tuning/rules.py`.
        guard: Accuracy on check rows that a setting may lose, in [0, 1].
        budget: Most row visits of all trials, as a share of one retraining; None: no limit.
        seed: Root seed of twins, draws and runs.
        store: Where finished twins and trials lie; by default `Store()`.
        executor: Who runs trials; by default this process.
        progress: Called with (what, done, total).

    Raises:
        ConfigError: an option out of range, or a budget that the first trial already exceeds.
        NeedsError: the method declares no search space, holdout rows are too few, a rewound twin lacks its start, or
            Optuna is not installed.
        ProblemError: the problem holds gold models.
    """
    check_options(trials=trials, seeds=seeds, guard=guard, budget=budget)
    store, executor = store or Store(), executor or Here()
    plan = set_up(method, problem, twins=twins, objective=objective, kind=kind, seed=seed)
    how, parts, warnings = plan.way, plan.parts, list(plan.warnings)
    made: list[Twin] = []
    for at in range(plan.twins):
        progress("train twins", at, plan.twins)
        made.append(build(problem, parts, plan.counts, at, kind=how.kind, seed=seed, store=store))
        warnings += [f"twin {at + 1}: {text}" for text in told(made[-1])]
    scenes = [of_twin(twin) for twin in made] or [of_truth(problem, parts.guide, parts.check, plan.unseen, store)]
    found = checks(problem, made, kind=how.kind, seed=seed)
    once = retraining(problem)
    limit = math.inf if budget is None else budget * once
    search = Rounds(scenes, how.objective, guard, seed, seeds, store, executor, progress, limit)
    if not any(one.decisive and one.holds is False for one in found):
        warnings += search.first_round(plan.methods, trials)
        search.second_round()
    table = sorted(search.trials(), key=lambda trial: (bool(trial.dropped), math.isnan(trial.value), trial.value))
    chosen, reason = choose(table, found)
    cost = {"twins": float(sum(twin.cost.visits for twin in made)), "trials": search.spent, "retraining": once}
    return Tuning(
        None if chosen is None else METHODS[chosen.method](**chosen.settings),
        reason,
        math.nan if chosen is None else chosen.value,
        tuple(table),
        found,
        cost,
        how.objective,
        how.kind,
        len(made),
        how.why,
        tuple(warnings),
    )


def told(twin: Twin) -> list[str]:
    """What a person should know of a twin before trusting what is tuned on it."""
    copies, rows = twin.notes["augmented_rows"], twin.notes["auxiliary_rows"]
    copied = f"{copies} of its {rows} auxiliary rows are changed copies of the others: holdout rows ran out"
    return [text for text in (copied if copies else "", twin.notes.get("warning", "")) if text]


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
