"""A curvature matrix that fits into memory: whether it is positive definite, and its inverse."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expunge.attribution.group import WORST
from expunge.attribution.solvers import indefinite, largest
from expunge.errors import check

MOST = 20_000
"""Parameters whose matrix may be formed: 3.2 GB."""
FLOOR = 1e-6
"""Smallest eigenvalue that automatic damping leaves, as a share of the largest."""


class Dense:
    """(H - less)^-1 by Cholesky factors, of which the last is kept.

    Args:
        matrix: `[p, p]` float64 symmetric, without penalty and damping; changed in place.
        rows: n, over which the loss was summed.
        decay: Weight decay a row, >= 0.
        damping: Further curvature a row, >= 0; 0 adds what it takes, and notes it.

    Raises:
        NeedsError: it is not positive definite in spite of the damping that was asked for.
    """

    def __init__(self, matrix: Tensor, *, rows: int, decay: float, damping: float) -> None:
        self.matrix, self.rows, self.damping = matrix, rows, damping
        self.notes: dict[str, Any] = {"damping": damping}
        self.shift(rows * (decay + damping))
        self.factors: dict[float, Tensor] = {}
        self.notes["condition"] = self._condition()
        if self.notes["condition"] > WORST:
            self._mend()

    def shift(self, by: float) -> None:
        """Add to the diagonal."""
        self.matrix.diagonal().add_(by)

    def solve(self, columns: Tensor, less: float = 0.0) -> Tensor:
        """(H - less)^-1 c of each of columns `[p, k]`.

        Raises:
            NeedsError: H - less is not positive definite.
        """
        if less not in self.factors:
            self.factors = {less: factor(self.matrix, less)}
        return torch.cholesky_solve(columns, self.factors[less])

    def solve_without(self, columns: Tensor, lost: Tensor, less: float) -> Tensor:
        """(H - lost - less)^-1 c of each of columns `[p, k]`, for the curvature `[p, p]` of some rows.

        Raises:
            NeedsError: what is left is not positive definite.
        """
        return torch.cholesky_solve(columns, factor(self.matrix - lost, less))

    def _condition(self) -> float:
        """Largest over smallest eigenvalue; infinite where the matrix is not positive definite."""
        found, failed = torch.linalg.cholesky_ex(self.matrix)
        if int(failed):
            return float("inf")
        self.factors = {0.0: found}
        top = largest(lambda c: self.matrix @ c, len(found), seed=0, like=self.matrix)
        low = largest(lambda c: torch.cholesky_solve(c, found), len(found), seed=0, like=self.matrix)
        return top * low

    def _mend(self) -> None:
        """Damp a matrix that is not positive definite, or hardly so, unless damping was asked for."""
        values = torch.linalg.eigvalsh(self.matrix)
        low, top = float(values[0]), float(values[-1])
        if self.damping > 0 and low <= 0:
            raise indefinite(low)
        if self.damping > 0:
            return
        extra = FLOOR * top - low
        self.shift(extra)
        self.damping = extra / self.rows
        self.notes |= {"damping": self.damping, "condition": 1 / FLOOR, "warning": mended(low, top, self.damping)}
        self.factors = {}


def factor(matrix: Tensor, less: float) -> Tensor:
    """Cholesky factor of a matrix `[p, p]`, less something on its diagonal.

    Raises:
        NeedsError: it is not positive definite.
    """
    shifted = matrix.clone()
    shifted.diagonal().sub_(less)
    factors: Tensor
    factors, failed = torch.linalg.cholesky_ex(shifted)
    if int(failed):
        raise indefinite(float(torch.linalg.eigvalsh(shifted)[0]))
    return factors


def mended(low: float, top: float, damping: float) -> str:
    """What the notes say of a curvature that had to be damped."""
    kind = "indefinite" if low < -1e-12 * top else "rank-deficient or nearly so"
    return (
        f"the curvature is {kind} (eigenvalues {low:.3g} to {top:.3g}): damping {damping:.3g} a row was added; "
        "answers depend on it"
    )


def check_size(size: int) -> None:
    """A matrix of that many parameters can be formed."""
    check("solver", "explicit", f"another one, such as cg, for {size} parameters (at most {MOST})", size <= MOST)
