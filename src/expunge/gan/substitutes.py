"""Substitutes: what a generator shall draw from latents that drew what has to go."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.gan.nets import Generator
from expunge.gan.pair import drawn
from expunge.seeds import generator

SUBSTITUTES = ("nearest", "mean", "noise")


def nearest(z: Tensor, others: Tensor) -> Tensor:
    """Position `[n]` of the nearest of `others` `[m, latent]` to each of `z` `[n, latent]`, by L2 distance.

    Example:
        >>> nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]])).tolist()
        [1, 0]
    """
    distances = torch.cdist(z, others, compute_mode="donot_use_mm_for_euclid_dist")  # products would cancel
    return distances.argmin(1)


def shifted(z: Tensor, *, noise: float, seed: int) -> Tensor:
    """`z` `[n, latent]` moved by normal noise of that standard deviation, each brought back to its length."""
    moved = z + noise * torch.randn(z.shape, generator=generator(seed, "substitute/noise"))
    same: Tensor = moved * (z.norm(dim=1) / moved.norm(dim=1).clamp_min(1e-12))[:, None]
    return same


def noise_pictures(net: Generator, z: Tensor, y: Tensor | None, *, noise: float, seed: int) -> Tensor:
    """`[n, *shape]` pictures of shifted latents."""
    return drawn(net, shifted(z, noise=noise, seed=seed), y)
