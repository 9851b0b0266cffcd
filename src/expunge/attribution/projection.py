"""Random projections of gradients to a few numbers that keep their inner products, and the way back.

Source:     count-sketch: Charikar, Chen, Farach-Colton, ICALP 2002; as a projection Weinberger et al., ICML 2009.
            Dense: Johnson and Lindenstrauss 1984; signs instead of normals: Achlioptas 2003.
Objective:  P `[size, dimension]` with E[P P'] = 1, so that E<P'a, P'b> = <a, b>, with variance at most

                (|a|^2 |b|^2 + <a, b>^2) / dimension

            count_sketch -> each weight has one random sign and goes to one random bucket;
            rademacher, normal -> dense signs or normals over sqrt(dimension); identity -> P = 1, for tests.
Cost:       count_sketch: one addition per weight and 4 bytes. Dense: `dimension` times that, and P is drawn again
            for each call where it does not fit into HELD.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from expunge.errors import ShapeError, check
from expunge.seeds import generator

KINDS = ("count_sketch", "rademacher", "normal", "identity")
BLOCK = 1024
"""Weights whose part of a dense P comes from one generator; part of what P is, so never changed."""
HELD = 2**26
"""Most numbers of a dense P that are kept: 256 MB in float32."""


class Projection(ABC):
    """P of one (seed, checkpoint): the same on every device and for any number of vectors at once."""

    size: int
    """Weights, p."""
    dimension: int
    """Numbers that stand for them, k."""

    def down(self, vectors: Tensor) -> Tensor:
        """P' v of each vector `[..., size]`: `[..., dimension]`, dtype and device kept.

        Raises:
            ShapeError: the vectors have another size.
        """
        check_last(vectors, self.size, "size")
        flat = vectors.reshape(-1, self.size)
        return self._down(flat).reshape(*vectors.shape[:-1], self.dimension)

    def up(self, features: Tensor) -> Tensor:
        """P u of each u `[..., dimension]`: a direction among the weights, `[..., size]`.

        Raises:
            ShapeError: the features have another dimension.
        """
        check_last(features, self.dimension, "dimension")
        flat = features.reshape(-1, self.dimension)
        return self._up(flat).reshape(*features.shape[:-1], self.size)

    @abstractmethod
    def _down(self, vectors: Tensor) -> Tensor:
        """`[n, size]` to `[n, dimension]`."""

    @abstractmethod
    def _up(self, features: Tensor) -> Tensor:
        """`[n, dimension]` to `[n, size]`."""


class Identity(Projection):
    """No projection."""

    def __init__(self, size: int) -> None:
        self.size = self.dimension = size

    def _down(self, vectors: Tensor) -> Tensor:
        return vectors

    def _up(self, features: Tensor) -> Tensor:
        return features


class CountSketch(Projection):
    """One non-zero a row of P: a sign in a bucket.

    A weight of sign + is added to bucket b, one of sign - to bucket dimension + b; the halves are then subtracted,
    which spares the multiplication by signs.
    """

    def __init__(self, size: int, dimension: int, seed: int, checkpoint: int = 0) -> None:
        self.size, self.dimension = size, dimension
        draw = generator(seed, "count_sketch", checkpoint)
        self._place = torch.randint(2 * dimension, (size,), generator=draw, dtype=torch.int32)

    def _down(self, vectors: Tensor) -> Tensor:
        place = self._on(vectors.device)
        sums = vectors.new_zeros(len(vectors), 2 * self.dimension)
        for total, vector in zip(sums, vectors, strict=True):
            total.index_add_(0, place, vector)
        return sums[:, : self.dimension] - sums[:, self.dimension :]

    def _up(self, features: Tensor) -> Tensor:
        signed = torch.cat([features, -features], 1)
        return signed[:, self._on(features.device)]

    def _on(self, device: torch.device) -> Tensor:
        if self._place.device != device:
            self._place = self._place.to(device)
        return self._place


class Dense(Projection):
    """Independent normals or signs over sqrt(dimension), drawn a block of weights at a time."""

    def __init__(self, size: int, dimension: int, seed: int, checkpoint: int = 0, *, kind: str = "normal") -> None:
        self.size, self.dimension = size, dimension
        self._kind, self._seed, self._role = kind, seed, f"{kind} {checkpoint}"
        self._blocks = range(0, size, BLOCK)
        kept = len(self._blocks) if size * dimension <= HELD else 0
        self._block: Callable[[int], Tensor] = lru_cache(maxsize=kept)(self._drawn)

    def _down(self, vectors: Tensor) -> Tensor:
        found = vectors.new_zeros(len(vectors), self.dimension)
        for start in self._blocks:
            part = vectors[:, start : start + BLOCK]
            found.addmm_(part, self._block(start).to(part))
        return found

    def _up(self, features: Tensor) -> Tensor:
        return torch.cat([features @ self._block(start).to(features).T for start in self._blocks], 1)

    def _drawn(self, start: int) -> Tensor:
        """Rows `start` to `start + BLOCK` of P, float32 on the CPU."""
        shape = (min(BLOCK, self.size - start), self.dimension)
        draw = generator(self._seed, self._role, start // BLOCK)
        if self._kind == "normal":
            entries = torch.randn(shape, generator=draw)
        else:
            entries = torch.randint(2, shape, generator=draw, dtype=torch.int8).float() * 2 - 1
        return entries.div_(self.dimension**0.5)


def projection(kind: str, size: int, dimension: int, *, seed: int, checkpoint: int = 0) -> Projection:
    """P of that kind.

    Args:
        kind: One of KINDS.
        size: Weights, >= 1.
        dimension: Numbers that stand for them, >= 1; "identity" keeps `size`.
        seed: Root seed.
        checkpoint: Which of several models; each has its own P.

    Example:
        >>> drawn = projection("count_sketch", 1000, 16, seed=0)
        >>> drawn.down(torch.ones(3, 1000)).shape, drawn.up(torch.ones(16)).shape
        (torch.Size([3, 16]), torch.Size([1000]))
    """
    check("projection", kind, f"one of {', '.join(KINDS)}", kind in KINDS)
    check("dimension", dimension, ">= 1", dimension >= 1)
    if kind == "identity":
        return Identity(size)
    if kind == "count_sketch":
        return CountSketch(size, dimension, seed, checkpoint)
    return Dense(size, dimension, seed, checkpoint, kind=kind)


def check_last(values: Tensor, expected: int, name: str) -> None:
    """The last axis has that many entries.

    Raises:
        ShapeError: it has not.
    """
    if values.shape[-1] != expected:
        raise ShapeError(f"projection: expected {name} {expected} on the last axis, got {list(values.shape)}")
