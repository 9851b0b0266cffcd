"""GanRecipe: everything that training a pair from scratch needs, except the rows and the seed; and the named ones."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from expunge.data import Rows
from expunge.errors import ConfigError, ShapeError, StoreError, check
from expunge.gan.nets import PAIRS, Discriminator, Generator, build_pair
from expunge.gan.pair import Pair
from expunge.seeds import generator, lent

CUT = 4096
"""Rows read at once for their span."""
Span = tuple[tuple[float, ...], tuple[float, ...]]
"""Least and greatest value of each channel, in the rows' units."""


@dataclass(frozen=True, kw_only=True)
class GanRecipe:
    """How a pair is trained. Two equal recipes, on equal rows with equal seeds, give equal pairs.

    Raises:
        ConfigError: a value is outside its range or a name is unknown.
    """

    name: str
    """What people call it, such as "mnist-dcgan"; not part of the fingerprint."""
    data: str = ""
    """The data set it is meant for, such as "mnist@10000"; empty where rows come from Python."""
    classifier: str = ""
    """The recipe of the classifier that measures, such as "mnist-cnn"; not part of the fingerprint."""
    model: str = "mlp"
    """"mlp" or "dcgan"."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the architecture."""
    latent: int = 32
    """Length of a latent, >= 1."""
    classes: int = 0
    """Labels of a conditional pair; 0: the pair knows no labels."""
    lr: float = 2e-4
    """Adam's step size for both nets, > 0. (arXiv:1511.06434)"""
    beta: float = 0.5
    """Adam's first decay, in [0, 1). (arXiv:1511.06434)"""
    epochs: int = 100
    """Passes over the rows, >= 1."""
    batch_size: int = 64
    """Rows a step, >= 2."""
    average: float = 0.0
    """Decay of the moving average of the generator's weights, in [0, 1); the averaged one is kept. 0: none."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "arguments", dict(json.loads(json.dumps(self.arguments))))
        except (TypeError, ValueError):
            raise ConfigError(f"arguments: expected plain numbers, text and lists, got {self.arguments!r}") from None
        check("model", self.model, f"one of {', '.join(PAIRS)}", self.model in PAIRS)
        check("lr", self.lr, "finite and > 0", 0 < self.lr < math.inf)
        check("beta", self.beta, "in [0, 1)", 0 <= self.beta < 1)
        check("average", self.average, "in [0, 1)", 0 <= self.average < 1)
        for name, least in (("latent", 1), ("classes", 0), ("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            check(name, value, f"a whole number >= {least}", isinstance(value, int) and value >= least)

    def fresh(self, shape: tuple[int, ...], seed: int, span: Span | None = None) -> Pair:
        """A newly built and newly initialised pair.

        Args:
            shape: Of one row, such as (1, 28, 28).
            seed: Root seed; the role is "init".
            span: What `span_of` says of the rows; None where weights are loaded into the pair at once.
        """
        with lent(generator(seed, "init")):
            nets: tuple[Generator, Discriminator] = build_pair(
                self.model, shape=shape, latent=self.latent, classes=self.classes, **self.arguments
            )
        if span is not None:
            for buffer, ends in zip((nets[0].low, nets[0].high), span, strict=True):
                if len(ends) != len(buffer):
                    raise ShapeError(f"span: expected {len(buffer)} channels, got {len(ends)}")
                buffer.copy_(torch.tensor(ends).view_as(buffer))
        return Pair(*nets)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> GanRecipe:
        """The recipe that `to_dict` wrote down.

        Raises:
            StoreError: a field is unknown to this version or absent.
        """
        try:
            return GanRecipe(**data)
        except TypeError as error:
            raise StoreError(f"recipe: not one of this version ({error})") from None

    def fingerprint(self) -> str:
        """SHA-256 of all that changes the trained pair."""
        data = {key: value for key, value in self.to_dict().items() if key not in ("name", "data", "classifier")}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def span_of(rows: Rows) -> Span:
    """The least and the greatest value of each channel over all of `rows`.

    Taken over every training row, as the scale of the data set is: it is fixed before any forget set is known, and
    gold shares it.
    """
    ends: list[tuple[Tensor, Tensor]] = []
    for at in range(0, len(rows), CUT):
        x = rows.batch(torch.arange(at, min(at + CUT, len(rows))).numpy())[0]
        flat = x.transpose(0, 1).flatten(1)  # [channels, rows * pixels]
        ends.append((flat.amin(1), flat.amax(1)))
    low, high = (torch.stack(part) for part in zip(*ends, strict=True))
    return tuple(low.amin(0).tolist()), tuple(high.amax(0).tolist())
