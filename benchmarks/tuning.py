"""Does tuning on a twin choose well? Regret against tuning on gold, beside rivals that need no gold either.

Cells are forget set x replicate (original, forget draw) x method on digits. In each, the same settings (the default and
drawn ones) are run on a finetuned twin, on a fresh twin and on the true problem. The true distance of a setting is
    J* = (mean over forget rows and golds of |m_U - m_g| + the same over test rows) / that of the original, margins m;
the gold choice is made on one half of the gold fleet and judged, like every other choice, on the other, both ways.
Relative regret: (J* of the choice - J* of the gold choice) / (J* of the default - J* of the gold choice); 0: as good as
tuning on gold, 1: as good as not tuning. Cells whose denominator is below twice its standard error say nothing.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import binomtest, spearmanr

from benchmarks.figure import Figure, Options
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import margins
from expunge.bench.cell import KIND
from expunge.bench.fleets import Fleets
from expunge.data import forget, joined, load
from expunge.fleet import Executor, Local
from expunge.methods import METHODS, Method
from expunge.problem import Problem
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import fit
from expunge.training.recipes import RECIPES
from expunge.tuning.space import distributions, optuna, settings
from expunge.tuning.trial import FAILED, OBJECTIVES, Scene, cell, compare, of_truth, of_twin, run
from expunge.tuning.tune import usual
from expunge.tuning.twins import both_margins, build, divide

FORGETS = ("class:8:20", "class:3:20", "random:30")
METHODS_TUNED = ("finetune", "neggrad_plus", "random_label", "bad_teacher", "scrub", "ssd")
SETTINGS, REPLICATES, GOLD = 12, 3, 32
TWINS = ("finetune", "fresh")
RIVALS = ("holdout", "accuracy", "close")
LOST = 0.02
"""Accuracy on check rows that a setting may lose, as in `expunge tune`."""


@dataclass(frozen=True, eq=False)
class Case:
    """One cell: what each way of choosing thinks of every setting, and the truth. Row 0 is "no change"."""

    name: str
    scores: dict[str, FloatArray]
    """Way of choosing -> `[settings]`, smaller is better."""
    true: FloatArray
    """`[settings, golds]` distance to each gold model."""
    default: int
    """Which setting is the method's default."""


def measure(options: Options) -> Iterator[Figure]:
    """Regret, order and the sign test."""
    with tempfile.TemporaryDirectory() as folder, Local() as executor:
        cases = [
            case
            for forget_set in FORGETS
            for replicate in range(REPLICATES)
            for case in cases_of(forget_set, replicate, Store(folder), executor)
        ]
    yield from figures(cases)


def figures(cases: list[Case]) -> Iterator[Figure]:
    """What the cells show together, and by forget set."""
    regrets: dict[str, list[float]] = defaultdict(list)
    chosen: dict[str, list[float]] = defaultdict(list)
    kinds: list[str] = []
    for case in cases:
        found = regret(case)
        if found is not None:
            kinds.append(case.name.split()[0])
            for way, (relative, distance) in found.items():
                regrets[way].append(relative)
                chosen[way].append(distance)
    count = len(kinds)
    yield Figure(what=f"tuning on digits, {len(cases)} cells, {SETTINGS} settings each: informative", measured=count)
    for way, values in regrets.items():
        goal = {"most": 0.25} if way == "twin finetune" else {}
        parts = {kind: [v for v, k in zip(values, kinds, strict=True) if k == kind] for kind in dict.fromkeys(kinds)}
        by = ", ".join(f"{kind} {np.median(part):.2f} of {len(part)}" for kind, part in parts.items())
        yield Figure(what=f"  median relative regret, {way} ({by})", measured=float(np.median(values)), **goal)
    for way in (*(f"twin {kind}" for kind in TWINS), *RIVALS):
        order = [
            spearmanr(case.scores[way], case.true.mean(axis=1)).statistic
            for case in cases
            if np.ptp(case.scores[way]) > 0  # one score for every setting has no order
        ]
        what = f"  median rank correlation with the true distance, {way}"
        yield Figure(what=what, measured=float(np.nanmedian(order)))
    best = min(RIVALS, key=lambda way: float(np.median(chosen[way])))
    for kind in TWINS:
        pairs = list(zip(chosen[f"twin {kind}"], chosen[best], strict=True))
        wins, ties = sum(ours < theirs for ours, theirs in pairs), sum(ours == theirs for ours, theirs in pairs)
        p = binomtest(wins, max(1, count - ties), alternative="greater").pvalue
        what = f"  twin {kind} nearer to gold than the best rival ({best}): {wins} of {count - ties} cells, one-sided p"
        yield Figure(what=what, measured=float(p))


def regret(case: Case) -> dict[str, tuple[float, float]] | None:
    """Way -> relative regret and J* of its choice; None where the cell says nothing."""
    halves = case.true[:, ::2], case.true[:, 1::2]
    golds = [int(half.mean(axis=1).argmin()) for half in halves]
    judged = [(golds[0], halves[1]), (golds[1], halves[0])]
    gain = np.concatenate([half[case.default] - half[best] for best, half in judged])
    scale, error = float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))
    if scale < 2 * error or scale <= 0:
        return None
    base = float(np.mean([half[best].mean() for best, half in judged]))
    mean = case.true.mean(axis=1)
    picks = {way: float(mean[int(np.nanargmin(scores))]) for way, scores in case.scores.items()}
    picks["random setting"] = float(np.median(mean[1:]))
    picks["no change"] = float(mean[0])
    return {way: ((distance - base) / scale, distance) for way, distance in picks.items()}


def cases_of(forget_set: str, replicate: int, store: Store, executor: Executor) -> Iterator[Case]:
    """The cells of one forget set and replicate, one a method."""
    digits, recipe = load("digits"), RECIPES["digits-mlp"]
    at = forget(forget_set, seed=replicate)
    original = fit(recipe, digits.train, seed=derive(replicate, "tuning benchmark/original")).model
    problem = Problem(
        recipe=recipe, rows=digits.train, forget=at, holdout=digits.holdout, test=digits.test, original=original
    )
    seed = derive(replicate, "tuning benchmark")
    parts, counts = divide(problem, 1, seed=seed)
    twins = {kind: of_twin(build(problem, parts, counts, 0, kind=kind, seed=seed, store=store)) for kind in TWINS}
    truth = of_truth(problem, parts.guide, parts.check, parts.auxiliary[0], store)
    wide = replace(truth, problem=replace(truth.problem, test=joined(truth.problem.test, problem.test)))
    golds = gold_margins(problem, store, executor, seed)
    for name in METHODS_TUNED:
        title = f"{forget_set} {replicate} {name}"
        yield one_case(title, METHODS[name], twins, truth, wide, golds, store, executor, seed)


def gold_margins(problem: Problem, store: Store, executor: Executor, seed: int) -> FloatArray:
    """`[golds, forget + test]` margins of a gold fleet, nats."""
    fleets = Fleets(problem.recipe, problem.rows, problem.holdout, problem.test, store, executor)
    logits = fleets.gold(problem.forget, GOLD, seed=seed).logits()
    labels = np.concatenate([rows.labels.numpy() for rows in fleets.watch])
    at = np.concatenate([problem.forget, len(problem.rows) + len(problem.holdout) + np.arange(len(problem.test))])
    return margins(logits[:, at], labels[at])


def one_case(
    name: str,
    method: type[Method],
    twins: dict[str, Scene],
    truth: Scene,
    wide: Scene,
    golds: FloatArray,
    store: Store,
    executor: Executor,
    seed: int,
) -> Case:
    """Every setting of a method on both twins and on the true problem."""
    tried = drawn(method, seed)
    cells = {kind: [cell(scene, method, one, seed, store) for one in tried] for kind, scene in twins.items()}
    cells["truth"] = [cell(wide, method, one, seed, store) for one in tried]
    run([one for group in cells.values() for one in group], store, executor)
    scores: dict[str, list[float]] = defaultdict(list)
    for kind, scene in twins.items():
        found = [outputs(scene, one.id, store) for one in cells[kind]]
        scores[f"twin {kind}"] = [score(scene, part, "twin") for part in (scene.start, *found)]
    short = len(truth.start)
    whole = [outputs(wide, one.id, store) for one in cells["truth"]]
    start = both_margins(wide.problem.original, wide.problem.rows.take(wide.problem.forget), wide.problem.test)
    for way in RIVALS:
        scores[way] = [score(truth, None if part is None else part[:short], way) for part in (start, *whole)]
    forget_rows = len(wide.problem.forget)
    true = np.stack([distance(part, golds, forget_rows, start, short) for part in (start, *whole)])
    return Case(name, {way: np.array(values) for way, values in scores.items()}, true, default=1)


def drawn(method: type[Method], seed: int) -> list[dict[str, Any]]:
    """The default and random settings of the method's search space."""
    library = optuna()
    study = library.create_study(sampler=library.samplers.RandomSampler(seed=seed % 2**32))
    space = distributions(method.search)
    return [usual(method), *(settings(method.search, study.ask(space).params) for _ in range(SETTINGS - 1))]


def outputs(scene: Scene, key: str, store: Store) -> FloatArray | None:
    """`[forget + test]` margins that a finished cell put out; None where it diverged."""
    if store.has(FAILED, key):
        return None
    logits, problem = store.get(KIND, key).array("logits"), scene.problem
    at = np.concatenate([problem.forget, len(problem.rows) + len(problem.holdout) + np.arange(len(problem.test))])
    labels = np.concatenate([problem.rows.labels.numpy()[problem.forget], problem.test.labels.numpy()])
    return margins(logits[at], labels) if np.isfinite(logits).all() else None


def score(scene: Scene, found: FloatArray | None, way: str) -> float:
    """What a way of choosing thinks of margins; very much where they diverged or utility is lost."""
    assert way in OBJECTIVES
    if found is None:
        return 1e6
    numbers = compare(scene, found, 0, objective=way)
    return numbers.value + (1e3 if numbers.lost > LOST else 0.0)


def distance(
    found: FloatArray | None, golds: FloatArray, forget_rows: int, start: FloatArray, short: int
) -> FloatArray:
    """`[golds]` J* of margins on forget, check, unseen and test rows; a diverged setting is a hundred starts away."""
    if found is None:
        return np.full(len(golds), 100.0)

    def away(side: FloatArray) -> FloatArray:
        parts = np.concatenate([side[:forget_rows], side[short:]])  # forget rows, then the problem's test rows
        gaps = np.abs(parts - golds)
        return np.asarray(gaps[:, :forget_rows].mean(axis=1) + gaps[:, forget_rows:].mean(axis=1))

    return away(found) / away(start).mean()
