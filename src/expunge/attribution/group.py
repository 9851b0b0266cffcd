"""Removing several rows at once from a linearised model: one solve over the group instead of a sum over its rows.

Source:     the leave-group-out (Woodbury) identity of ridge regression; for other losses one Newton step. Its use
            for unlearning targets is our extension.
Objective:  the model is linear in its parameters around theta_0, f(x) = f_0(x) + J_x (theta - theta_0), and H is the
            curvature of the whole training loss, sum over all rows of J_i' W_i J_i + penalty. Without the rows F

                theta_F = theta_0 + H^-1 J_F' (1 - W_F K)^-1 r_F        K = J_F H^-1 J_F'

            r_i -> residual, first derivative of the loss of row i by its outputs (p - y for cross-entropy, f - y for
            half the squared error); W_i -> curvature, its second derivative (diag(p) - pp', or the identity).
            First-order influence leaves the inverse out; the sum of leave-one-out effects keeps its diagonal blocks.
Cost:       one factorisation of [forget * outputs] numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import ShapeError

CORRECTIONS = ("group", "single", "none")
"""The whole solve, each row alone (summed leave-one-out), or first order."""
WORST = 1e10
"""Condition number beyond which the solve has fewer than 6 digits left, and says so."""


@dataclass(frozen=True)
class Group:
    """The rows to remove, as a linearised model sees them; float64."""

    kernel: Tensor
    """`[forget, outputs, forget, outputs]`: K = J_F H^-1 J_F'."""
    curvature: Tensor
    """`[forget, outputs, outputs]`: W of each row."""
    residual: Tensor
    """`[forget, outputs]`: r of each row."""

    def __post_init__(self) -> None:
        rows, outputs = self.residual.shape
        expected = (rows, outputs, rows, outputs), (rows, outputs, outputs)
        if (tuple(self.kernel.shape), tuple(self.curvature.shape)) != expected:
            raise ShapeError(
                f"group: expected kernel {expected[0]} and curvature {expected[1]}, "
                f"got {tuple(self.kernel.shape)} and {tuple(self.curvature.shape)}"
            )


def corrected(group: Group, correction: str = "group") -> tuple[Tensor, float]:
    """(1 - W K)^-1 r, the residuals that the rows have once none of them is trained on.

    Args:
        group: The rows.
        correction: One of CORRECTIONS.

    Returns:
        `[forget, outputs]` float64, and the condition number of the matrix that was solved (1.0 for "none").

    Example:
        >>> one = Group(torch.full((1, 1, 1, 1), 0.5), torch.ones(1, 1, 1), torch.ones(1, 1))
        >>> corrected(one)[0].item()  # the leave-one-out residual r / (1 - h)
        2.0
    """
    rows, outputs = group.residual.shape
    residual = group.residual.double()
    if correction == "none":
        return residual, 1.0
    kernel, curvature = group.kernel.double(), group.curvature.double()
    if correction == "single":
        own = torch.einsum("iaib->iab", kernel)  # [forget, outputs, outputs]
        matrix = torch.eye(outputs, dtype=torch.float64) - curvature @ own
        return torch.linalg.solve(matrix, residual[..., None])[..., 0], float(torch.linalg.cond(matrix).max())
    weighted = torch.einsum("iab,ibjc->iajc", curvature, kernel).reshape(rows * outputs, rows * outputs)
    matrix = torch.eye(rows * outputs, dtype=torch.float64) - weighted
    found = torch.linalg.solve(matrix, residual.reshape(-1, 1)).reshape(rows, outputs)
    return found, condition(matrix)


def condition(matrix: Tensor) -> float:
    """Condition number in the 1-norm, from the inverse; infinite for a singular matrix."""
    inverse, failed = torch.linalg.inv_ex(matrix)
    if int(failed):
        return float("inf")
    return float(torch.linalg.matrix_norm(matrix, 1) * torch.linalg.matrix_norm(inverse, 1))
