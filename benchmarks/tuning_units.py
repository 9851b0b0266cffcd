"""The runs behind the benchmark of tuning: every setting on every twin and on the true problem, kept in a store.

A unit is a data set x forget set x replicate. It has its own original, forget draw, auxiliary draws, twins, drawn
settings and gold models, so units are independent of each other; the methods of one unit are not.
True distance of a setting, in the form of the twin's objective J and in units of the start:
    J* = (mean over forget rows of |m_U - m_g| + the same over test rows) / mean over forget rows of |m_O - m_g|
U the unlearned model, g a gold model, O the original, m margins in nats; one value a gold model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.tuning_choice import Case, Scores, rounded
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import margins
from expunge.audit.population_attack import auc
from expunge.bench.cell import KIND
from expunge.bench.fleets import Fleets
from expunge.data import Indices, Splits, forget, joined
from expunge.fleet import Executor
from expunge.methods import METHODS, Method
from expunge.methods.twin_problem import draw_auxiliary
from expunge.problem import Problem
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Cost, Recipe, fit
from expunge.training.recipes import RECIPES
from expunge.tuning.checks import checks
from expunge.tuning.space import distributions, optuna, settings
from expunge.tuning.trial import Scene, cell, compare, finished, of_truth, of_twin, run
from expunge.tuning.tune import usual
from expunge.tuning.twins import Parts, Seen, Twin, build, divide, look

TWINS = ("finetune", "rewind", "fresh")
"""Kinds of twin."""
CONTROLLED = ("finetune", "fresh")
"""Those that the controls break a rule of."""
RIVALS = ("holdout", "accuracy", "auc", "close")
"""Ways of choosing that need neither gold nor a twin; see `expunge.tuning.trial`, and `matched_auc` here."""
WAYS = (*(f"twin {kind}" for kind in TWINS), *RIVALS)
TEST = 2000
"""Most test rows in the true distance."""


@dataclass(frozen=True)
class Study:
    """What is measured on one data set."""

    recipe: str
    forgets: tuple[str, ...]
    replicates: int
    other: tuple[str, int]
    """Forget set, and the class that auxiliary rows are wrongly drawn from, for a control."""
    ratio: str | None = None
    """Forget set for which the ratio rule is violated, for a control."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    methods: tuple[str, ...]
    settings: int
    """Candidates of each method beside "no change", the default among them, >= 1."""
    gold: int
    twins: int
    """Twins of each kind where the holdout rows suffice."""
    factors: tuple[float, ...] = (0.2, 5.0)
    """Of the auxiliary rows in the control of the ratio rule."""


@dataclass(frozen=True)
class Work:
    """Where runs lie and who does them."""

    store: Store
    executor: Executor


def unit(
    study: Study, splits: Splits, forget_set: str, replicate: int, size: Size, work: Work
) -> tuple[dict[str, Any], list[Case]]:
    """One unit: facts about it, and its cells, one a method."""
    recipe = RECIPES[study.recipe]
    seed = derive(replicate, f"tuning benchmark/{study.recipe}/{forget_set}")
    problem = problem_of(recipe, splits, forget_set, seed)
    parts, counts = divide(problem, size.twins, seed=seed)
    twins = {
        f"twin {kind}": [
            build(problem, parts, counts, at, kind=kind, seed=seed, store=work.store)
            for at in range(len(parts.auxiliary))
        ]
        for kind in TWINS
    }
    wrong = dict(violated(study, forget_set, problem, parts, counts, size, seed, work.store))
    scenes = {way: [of_twin(twin) for twin in made] for way, made in (twins | wrong).items()}
    truth = of_truth(problem, parts.guide, parts.check, np.sort(np.concatenate(parts.auxiliary)), work.store)
    golds = gold_margins(problem, size.gold, work, seed)
    judge = Judge(problem, truth, golds)
    head = {"data": recipe.data, "forget": forget_set, "kind": problem.kind, "replicate": replicate}
    cases = [
        Case(**head, **one_method(METHODS[name], scenes, judge, size.settings, seed, work)) for name in size.methods
    ]
    looks = {way: _checks(problem, made, way, seed) for way, made in (twins | wrong).items()}
    facts = {
        **head,
        "recipe": study.recipe,
        "forget_rows": len(problem.forget),
        "auxiliary_rows": {way: [len(twin.problem.forget) for twin in made] for way, made in (twins | wrong).items()},
        "twin_visits": {way: [twin.cost.visits for twin in made] for way, made in twins.items()},
        "retraining_visits": recipe.epochs * len(problem.retain),
        "checks": looks,
        "start": judge.start,
        "null": rounded(judge.null()),
    }
    return facts, cases


def problem_of(recipe: Recipe, splits: Splits, forget_set: str, seed: int) -> Problem:
    """The true problem, with an original of its own."""
    trained = fit(recipe, splits.train, seed=derive(seed, "original"), halfway=True)
    return Problem(
        recipe=recipe,
        rows=splits.train,
        forget=forget(forget_set, seed=derive(seed, "forget")),
        holdout=splits.holdout,
        test=splits.test.take(np.arange(min(TEST, len(splits.test)))),
        original=trained.model,
        halfway=trained.halfway,
    )


def violated(
    study: Study,
    forget_set: str,
    problem: Problem,
    parts: Parts,
    counts: dict[int, int],
    size: Size,
    seed: int,
    store: Store,
) -> Iterator[tuple[str, list[Twin]]]:
    """Twins that break a rule, for the controls: auxiliary rows of another class, or too many or too few of them."""
    wanted: dict[str, dict[int, int]] = {}
    if forget_set == study.other[0]:
        wanted["other class"] = {study.other[1]: sum(counts.values())}
    if forget_set == study.ratio:
        for factor in size.factors:
            wanted[f"x{factor:g}"] = {group: max(1, round(factor * count)) for group, count in counts.items()}
    for name, wrong in wanted.items():
        drawn = draw_auxiliary(problem, wrong, seed=derive(seed, "violated"))
        apart = without(parts, drawn)
        for kind in CONTROLLED:
            yield f"twin {kind}, {name}", [build(problem, apart, wrong, 0, kind=kind, seed=seed, store=store)]


def without(parts: Parts, drawn: Indices) -> Parts:
    """The parts with another auxiliary draw, whose rows leave every other part."""
    rest = (np.setdiff1d(part, drawn) for part in (parts.guide, parts.check, parts.audit))
    return Parts((drawn,), *rest)


def gold_margins(problem: Problem, models: int, work: Work, seed: int) -> FloatArray:
    """`[golds, forget + test]` margins of a gold fleet, nats."""
    fleets = Fleets(problem.recipe, problem.rows, problem.holdout, problem.test, work.store, work.executor)
    logits, labels = fleets.gold(problem.forget, models, seed=seed).logits(), fleets.labels
    at = np.concatenate([problem.forget, len(problem.rows) + len(problem.holdout) + np.arange(len(problem.test))])
    return margins(logits[:, at], labels[at])


class Judge:
    """What the true problem says: distances to gold, and the rivals' scores.

    Args:
        problem: The true problem.
        truth: Its scene, on which rivals look at holdout rows alone.
        golds: `[golds, forget + test]` margins of gold models, nats.
    """

    def __init__(self, problem: Problem, truth: Scene, golds: FloatArray) -> None:
        self.truth, self.golds, self.forget = truth, golds, len(problem.forget)
        tested = joined(truth.problem.test, problem.test)
        self.scene = replace(truth, problem=replace(truth.problem, test=tested))
        """Where settings are run: as `truth`, with the test rows behind."""
        self.original = look(problem.original, problem.rows.take(problem.forget), tested)
        self.start = float(self.gaps(self.original.margins)[0].mean())

    def gaps(self, found: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`[golds]` mean distance of margins on forget rows and on test rows, nats."""
        short = len(self.truth.start)
        away = np.abs(np.concatenate([found[: self.forget], found[short:]]) - self.golds)
        return away[:, : self.forget].mean(axis=1), away[:, self.forget :].mean(axis=1)

    def null(self) -> FloatArray:
        """`[golds]` J* of each gold model against the others: what a perfect method would get."""
        found = []
        for at, one in enumerate(self.golds):
            away = np.abs(np.delete(self.golds, at, axis=0) - one)
            found.append(away[:, : self.forget].mean() + away[:, self.forget :].mean())
        return np.array(found) / self.start

    def rival(self, found: Seen | None, way: str) -> tuple[float, float, float, float]:
        """A rival's objective, accuracy lost, distance on forget and on check rows."""
        if found is None:
            return np.inf, np.inf, np.inf, np.inf
        short = len(self.truth.start)
        seen = Seen(found.margins[:short], found.right[:short])
        numbers = compare(self.truth, seen, 0, objective="close" if way == "auc" else way)
        value = numbers.value
        if way == "auc":
            value = matched_auc(seen.margins, self.forget, self.truth.matched, numbers.lost)
        return value, numbers.lost, numbers.forget, numbers.check


def matched_auc(found: FloatArray, forget_rows: int, unseen: int, lost: float) -> float:
    """|AUC of margins on forget rows against unseen rows of their classes - 0.5| + accuracy lost on check rows."""
    away = abs(float(auc(found[None, :forget_rows], found[None, len(found) - unseen :])[0]) - 0.5)
    return away + max(0.0, lost)


def one_method(
    method: type[Method], scenes: dict[str, list[Scene]], judge: Judge, count: int, seed: int, work: Work
) -> dict[str, Any]:
    """Every setting of a method on every twin and on the true problem: what a `Case` holds beside its name."""
    tried = drawn(method, count, derive(seed, "settings"))
    placed = [(way, at) for way, made in scenes.items() for at in range(len(made))]
    every = [scenes[way][at] for way, at in placed] + [judge.scene]
    seeds = [derive(seed, f"run/{way}", at) for way, at in placed] + [derive(seed, "run/truth")]
    cells = [
        [cell(scene, method, one, own, work.store) for one in tried] for scene, own in zip(every, seeds, strict=True)
    ]
    run([one for group in cells for one in group], work.store, work.executor)
    rows: dict[str, list[list[tuple[float, float, float, float]]]] = {}
    for (way, at), group in zip(placed, cells[:-1], strict=True):
        scene = scenes[way][at]
        outputs = [scene.start, *(finished(scene, one, work.store) for one in group)]
        rows.setdefault(way, []).append([twin_numbers(scene, one) for one in outputs])
    whole = [judge.original, *(finished(judge.scene, one, work.store) for one in cells[-1])]
    rows |= {way: [[judge.rival(one, way) for one in whole]] for way in RIVALS}
    nothing = np.full(len(judge.golds), np.inf)
    gaps = [(nothing, nothing) if one is None else judge.gaps(one.margins) for one in whole]
    forget_gap, test_gap = (np.stack(side) for side in zip(*gaps, strict=True))
    visits = [
        np.nan if one is None else _visits(group, work.store) for one, group in zip(whole[1:], cells[-1], strict=True)
    ]
    return {
        "method": method.name(),
        "settings": [None, *tried],
        "visits": np.array([0.0, *visits]),
        "scores": {way: Scores(*np.moveaxis(np.array(found), 2, 0)) for way, found in rows.items()},
        "true": (forget_gap + test_gap) / judge.start,
        "true_forget": forget_gap.mean(axis=1),
        "true_test": test_gap.mean(axis=1),
    }


def twin_numbers(scene: Scene, found: Seen | None) -> tuple[float, float, float, float]:
    """J of a twin, accuracy lost, distance on auxiliary and on check rows."""
    if found is None:
        return np.inf, np.inf, np.inf, np.inf
    numbers = compare(scene, found, 0, objective="twin")
    return numbers.value, numbers.lost, numbers.forget, numbers.check


def drawn(method: type[Method], count: int, seed: int) -> list[dict[str, Any]]:
    """The default, and random settings of the method's search space."""
    library = optuna()
    study = library.create_study(sampler=library.samplers.RandomSampler(seed=seed % 2**32))
    space = distributions(method.search)
    return [usual(method), *(settings(method.search, study.ask(space).params) for _ in range(count - 1))]


def _visits(one: Any, store: Store) -> float:  # noqa: ANN401  (a cell)
    return float(Cost.from_dict(store.get(KIND, one.id).facts["cost"]).visits)


def _checks(problem: Problem, twins: list[Twin], way: str, seed: int) -> list[dict[str, Any]]:
    """The checks that `tune` would print."""
    found = checks(problem, twins, kind=way.split()[1].rstrip(","), seed=seed)
    return [
        {"name": one.name, "value": rounded(np.float64(one.value)), "limit": one.limit, "holds": one.holds}
        for one in found
    ]
