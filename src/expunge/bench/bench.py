"""`run_suite`: train originals and gold, unlearn every original by every method, audit, and say what came out.

Every finished model and every finished cell lies in the store, so that a run that was stopped goes on where
it was, and methods added to a suite reuse the fleets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expunge.audit.assemble import Pool, positions
from expunge.bench.cell import KIND, Cell, cell_job
from expunge.bench.result import Head, Outcome, check_classes, median_seconds, method_result
from expunge.bench.suite import Entry, Suite
from expunge.data import ForgetSet, Indices, Rows, Splits, load
from expunge.fleet import Executor, Fleet, Here, role_seeds, same_rows, shelve, train_fleet
from expunge.fleet.task import pack
from expunge.methods.retrain import Retrain
from expunge.problem import check_disjoint, checked_forget
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Cost, Progress, Recipe, member_mask, silent

CELLS = 8
"""Cells in one job: enough to be quick, few enough that a killed run loses little."""
TIMED = Entry("retrain (timed)", Retrain())
"""Run on a few originals, one at a time as the methods are, to know what a retraining costs in seconds."""
TIMED_RUNS = 3


@dataclass(frozen=True)
class Setting:
    """What a suite works on: the recipe, its rows, and where things are kept."""

    recipe: Recipe
    splits: Splits
    store: Store
    executor: Executor
    device: str
    progress: Progress

    @property
    def watch(self) -> tuple[Rows, Rows, Rows]:
        """Rows whose outputs every model keeps, in this order."""
        return self.splits.train, self.splits.holdout, self.splits.test


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
    setting = Setting(recipe, load(recipe.data, root=data), store, executor or Here(), device, progress)
    splits = setting.splits
    check_disjoint({"training": splits.train, "holdout": splits.holdout, "test": splits.test})
    everything = np.arange(len(splits.train))
    originals = _fleet(
        setting, everything, role_seeds(suite.seed, "original", suite.originals), "train originals", weights=True
    )
    for forget_set in suite.forget:
        yield _one_forget_set(suite, setting, originals, forget_set, command)


def _one_forget_set(
    suite: Suite, setting: Setting, originals: Fleet, forget_set: ForgetSet, command: str
) -> dict[str, Any]:
    train, holdout, test = setting.watch
    forget = checked_forget(forget_set.indices(train), len(train))
    retain = np.setdiff1d(np.arange(len(train)), forget)
    seeds = role_seeds(suite.seed, "gold", suite.gold + suite.originals)
    gold = _fleet(setting, retain, seeds, "train gold").excluding(forget)
    outcomes = _unlearn(suite, setting, originals, forget_set, forget)
    timed = outcomes.pop(TIMED.label)
    logits = gold.logits()
    pool = Pool(
        gold=logits[: suite.gold],
        heldout=logits[suite.gold :],
        original=originals.logits(),
        labels=np.concatenate([rows.labels.numpy() for rows in setting.watch]),
        splits=positions(len(train), len(holdout), len(test), forget),
    )
    head = Head(
        title=f"expunge {suite.name}",
        command=command,
        seed=suite.seed,
        recipe=setting.recipe,
        forget=forget_set,
        ids=tuple(row_id for rows in setting.watch for row_id in rows.ids),
        retraining=median_seconds(timed.costs),
    )
    return method_result(head, pool, outcomes, setting.progress)


def _fleet(setting: Setting, indices: Indices, seeds: Sequence[int], label: str, *, weights: bool = False) -> Fleet:
    train = setting.splits.train
    return train_fleet(
        setting.recipe,
        train,
        same_rows(train, indices, len(seeds)),
        seeds,
        watch=setting.watch,
        store=setting.store,
        executor=setting.executor,
        keep_weights=weights,
        device=setting.device,
        progress=setting.progress,
        label=label,
    )


def _unlearn(
    suite: Suite, setting: Setting, originals: Fleet, forget_set: ForgetSet, forget: Indices
) -> dict[str, Outcome]:
    """Label -> what the method did to every original."""
    cells = {
        entry.label: [
            _cell(
                setting,
                folder.path.name,
                entry,
                forget_set,
                forget,
                derive(suite.seed, f"unlearn/{entry.label}", i),
            )
            for i, folder in enumerate(originals.folders[: TIMED_RUNS if entry is TIMED else None])
        ]
        for entry in (*suite.entries, TIMED)
    }
    _finish([cell for group in cells.values() for cell in group], setting)
    return {label: _outcome(setting.store, group) for label, group in cells.items()}


def _cell(setting: Setting, original: str, entry: Entry, forget_set: ForgetSet, forget: Indices, seed: int) -> Cell:
    train, holdout, test = (shelve(setting.store, rows) for rows in setting.watch)
    rows = setting.splits.train
    return Cell(
        recipe=setting.recipe.to_dict(),
        rows=train,
        holdout=holdout,
        test=test,
        size=len(rows),
        forget=pack(member_mask(rows, forget)),
        kind=forget_set.kind,
        original=original,
        method=entry.method.name(),
        settings=entry.method.settings(),
        seed=seed,
    )


def _finish(cells: Sequence[Cell], setting: Setting) -> None:
    """Run the cells that the store does not hold yet."""
    missing = [cell for cell in cells if not setting.store.has(KIND, cell.id)]
    done = len(cells) - len(missing)
    setting.progress("unlearn", done, len(cells))
    jobs = [
        {
            "store": str(setting.store.root.resolve()),
            "device": setting.device,
            "cells": [cell.to_dict() for cell in missing[cut : cut + CELLS]],
        }
        for cut in range(0, len(missing), CELLS)
    ]
    for finished in setting.executor.map(cell_job, jobs):
        done += len(finished)
        setting.progress("unlearn", done, len(cells))


def _outcome(store: Store, cells: Sequence[Cell]) -> Outcome:
    folders = [store.get(KIND, cell.id) for cell in cells]
    return Outcome(
        method=cells[0].method,
        settings=cells[0].settings,
        logits=np.stack([folder.array("logits") for folder in folders]),
        costs=[Cost.from_dict(folder.facts["cost"]) for folder in folders],
        notes=folders[0].facts["notes"],
    )
