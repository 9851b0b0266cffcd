"""One trained model seen through a random projection: a linear model of few numbers, with units kept.

Objective:  features phi(x) = J_x P `[outputs, dimension]`, J_x the derivative of the outputs by the parameters. Then
            <phi(x), phi(z)> is <J_x, J_z> up to the projection's error, and H^-1 is taken as P A^-1 P',

                A = sum over rows of phi' W phi + penalty

            so that a step u among the features is the direction P u among the parameters, and any row is answered by
            one forward derivative.
Left out:   a row that the model was trained on has, once it is left out, another residual than it has now: the one
            of `group`, with the curvature of the rows that the model was trained on. A row that it never saw has that
            residual already.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from expunge.attribution.curvature import derivatives, weighted
from expunge.attribution.estimator import CHUNK
from expunge.attribution.gradients import Network
from expunge.attribution.group import Group, corrected
from expunge.attribution.projection import projection
from expunge.data import Indices, Rows
from expunge.errors import NeedsError
from expunge.tasks import Task
from expunge.training import Run, weights_hash

ROLE = "attribution"
FACTORS = 4
"""Factorised matrices that are kept: one for each size of a forget set that was asked for last."""

Mask = npt.NDArray[np.bool_]


class Sketch:
    """A model's features, and the curvature of its training loss among them.

    Args:
        model: A trained model.
        seen: `[training rows]` which of them it was trained on.
        rows: Training rows.
        task: Whose loss.
        run: Device, meter and seed of the projection.
        kind: One of projection.KINDS.
        dimension: Of the projection.
        decay: L2 coefficient beside the mean loss: what each row adds to the penalty.
        damping: Added to the curvature, summed over rows; it stays when rows go.
    """

    def __init__(
        self,
        model: nn.Module,
        seen: Mask,
        rows: Rows,
        task: Task,
        run: Run,
        *,
        kind: str,
        dimension: int,
        decay: float,
        damping: float,
    ) -> None:
        self.network = Network(model, device=run.device)
        self.rows, self.task, self.run, self.seen = rows, task, run, seen
        # which P a model has is a matter of the model: no order among several plays a part
        own = int(weights_hash(model)[:12], 16)
        self.projection = projection(kind, self.network.size, dimension, seed=run.seed, checkpoint=own)
        self.decay, self.damping = decay, damping
        self.weights = self.projection.down(self.network.weights.double())
        """`[dimension]` P' theta."""
        self.condition = 1.0
        """The worst of the group solves so far."""
        self._factors: dict[tuple[bool, float], Tensor] = {}

    def measure(self, what: str) -> None:
        """Add up the curvature of all training rows."""
        size = self.projection.dimension
        inside, outside = (torch.zeros(size, size, dtype=torch.float64, device=self.network.device) for _ in range(2))
        for at, phi, _, curvature in self.features(np.arange(len(self.rows))):
            for mask, total in ((self.seen[at], inside), (~self.seen[at], outside)):
                some = torch.from_numpy(mask).to(phi.device)
                part = phi[some]
                total.addmm_(part.flatten(0, 1).T, (curvature[some] @ part).flatten(0, 1))
            self.run.progress(what, int(at[-1]) + 1, len(self.rows))
        self.own = inside
        """`[dimension, dimension]` of the rows that the model was trained on."""
        self.whole = inside + outside if not self.seen.all() else inside
        """`[dimension, dimension]` of all training rows."""

    def measure_margins(self, what: str) -> None:
        """Add up Phi' Phi, phi the projected gradients of the margins of all training rows."""
        size = self.projection.dimension
        self.whole = torch.zeros(size, size, dtype=torch.float64, device=self.network.device)
        for start in range(0, len(self.rows), CHUNK):
            at = np.arange(start, min(start + CHUNK, len(self.rows)))
            phi = self.margins(self.rows, at)
            self.whole.addmm_(phi.T, phi)
            self.run.progress(what, int(at[-1]) + 1, len(self.rows))

    def features(self, at: Indices) -> Iterator[tuple[Indices, Tensor, Tensor, Tensor]]:
        """Of training rows, some at a time: positions, phi `[rows, outputs, dimension]`, r and W; float64."""
        for part, x, y in self.network.batches(self.rows, at, gradients=self.task.width):
            self.run.meter.backward(ROLE, self.task.width * len(part))
            phi = self.projection.down(self.network.jacobian(x)).double()
            yield part, phi, *derivatives(self.task, self.network.outputs(x), y)

    def gathered(self, at: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """phi, r and W of the training rows at `at` `[n]`, all of them together."""
        _, phi, residual, curvature = zip(*self.features(at), strict=True)
        return torch.cat(phi), torch.cat(residual), torch.cat(curvature)

    def solve(self, columns: Tensor, *, own: bool, without: int) -> Tensor:
        """A^-1 c of each column.

        Args:
            columns: `[dimension, k]` float64.
            own: Of the rows that the model was trained on; if not, of all.
            without: Rows whose share of the penalty is gone.

        Raises:
            NeedsError: A is singular.
        """
        rows = int(self.seen.sum()) if own else len(self.rows)
        extra = (rows - without) * self.decay + self.damping
        key = (own and not self.seen.all(), extra)
        if key not in self._factors:
            matrix = (self.own if own else self.whole).clone()
            matrix.diagonal().add_(extra)
            factor, failed = torch.linalg.cholesky_ex(matrix)
            least = torch.finfo(matrix.dtype).eps * len(matrix) * float(matrix.diagonal().max())
            if int(failed) or float(factor.diagonal().min()) ** 2 <= least:
                raise singular(self.projection.dimension, rows)
            while len(self._factors) >= FACTORS:
                del self._factors[next(iter(self._factors))]
            self._factors[key] = factor
        return torch.cholesky_solve(columns, self._factors[key])

    def step(self, at: Indices, correction: str) -> Tensor:
        """`[dimension]` where the model of all rows moves among the features when the rows at `at` `[forget]` go.

        Args:
            at: Sorted positions.
            correction: One of group.CORRECTIONS.
        """
        phi, residual, curvature = self.gathered(at)
        if correction == "group":
            pulls = self._left_out(at, phi, residual, curvature)
        else:
            pulls = self._alone(at, phi, residual, curvature) if correction == "single" else residual
        gone = {"group": len(at), "single": 1, "none": 0}[correction]
        pulled = torch.einsum("ick,ic->k", phi, pulls) + len(at) * self.decay * self.weights
        return self.solve(pulled[:, None], own=False, without=gone)[:, 0]

    def direction(self, step: Tensor) -> Tensor:
        """`[p]` the direction among the parameters of a step `[dimension]`."""
        return self.projection.up(step.to(self.network.dtype))

    def effects(self, at: Indices, sensitivity: Tensor, *, leverage: bool) -> Tensor:
        """`[n, targets]` by how much each training row, alone, raises targets.

        Args:
            at: `[n]` positions.
            sensitivity: `[dimension, targets]` A^-1 times the projected gradients of the targets.
            leverage: Whether a row's residual is the one that it has once it is left out.
        """
        found = []
        for part, phi, residual, curvature in self.features(at):
            pulls = self._alone(part, phi, residual, curvature) if leverage else residual
            found.append(torch.einsum("ick,ic->ik", phi, pulls) + self.decay * self.weights)
        return -torch.cat(found) @ sensitivity

    def margins(self, rows: Rows, at: Indices | None = None) -> Tensor:
        """`[n, dimension]` float64: projected gradients of the margins of rows at `at` `[n]`, by default all."""
        parts = []
        for part, x, y in self.network.batches(rows, at):
            self.run.meter.backward(ROLE, len(part))
            parts.append(self.projection.down(self.network.gradients(x, y, self.task, "margin")).double())
        return torch.cat(parts)

    def _left_out(self, at: Indices, phi: Tensor, residual: Tensor, curvature: Tensor) -> Tensor:
        """`[forget, outputs]` the residuals of rows once none of them is trained on; see the top."""
        seen = torch.from_numpy(self.seen[at]).to(residual)
        gone = int(seen.sum())
        if gone == 0:
            return residual
        lost = gone * self.decay * self.weights
        solved = self.solve(torch.cat([phi.flatten(0, 1).T, lost[:, None]], 1), own=True, without=gone)
        drift = phi @ solved[:, -1]  # what the penalty of these rows held back
        kernel = (phi.flatten(0, 1) @ solved[:, :-1]).reshape(*residual.shape, *residual.shape)
        kernel = kernel * seen[:, None]  # what a row has not added cannot be taken away
        group = Group(kernel.cpu(), curvature.cpu(), (residual + weighted(curvature, drift)).cpu())
        found, condition = corrected(group)
        self.condition = max(self.condition, condition)
        return found.to(residual.device)

    def _alone(self, at: Indices, phi: Tensor, residual: Tensor, curvature: Tensor) -> Tensor:
        """`[n, outputs]` the residual of each row once it alone is not trained on."""
        seen = torch.from_numpy(self.seen[at]).to(residual)
        solved = self.solve(phi.flatten(0, 1).T, own=True, without=1)  # [dimension, n * outputs]
        own = torch.einsum("iak,kib->iab", phi, solved.reshape(len(solved), *residual.shape))
        drift = phi @ self.solve(self.decay * self.weights[:, None], own=True, without=1)[:, 0]
        matrix = torch.eye(residual.shape[1]).to(own) - curvature @ own
        found = torch.linalg.solve(matrix, (residual + weighted(curvature, drift))[..., None])[..., 0]
        return torch.where(seen[:, None] > 0, found, residual)


def singular(dimension: int, rows: int) -> NeedsError:
    """The error for a curvature that has no inverse."""
    return NeedsError(
        f"trak: the curvature of {rows} rows among {dimension} features has no inverse",
        hint="a smaller dimension, damping above 0, or a recipe with weight_decay",
    )
