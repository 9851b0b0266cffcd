"""What a search would cost, said before it: twins, trials, disk, and their share of one retraining.

Visits of a trial are measured and not modelled: the method itself runs on a *stand-in*, which has the twin problem's
numbers of rows, labels, batches and epochs, but one number for an input and a linear model. Visits do not depend on
what a model computes, except where a rule stops early; such methods say themselves how many they need at most.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from expunge.data import MemoryRows, Rows
from expunge.errors import NeedsError
from expunge.methods import Method
from expunge.methods.search import Choice, NearOne, Whole
from expunge.problem import Problem
from expunge.store import Store, key_of
from expunge.training import Cost, input_shape
from expunge.tuning.rounds import AT_ONCE, KEPT, shares
from expunge.tuning.setup import GUARD, check_options, retraining, set_up
from expunge.tuning.twins import asked_for, framed, twin_visits

FLOAT = 4
"""Bytes of a number on disk."""


@dataclass(frozen=True)
class Span:
    """Least and most of a number; equal where it is known."""

    least: float
    most: float

    def __add__(self, other: Span) -> Span:
        return Span(self.least + other.least, self.most + other.most)

    def __str__(self) -> str:
        """As people read it.

        Example:
            >>> str(Span(0, 1200)), str(Span(1000, 1200)), str(Span(0.42, 0.42))
            ('at most 1,200', '1,000 to 1,200', '0.42')
        """
        low, high = (f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.2g}" for value in self.pair())
        return high if low == high else f"at most {high}" if self.least == 0 else f"{low} to {high}"

    def pair(self) -> tuple[float, float]:
        """Both ends."""
        return self.least, self.most


@dataclass(frozen=True)
class Plan:
    """What `tune` with the same arguments would do."""

    methods: tuple[str, ...]
    objective: str
    kind: str
    why: str
    warnings: tuple[str, ...]
    twins: int
    in_store: int
    """Of the twins, those that are trained already."""
    runs: int
    """Unlearning runs, where every method is stochastic or none is: else the most."""
    twin_visits: Span
    """Of all twins, those in the store too, as `Tuning.cost` counts them."""
    trial_visits: Span
    """Of all trials, where the checks let them begin; one that diverges is not counted, so that they may fall short."""
    retraining: float
    """Row visits of training once without the forget rows."""
    disk_megabytes: float
    """Of outputs, rows and weights that the store will hold."""

    @property
    def share(self) -> Span:
        """Twins and trials over one retraining."""
        both = self.twin_visits + self.trial_visits
        return Span(both.least / self.retraining, both.most / self.retraining)

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`, with the sentences for people."""
        plain = {key: value.pair() if isinstance(value, Span) else value for key, value in vars(self).items()}
        return {**plain, "share_of_retraining": self.share.pair(), "sentence": self.sentence()}

    def sentence(self) -> str:
        """What will be done and what it costs, a line each."""
        stored = f", {self.in_store} of them in the store" if self.in_store else ""
        count = "1 twin" if self.twins == 1 else f"{self.twins} twins"
        made = f"{count} ({self.kind}){stored}: {self.twin_visits} row visits" if self.twins else "no twin"
        lines = [
            *([self.why] if self.why else []),
            made,
            f"{self.runs} runs of {', '.join(self.methods)}: {self.trial_visits} row visits",
            f"together {self.share} times one retraining ({self.retraining:,.0f} row visits), "
            f"about {self.disk_megabytes:.1f} MB on disk",
        ]
        if self.share.most > 1:
            costs = "costs" if self.share.least > 1 else "may cost"
            lines.append(
                f"that {costs} more than retraining, which is cheaper for this one request; a fresh or stored twin "
                "spreads the cost over later requests"
            )
        return "\n".join([*lines, *(f"note: {text}" for text in self.warnings)])


def plan(
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
) -> Plan:
    """What `tune` would cost; nothing is trained and nothing written.

    Args:
        method: As for `tune`, and so are the others.
        problem: As for `tune`.
        trials: As for `tune`.
        twins: As for `tune`.
        seeds: As for `tune`.
        kind: As for `tune`.
        objective: As for `tune`.
        guard: As for `tune`; it changes no cost.
        budget: As for `tune`.
        seed: As for `tune`.
        store: Where finished twins are looked up; by default `Store()`.

    Raises:
        ConfigError: an option out of range.
        NeedsError: what `tune` would lack.
    """
    check_options(trials=trials, seeds=seeds, guard=guard, budget=budget)
    ready, shelf = set_up(method, problem, twins=twins, objective=objective, kind=kind, seed=seed), store or Store()
    scenes = [framed(problem, ready.parts, ready.counts, at, seed=seed)[0] for at in range(max(1, ready.twins))]
    stored = [_stored(problem, scene, at, ready.way.kind, seed, shelf) for at, scene in enumerate(scenes)]
    if not ready.twins:  # the rivals unlearn on the true problem
        stored = []
        scenes = [replace(problem, holdout=scenes[0].holdout, test=problem.holdout.take(ready.parts.check))]
    bound = twin_visits(problem, len(scenes[0].forget), ready.way.kind)
    each, warnings = _each(ready.methods, scenes[0])
    count = dict(zip(ready.methods, shares(trials, len(ready.methods)), strict=True))
    later = {one: len(scenes) * (seeds if one.stochastic else 1) - 1 for one in each}
    settings = sum(count[one] for one in each)
    kept = max(1, math.ceil(settings / KEPT))
    tried, once = _all_trials([(each[one], later[one], count[one]) for one in each], kept), retraining(problem)
    if budget is not None:  # passed at most by what is begun at once, or by the runs of the best setting
        most = budget * once + max(AT_ONCE, *later.values()) * max(span.most for span in each.values())
        tried = Span(0, min(tried.most, most))
    runs = settings + kept * max(later.values())
    return Plan(
        tuple(one.name() for one in each),
        ready.way.objective,
        ready.way.kind,
        ready.way.why,
        (*ready.warnings, *warnings),
        ready.twins,
        sum(one is not None for one in stored),
        runs,
        sum((Span(*bound) if one is None else Span(one, one) for one in stored), Span(0, 0)),
        tried,
        once,
        _disk(problem, scenes, ready.twins, runs) / 1e6,
    )


def _stored(problem: Problem, scene: Problem, at: int, kind: str, seed: int, store: Store) -> float | None:
    """Row visits that a twin has cost, where the store holds it."""
    key = key_of(asked_for(problem, scene.rows, at, kind=kind, seed=seed))
    return Cost.from_dict(store.get("model", key).facts["cost"]).visits if store.has("model", key) else None


def _each(methods: Sequence[type[Method]], scene: Problem) -> tuple[dict[type[Method], Span], list[str]]:
    """Visits of one trial of each method; of several, one that cannot treat the problem is passed over and named."""
    found, warnings = {}, []
    for one in methods:
        try:
            found[one] = visits(one, scene)
        except NeedsError as error:
            if len(methods) == 1:
                raise
            warnings.append(f"{one.name()} was passed over: {error.message}")
    if not found:
        raise NeedsError(f"no method can treat this problem: {'; '.join(warnings)}")
    return found, warnings


def visits(method: type[Method], scene: Problem) -> Span:
    """Row visits of one trial, whatever setting of its search space is drawn.

    Args:
        method: That declares a search space.
        scene: The problem that it is run on; its model and inputs are not looked at.
    """
    ends = corners(method)
    most = [method(**corner).most_visits(scene) for corner in ends]
    known = [one for one in most if one is not None]
    if known:
        return Span(0, max(known))
    apart = stand_in(scene)
    found = [method(**corner).run(apart, seed=0).cost.visits for corner in ends]
    return Span(min(found), max(found))


def corners(method: type[Method]) -> list[dict[str, Any]]:
    """Settings at the ends of all that can change visits: whole numbers and choices; rates and weights stay small."""
    axes: list[Sequence[Any]] = []
    for space in method.search.values():
        match space:
            case Whole(low, high):
                axes.append((low, high))
            case Choice(values):
                axes.append(values)
            case NearOne(low, _):
                axes.append((1 - low,))
            case _:
                axes.append((space.low,))
    return [dict(zip(method.search, corner, strict=True)) for corner in itertools.product(*axes)]


def stand_in(scene: Problem) -> Problem:
    """A problem of the same rows by number, id and label, with one number for an input and a linear model."""
    recipe = replace(
        scene.recipe, model="linear", arguments={}, augmentation=(), precision="float32", channels_last=False
    )
    return replace(
        scene,
        recipe=recipe,
        rows=_bare(scene.rows),
        holdout=_bare(scene.holdout),
        test=_bare(scene.test),
        original=recipe.fresh((1,), seed=0),
        halfway=None,
        subsets=None,
    )


def _bare(rows: Rows) -> MemoryRows:
    return MemoryRows(torch.zeros(len(rows), 1), rows.labels, ids=rows.ids, subjects=rows.subjects)


def _all_trials(groups: Sequence[tuple[Span, int, int]], kept: int) -> Span:
    """Visits of both rounds: (visits of a run, runs that follow in the second round, settings) of each method.

    Example:
        >>> _all_trials([(Span(10, 20), 5, 6)], kept=2)
        Span(least=160, most=320)
    """
    first = sum((Span(share * one.least, share * one.most) for one, _, share in groups), Span(0, 0))
    least = sorted(later * one.least for one, later, share in groups for _ in range(share))
    most = sorted((later * one.most for one, later, share in groups for _ in range(share)), reverse=True)
    return first + Span(sum(least[:kept]), sum(most[:kept]))


def _disk(problem: Problem, scenes: Sequence[Problem], twins: int, runs: int) -> float:
    """Bytes: each run keeps its outputs; each twin its rows and weights; guide and check rows lie there once."""
    shape, width = input_shape(problem.rows), problem.recipe.task.width
    one = FLOAT * math.prod(shape)
    held, apart = len(scenes[0].rows), len(scenes[0].holdout) + len(scenes[0].test)
    weights = sum(value.numel() for value in problem.original.state_dict().values()) * FLOAT
    return float(runs * FLOAT * width * (held + apart) + max(1, twins) * (weights + one * held) + one * apart)
