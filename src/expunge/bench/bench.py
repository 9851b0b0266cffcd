"""`run_suite`: train originals and gold, unlearn every original by every method, audit, and say what came out.

Every finished model and every finished cell lies in the store, so that a run that was stopped goes on where
it was, and methods added to a suite reuse the fleets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.audit.assemble import Shadows
from expunge.audit.foresight import foresee_method
from expunge.bench.cell import FAILED, KIND, Cell, cell_job, ended
from expunge.bench.chosen import resolved
from expunge.bench.fleets import Fleets
from expunge.bench.result import Head, Outcome, check_classes, median_seconds, method_result
from expunge.bench.suite import Entry, Suite
from expunge.data import ForgetSet, Indices, load
from expunge.errors import DivergedError
from expunge.fleet import Executor, Fleet, Here, keep_fleet, role_seeds
from expunge.methods.retrain import Retrain
from expunge.problem import check_disjoint, checked_forget
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Cost, Progress, Recipe, silent

CELLS = 8
"""Cells in one job: enough to be quick, few enough that a killed run loses little."""
TIMED = Entry("retrain (timed)", Retrain())
"""Run on a few originals, one at a time as the methods are, to know what a retraining costs in seconds."""
TIMED_RUNS = 3


def run_suite(
    suite: Suite,
    recipe: Recipe,
    *,
    store: Store,
    command: str,
    data: Path | None = None,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Iterator[dict[str, Any]]:
    """One result (see `bench/result.py`) for each forget set of the suite.

    Args:
        suite: What to run.
        recipe: The suite's recipe, resolved.
        store: Where finished models and cells lie.
        command: What a person would type to run this again; printed in the report.
        data: Folder of the data sets.
        executor: Who trains; by default this process.
        device: Where to train and unlearn; on an accelerator leave the executor as it is.
        progress: Called with (what, done, total).
    """
    check_classes(recipe)
    recipe = suite.on_data(recipe)
    splits = load(recipe.data, root=data)
    check_disjoint({"training": splits.train, "holdout": splits.holdout, "test": splits.test})
    executor = executor or Here()
    fleets = Fleets(recipe, splits.train, splits.holdout, splits.test, store, executor, device, progress)
    seeds = role_seeds(suite.seed, "original", suite.originals)
    originals = fleets.same(np.arange(len(splits.train)), seeds, "train originals", weights=True)
    shadows = fleets.shadows(suite.shadows, seed=suite.seed) if suite.shadows else None
    for forget_set in suite.forget:
        yield _one_forget_set(suite, fleets, originals, shadows, forget_set, command)


def _one_forget_set(
    suite: Suite,
    fleets: Fleets,
    originals: Fleet,
    shadows: Shadows | None,
    forget_set: ForgetSet,
    command: str,
) -> dict[str, Any]:
    forget = checked_forget(resolved(forget_set, fleets, seed=suite.seed), len(fleets.rows))
    gold = fleets.gold(forget, suite.gold + suite.originals, seed=suite.seed)
    outcomes, diverged = _unlearn(suite, fleets, originals, forget_set, forget)
    timed = outcomes.pop(TIMED.label)
    if not outcomes:
        raise DivergedError(f"suite {suite.name}, {forget_set}: {'; '.join(diverged)}", hint="lower their lr")
    logits = gold.logits()
    sides = logits[: suite.gold], logits[suite.gold :], originals.logits()
    pool = fleets.pool(*sides, forget=forget, shadows=shadows, seed=suite.seed)
    head = Head(
        title=f"expunge {suite.name}",
        command=command,
        seed=suite.seed,
        recipe=fleets.recipe.name,
        data=fleets.recipe.data,
        epochs=fleets.recipe.epochs,
        forget=forget_set,
        ids=fleets.ids,
        retraining=median_seconds(timed.costs),
    )
    foresight = foresee_method(suite.policy, unlearned=suite.originals, gold=suite.gold, forget=len(forget))
    result = method_result(head, pool, outcomes, suite.policy, foresight=foresight, progress=fleets.progress)
    return {**result, "limits": [*diverged, *result["limits"]]}


def _unlearn(
    suite: Suite, fleets: Fleets, originals: Fleet, forget_set: ForgetSet, forget: Indices
) -> tuple[dict[str, Outcome], list[str]]:
    """Label -> what the method did to every original; and a sentence on each that diverged, which has no line."""
    oracles = fleets.oracles(forget, suite.oracles, seed=suite.seed).folders if suite.oracles else ()
    subsets = suite.subsets and fleets.subsets(suite.subsets, share=suite.subset_share, seed=suite.seed)
    listed = keep_fleet(subsets, fleets.store) if subsets else ""
    cells = {
        entry.label: [
            Cell.of(
                fleets.store,
                fleets.recipe,
                fleets.watch,
                forget,
                kind=forget_set.kind,
                original=folder.path.name,
                method=entry.method,
                seed=derive(suite.seed, f"unlearn/{entry.label}", i),
                gold=(oracles[i].path.name,) if "gold" in entry.method.needs else (),
                subsets=listed if "estimator" in entry.method.settings() else "",
            )
            for i, folder in enumerate(originals.folders[: TIMED_RUNS if entry is TIMED else None])
        ]
        for entry in (*suite.entries, TIMED)
    }
    _finish([cell for group in cells.values() for cell in group], fleets)
    failed = {label: [cell for cell in group if fleets.store.has(FAILED, cell.id)] for label, group in cells.items()}
    diverged = [
        f"{label} is left out: it diverged on {len(failed[label])} of {len(group)} originals "
        f"({fleets.store.get(FAILED, failed[label][0].id).facts['message']})"
        for label, group in cells.items()
        if failed[label]
    ]
    whole = {label: _outcome(fleets.store, group) for label, group in cells.items() if not failed[label]}
    return whole, diverged


def _finish(cells: Sequence[Cell], fleets: Fleets) -> None:
    """Run the cells that the store does not hold yet."""
    missing = [cell for cell in cells if not ended(fleets.store, cell)]
    done = len(cells) - len(missing)
    fleets.progress("unlearn", done, len(cells))
    jobs = [
        {
            "store": str(fleets.store.root.resolve()),
            "device": fleets.device,
            "cells": [cell.to_dict() for cell in missing[cut : cut + CELLS]],
        }
        for cut in range(0, len(missing), CELLS)
    ]
    for finished in fleets.executor.map(cell_job, jobs):
        done += len(finished)
        fleets.progress("unlearn", done, len(cells))


def _outcome(store: Store, cells: Sequence[Cell]) -> Outcome:
    folders = [store.get(KIND, cell.id) for cell in cells]
    return Outcome(
        method=cells[0].method,
        settings=cells[0].settings,
        logits=np.stack([folder.array("logits") for folder in folders]),
        costs=[Cost.from_dict(folder.facts["cost"]) for folder in folders],
        notes=folders[0].facts["notes"],
        every=[folder.facts["notes"] for folder in folders],
    )
