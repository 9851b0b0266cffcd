"""Gradient dot products: how far one descent step on a training row would raise the margin of another row.

Source:     Charpiat, Girard, Felardos, Tarabalka, NeurIPS 2019 (`cosine` too); the one-checkpoint case of TracIn,
            Pruthi, Liu, Kale, Sundararajan, NeurIPS 2020, arXiv:2002.08484. A baseline.
Objective:  score(i, t) = -<grad loss_i, grad margin_t>: the margin of t rises by `lr` times this when the weights make
            one step of size lr down the loss of row i.
            cosine -> the same over the lengths of both gradients, in [-1, 1].
Units:      nats per unit of step size, or none for `cosine`. How many steps a training is worth it cannot say: so no
            outputs can be predicted, and `removal` refuses.
Deviations: at the trained model alone, where TracIn sums over checkpoints weighted by their step sizes.
Cost:       nothing to fit; then one visit a training row and one a target for every chunk of training rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expunge.attribution.estimator import Estimator, Fitted, Source
from expunge.attribution.gradients import Network
from expunge.attribution.projection import Projection, projection
from expunge.data import Indices, Rows
from expunge.errors import NeedsError, check
from expunge.training import Run

KEPT = 2**27
"""Most numbers that the gradients of targets may fill: 512 MB in float32; more targets take several passes."""
TINY = 1e-30
"""Length below which a gradient counts as zero: its cosines are 0."""


@dataclass(frozen=True, kw_only=True)
class GradDot(Estimator):
    """Gradient dot products, a baseline without a scale."""

    paper: ClassVar[str] = "arXiv:2002.08484"
    predicts: ClassVar[bool] = False

    cosine: bool = False
    """Whether to divide by the lengths of both gradients. (paper: Charpiat et al.)"""
    dimension: int = 0
    """Numbers that a count-sketch makes of each gradient, for large networks; 0: the gradients as they are."""

    def __post_init__(self) -> None:
        check("cosine", self.cosine, "true or false", isinstance(self.cosine, bool))
        check("dimension", self.dimension, ">= 0", self.dimension >= 0)

    def attribute(self, source: Source, run: Run) -> Fitted:
        """Nothing is fitted."""
        return GradDotFit(source, run, self)


class GradDotFit(Fitted):
    """Gradient dot products at one model."""

    def __init__(self, source: Source, run: Run, settings: GradDot) -> None:
        self.source, self.run, self.settings = source, run, settings
        self.network = Network(source.model, device=run.device)
        kind = "count_sketch" if settings.dimension else "identity"
        self.projection: Projection = projection(
            kind, self.network.size, settings.dimension or self.network.size, seed=run.seed
        )
        unit = "cosine, no unit" if settings.cosine else "nats per unit of step size"
        self.notes = {"unit": unit, "dimension": self.projection.dimension}
        self.cost = run.meter.cost()

    def removal(self, forget: Indices, rows: Rows) -> NoReturn:
        """There is none.

        Raises:
            NeedsError: always; says why.
        """
        raise no_scale()

    def counterfactual(self, forget: Indices) -> NoReturn:
        """There is none.

        Raises:
            NeedsError: always; says why.
        """
        raise no_scale()

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` nats per unit of step size that the training rows at `train` give to each margin."""
        found = np.empty((len(train), len(rows)), dtype=np.float32)
        step = max(1, KEPT // self.projection.dimension)
        for start in range(0, len(rows), step):
            targets = np.arange(start, min(start + step, len(rows)))
            theirs = self._features(rows, targets, "margin")
            done = 0
            for part, x, y in self.network.batches(self.source.rows, train):
                ours = -self._shortened(x, y, "loss")
                found[done : done + len(part), targets] = (ours @ theirs.T).cpu().numpy()
                done += len(part)
        self.cost = replace(self.run.meter.cost(), seconds=self.cost.seconds)
        return found

    def _features(self, rows: Rows, at: Indices, of: str) -> Tensor:
        """`[rows, dimension]` of the rows at `at`."""
        return torch.cat([self._shortened(x, y, of) for _, x, y in self.network.batches(rows, at)])

    def _shortened(self, x: Tensor, y: Tensor, of: str) -> Tensor:
        """Projected gradients `[rows, dimension]`, of length 1 where cosines are wanted."""
        self.run.meter.backward("attribution", len(x))
        found = self.projection.down(self.network.gradients(x, y, self.source.recipe.task, of))
        return found / found.norm(dim=-1, keepdim=True).clamp(min=TINY) if self.settings.cosine else found


def no_scale() -> NeedsError:
    """Why gradient dot products predict no output."""
    return NeedsError(
        "grad_dot ranks training rows but has no scale: a product of gradients does not say how many steps of which "
        "size a training is worth, so it cannot be taken off an output",
        hint="take an estimator that solves for the trained model, such as influence, ekfac or trak",
    )
