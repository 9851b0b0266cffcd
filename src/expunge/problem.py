"""Problem: the one object that a method receives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from expunge.data import ForgetSet, Indices, Rows
from expunge.errors import ProblemError, ShapeError
from expunge.fleet import Fleet
from expunge.training import Recipe, predict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A trained model, the rows it was trained on, and those of them that have to go.

    Raises:
        ProblemError: the forget set is empty, everything, out of range or repeated; two sets of rows
            share an id; a label is beyond the model's outputs.
        ShapeError: the outputs of a model do not have the width of the recipe's task, or the model of half the way
            is of another architecture than the original.
    """

    recipe: Recipe
    rows: Rows
    """Training rows: retain + forget."""
    forget: Indices
    """`[forget]` positions among `rows`, sorted; a ForgetSet is resolved on construction."""
    holdout: Rows
    """Never trained on, same distribution: what a method may use as unseen rows."""
    test: Rows
    """Never trained on: utility only."""
    original: nn.Module
    """Trained on all of `rows`; no method ever changes it."""
    kind: str = "random"
    """What the forget rows have in common: "random", "class" or "subject"."""
    forget_set: ForgetSet | None = None
    """The text form of `forget`, where there is one; set where `forget` was given as one."""
    halfway: nn.Module | None = None
    """The original as it was after half of its recipe's epochs, where that was kept: a rewound twin starts there."""
    subsets: Fleet | None = None
    """Models of the recipe on random subsets of `rows`, for attribution that needs them."""
    gold: tuple[nn.Module, ...] = ()
    """Gold models for the methods that are upper bounds; an audit must judge by others. `tune` refuses them."""

    def __post_init__(self) -> None:
        if isinstance(self.forget, ForgetSet):
            object.__setattr__(self, "kind", self.forget.kind)
            object.__setattr__(self, "forget_set", self.forget)
            object.__setattr__(self, "forget", self.forget.indices(self.rows))
        object.__setattr__(self, "forget", checked_forget(self.forget, len(self.rows)))
        named = {"training": self.rows, "holdout": self.holdout, "test": self.test}
        check_disjoint(named)
        for name, rows in named.items():
            if len(rows) == 0:
                raise ProblemError(f"{name} rows: expected at least one, got none")
            self.recipe.task.check_labels(rows.labels)
        self._check_model("original", self.original)
        if self.halfway is not None:
            self._check_model("halfway", self.halfway)
            check_same_shapes(self.halfway, self.original)

    def _check_model(self, name: str, model: nn.Module) -> None:
        width = predict(model, self.rows, np.arange(1)).shape[-1]
        if width != self.recipe.task.width:
            raise ShapeError(f"{name}: expected {self.recipe.task.width} outputs, got {width}")

    @cached_property
    def retain(self) -> Indices:
        """`[retain]` positions of the rows that stay, sorted."""
        return np.setdiff1d(np.arange(len(self.rows)), self.forget)


def check_same_shapes(halfway: nn.Module, original: nn.Module) -> None:
    """The model of half the way has the weights of the original, by name and shape.

    Raises:
        ShapeError: names the first that differs.
    """
    ours, theirs = (
        {name: list(value.shape) for name, value in model.state_dict().items()} for model in (halfway, original)
    )
    for name in {**theirs, **ours}:
        if ours.get(name) != theirs.get(name):
            raise ShapeError(f"halfway: expected {name} {theirs.get(name)} as in the original, got {ours.get(name)}")


def checked_forget(forget: Indices, rows: int) -> Indices:
    """The forget positions `[forget]`, sorted, once they are known to be sound.

    Raises:
        ProblemError: empty, everything, out of range, repeated, or not whole numbers.
    """
    at = np.asarray(forget)
    if at.size == 0:
        raise ProblemError("forget set: expected at least one row, got none", hint="nothing has to be done")
    if at.ndim != 1 or at.dtype.kind not in "iu":
        raise ProblemError(f"forget set: expected integer positions [forget], got {at.dtype} {list(at.shape)}")
    if at.min() < 0 or at.max() >= rows:
        raise ProblemError(f"forget set: expected positions 0..{rows - 1}, got {at.min()}..{at.max()}")
    if len(np.unique(at)) != len(at):
        raise ProblemError(f"forget set: {len(at) - len(np.unique(at))} rows are named more than once")
    if len(at) == rows:
        raise ProblemError(
            f"forget set: all {rows} training rows; a model of nothing cannot be audited",
            hint="delete the model, or retain some rows",
        )
    return np.sort(at).astype(np.int64)


def check_disjoint(named: dict[str, Rows]) -> None:
    """No row id may stand in two of the named sets.

    Raises:
        ProblemError: names both sets and one id.
    """
    owner: dict[str, str] = {}
    for name, rows in named.items():
        for row_id in rows.ids:
            if row_id in owner:
                raise ProblemError(
                    f"rows: {row_id!r} is in both {owner[row_id]} and {name}",
                    hint="training, holdout and test rows must be disjoint, or the audit measures nothing",
                )
        owner.update(dict.fromkeys(rows.ids, name))
