"""What ways of choosing a setting come to in one cell: the setting that each takes, its regret, its order.

A cell is a data set x forget set x replicate x method; its candidates are "no change" (place 0), the method's default
(place 1) and drawn settings. All is computed from the cell's numbers; nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from expunge.audit.jackknife import FloatArray
from expunge.data import Indices
from expunge.tuning.tune import GUARD

FAR = 1e6
"""Objective of a setting that diverged, or that loses more than the guard: never chosen before one that did not."""
DIVERGED = 100.0
"""True distance of a setting that diverged, in starts."""
NO_CHANGE, DEFAULT = 0, 1
TAKEN, AMONG = 3, 6
"""The overlap is the share of a way's best 3 settings that are among the true best 6."""
PARTS = ("value", "lost", "forget", "check")
"""What a way says of a candidate."""
ONE = ", one twin"
"""Behind the name of a kind of twin, where each twin chooses alone: the mean of what they come to."""
RANDOM, UNCHANGED, GOLD, USUAL = "random setting", "no change", "gold, cross-fitted", "default"


@dataclass(frozen=True, eq=False)
class Scores:
    """What a way of choosing says of every candidate, each `[runs, candidates]`; one run a twin, or one alone."""

    value: FloatArray
    """The objective, smaller is better; inf where the run diverged."""
    lost: FloatArray
    """Accuracy on check rows below the reference's."""
    forget: FloatArray
    """Mean distance of margins on the rows to forget from the reference, nats."""
    check: FloatArray
    """The same on check rows."""

    def objective(self) -> FloatArray:
        """`[candidates]` mean over runs; beyond the guard they come last, in order."""
        return guarded(self.value.mean(axis=0), self.lost.mean(axis=0))

    def alone(self) -> FloatArray:
        """`[runs, candidates]` the same of each run by itself."""
        return guarded(self.value, self.lost)

    def only(self, run: int) -> Scores:
        """One run of them."""
        return Scores(*(value[run : run + 1] for value in vars(self).values()))

    def dealt(self, places: Indices) -> Scores:
        """What was said of candidate `places[i]` is said of candidate i."""
        return Scores(*(value[:, places] for value in vars(self).values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: rounded(value) for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Case:
    """One cell."""

    data: str
    forget: str
    kind: str
    """What the forget rows have in common: "random" or "class"."""
    replicate: int
    method: str
    settings: Sequence[dict[str, Any] | None]
    """Of each candidate; None is "no change"."""
    visits: FloatArray
    """`[candidates]` row visits on the true problem; NaN where it diverged."""
    scores: Mapping[str, Scores]
    """Way of choosing -> what it says."""
    true: FloatArray
    """`[candidates, golds]` J*, the distance to each gold model in starts; inf where the run diverged."""
    true_forget: FloatArray
    """`[candidates]` mean distance to gold on forget rows, nats."""
    true_test: FloatArray
    """The same on test rows."""
    origin: Sequence[str] = field(default=())
    """Of cells put together: the method behind each candidate."""

    @property
    def unit(self) -> tuple[str, str, int]:
        """What shares an original, its gold models and its twins."""
        return self.data, self.forget, self.replicate

    @property
    def twins(self) -> int:
        """Twins of each kind."""
        return max((len(scores.value) for scores in self.scores.values()), default=0)

    @property
    def distance(self) -> FloatArray:
        """`[candidates, golds]` J* with a number for those that diverged."""
        return np.where(np.isfinite(self.true), self.true, DIVERGED)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain = {name: getattr(self, name) for name in ("data", "forget", "kind", "replicate", "method")}
        arrays = {name: rounded(getattr(self, name)) for name in ("visits", "true", "true_forget", "true_test")}
        settings = [
            None if one is None else {name: _plain(value) for name, value in one.items()} for one in self.settings
        ]
        return {
            **plain,
            "settings": settings,
            **arrays,
            "ways": {way: scores.to_dict() for way, scores in self.scores.items()},
            "places": places(self),
            "regret": vars(regret(self)),
        }


@dataclass(frozen=True)
class Regret:
    """What choosing came to in a cell, way by way."""

    distance: dict[str, float]
    """J* of the setting that was taken; the mean over settings that tie."""
    relative: dict[str, float] | None
    """(J* - gold's) / (the default's - gold's); None where the cell says nothing."""


def guarded(value: FloatArray, lost: FloatArray) -> FloatArray:
    """Objectives `[..., candidates]` in which settings that diverged or lose too much come last, as in `tune`."""
    beyond = np.asarray(lost > GUARD)
    beyond[..., NO_CHANGE] = False  # it always competes
    return np.asarray(np.where(np.isfinite(value), np.minimum(value, FAR), FAR) + FAR * beyond)


def first(values: FloatArray, count: int) -> FloatArray:
    """Which of `values` `[candidates]` are the smallest `count`, as shares that sum to it: ties divide what is left.

    Example:
        >>> first(np.array([2.0, 1.0, 2.0, 3.0]), 2)
        array([0.5, 1. , 0.5, 0. ])
    """
    cut = np.sort(values)[count - 1]
    below, at = values < cut, values == cut
    return np.asarray(below + at * (count - below.sum()) / at.sum())


def regret(case: Case) -> Regret:
    """J* of what each way takes, and where the cell says something, how much of the possible gain is left.

    Gold chooses on one half of the gold models and is judged on the other, both ways; every other choice knows no gold
    model and is judged on all. The reference is the default; of several methods together, the median setting.
    """
    distance = case.distance
    mean = distance.mean(axis=1)
    chosen = {}
    for way, scores in case.scores.items():
        chosen[way] = float(first(scores.objective(), 1) @ mean)
        if way.startswith("twin"):
            chosen[way + ONE] = float(np.mean([first(one, 1) @ mean for one in scores.alone()]))
    reference = median_place(mean[1:]) + 1 if case.origin else DEFAULT
    halves = distance[:, ::2], distance[:, 1::2]
    judged = list(zip(golds_choice(distance), reversed(halves), strict=True))
    gold = float(np.mean([half[at].mean() for at, half in judged]))
    chosen |= {RANDOM: float(np.median(mean[1:])), UNCHANGED: float(mean[NO_CHANGE])}
    chosen |= {USUAL: float(mean[reference]), GOLD: gold}
    gain = np.concatenate([half[reference] - half[at] for at, half in judged])
    scale, error = float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))
    if scale <= 0 or scale < 2 * error:
        return Regret(chosen, None)
    return Regret(chosen, {way: (found - gold) / scale for way, found in chosen.items()})


def places(case: Case) -> dict[str, list[int]]:
    """The candidates that each way takes: several where they tie; gold one on each half of its models."""
    found = {way: np.flatnonzero(first(scores.objective(), 1)).tolist() for way, scores in case.scores.items()}
    return found | {USUAL: [DEFAULT], GOLD: golds_choice(case.distance)}


def golds_choice(distance: FloatArray) -> list[int]:
    """What is nearest to each half of the gold models of `distance` `[candidates, golds]`."""
    return [int(half.mean(axis=1).argmin()) for half in (distance[:, ::2], distance[:, 1::2])]


def median_place(values: FloatArray) -> int:
    """The place of the lower median.

    Example:
        >>> median_place(np.array([5.0, 1.0, 3.0, 9.0]))
        2
    """
    return int(np.argsort(values, kind="stable")[(len(values) - 1) // 2])


def order(case: Case, way: str) -> dict[str, float]:
    """How a way ranks the settings ("no change" left out) against the truth; NaN where it ranks nothing.

    `rho`: of the objective against J*. `rho_forget`, `rho_check`: of its distances on forget and on check rows against
    the true ones on forget and on test rows. `overlap`: share of its best 3 among the true best 6.
    """
    scores, true = case.scores[way], case.distance.mean(axis=1)[1:]
    value = guarded(scores.value.mean(axis=0), np.zeros(scores.value.shape[1]))[1:]
    forget, check = (_last(part.mean(axis=0)[1:]) for part in (scores.forget, scores.check))
    rho = {
        "rho": rank_correlation(value, true),
        "rho_forget": rank_correlation(forget, _last(case.true_forget[1:])),
        "rho_check": rank_correlation(check, _last(case.true_test[1:])),
    }
    few = len(true) < AMONG or np.ptp(value) == 0
    overlap = np.nan if few else float(first(value, TAKEN) @ first(true, AMONG) / TAKEN)
    return {**rho, "overlap": overlap}


def rank_correlation(ours: FloatArray, theirs: FloatArray) -> float:
    """Spearman's; NaN where one side has no order.

    Example:
        >>> rank_correlation(np.array([1.0, 2, 9]), np.array([0.0, 5, 6])), rank_correlation(np.ones(3), np.arange(3.0))
        (1.0, nan)
    """
    if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return float("nan")
    return float(spearmanr(ours, theirs).statistic)


def together(cases: Sequence[Case]) -> Case:
    """The cells of one unit as one: the candidates of all methods, "no change" once."""
    head = cases[0]
    ways = set.intersection(*(set(case.scores) for case in cases))
    scores = {
        way: Scores(*(_joined([getattr(case.scores[way], part).T for case in cases]).T for part in PARTS))
        for way in head.scores
        if way in ways
    }
    return Case(
        head.data,
        head.forget,
        head.kind,
        head.replicate,
        "all methods",
        [None, *(one for case in cases for one in case.settings[1:])],
        _joined([case.visits for case in cases]),
        scores,
        _joined([case.true for case in cases]),
        _joined([case.true_forget for case in cases]),
        _joined([case.true_test for case in cases]),
        origin=("", *(case.method for case in cases for _ in case.settings[1:])),
    )


def rounded(values: FloatArray) -> Any:  # noqa: ANN401  (nested lists)
    """An array as nested lists of five digits; what is not finite is None.

    Example:
        >>> rounded(np.array([[1.23456789, np.inf]]))
        [[1.2346, None]]
    """
    if np.ndim(values):
        return [rounded(part) for part in values]
    return float(f"{values:.5g}") if np.isfinite(values) else None


def _joined(parts: Sequence[FloatArray]) -> FloatArray:
    """Candidates `[candidates, ...]` of several methods, "no change" once."""
    return np.concatenate([parts[0][:1], *(part[1:] for part in parts)])


def _last(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, FAR)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
