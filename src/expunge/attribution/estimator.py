"""What every estimator of data attribution has in common: what it is fitted on, and what it then answers.

Units:      logits. `removal` says what the model would put out if it had been trained again without some rows;
            `scores` says by how many nats the margin of a row rises because one training row is there.
Sign:       a positive score means that the training row raises the margin; to remove it lowers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import nn

from expunge.data import Indices, Rows
from expunge.errors import NeedsError, ProblemError
from expunge.fleet import Fleet
from expunge.folder import InFolder
from expunge.problem import Problem, checked_forget
from expunge.training import Cost, Progress, Recipe, Run, silent, weights_hash

FloatArray = npt.NDArray[np.floating[Any]]

NEEDS = frozenset({"subsets"})
"""What an estimator may need beside the model and its rows: a fleet trained on random subsets of the rows."""
CHUNK = 256
"""Training rows whose scores are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an estimator is fitted on: a trained model, the rows it was trained on, and how.

    Raises:
        ProblemError: the subset fleet has another recipe or other rows.
    """

    recipe: Recipe
    rows: Rows
    """All training rows, those to be forgotten later too: one fit serves many requests."""
    model: nn.Module
    """Trained on `rows`; never changed."""
    subsets: Fleet | None = None
    """Models of the same recipe on random subsets of `rows`, where an estimator needs them."""
    probes: Rows | None = None
    """Rows that will be asked about, for an estimator that must know them before it trains."""

    def __post_init__(self) -> None:
        if self.subsets is not None:
            check_same(self.subsets.recipe, self.recipe, "recipe")
            if self.subsets.masks.shape[1] != len(self.rows) or self.subsets.rows != self.rows.fingerprint:
                raise ProblemError(
                    "subsets: expected models of the training rows, got a fleet of other rows",
                    hint="train the subsets on the rows that the model was trained on",
                )

    @staticmethod
    def of(problem: Problem) -> Source:
        """The source of a problem; its forget set plays no part."""
        return Source(recipe=problem.recipe, rows=problem.rows, model=problem.original, subsets=problem.subsets)


@dataclass(frozen=True)
class Removal:
    """What a model would put out after retraining without some rows."""

    logits: FloatArray
    """`[rows, outputs]` predicted outputs, logits."""
    original: FloatArray
    """`[rows, outputs]` the model's outputs as it is, logits."""
    error: FloatArray
    """`[rows, outputs]` standard error of the prediction, logits; NaN where nothing tells it."""

    @property
    def change(self) -> FloatArray:
        """`[rows, outputs]` predicted change of the outputs, logits."""
        return self.logits - self.original


class Prediction(nn.Module):
    """A module that puts out predictions; none can be made from another, which would take rows off twice."""


class Fitted(ABC):
    """A fitted estimator: it answers for any forget set among the source's rows, and is charged for once."""

    source: Source
    cost: Cost
    """Of fitting, subset models included."""
    notes: dict[str, Any]
    """What the fit found out, such as a condition number or the damping; plain data."""

    @abstractmethod
    def removal(self, forget: Indices, rows: Rows) -> Removal:
        """Outputs on `rows` after retraining without the training rows at `forget` `[forget]`.

        Raises:
            NeedsError: these rows cannot be answered for; says what would mend it.
        """

    @abstractmethod
    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` by how many nats the training rows at `train` raise the margins of `rows`, each alone."""

    @abstractmethod
    def counterfactual(self, forget: Indices) -> Prediction:
        """A module that maps inputs to the predicted outputs; it shares no tensor with the source's model."""

    def stream(self, rows: Rows, *, chunk: int = CHUNK) -> Iterator[tuple[Indices, npt.NDArray[np.float32]]]:
        """Scores of all training rows, a chunk at a time: positions `[chunk]` and scores `[chunk, rows]`."""
        for start in range(0, len(self.source.rows), chunk):
            at = np.arange(start, min(start + chunk, len(self.source.rows)))
            yield at, self.scores(rows, at)

    def check(self, problem: Problem) -> None:
        """The fit is of this problem's model, recipe and rows.

        Raises:
            ProblemError: it is not; says in what.
        """
        check_same(self.source.recipe, problem.recipe, "recipe")
        if self.source.rows.fingerprint != problem.rows.fingerprint:
            raise ProblemError("attribution was fitted on other training rows", hint="fit it on this problem")
        if weights_hash(self.source.model) != weights_hash(problem.original):
            raise ProblemError("attribution was fitted on another model", hint="fit it on this problem")


@dataclass(frozen=True, kw_only=True)
class Estimator(InFolder, ABC):
    """An estimator of data attribution: a frozen value of hyper-parameters, and `attribute`.

    A subclass is found by its file: `attribution/trak.py` holds `Trak`, and the command line calls it `trak`.
    """

    paper: ClassVar[str]
    """Where it comes from: "arXiv:2303.14186", or "folklore"."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What it reads beside the model and its rows; see NEEDS."""
    any_rows: ClassVar[bool] = True
    """Whether it answers for rows that no model was watched on."""
    predicts: ClassVar[bool] = True
    """Whether it predicts outputs; if not, it ranks training rows by `scores` alone, and `removal` is refused."""

    @abstractmethod
    def attribute(self, source: Source, run: Run) -> Fitted:
        """The estimator's work; visits are counted on the run in role "attribution"."""

    def fit(
        self, source: Source | Problem, *, seed: int = 0, device: str = "cpu", progress: Progress = silent
    ) -> Fitted:
        """Fit once; the result answers for any forget set.

        Args:
            source: What to fit on; of a problem, its model and all its training rows.
            seed: Root seed of all that is drawn.
            device: Such as "cpu" or "cuda".
            progress: Called with (what, done, total).

        Raises:
            NeedsError: the estimator needs a subset fleet and there is none.
        """
        found = Source.of(source) if isinstance(source, Problem) else source
        if "subsets" in self.needs and found.subsets is None:
            raise NeedsError(
                f"{self.name()} needs models trained on random subsets of the rows",
                hint="`expunge attribute RUN --rows SPEC --estimator datamodel --subsets 200` trains them, in Python "
                "`train_subsets`; `expunge estimators` lists those that need none",
            )
        run = Run(seed, found.recipe.batch_size, device, found.recipe.precision, self.name(), progress)
        return self.attribute(found, run)


def forget_positions(forget: Indices, source: Source) -> Indices:
    """The forget positions `[forget]`, sorted and sound.

    Raises:
        ProblemError: empty, repeated, out of range, or more rows than the source was trained on.
    """
    return checked_forget(forget, len(source.rows))


def check_same(ours: Recipe, theirs: Recipe, what: str) -> None:
    """Two recipes train equal models.

    Raises:
        ProblemError: they do not; names the first field that differs.
    """
    if ours.fingerprint() != theirs.fingerprint():
        mine, other = ours.to_dict(), theirs.to_dict()
        name = next((key for key in mine if key not in ("name", "data") and mine[key] != other[key]), "model code")
        raise ProblemError(
            f"{what}: attribution was fitted on another one: {name} is {mine.get(name)!r} there, {other.get(name)!r} "
            "here",
            hint="fit it on the recipe that trained the model",
        )
