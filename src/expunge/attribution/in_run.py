"""In-Run Data Shapley: what each row did to some probes, step by step, while a model was trained.

Source:     Wang, Mittal, Song, Jia, "Data Shapley in One Training Run", arXiv:2406.11011.
Idea:       a step of training is a game in which the rows of the batch move the weights together. The Shapley value of
            its linear or quadratic approximation has a closed form; the values of all steps are added up.
Objective:  u_v is the margin of probe v (or minus its loss), w the weights before the step, g_i the gradient of row
            i's loss divided by the rows of the batch, g their sum, so that the step is w - lr (g + decay w):

                first    value[i, v] += -lr <grad u_v(w), g_i>
                second   value[i, v] += -lr <grad u_v(w), g_i> + lr^2 / 2 g_i' H_v (g + 2 decay w)

            H_v -> second derivative of u_v. Rows that do the same share what they do together: that is the second
            term. The inner products are ghost products (ghost.py); H_v is never formed, nor is a product with it.
Units:      nats of margin (of loss), summed over steps. Gradients are those of the batch's mean loss, as the recipe
            descends: with the sum, values would be larger by the batch size, and so would the steps.
Sign:       positive = the row raised the probe's margin (lowered its loss). In the paper a helpful row is negative.
Meaning:    a ledger of one training run. It says what rows did on the way, not what a training without them would
            give: rows that stand in for each other share the credit. So it ranks rows, and `removal` is refused.
            The sum over rows is the linearised change of the probe, step by step; where steps are large, less happens
            than is credited (`python -m benchmarks in_run` shows both).
Deviations: 1. momentum m: the gradient of step t moves the weights by lr_t + m lr_{t+1} + m^2 lr_{t+2} + ... in all;
            this stands in the place of lr. It is an approximation: the later parts are credited with the probes'
            gradients of now. Without momentum it is the paper's. The second order is for momentum 0 alone.
            2. weight decay belongs to no row. At second order it is part of the ground that rows move from, hence
            the factor 2; the paper has none.
            3. probes pass without dropout and augmentation.
Cost:       the training, and for each step one forward and backward pass of the probes without their gradients by
            weights; at second order one such pass more in dual numbers, which costs as much as two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt
from torch import nn

from expunge.attribution.estimator import Estimator, Fitted, Source
from expunge.attribution.ledger import Ledger, keep_ledger
from expunge.data import ForgetSet, Indices, Rows
from expunge.errors import NeedsError, ProblemError, check
from expunge.training import Progress, Recipe, Run, silent

UNSAID = "random:16"
"""Training rows to watch where nothing says which."""
SAME = 1e-4
"""Weights no further apart are of one training run: rounding, on another processor."""


def in_run(
    recipe: Recipe,
    rows: Rows,
    probes: Rows,
    *,
    seed: int,
    order: int = 1,
    of: str = "margin",
    indices: Indices | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Ledger:
    """Train as `fit` does, and keep a ledger of what each row does to the probes.

    Args:
        recipe: How to train; by "sgd".
        rows: Where the training rows lie.
        probes: Rows to watch; training rows or any others.
        seed: Root seed; with the same one `fit` makes the same model, to rounding.
        order: 1, or 2 for the curvature too.
        of: "margin", or "loss" for minus the loss.
        indices: `[n]` int64 positions of the rows to train on, by default all.
        device: Such as "cpu" or "cuda".
        progress: Called after each step.

    Raises:
        NeedsError: another optimiser than "sgd", momentum at second order, or a model whose rows have no gradients
            of their own by dense and convolutional layers.
        ConfigError: no such order or measure.
        ProblemError: no probes, or rows that cannot be trained on.
        ShapeError: the probes' inputs have another shape than the rows'.
        DivergedError: the loss became non-finite.
    """
    run = Run(seed, recipe.batch_size, device, recipe.precision, f"watch {recipe.name}", progress)
    at = np.arange(len(rows)) if indices is None else indices
    return keep_ledger(recipe, rows, at, probes, run, order=order, of=of)


class InRunFit(Fitted):
    """A ledger that answers for the rows that were probes.

    Args:
        source: Whose rows were trained on.
        probes: The rows that were watched.
        ledger: What they saw.
        notes: What the fit found out.
    """

    def __init__(self, source: Source, probes: Rows, ledger: Ledger, notes: dict[str, Any]) -> None:
        self.source, self.probes, self.ledger, self.cost = source, probes, ledger, ledger.cost
        apart = largest_difference(source.model, ledger.model)
        self.notes = {"probes": len(probes), "weights_apart": apart, **notes}
        if apart > SAME:
            self.notes["warning"] = (
                "the ledger is of another training run than the model's; fit with the seed that trained the model"
            )

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` by how many nats the training rows at `train` raised the margins of probes in this run.

        Raises:
            NeedsError: a row was not among the probes.
            ProblemError: a position is out of range.
        """
        where = {row_id: at for at, row_id in enumerate(self.probes.ids)}
        strange = [row_id for row_id in rows.ids if row_id not in where]
        if strange:
            raise NeedsError(
                f"in_run: {len(strange)} of {len(rows)} rows were not watched during training, such as {strange[0]!r}",
                hint="watch them from the start: Source(probes=ROWS), in_run(recipe, rows, probes, seed=...), and in "
                "`expunge attribute` an estimator without probes of its own",
            )
        count = len(self.ledger.values)
        if len(train) and not 0 <= int(train.min()) <= int(train.max()) < count:
            raise ProblemError(f"train: expected positions 0..{count - 1}, got {train.min()}..{train.max()}")
        at = np.array([where[row_id] for row_id in rows.ids], dtype=np.int64)
        return self.ledger.values[np.ix_(train, at)]

    def removal(self, forget: Indices, rows: Rows) -> NoReturn:
        """Refused.

        Raises:
            NeedsError: always; says why.
        """
        raise _refused()

    def counterfactual(self, forget: Indices) -> NoReturn:
        """Refused.

        Raises:
            NeedsError: always; says why.
        """
        raise _refused()


def _refused() -> NeedsError:
    return NeedsError(
        "in_run: a ledger says what rows did to margins while one model was trained, not what a training without them "
        "would put out",
        hint="rank rows by `scores`; predict removals with another estimator, such as influence or datamodel",
    )


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    """Largest difference of a weight between two models of one recipe."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((ours.cpu() - theirs.cpu()).abs().max()) for ours, theirs in pairs)


@dataclass(frozen=True, kw_only=True)
class InRun(Estimator):
    """In-Run Data Shapley: trains the recipe again with a ledger; the source's model is only compared with."""

    paper: ClassVar = "arXiv:2406.11011"
    any_rows: ClassVar = False
    predicts: ClassVar = False

    probes: str = ""
    """Which training rows to watch, as a forget set is written: "class:3:20", "ids:FILE", ...; by default the source's
    probes, which `expunge attribute` sets to its targets, and else 16 random ones. (ours)"""
    order: int = 1
    """1, or 2 for the curvature too, which needs a recipe without momentum. (paper)"""

    def __post_init__(self) -> None:
        check("order", self.order, "1 or 2", self.order in (1, 2))
        ForgetSet(self.probes or UNSAID)

    def attribute(self, source: Source, run: Run) -> InRunFit:
        """A ledger of the training by the run's seed; with the model's own seed it is that model's."""
        recipe, probes = source.recipe, source.probes
        if probes is None or self.probes:
            probes = source.rows.take(ForgetSet(self.probes or UNSAID, run.seed).indices(source.rows))
        ledger = keep_ledger(recipe, source.rows, np.arange(len(source.rows)), probes, run, order=self.order)
        return InRunFit(source, probes, ledger, {"order": self.order, "momentum": recipe.momentum})
