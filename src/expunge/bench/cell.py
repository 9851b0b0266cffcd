"""A cell of a bench: one method on one original, as plain data; its outputs are kept, so it is run once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from expunge.fleet import fetch
from expunge.fleet.task import unpack
from expunge.methods import method
from expunge.problem import Problem
from expunge.store import Contents, Store, key_of
from expunge.training import Recipe, input_shape, predict

KIND = "cell"
"""Of the store's folders that hold finished cells."""


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

    @property
    def id(self) -> str:
        """Hash of all that decides the result, the version of the methods included."""
        recipe = Recipe.from_dict(self.recipe).fingerprint()
        return key_of({**asdict(self), "recipe": recipe, "expunge": version("expunge")})

    def to_dict(self) -> dict[str, Any]:
        """Plain data that any executor can carry."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Cell:
        """The cell that `to_dict` wrote down."""
        return Cell(**data)


def cell_job(job: dict[str, Any]) -> list[str]:
    """Run the cells of a job that are not finished and keep each in the store; returns their ids.

    Args:
        job: `{"store": path, "device": name, "cells": [cell, ...]}`.
    """
    store = Store(job["store"])
    cells = [Cell.from_dict(cell) for cell in job["cells"]]
    for cell in cells:
        if not store.has(KIND, cell.id):
            _run(store, cell, job["device"])
    return [cell.id for cell in cells]


def _run(store: Store, cell: Cell, device: str) -> None:
    problem = _problem(store, cell)
    unlearned = method(cell.method)(**cell.settings).run(problem, seed=cell.seed, device=device)
    watched = (problem.rows, problem.holdout, problem.test)
    logits = torch.cat([predict(unlearned.model, rows) for rows in watched]).numpy()
    facts = {"cell": cell.to_dict(), "cost": unlearned.cost.to_dict(), "notes": unlearned.notes}
    store.put(cell.id, Contents(KIND, facts, arrays={"logits": logits}))


def _problem(store: Store, cell: Cell) -> Problem:
    recipe, rows = Recipe.from_dict(cell.recipe), fetch(store, cell.rows)
    model = recipe.fresh(input_shape(rows), seed=0)
    return Problem(
        recipe=recipe,
        rows=rows,
        forget=np.flatnonzero(unpack(cell.forget, cell.size)),
        holdout=fetch(store, cell.holdout),
        test=fetch(store, cell.test),
        original=store.get("model", cell.original).load_into(model, "weights"),
        kind=cell.kind,
    )
