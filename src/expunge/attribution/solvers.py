"""Linear systems with a symmetric matrix that is known by its products alone.

Source:     conjugate gradients: Hestenes and Stiefel 1952. LiSSA: Agarwal, Bullins and Hazan, arXiv:1602.03943, as used
            for influence by Koh and Liang, arXiv:1703.04730: the series of (1 - H / scale)^j.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from expunge.errors import NeedsError
from expunge.seeds import generator

Product = Callable[[Tensor], Tensor]
"""Columns `[p, k]` to H times them."""
TURNS = 30
"""Products behind an estimate of an extreme eigenvalue; it is then known to a few percent, from below."""


def conjugate_gradients(
    product: Product, columns: Tensor, *, tolerance: float, iterations: int
) -> tuple[Tensor, float, int]:
    """H^-1 c of every column, all of them at once.

    Args:
        product: Of a positive definite H.
        columns: `[p, k]` c.
        tolerance: Largest |c - H x| / |c| of a column at which it is done, > 0.
        iterations: Most products, >= 1.

    Returns:
        `[p, k]`; the largest |c - H x| / |c| that was reached; and how many products it took.

    Raises:
        NeedsError: H is not positive definite along a direction that came up.

    Example:
        >>> h, right = torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([[3.0], [4.0]])
        >>> conjugate_gradients(lambda c: h @ c, right, tolerance=1e-6, iterations=9)[0].T.round(decimals=3)
        tensor([[1., 1.]])
    """
    solved, left = torch.zeros_like(columns), columns.clone()
    scale = columns.norm(dim=0).clamp(min=torch.finfo(columns.dtype).tiny)
    along, square = left.clone(), left.square().sum(0)
    for done in range(iterations):
        open_ = square.sqrt() > tolerance * scale  # [k]
        if not bool(open_.any()):
            return solved, float((square.sqrt() / scale).max()), done
        turned = product(along)
        bend = (along * turned).sum(0)
        if bool((bend[open_] <= 0).any()):
            share = float((bend / along.square().sum(0))[open_].min())
            raise indefinite(share)
        length = torch.where(open_, square / bend, 0.0)
        solved += length * along
        left -= length * turned
        after = left.square().sum(0)
        along = left + torch.where(open_, after / square, 0.0) * along
        square = after
    return solved, float((square.sqrt() / scale).max()), iterations


def lissa(
    product: Callable[[Tensor, int], Tensor], columns: Tensor, *, scale: float, tolerance: float, iterations: int
) -> tuple[Tensor, float, int]:
    """H^-1 c of every column: x <- x + (c - H x) / scale.

    Args:
        product: H times columns, at a numbered step, so that it may take other rows at each.
        columns: `[p, k]` c.
        scale: At least the largest eigenvalue of H.
        tolerance: Largest |c - H x| / |c| at which it is done, > 0.
        iterations: Most steps, >= 1.

    Returns:
        `[p, k]`; the largest |c - H x| / |c| at the last step; and how many steps it took.

    Raises:
        NeedsError: the series grows: H is indefinite, or the scale too small.
    """
    solved, size = torch.zeros_like(columns), columns.norm(dim=0).clamp(min=torch.finfo(columns.dtype).tiny)
    error = 1.0
    for step in range(iterations):
        left = columns - product(solved, step)
        error = float((left.norm(dim=0) / size).max())
        if error <= tolerance:
            return solved, error, step
        if not error < 1e3:  # of an H between 0 and the scale it never exceeds 1
            raise NeedsError(
                f"lissa: the series grows, |c - H x| is {error:.1g} times |c| after {step} steps: H is indefinite, or "
                "the rows of one step bend the loss far more than all of them",
                hint="more damping, or a larger sample",
            )
        solved = solved + left / scale
    return solved, error, iterations


def largest(product: Product, size: int, *, seed: int, like: Tensor) -> float:
    """The eigenvalue of largest magnitude, with its sign, by power iteration; 0.0 of a zero matrix.

    Args:
        product: Of a symmetric matrix.
        size: p.
        seed: Of the first direction.
        like: Whose dtype and device are taken.
    """
    along = torch.randn(size, 1, generator=generator(seed, "power iteration")).to(like)
    value = 0.0
    for _ in range(TURNS):
        along = along / along.norm().clamp(min=torch.finfo(along.dtype).tiny)
        turned = product(along)
        value = float((along * turned).sum())
        along = turned
    return value


def indefinite(lowest: float) -> NeedsError:
    """The error for a matrix that is not positive definite, from its lowest known eigenvalue or curvature."""
    return NeedsError(
        f"curvature: expected a positive definite matrix, got {lowest:.3g} along a direction",
        hint='curvature="ggn" is never negative; damping above the size of that number, over the rows, mends it too',
    )
