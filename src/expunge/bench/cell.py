"""A cell of a bench: one method on one original, as plain data; its outputs are kept, so it is run once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.attribution.named import configured
from expunge.data import Indices, Rows
from expunge.errors import DivergedError
from expunge.fleet import fetch, open_fleet, shelve
from expunge.fleet.task import pack, unpack
from expunge.methods import Method, method
from expunge.problem import Problem
from expunge.store import Contents, Store, key_of
from expunge.training import Recipe, input_shape, member_mask, predict

KIND = "cell"
"""Of the store's folders that hold finished cells."""
FAILED = "failed"
"""Of those that hold what was said of a cell that diverged: the same run would end the same way."""


@dataclass(frozen=True)
class Cell:
    """Unlearn one original by one method, and keep its outputs on training, holdout and test rows."""

    recipe: dict[str, Any]
    rows: str
    """Fingerprints of the training, ..."""
    holdout: str
    """... holdout ..."""
    test: str
    """... and test rows."""
    size: int
    """How many training rows there are."""
    forget: str
    """Which of them are to go: packed bits in hexadecimal."""
    kind: str
    """What they have in common: "random", "class" or "subject"."""
    original: str
    """Id of the fleet model to unlearn."""
    method: str
    settings: dict[str, Any]
    seed: int
    gold: tuple[str, ...] = ()
    """Ids of gold models that the method may see; never those that judge it."""
    subsets: str = ""
    """Key of the subset fleet that attribution may use; empty for none."""

    @staticmethod
    def of(
        store: Store,
        recipe: Recipe,
        watch: tuple[Rows, Rows, Rows],
        forget: Indices,
        *,
        kind: str,
        original: str,
        method: Method,
        seed: int,
        gold: tuple[str, ...] = (),
        subsets: str = "",
    ) -> Cell:
        """The cell of a method on an original; its rows are put in the store.

        Args:
            store: Where the rows go.
            recipe: Of the original.
            watch: Training, holdout and test rows.
            forget: `[forget]` positions among the training rows.
            kind: What these have in common.
            original: Id of the model to unlearn.
            method: With its settings.
            seed: Of the method.
            gold: Ids of gold models, for a method that needs some.
            subsets: Key of a subset fleet, see `keep_fleet`.
        """
        rows, holdout, test = (shelve(store, part) for part in watch)
        return Cell(
            recipe=recipe.to_dict(),
            rows=rows,
            holdout=holdout,
            test=test,
            size=len(watch[0]),
            forget=pack(member_mask(watch[0], forget)),
            kind=kind,
            original=original,
            method=method.name(),
            settings=method.settings(),
            seed=seed,
            gold=gold,
            subsets=subsets,
        )

    @property
    def id(self) -> str:
        """Hash of all that decides the result, the version of the methods included."""
        recipe = Recipe.from_dict(self.recipe).fingerprint()
        asked = {key: value for key, value in asdict(self).items() if key not in ("gold", "subsets") or value}
        if "estimator" in self.settings:  # what its text leaves out, defaults decide
            asked["estimator"] = configured(self.settings["estimator"]).settings()
        return key_of({**asked, "recipe": recipe, "expunge": version("expunge")})

    def to_dict(self) -> dict[str, Any]:
        """Plain data that any executor can carry."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Cell:
        """The cell that `to_dict` wrote down."""
        return Cell(**{**data, "gold": tuple(data.get("gold", ()))})


def cell_job(job: dict[str, Any]) -> list[str]:
    """Run the cells of a job that are not finished and keep each in the store, or that it diverged; returns their ids.

    Args:
        job: `{"store": path, "device": name, "cells": [cell, ...]}`.
    """
    store = Store(job["store"])
    cells = [Cell.from_dict(cell) for cell in job["cells"]]
    for cell in cells:
        if not ended(store, cell):
            try:
                _run(store, cell, job["device"])
            except DivergedError as error:
                store.put(cell.id, Contents(FAILED, {"message": error.message}))
    return [cell.id for cell in cells]


def ended(store: Store, cell: Cell) -> bool:
    """Whether a cell is finished, or is known to diverge."""
    return store.has(KIND, cell.id) or store.has(FAILED, cell.id)


def _run(store: Store, cell: Cell, device: str) -> None:
    problem = _problem(store, cell)
    unlearned = method(cell.method)(**cell.settings).run(problem, seed=cell.seed, device=device)
    watched = (problem.rows, problem.holdout, problem.test)
    logits = torch.cat([predict(unlearned.model, rows) for rows in watched]).numpy()
    facts = {"cell": cell.to_dict(), "cost": unlearned.cost.to_dict(), "notes": unlearned.notes}
    store.put(cell.id, Contents(KIND, facts, arrays={"logits": logits}))


def _problem(store: Store, cell: Cell) -> Problem:
    recipe, rows = Recipe.from_dict(cell.recipe), fetch(store, cell.rows)

    def opened(model: str) -> nn.Module:
        return store.get("model", model).load_into(recipe.fresh(input_shape(rows), seed=0), "weights")

    return Problem(
        recipe=recipe,
        rows=rows,
        forget=np.flatnonzero(unpack(cell.forget, cell.size)),
        holdout=fetch(store, cell.holdout),
        test=fetch(store, cell.test),
        original=opened(cell.original),
        kind=cell.kind,
        gold=tuple(opened(model) for model in cell.gold),
        subsets=open_fleet(cell.subsets, store) if cell.subsets else None,
    )
