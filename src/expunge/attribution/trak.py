"""TRAK with its scale: gradients at one or several trained models, projected, and a linear model solved among them.

Source:     Park, Georgiev, Ilyas, Leclerc, Madry, ICML 2023, arXiv:2303.14186. `removal` in logits is our extension.
Objective:  form "logits": at each checkpoint m the outputs are linear in the features phi_m(x) = J_x P_m, see `sketch`;
            the rows F go by one Newton step of the training loss, all together (see `group`), and the changes of the
            outputs are averaged over the checkpoints. `scores` are the changes of margins when one row goes, in nats.

            form "margin", as in the paper: phi_m(z) is the projected gradient of the margin, p the probability of the
            label, and

                tau(i, t) = [mean_m phi_m(t)' (Phi_m' Phi_m + penalty)^-1 phi_m(i)] * [mean_m (1 - p_m(i))]

            two averages, multiplied. The curvature lacks the weights p (1 - p) of the loss: ranks are right, but its
            unit is not nats, and it has no `removal`.
Symbols:    k -> dimension; M -> checkpoints; lambda, the penalty -> rows * (weight_decay of the recipe + damping), and
            what `early` adds.
Deviations: 1. the scale is kept: nothing is divided by the size of the matrix or the number of parameters.
            2. count-sketch instead of dense signs; lambda is what the training itself came to, 0 in the paper.
            3. the first checkpoint is the model itself; the others are subset models, as in the paper.
            4. scores are not set to zero where they are small.
Cost:       a visit a row, output (form "logits") and checkpoint; rows x outputs x dimension^2 multiplications.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from expunge.attribution.early import early_stopping
from expunge.attribution.estimator import CHUNK, Estimator, Fitted, Prediction, Removal, Source, forget_positions
from expunge.attribution.group import CORRECTIONS, WORST
from expunge.attribution.linearised import Moved
from expunge.attribution.margin_form import MarginFit
from expunge.attribution.projection import KINDS
from expunge.attribution.sketch import ROLE, Mask, Sketch
from expunge.data import Indices, Rows
from expunge.errors import NeedsError, check
from expunge.training import Run, predict

FORMS = ("logits", "margin")


@dataclass(frozen=True, kw_only=True)
class Trak(Estimator):
    """TRAK, in logits or as in the paper."""

    paper: ClassVar[str] = "arXiv:2303.14186"

    form: str = "logits"
    """"logits": with units and `removal`. "margin": the paper's, ranks only, an `outputs`-th of the visits."""
    checkpoints: int = 1
    """The model itself and, beyond 1, so many subset models less one, with their weights kept. (paper: 1 to 100)"""
    dimension: int = 2048
    """Features, k. (code: MadryLab/trak)"""
    projection: str = "count_sketch"
    """One of projection.KINDS."""
    damping: float = 0.0
    """Added to the curvature of the mean loss, beside the recipe's weight_decay, >= 0. (paper: lambda = 0)"""
    early: bool = True
    """Whether the length of the training counts as damping: see `early`."""
    correction: str = "group"
    """One of group.CORRECTIONS: "group", "single" or "none"; of form "logits"."""

    def __post_init__(self) -> None:
        check("form", self.form, f"one of {', '.join(FORMS)}", self.form in FORMS)
        check("checkpoints", self.checkpoints, ">= 1", self.checkpoints >= 1)
        check("dimension", self.dimension, ">= 1", self.dimension >= 1)
        check("projection", self.projection, f"one of {', '.join(KINDS)}", self.projection in KINDS)
        check("damping", self.damping, ">= 0", self.damping >= 0)
        check("early", self.early, "true or false", isinstance(self.early, bool))
        check("correction", self.correction, f"one of {', '.join(CORRECTIONS)}", self.correction in CORRECTIONS)

    def attribute(self, source: Source, run: Run) -> Fitted:
        """Project the gradients of all rows at every checkpoint.

        Raises:
            ConfigError: form "margin" for regression.
            NeedsError: too few checkpoints, or their weights were not kept.
        """
        check(
            "form", self.form, "logits for regression", self.form == "logits" or source.recipe.task.kind != "regression"
        )
        rows = len(source.rows)
        damping = rows * self.damping + (early_stopping(source.recipe, rows) if self.early else 0.0)
        sketches = [
            Sketch(
                model,
                seen,
                source.rows,
                source.recipe.task,
                run,
                kind=self.projection,
                dimension=self.dimension,
                decay=source.recipe.weight_decay,
                damping=damping,
            )
            for model, seen in chosen(source, self.checkpoints)
        ]
        notes = {
            "form": self.form,
            "checkpoints": len(sketches),
            "parameters": sketches[0].network.size,
            "dimension": sketches[0].projection.dimension,
            "damping": damping / rows,
        }
        if self.form == "margin":
            return MarginFit(source, run, sketches, notes)
        return TrakFit(source, run, sketches, self.correction, notes)


def chosen(source: Source, checkpoints: int) -> Iterator[tuple[nn.Module, Mask]]:
    """Checkpoints and the rows `[training rows]` that each was trained on: the model, then subset models.

    Raises:
        NeedsError: there are too few, or their weights were not kept.
    """
    yield source.model, np.ones(len(source.rows), dtype=bool)
    others, there = checkpoints - 1, 0 if source.subsets is None else len(source.subsets)
    if others > there:
        raise NeedsError(
            f"trak: {checkpoints} checkpoints are the model and {others} subset models, got {there} of these",
            hint="`train_subsets` with keep_weights=True trains them",
        )
    for index in range(others):
        if source.subsets is not None:
            yield source.subsets.model(index), source.subsets.masks[index]


class TrakFit(Fitted):
    """TRAK in logits: the mean over checkpoints of what each of them predicts.

    Args:
        source: What was fitted on.
        run: Device and the meter of the fit.
        sketches: `[checkpoints]`, that of the source's own model first.
        correction: One of group.CORRECTIONS.
        notes: What is known of the fit.
    """

    def __init__(
        self, source: Source, run: Run, sketches: Sequence[Sketch], correction: str, notes: dict[str, Any]
    ) -> None:
        self.source, self.run, self.sketches, self.correction = source, run, sketches, correction
        for index, sketch in enumerate(sketches):
            sketch.measure(f"{run.label}: checkpoint {index + 1} of {len(sketches)}")
        self.notes = notes
        self.cost = run.meter.cost()

    def step(self, forget: Indices) -> Tensor:
        """`[p]` where the parameters of the source's own model move when the rows at `forget` `[forget]` go.

        Raises:
            ProblemError: the forget set is empty, everything, repeated or out of range.
        """
        return self._steps(forget, self.sketches[:1])[0]

    def removal(self, forget: Indices, rows: Rows) -> Removal:
        """Outputs on any rows after retraining without the training rows at `forget` `[forget]`.

        The error is the standard error of the mean over checkpoints; NaN with a single one.
        """
        original = predict(self.source.model, rows, device=self.run.device).double().numpy()
        changes = np.stack(
            [
                torch.cat([sketch.network.jvp(x, step).double().cpu() for _, x, _ in sketch.network.batches(rows)])
                for sketch, step in zip(self.sketches, self._steps(forget, self.sketches), strict=True)
            ]
        )
        self._count(forward=len(changes) * len(rows))
        error = standard_error(changes)
        return Removal(original + changes.mean(axis=0), original, error)

    def counterfactual(self, forget: Indices) -> Prediction:
        """A module that adds the mean change over checkpoints to the model's outputs."""
        moved = [
            Moved(sketch.network, step)
            for sketch, step in zip(self.sketches, self._steps(forget, self.sketches), strict=True)
        ]
        return moved[0] if len(moved) == 1 else Averaged(moved)

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` by how many nats each training row raises the margins of any rows."""
        return self._scores(train, self._sensitivities(rows))

    def stream(self, rows: Rows, *, chunk: int = CHUNK) -> Iterator[tuple[Indices, npt.NDArray[np.float32]]]:
        """Scores of all training rows, a chunk at a time; the gradients of the rows are taken once."""
        sensitivities = self._sensitivities(rows)
        for start in range(0, len(self.source.rows), chunk):
            at = np.arange(start, min(start + chunk, len(self.source.rows)))
            yield at, self._scores(at, sensitivities)

    def _scores(self, train: Indices, sensitivities: Sequence[Tensor]) -> npt.NDArray[np.float32]:
        leverage = self.correction != "none"
        each = [
            sketch.effects(train, sensitivity, leverage=leverage)
            for sketch, sensitivity in zip(self.sketches, sensitivities, strict=True)
        ]
        self._count()
        return torch.stack(each).mean(0).cpu().numpy().astype(np.float32)

    def _sensitivities(self, rows: Rows) -> list[Tensor]:
        """`[dimension, rows]` A^-1 times the projected gradients of the margins, for each checkpoint."""
        gone = int(self.correction != "none")
        return [sketch.solve(sketch.margins(rows).T, own=False, without=gone) for sketch in self.sketches]

    def _steps(self, forget: Indices, sketches: Sequence[Sketch]) -> list[Tensor]:
        """`[p]` at each checkpoint."""
        at = forget_positions(forget, self.source)
        steps = [sketch.direction(sketch.step(at, self.correction)) for sketch in sketches]
        self.notes["group_condition"] = max(sketch.condition for sketch in self.sketches)
        if self.notes["group_condition"] > WORST:
            self.notes["warning"] = (
                f"the rows to forget leave the model nearly undetermined: condition {self.notes['group_condition']:.1g}"
            )
        self._count()
        return steps

    def _count(self, *, forward: int = 0) -> None:
        """Charge the visits of an answer; their seconds are those of whoever asks."""
        self.run.meter.forward(ROLE, forward)
        self.cost = replace(self.run.meter.cost(), seconds=self.cost.seconds)


class Averaged(Prediction):
    """The model's outputs and the mean of several predicted changes.

    Args:
        moved: One for each checkpoint, the model's own first.
    """

    def __init__(self, moved: Sequence[Moved]) -> None:
        super().__init__()
        self.moved = moved
        self.parts = nn.ModuleList(moved)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, outputs]` predicted outputs of any rows x `[batch, ...]`."""
        before: list[Tensor] = [one.base(x).float() for one in self.moved]
        after: list[Tensor] = [one(x) for one in self.moved]
        return before[0] + (torch.stack(after) - torch.stack(before)).mean(0)

    def train(self, mode: bool = True) -> Averaged:
        """Nothing here is trained: dropout stays off whatever mode is asked for."""
        return super().train(False)


def standard_error(changes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`[rows, outputs]` of the mean over checkpoints `[checkpoints, rows, outputs]`; NaN for one."""
    if len(changes) == 1:
        return np.full_like(changes[0], np.nan)
    return np.asarray(changes.std(axis=0, ddof=1) / np.sqrt(len(changes)))
