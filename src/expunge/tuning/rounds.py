"""The two rounds of a search: many settings on one twin with one seed, then the best third on all twins and seeds.

Budget:     the first round ends at its share of the budget, and the second takes what the rest can pay for, so that
            whatever is begun there is run in full: half of a setting's runs can choose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from expunge.bench.cell import Cell
from expunge.errors import ConfigError, NeedsError
from expunge.fleet import Executor
from expunge.methods import Method
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Progress
from expunge.tuning.space import distributions, optuna, settings, usual
from expunge.tuning.trial import Numbers, Scene, cell, numbers, run, unchanged

KEPT = 3
"""One in this many settings reaches the second round."""
AT_ONCE = 8
"""Runs that are begun before the budget is looked at again: not a matter of cores, or the choice would be."""
FAR = 1e6
"""Objective that the optimiser is told of a setting that cannot be chosen."""
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
        error: Standard error of that mean, over twins; NaN with one twin.
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


@dataclass
class Entry:
    """A setting under trial."""

    method: type[Method]
    settings: dict[str, Any]
    numbers: list[Numbers | None] = field(default_factory=list)

    def value(self, guard: float) -> float:
        """What the optimiser is told: dropped settings count as very far."""
        found = summed(self.method.name(), self.settings, self.numbers, guard)
        return FAR if found.dropped else found.value


@dataclass
class Rounds:
    """The two rounds; every run lies in the store, so a search that was stopped goes on where it was."""

    scenes: list[Scene]
    objective: str
    guard: float
    seed: int
    seeds: int
    """Runs of a stochastic method on each scene in the second round."""
    store: Store
    executor: Executor
    progress: Progress
    budget: float
    entries: list[Entry] = field(default_factory=list)
    spent: float = 0.0
    counted: int = 0
    """Runs behind what was spent."""

    def first_round(self, methods: Sequence[type[Method]], count: int) -> list[str]:
        """Of each method the default, then of each drawn settings, on the first scene with one seed.

        Args:
            methods: Which; of several, one that cannot treat the problem is passed over.
            count: Settings of all methods together; at least one of each.

        Returns:
            Warnings: which methods were passed over or not reached, and why.
        """
        later = len(self.scenes) * self.seeds - 1  # runs that follow for one in KEPT settings
        limit = self.budget * KEPT / (KEPT + later)
        warnings, able = [], []
        for method, share in zip(methods, shares(count, len(methods)), strict=True):
            default = Entry(method, usual(method))
            try:
                self._run([(default, 0, 0)], limit)
            except NeedsError as error:
                if len(methods) == 1:
                    raise
                warnings.append(f"{method.name()} was passed over: {error.message}")
                continue
            if not default.numbers:
                warnings.append(f"{method.name()} was not tried: the first round's share of the budget was spent")
                continue
            self.entries.append(default)
            able.append((method, share, self._study(share)))
        for draw in (False, True):  # whether the optimiser has been told how the first did
            for method, share, study in able:
                drawn = max(1, (2 * share) // 3)
                self._draw(method, study, share - drawn if draw else drawn - 1, limit)
        return warnings

    def _study(self, count: int) -> Any:  # noqa: ANN401  (the library's own)
        library = optuna()
        seed = derive(self.seed, "tuning/sampler") % 2**32
        startup = max(1, max(1, (2 * count) // 3) - 1)  # the default is not told
        return library.create_study(sampler=library.samplers.TPESampler(seed=seed, n_startup_trials=startup))

    def _draw(self, method: type[Method], study: Any, size: int, limit: float) -> None:  # noqa: ANN401
        """Run `size` settings that the optimiser draws, and tell it what they came to."""
        if size < 1 or self.spent >= limit:
            return
        asked = [study.ask(distributions(method.search)) for _ in range(size)]
        batch = [Entry(method, settings(method.search, one.params)) for one in asked]
        self._run([(entry, 0, 0) for entry in batch], limit)
        for one, entry in zip(asked, batch, strict=True):
            study.tell(one, entry.value(self.guard))
        self.entries += [entry for entry in batch if entry.numbers]

    def second_round(self) -> None:
        """The best third on all scenes with all seeds: of these, the settings whose runs the budget can pay for.

        What a setting costs is known from its first run. The best one is run where anything is left at all.
        """
        alive = [entry for entry in self.entries if None not in entry.numbers]  # what diverged once is never chosen
        ranked = sorted(alive, key=lambda entry: entry.value(self.guard))
        rest, room = [], self.budget - self.spent
        for place, entry in enumerate(ranked[: max(1, math.ceil(len(ranked) / KEPT))]):
            runs = [
                (entry, scene, turn)
                for scene in range(len(self.scenes))
                for turn in range(self._turns(entry.method))
                if (scene, turn) != (0, 0)
            ]
            cost = len(runs) * sum(one.visits for one in entry.numbers if one is not None)  # of its first run
            if room > 0 and (place == 0 or cost <= room):
                rest += runs
                room -= cost
        self._run(rest, math.inf)

    def _turns(self, method: type[Method]) -> int:
        return self.seeds if method.stochastic else 1

    def trials(self) -> list[Trial]:
        """Every setting and "no change"."""
        nothing = [unchanged(scene, objective=self.objective) for scene in self.scenes]
        found = [summed(NO_CHANGE, {}, list(nothing), math.inf)]
        for entry in self.entries:
            turns = self._turns(entry.method)
            whole = len(entry.numbers) == len(self.scenes) * turns
            chosen, runs = entry.settings, entry.numbers
            found.append(summed(entry.method.name(), chosen, runs, self.guard, turns=turns if whole else 0))
        return found

    def _run(self, wanted: Sequence[tuple[Entry, int, int]], limit: float) -> None:
        """Run settings on scenes with seeds `(setting, scene, turn)`, in the order given, as far as `limit` reaches."""
        done = 0
        while part := wanted[done : done + self._fit(limit)]:
            cells = [self._cell(*one) for one in part]
            run(cells, self.store, self.executor)
            done += len(part)
            self.progress("tune", done, len(wanted))
            for (entry, scene, _), one in zip(part, cells, strict=True):
                found = numbers(self.scenes[scene], one, self.store, objective=self.objective)
                entry.numbers.append(found)
                self.counted += found is not None
                self.spent += 0 if found is None else found.visits
            if not self.entries and self.spent > self.budget:
                raise ConfigError(
                    f"budget: the first trial takes {self.spent:,.0f} row visits, the budget is {self.budget:,.0f}",
                    hint="raise --budget, or tune a cheaper method",
                )

    def _fit(self, limit: float) -> int:
        """How many runs to begin at once, but no more than fit if they cost the usual."""
        if self.spent == 0 or math.isinf(limit):
            return max(AT_ONCE, 2 * self.executor.processes)
        room = (limit - self.spent) / (self.spent / self.counted)
        return AT_ONCE if room >= AT_ONCE else max(0, math.floor(room))

    def _cell(self, entry: Entry, scene: int, turn: int) -> Cell:
        """Common random numbers: one seed a scene and turn, the same for every setting."""
        seed = derive(self.seed, f"tuning/run/{scene}", turn)
        return cell(self.scenes[scene], entry.method, entry.settings, seed, self.store)


def summed(
    method: str, chosen: dict[str, Any], found: Sequence[Numbers | None], guard: float, *, turns: int = 1
) -> Trial:
    """A trial from what its runs came to, None for each that diverged: `turns` on each scene, 0 where some are missing.

    The standard error is over scenes, as runs on one scene share its rows and its model.
    """
    known = [one for one in found if one is not None]
    if not known:
        nothing = math.nan
        return Trial(method, chosen, nothing, nothing, nothing, nothing, nothing, nothing, len(found), "diverged")
    values = np.array([one.value for one in known])
    finite = bool(np.isfinite(values).all())
    lost = float(np.mean([one.lost for one in known]))
    dropped = "" if turns else UNFINISHED
    scenes = values.reshape(-1, turns).mean(axis=1) if turns and len(known) == len(found) else values[:1]
    if len(known) < len(found):
        dropped = "diverged"
    elif lost > guard:
        dropped = f"loses {lost:.3f} accuracy"
    return Trial(
        method,
        chosen,
        float(values.mean()),
        float(scenes.std(ddof=1) / math.sqrt(len(scenes))) if len(scenes) > 1 and finite else math.nan,
        float(np.mean([one.forget for one in known])),
        float(np.mean([one.check for one in known])),
        lost,
        float(np.mean([one.visits for one in known])),
        len(known),
        dropped,
    )


def shares(trials: int, methods: int) -> list[int]:
    """The trials of each method, as even as can be, at least one."""
    return [max(1, len(part)) for part in np.array_split(np.arange(trials), methods)]
