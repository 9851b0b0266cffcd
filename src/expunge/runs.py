"""Run folders: an original or an unlearned model on disk, with all that is needed to go on from there.

run        recipe, data set, seed, what it cost          weights: model
unlearned  parent, forget set, method, what it cost      weights: model     arrays: forget
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from expunge.data import ForgetSet, Indices, Rows, Splits, load
from expunge.errors import NeedsError, StoreError
from expunge.methods import Method, Unlearned
from expunge.problem import Problem
from expunge.store import Contents, read, write
from expunge.store.folder import MANIFEST, file_hash
from expunge.training import Cost, Progress, Recipe, fit, input_shape, predict, silent

Accuracy = dict[str, float]
"""Accuracy by split, each in [0, 1]."""


@dataclass(frozen=True)
class TrainedRun:
    """A run folder, opened: the original and the rows it was trained on."""

    path: Path
    recipe: Recipe
    splits: Splits
    seed: int
    model: nn.Module
    cost: Cost

    def problem(self, forget: Indices, kind: str) -> Problem:
        """The problem of forgetting `forget` `[forget]` from this model."""
        splits = self.splits
        return Problem(
            recipe=self.recipe,
            rows=splits.train,
            forget=forget,
            holdout=splits.holdout,
            test=splits.test,
            original=self.model,
            kind=kind,
        )


@dataclass(frozen=True)
class UnlearnedRun:
    """An unlearned model's folder, opened, with the problem that it answers."""

    path: Path
    parent: TrainedRun
    problem: Problem
    forget: ForgetSet
    model: nn.Module
    facts: dict[str, Any]


def train_run(
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    data: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> TrainedRun:
    """Train an original on the recipe's data set and keep it in the folder `out`.

    Raises:
        NeedsError: the recipe names no data set, or its files are not there.
        StoreError: `out` is taken, or cannot be written.
    """
    if out.exists():
        raise StoreError(f"{out} exists already", hint="choose another -o, or delete it first")
    if not recipe.data:
        raise NeedsError(f"recipe {recipe.name}: names no data set", hint='give it data="..." (`expunge data`)')
    splits = load(recipe.data, root=data)
    trained = fit(recipe, splits.train, seed=seed, device=device, progress=progress)
    facts = {
        "recipe": recipe.to_dict(),
        "code": recipe.code,
        "seed": seed,
        "rows": _fingerprints(splits),
        "cost": trained.cost.to_dict(),
    }
    write(out, Contents("run", facts, {"model": trained.model.state_dict()}))
    return TrainedRun(out, recipe, splits, seed, trained.model, trained.cost)


def open_run(path: Path, *, data: Path | None = None) -> TrainedRun:
    """The original in a run folder, with its rows loaded again and compared.

    Raises:
        StoreError: not a run folder, damaged, or the data set is no longer the one it was trained on.
    """
    folder = read(path, "run")
    recipe = Recipe.from_dict(folder.facts["recipe"])
    if recipe.code != folder.facts.get("code", ""):
        raise StoreError(
            f"{path}: {recipe.model} is not the code it was trained with",
            hint="restore that file, or train again",
        )
    splits = load(recipe.data, root=data)
    for part, fingerprint in folder.facts["rows"].items():
        if _fingerprints(splits)[part] != fingerprint:
            raise StoreError(
                f"{path}: the {part} rows of {recipe.data} are not those it was trained with",
                hint="give the same files with --data DIR",
            )
    model = folder.load_into(recipe.fresh(input_shape(splits.train), seed=0), "model")
    return TrainedRun(path, recipe, splits, folder.facts["seed"], model, Cost.from_dict(folder.facts["cost"]))


def forget_run(
    parent: TrainedRun,
    forget: ForgetSet,
    method: Method,
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> tuple[UnlearnedRun, Unlearned]:
    """Unlearn a run's model and keep the result in the folder `out`."""
    if out.exists():
        raise StoreError(f"{out} exists already", hint="choose another -o, or delete it first")
    problem = parent.problem(forget.indices(parent.splits.train), forget.kind)
    unlearned = method.run(problem, seed=seed, device=device, progress=progress)
    facts = {
        "parent": os.path.relpath(parent.path, out.parent),
        "parent_manifest": file_hash(parent.path / MANIFEST),
        "forget": {"text": forget.text, "seed": forget.seed, "kind": forget.kind},
        "method": unlearned.method,
        "settings": unlearned.settings,
        "seed": seed,
        "cost": unlearned.cost.to_dict(),
        "notes": unlearned.notes,
    }
    write(out, Contents("unlearned", facts, {"model": unlearned.model.state_dict()}, {"forget": problem.forget}))
    return UnlearnedRun(out, parent, problem, forget, unlearned.model, facts), unlearned


def open_unlearned(path: Path, *, data: Path | None = None) -> UnlearnedRun:
    """The unlearned model in a folder, with its original.

    Raises:
        StoreError: damaged, or its original is gone or another one.
    """
    folder = read(path, "unlearned")
    facts = folder.facts
    origin = path.parent / facts["parent"]
    parent = open_run(origin, data=data)
    if file_hash(origin / MANIFEST) != facts["parent_manifest"]:
        raise StoreError(f"{origin}: not the run that {path} was unlearned from", hint="run `expunge forget` again")
    problem = parent.problem(folder.array("forget"), facts["forget"]["kind"])
    fresh = parent.recipe.fresh(input_shape(parent.splits.train), seed=0)
    forget = ForgetSet(facts["forget"]["text"], facts["forget"]["seed"])
    return UnlearnedRun(path, parent, problem, forget, folder.load_into(fresh, "model"), facts)


def accuracies(model: nn.Module, problem: Problem) -> Accuracy:
    """Accuracy on forget, retain, holdout and test rows."""
    parts: Mapping[str, tuple[Rows, Indices | None]] = {
        "forget": (problem.rows, problem.forget),
        "retain": (problem.rows, problem.retain),
        "holdout": (problem.holdout, None),
        "test": (problem.test, None),
    }
    return {name: accuracy_on(model, problem.recipe, rows, at) for name, (rows, at) in parts.items()}


def accuracy_on(model: nn.Module, recipe: Recipe, rows: Rows, at: npt.NDArray[np.int64] | None = None) -> float:
    """Share of rows that a model gets right."""
    labels = rows.labels if at is None else rows.labels[at]
    return float(recipe.task.correct(predict(model, rows, at), labels).mean())


def _fingerprints(splits: Splits) -> dict[str, str]:
    return {part: getattr(splits, part).fingerprint for part in ("train", "holdout", "test")}
