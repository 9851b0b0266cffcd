"""Search spaces: what tuning may choose for a setting of a method. Plain values, so that a method can declare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Log:
    """A number whose logarithm is evenly likely, such as a rate."""

    low: float
    high: float


@dataclass(frozen=True)
class NearOne:
    """A number just below 1 whose distance from 1 is searched on a log scale, such as a weight of retain."""

    low: float
    """Smallest distance from 1, > 0."""
    high: float
    """Largest."""


@dataclass(frozen=True)
class Whole:
    """A whole number, both ends included, such as epochs."""

    low: int
    high: int


@dataclass(frozen=True)
class Choice:
    """One of a few values; of a single one, it is fixed while tuning."""

    values: tuple[object, ...]


Space = Log | NearOne | Whole | Choice
Search = Mapping[str, Space]
"""Name of a setting -> where to look for it; settings that are not named keep their default."""
