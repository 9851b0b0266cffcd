"""EK-FAC influence: one Newton step with the curvature of each layer as a Kronecker product.

Source:     George et al., NeurIPS 2018, arXiv:1806.03884 (EK-FAC); its use for influence Grosse et al. 2023,
            arXiv:2308.03296. Written from the equations; see `kronecker` for them.
Objective:  H step = J_F' r_F + |F| weight_decay theta_0, as of `linearised`, with H one block a layer in the eigenbasis
            of the layer's Kronecker factors, and the exact diagonal for parameters outside dense and convolutional
            layers:

                H = blocks + n (weight_decay + damping) + early + share times the mean eigenvalue of the layer

            correction "group" -> eigenvalues and penalty of the retain rows alone: what the rows of F add to each
            eigenvalue is measured and taken off. "none" -> those of all rows, the paper's.
Deviations: 1. in place of a label for each row a random sum of the columns of the root of W is drawn, of the same mean
               square: of a row that the model is sure of, a drawn label nearly always tells nothing. 0 draws take all.
            2. eigenvalues are sums over rows, not means; the penalty of the recipe is a part of H.
            3. the rows that go are taken out of H. Not by the solve of `group`: it needs an H that holds all of what
               these rows bend, and of an approximate one an outlier may bend more than there is.
            4. scores are first order in the training row, for the same reason.
Scale:      blocks leave out how layers bend together, and convolutions are sums over places: ranks suffer less than
            the size of a step, which is best calibrated (`calibrate`) before outputs are taken at their word.
Exact for:  one dense layer with squared loss, to first order; with "group" too where F bends as the others do.
Cost:       two passes over the rows with as many backward passes as outputs (or `draws`), and one eigenproblem a side
            and layer; a pass over F for each answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.attribution.early import early_stopping
from expunge.attribution.estimator import Estimator, Fitted, Source, forget_positions
from expunge.attribution.gradients import Network
from expunge.attribution.kronecker import Block, Kronecker, Rest
from expunge.attribution.linearised import Linearised
from expunge.data import Indices
from expunge.errors import NeedsError, check
from expunge.training import Run

CORRECTIONS = ("group", "none")


@dataclass(frozen=True, kw_only=True)
class Ekfac(Estimator):
    """EK-FAC influence, with the group correction."""

    paper: ClassVar[str] = "arXiv:2308.03296"

    share: float = 0.1
    """Damping of each layer over its mean eigenvalue, >= 0. (paper: 0.1)"""
    damping: float = 0.0
    """Curvature added to that of each row beside weight decay, >= 0."""
    early: bool = True
    """Whether the length of the training counts as damping: see `early`."""
    correction: str = "group"
    """"group": the curvature of the retain rows; "none": of all rows."""
    draws: int = 1
    """Slopes drawn of each row's curvature, >= 0, at the price of as many backward passes; 0 takes one an output, and
    draws nothing. (paper: 1, a label)"""

    def __post_init__(self) -> None:
        check("share", self.share, ">= 0", self.share >= 0)
        check("damping", self.damping, ">= 0", self.damping >= 0)
        check("early", self.early, "true or false", isinstance(self.early, bool))
        check("correction", self.correction, f"one of {', '.join(CORRECTIONS)}", self.correction in CORRECTIONS)
        check("draws", self.draws, ">= 0", self.draws >= 0)

    def attribute(self, source: Source, run: Run) -> Fitted:
        """Measure the factors and eigenvalues over all rows."""
        network = Network(source.model, device=run.device)
        kronecker = Kronecker(network, source.rows, source.recipe.task, run, draws=self.draws)
        return EkfacFit(source, run, kronecker, self)


class EkfacFit(Linearised):
    """EK-FAC at one model.

    Args:
        source: What was fitted on.
        run: Device and the meter of the fit.
        kronecker: The basis of the curvature.
        settings: Damping and correction.

    Raises:
        NeedsError: without any damping or weight decay, and a direction that no row bends.
    """

    def __init__(self, source: Source, run: Run, kronecker: Kronecker, settings: Ekfac) -> None:
        self.kronecker = kronecker
        self.parts = kronecker.parts()
        rows, recipe = len(source.rows), source.recipe
        penalty = rows * (recipe.weight_decay + settings.damping)
        penalty += early_stopping(recipe, rows) if settings.early else 0.0
        self.extra = [penalty + settings.share * float(part.values.mean()) for part in self.parts]
        """What is added to the eigenvalues of each part."""
        check_definite(self.parts, self.extra)
        super().__init__(source, run, kronecker.network, correction=settings.correction, notes=self._found())
        self.leverage = False

    def inverse(self, columns: Tensor, less: float = 0.0) -> Tensor:
        """(H - less)^-1 c of each column `[p, k]`, part by part."""
        return self._solve(self.parts, columns, less)

    def step(self, forget: Indices) -> Tensor:
        """`[p]` by the curvature of the rows beside those at `forget` `[forget]`.

        Raises:
            ProblemError: the forget set is empty, everything, repeated or out of range.
        """
        if self.correction == "none":
            return super().step(forget)
        at = forget_positions(forget, self.source)
        pairs = zip(self.parts, self.kronecker.parts(at), strict=True)
        left = [replace(part, values=(part.values - gone.values).clamp(min=0)) for part, gone in pairs]
        pulled = self._pulled(at, self._derivatives(at)[0])
        return self._solve(left, pulled[:, None], len(at) * self.decay)[:, 0]

    def _solve(self, parts: Sequence[Block | Rest], columns: Tensor, less: float) -> Tensor:
        named = self.network.named(columns.T)
        found: dict[str, Tensor] = {}
        for part, extra in zip(parts, self.extra, strict=True):
            found |= part.inverse(named, extra - less)
        return self.network.flat(found).T

    def _found(self) -> dict[str, Any]:
        """What the fit found out."""
        values = torch.cat(
            [(part.values + extra).flatten() for part, extra in zip(self.parts, self.extra, strict=True)]
        )
        return {
            "layers": sum(isinstance(part, Block) for part in self.parts),
            "diagonal": self.kronecker.other,
            "least_damping": min(self.extra) / len(self.kronecker.rows),
            "condition": float(values.max() / values.min()),
        }


def check_definite(parts: Sequence[Block | Rest], extra: Sequence[float]) -> None:
    """Every eigenvalue is positive.

    Raises:
        NeedsError: names the parameter where one is zero.
    """
    for part, more in zip(parts, extra, strict=True):
        if float(part.values.min()) + more <= 0:
            name = part.weight if isinstance(part, Block) else part.name
            raise NeedsError(
                f"ekfac: no row bends the loss along a direction of {name}, and nothing is added to it",
                hint="damping above 0, or a recipe with weight_decay",
            )
