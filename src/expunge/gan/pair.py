"""Pair: the model of this room, a generator and the discriminator that it was trained against."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge.data import Indices, Rows
from expunge.gan.nets import Discriminator, Generator
from expunge.seeds import generator
from expunge.store import Folder
from expunge.training import weights_hash

CUT = 1024
"""Rows or latents at once."""
STEMS = ("generator", "discriminator")
"""Of the two files of weights."""


@dataclass(frozen=True)
class Pair:
    """Two nets that belong together."""

    generator: Generator
    discriminator: Discriminator

    def copy(self) -> Pair:
        """Both nets anew: no tensor is shared, and every weight may move."""
        pair = Pair(deepcopy(self.generator), deepcopy(self.discriminator))
        for net in (pair.generator, pair.discriminator):
            net.requires_grad_(True)
        return pair

    def eval(self) -> Pair:
        """The same pair in evaluation mode."""
        self.generator.eval()
        self.discriminator.eval()
        return self

    def to(self, device: str) -> Pair:
        """The same pair on a device."""
        self.generator.to(device)
        self.discriminator.to(device)
        return self

    def hash(self) -> str:
        """SHA-256 over the weights of both nets."""
        return weights_hash(self.generator) + weights_hash(self.discriminator)

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """State dicts by file stem, for a folder."""
        return {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}

    def loaded(self, folder: Folder, prefix: str = "") -> Pair:
        """The same pair with the weights of a folder, in evaluation mode; `prefix` stands before the files' stems.

        Raises:
            StoreError: weights of another architecture, or damaged.
        """
        for stem, net in zip(STEMS, (self.generator, self.discriminator), strict=True):
            folder.load_into(net, prefix + stem)
        return self


def drawn(net: Generator, z: Tensor, y: Tensor | None = None) -> Tensor:
    """What a generator makes of latents in evaluation mode, on the CPU; the mode that it is in is kept.

    Args:
        net: The generator.
        z: `[n, latent]`.
        y: `[n]` labels for a conditional one.

    Returns:
        `[n, *shape]` float32.
    """
    return _in_parts(net, z, y)


def judged(net: Discriminator, rows: Rows, at: Indices | None = None) -> Tensor:
    """A discriminator's logits of rows in evaluation mode, on the CPU; the mode that it is in is kept.

    Args:
        net: The discriminator.
        rows: Where the rows lie.
        at: `[n]` positions, by default every row.

    Returns:
        `[n]` float32, above 0 for "real".
    """
    at = np.arange(len(rows)) if at is None else at
    batches = (rows.batch(at[cut : cut + CUT]) for cut in range(0, len(at), CUT))
    return torch.cat([said_of(net, x, y if net.classes else None) for x, y in batches])


def said_of(net: Discriminator, x: Tensor, y: Tensor | None = None) -> Tensor:
    """As `judged`, of pictures `[n, *shape]` and, for a conditional discriminator, labels `[n]`."""
    return _in_parts(net, x, y)


@torch.no_grad()
def _in_parts(net: Generator | Discriminator, first: Tensor, y: Tensor | None) -> Tensor:
    """What a net answers in evaluation mode, CUT rows at once, on the CPU."""
    device, mode = next(net.parameters()).device, net.training
    net.eval()
    try:
        parts = [
            net(first[at : at + CUT].to(device), None if y is None else y[at : at + CUT].to(device)).cpu()
            for at in range(0, len(first), CUT)
        ]
    finally:
        net.train(mode)
    return torch.cat(parts)


def latents(net: Generator, count: int, *, seed: int, role: str) -> tuple[Tensor, Tensor | None]:
    """Standard normal latents `[count, latent]` and, for a conditional generator, labels `[count]` in equal shares.

    The same seed and role give the same latents to every generator of that size, so that pictures can be compared.
    """
    source = generator(seed, f"latents/{role}")
    z = torch.randn(count, net.latent, generator=source)
    y = torch.arange(count) % net.classes if net.classes else None
    return z, y
