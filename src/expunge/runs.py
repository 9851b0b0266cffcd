"""Run folders: an original or an unlearned model on disk, with all that is needed to go on from there.

run        recipe, data set, seed, what it cost          weights: model, and halfway through its training
unlearned  parent, forget set, method, what it cost      weights: model     arrays: forget

A folder may come from somebody else. Opening one runs no code: a model from a person's own file is built only
where the caller names that file too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from expunge.data import ForgetSet, Indices, Rows, Splits, load
from expunge.errors import NeedsError, ProblemError, StoreError
from expunge.fleet import Fleet, keep_fleet, open_fleet
from expunge.methods import Method, Unlearned
from expunge.problem import Problem
from expunge.store import Contents, Folder, Store, holds, key_of, read, write
from expunge.store.folder import MANIFEST, file_hash
from expunge.training import Cost, Progress, Recipe, fit, input_shape, predict, silent, weights_hash

HALFWAY = "halfway"
"""Stem of the weights that a training had after half of its epochs."""
SUBSETS = "subsets"
"""Of the store's folders that say which fleet of random subsets there is."""
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

    @cached_property
    def halfway(self) -> nn.Module | None:
        """The model as it was after half of the epochs, read when it is asked for; None in an older folder.

        Raises:
            StoreError: the file is damaged.
        """
        folder = read(self.path, "run")
        if f"{HALFWAY}.safetensors" not in folder.hashes:
            return None
        return folder.load_into(self.recipe.fresh(input_shape(self.splits.train), seed=0), HALFWAY)

    def problem(self, forget: Indices, kind: str, *, halfway: bool = False, subsets: Fleet | None = None) -> Problem:
        """The problem of forgetting `forget` `[forget]` from this model.

        Args:
            forget: `[forget]` positions among the training rows.
            kind: What they have in common: "random", "class" or "subject".
            halfway: With the model's past self, where it was kept.
            subsets: Models on random subsets of the training rows, such as `latest_subsets` finds.
        """
        splits = self.splits
        return Problem(
            recipe=self.recipe,
            rows=splits.train,
            forget=forget,
            holdout=splits.holdout,
            test=splits.test,
            original=self.model,
            kind=kind,
            halfway=self.halfway if halfway else None,
            subsets=subsets,
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

    @property
    def unlearned(self) -> Unlearned:
        """The model as the method returned it, but for the history of its loss."""
        facts = self.facts
        cost = Cost.from_dict(facts["cost"])
        return Unlearned(self.model, facts["method"], facts["settings"], facts["seed"], cost, [], facts["notes"])


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
        StoreError: `out` is taken, or cannot be made.
    """
    check_new(out)
    splits = named_rows(recipe.name, recipe.data, data)
    trained = fit(recipe, splits.train, seed=seed, device=device, progress=progress, halfway=True)
    facts = {
        "recipe": recipe.to_dict(),
        "code": recipe.code,
        "seed": seed,
        "rows": fingerprints(splits),
        "cost": trained.cost.to_dict(),
    }
    assert trained.halfway is not None  # it was asked for
    weights = {"model": trained.model.state_dict(), HALFWAY: trained.halfway.state_dict()}
    write(out, Contents("run", facts, weights))
    return TrainedRun(out, recipe, splits, seed, trained.model, trained.cost)


def open_run(path: Path, *, data: Path | None = None, code: Path | None = None) -> TrainedRun:
    """The original in a run folder, with its rows loaded again and compared.

    Args:
        path: The folder.
        data: Folder of the data sets.
        code: The person's own file that holds the model, where there is one; it is executed.

    Raises:
        NeedsError: the model is in a file that `code` does not name.
        StoreError: not a run folder, damaged, or the code or the data set is no longer what it was trained with.
    """
    folder = read(path, "run")
    recipe = Recipe.from_dict(folder.facts["recipe"])
    _check_named(path, recipe.model, str(folder.facts.get("code", "")), code)
    splits = recorded_rows(folder, recipe.data, data)
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
    subsets: Fleet | None = None,
    progress: Progress = silent,
) -> tuple[UnlearnedRun, Unlearned]:
    """Unlearn a run's model and keep the result in the folder `out`.

    Args:
        parent: The run.
        forget: Which rows have to go.
        method: How.
        out: The folder to make.
        seed: Of the method.
        device: Where to compute.
        subsets: Models on random subsets of the rows, for methods that predict from them.
        progress: Called after each step.

    Raises:
        StoreError: `out` is taken, or cannot be made.
    """
    check_new(out)
    if not method.makes_model:
        raise NeedsError(
            f"{method.name()} predicts outputs and makes no model, so there is nothing to keep in {out}",
            hint="`datamodel_matching` makes a model of such predictions; `expunge attribute` prints them",
        )
    problem = parent.problem(forget.indices(parent.splits.train), forget.kind, subsets=subsets)
    unlearned = method.run(problem, seed=seed, device=device, progress=progress)
    facts = {
        "parent": os.path.relpath(parent.path.resolve(), out.parent.resolve()),
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


def open_unlearned(path: Path, *, data: Path | None = None, code: Path | None = None) -> UnlearnedRun:
    """The unlearned model in a folder, with its original; the arguments are those of `open_run`.

    Raises:
        NeedsError: the model is in a file that `code` does not name.
        StoreError: damaged, or its original is gone or another one.
    """
    folder = read(path, "unlearned")
    facts = folder.facts
    parent = open_run(origin_of(folder, "run"), data=data, code=code)
    problem = parent.problem(folder.array("forget"), facts["forget"]["kind"])
    fresh = parent.recipe.fresh(input_shape(parent.splits.train), seed=0)
    forget = ForgetSet(facts["forget"]["text"], facts["forget"]["seed"])
    return UnlearnedRun(path, parent, problem, forget, folder.load_into(fresh, "model"), facts)


def named_rows(name: str, spec: str, data: Path | None) -> Splits:
    """The data set that a recipe is meant for.

    Raises:
        NeedsError: the recipe names none, or its files are not there.
    """
    if not spec:
        raise NeedsError(f"recipe {name}: names no data set", hint='give it data="..." (`expunge data`)')
    return load(spec, root=data)


def recorded_rows(folder: Folder, spec: str, data: Path | None) -> Splits:
    """The data set of a run folder, once its rows are known to be those that it was trained with.

    Raises:
        StoreError: a part of it has changed.
    """
    splits = load(spec, root=data)
    found = fingerprints(splits)
    for part, fingerprint in folder.facts["rows"].items():
        if found[part] != fingerprint:
            raise StoreError(
                f"{folder.path}: the {part} rows of {spec} are not those it was trained with",
                hint="give the same files with --data DIR",
            )
    return splits


def origin_of(folder: Folder, kind: str) -> Path:
    """Where the original of an unlearned folder lies, once it is known to be the same.

    Raises:
        StoreError: it is gone, or another one.
    """
    origin: Path = (folder.path.resolve().parent / folder.facts["parent"]).resolve()
    read(origin, kind)  # tells where there is none
    if file_hash(origin / MANIFEST) != folder.facts["parent_manifest"]:
        raise StoreError(
            f"{origin}: not the run that {folder.path} was unlearned from", hint="run `expunge forget` again"
        )
    return origin


def keep_subsets(fleet: Fleet, store: Store) -> None:
    """Note a fleet of models on random subsets, so that later commands find it; a larger one is not replaced."""
    path = store.path(SUBSETS, _subsets_key(fleet.recipe, fleet.rows))
    if holds(path, SUBSETS) and read(path, SUBSETS).facts["models"] > len(fleet):
        return
    write(path, Contents(SUBSETS, {"fleet": keep_fleet(fleet, store), "models": len(fleet)}), replace=True)


def latest_subsets(recipe: Recipe, rows: Rows, store: Store) -> Fleet | None:
    """The largest fleet that `keep_subsets` noted for this recipe and these rows, of equal ones the latest.

    Raises:
        StoreError: it or one of its models is damaged or gone.
    """
    key = _subsets_key(recipe, rows.fingerprint)
    return open_fleet(store.get(SUBSETS, key).facts["fleet"], store) if store.has(SUBSETS, key) else None


def _subsets_key(recipe: Recipe, rows: str) -> str:
    return key_of({"recipe": recipe.fingerprint(), "rows": rows})


def check_same_request(made: Sequence[UnlearnedRun]) -> None:
    """Several unlearned models answer one request by one method, so that they can be audited together.

    Raises:
        ProblemError: they differ in recipe, rows, forget set, method or settings, or one folder stands there twice.
    """
    first = made[0]
    known: set[Path] = set()
    parents: dict[str, Path] = {}
    for run in made:
        origin = run.parent.path.resolve()
        if parents.setdefault(weights_hash(run.parent.model), origin) != origin:
            raise ProblemError(
                f"{run.path}: its original {origin} is the same model as {parents[weights_hash(run.parent.model)]}",
                hint="train the originals with different seeds: copies do not count as several",
            )
        if run.path.resolve() in known:
            raise ProblemError(f"{run.path}: named twice", hint="name each unlearned model once")
        known.add(run.path.resolve())
        asked = {
            "recipe": run.parent.recipe.fingerprint() == first.parent.recipe.fingerprint(),
            "rows": run.problem.rows.fingerprint == first.problem.rows.fingerprint,
            "forget set": np.array_equal(run.problem.forget, first.problem.forget),
            "method": run.facts["method"] == first.facts["method"],
            "settings": run.facts["settings"] == first.facts["settings"],
        }
        for what, same in asked.items():
            if not same:
                raise ProblemError(
                    f"{run.path}: another {what} than {first.path}",
                    hint="a method audit takes models of one method, one setting and one forget set",
                )


def check_new(out: Path) -> None:
    """A folder can be made there; asked before long work, not after it.

    Raises:
        StoreError: the place is taken, or cannot be written.
    """
    if out.exists():
        raise StoreError(f"{out} exists already", hint="choose another -o, or delete it first")
    check_place(out, "choose another -o")


def check_place(path: Path, hint: str) -> None:
    """`path` is a folder that can be written, or can be made as one; nothing is made yet.

    Raises:
        StoreError: a file is in the way, or the folder may not be written.
    """
    nearest = next((folder for folder in (path, *path.parents) if folder.exists()), Path())
    if not nearest.is_dir():
        raise StoreError(f"{path}: expected a folder, but {nearest} is a file", hint=hint)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreError(f"{path}: the folder {nearest.absolute()} may not be written", hint=hint)


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


def _check_named(path: Path, model: str, recorded: str, code: Path | None) -> None:
    """A model in a file is built only where the caller named that very file, and it is as it was recorded."""
    file = model.rpartition(":")[0]
    if not file.endswith(".py"):  # as `models.build` tells a file
        return
    if code is None or code.resolve() != Path(file).resolve():
        raise NeedsError(
            f"{path}: its model is code in the file {file} (SHA-256 {recorded or 'not recorded'})"
            + ("" if code is None else f", not in {code}"),
            hint=f"read that file; if you trust it, name it: --code {file}",
        )
    if not code.is_file() or file_hash(code) != recorded:
        raise StoreError(
            f"{path}: {model} is not the code it was trained with",
            hint="restore that file, or train again",
        )


def fingerprints(splits: Splits) -> dict[str, str]:
    """The fingerprint of each part of a data set, by which a folder knows its rows again."""
    return {part: getattr(splits, part).fingerprint for part in ("train", "holdout", "test")}
