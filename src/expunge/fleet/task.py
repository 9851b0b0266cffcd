"""A fleet task: one model to train, as plain data. Its id is the hash of that, so it is never done twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.data import Indices
from expunge.store import Contents, key_of
from expunge.training import Cost, Recipe
from expunge.training.stream import cut

KIND = "model"
"""Of the store's folders that hold finished fleet models."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """Train one model on the masked rows and keep its outputs on the watched rows."""

    recipe: dict[str, Any]
    rows: str
    """Fingerprint of the training rows."""
    size: int
    """How many rows there are."""
    mask: str
    """Which of them are trained on: packed bits in hexadecimal."""
    seed: int
    watch: tuple[str, ...]
    """Fingerprints of the rows whose outputs are kept, in order."""
    weights: bool
    """Keep the weights too."""

    @property
    def id(self) -> str:
        """Hash of all that decides the result."""
        recipe = Recipe.from_dict(self.recipe).fingerprint()
        return key_of({**asdict(self), "recipe": recipe, "watch": list(self.watch)})

    @property
    def indices(self) -> Indices:
        """`[n]` positions of the rows to train on."""
        return np.flatnonzero(unpack(self.mask, self.size))

    @property
    def steps(self) -> int:
        """Gradient steps of the whole training."""
        recipe = Recipe.from_dict(self.recipe)
        return recipe.epochs * len(cut(self.indices, recipe.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that any executor can carry."""
        return {**asdict(self), "watch": list(self.watch)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Task:
        """The task that `to_dict` wrote down."""
        return Task(**{**data, "watch": tuple(data["watch"])})

    def contents(self, logits: npt.NDArray[np.float32], weights: dict[str, Any], cost: Cost) -> Contents:
        """The folder of the finished task: logits `[watched rows, outputs]`, and weights where asked for."""
        facts = {"task": self.to_dict(), "cost": cost.to_dict()}
        kept = {"weights": weights} if self.weights else {}
        return Contents(KIND, facts, kept, {"logits": logits})


def pack(mask: Mask) -> str:
    """A mask `[rows]` as text."""
    return np.packbits(mask).tobytes().hex()


def unpack(text: str, rows: int) -> Mask:
    """The mask `[rows]` that `pack` wrote down."""
    bits = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    return np.unpackbits(bits, count=rows).astype(bool)
