"""Curvature of the training loss by the parameters of a network, as products with vectors or as a whole matrix.

Objective:  sum over rows of J_i' W_i J_i, the generalised Gauss-Newton matrix, W the curvature of the loss by the
            outputs; or the Hessian itself, which adds the curvature of the network and may be indefinite.
Source:     Schraudolph, Neural Computation 14 (2002), for the products.
Cost:       a product is a forward derivative and a backward pass of every row and column; the matrix is `outputs`
            backward passes of every row and p^2 rows x outputs multiplications.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, hessian, jvp, vjp, vmap

from expunge.attribution.gradients import Named, Network, explained
from expunge.data import Indices, Rows
from expunge.tasks import Task
from expunge.training import Run

KINDS = ("ggn", "hessian")
COLUMNS = 16
"""Vectors that go through the network together, for what their activations fill."""


@dataclass(frozen=True)
class Curvature:
    """Of the loss summed over rows, without any penalty."""

    network: Network
    rows: Rows
    task: Task
    run: Run
    """Its meter."""
    kind: str = "ggn"
    """One of KINDS."""

    def product(self, columns: Tensor, at: Indices | None = None) -> Tensor:
        """`[p, k]` float64: the curvature of the rows at `at` `[n]`, by default all, times columns `[p, k]`.

        Raises:
            NeedsError: torch has no rule for such a derivative of the model.
        """
        total = torch.zeros_like(columns)
        moves = columns.to(self.network.dtype)
        for part, x, y in self.network.batches(self.rows, at, gradients=0):
            self.run.meter.backward("attribution", columns.shape[1] * len(part))
            with explained(self.network.model):
                times = vmap(lambda move: self._times(x, y, move), in_dims=1, out_dims=1, chunk_size=COLUMNS)  # noqa: B023
                total += times(moves).double()
        return total

    def matrix(self, at: Indices | None = None) -> Tensor:
        """`[p, p]` float64: the curvature of the rows at `at` `[n]`, by default all.

        Raises:
            NeedsError: torch has no rule for such a derivative of the model.
        """
        where = np.arange(len(self.rows)) if at is None else at
        size, width = self.network.size, self.task.width
        if self.kind == "hessian":
            unit = torch.eye(size, dtype=torch.float64, device=self.network.device)
            found = self.product(unit, where)
            return (found + found.T) / 2
        total = torch.zeros(size, size, dtype=torch.float64, device=self.network.device)
        for part, x, y in self.network.batches(self.rows, where, gradients=width):
            self.run.meter.backward("attribution", width * len(part))
            jacobian = self.network.jacobian(x).double()  # [rows, outputs, p]
            bent = derivatives(self.task, self.network.outputs(x), y)[1] @ jacobian
            total.addmm_(jacobian.reshape(-1, size).T, bent.reshape(-1, size))
        return total

    def _times(self, x: Tensor, y: Tensor, move: Tensor) -> Tensor:
        """`[p]` the curvature of a batch times one vector `[p]`."""
        moves = self.network.named(move)
        if self.kind == "hessian":
            slope = grad(lambda weights: self.task.loss(self.network.call(weights, x), y).sum())
            turned: Named = jvp(slope, (self.network.parameters,), (moves,))[1]
            return self.network.flat(turned)
        outputs, change = self._forward(x, moves)

        def loss(of: Tensor) -> Tensor:
            return self.task.loss(of, y).sum()

        bent: Tensor = jvp(grad(loss), (outputs,), (change,))[1]
        pull = vjp(lambda weights: self.network.call(weights, x), self.network.parameters)[1]
        back: Named = pull(bent)[0]
        return self.network.flat(back)

    def _forward(self, x: Tensor, moves: Named) -> tuple[Tensor, Tensor]:
        """`[rows, outputs]` of a batch, and how they change when the parameters move."""
        found = jvp(lambda weights: self.network.call(weights, x), (self.network.parameters,), (moves,))
        return found[0], found[1]


def derivatives(task: Task, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivatives of the loss of each row by its outputs, float64.

    Args:
        task: Whose loss.
        outputs: `[rows, outputs]`.
        y: `[rows]` labels.

    Returns:
        r `[rows, outputs]` and W `[rows, outputs, outputs]`.

    Example:
        >>> from expunge.tasks import Classification
        >>> r, w = derivatives(Classification(2), torch.zeros(1, 2), torch.tensor([0]))
        >>> r.tolist(), w.tolist()
        ([[-0.5, 0.5]], [[[0.25, -0.25], [-0.25, 0.25]]])
    """

    def loss(row: Tensor, label: Tensor) -> Tensor:
        return task.loss(row[None], label[None]).sum()

    exact = outputs.double()
    return vmap(grad(loss))(exact, y), vmap(hessian(loss))(exact, y)


def weighted(curvature: Tensor, outputs: Tensor) -> Tensor:
    """W_i o_i of each row, `[rows, outputs]`, for W `[rows, outputs, outputs]`."""
    return torch.einsum("iab,ib->ia", curvature, outputs)
