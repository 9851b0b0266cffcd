"""Checks that several architectures share."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.errors import ConfigError, check


def whole(name: str, value: object) -> None:
    """`value` must be a whole number of at least 1."""
    check(name, value, "a whole number >= 1", type(value) is int and value >= 1)


def wholes(name: str, values: Sequence[int]) -> None:
    """`values` must be a list of whole numbers of at least 1."""
    ok = isinstance(values, Sequence) and all(type(value) is int and value >= 1 for value in values)
    check(name, values, "a list of whole numbers >= 1", ok)


def share(name: str, value: object) -> None:
    """`value` must be a number in [0, 1)."""
    check(name, value, "in [0, 1)", isinstance(value, int | float) and 0 <= value < 1)


def image(model: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of one image.

    Raises:
        ConfigError: the rows are no images.
    """
    if len(shape) != 3:
        raise ConfigError(
            f"{model}: expected rows of shape (channels, height, width), got {shape}",
            hint="use mlp or linear, which take any shape",
        )
    return shape[0], shape[1], shape[2]
