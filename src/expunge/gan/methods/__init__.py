"""Unlearning methods for pairs of generator and discriminator: one file each, found by scanning this folder."""

from __future__ import annotations

from expunge.errors import unknown
from expunge.folder import classes_in
from expunge.gan.methods.method import FORGET_KINDS, NEEDS, GanMethod, UnlearnedPair

GAN_METHODS: dict[str, type[GanMethod]] = {kind.name(): kind for kind in classes_in(__name__, __path__, GanMethod)}
globals().update({kind.__name__: kind for kind in GAN_METHODS.values()})


def gan_method(name: str) -> type[GanMethod]:
    """The method class of that name.

    Raises:
        ConfigError: no GAN method is called that; with close matches.
    """
    if name not in GAN_METHODS:
        raise unknown("GAN method", name, GAN_METHODS, "expunge methods")
    return GAN_METHODS[name]


__all__ = ["FORGET_KINDS", "GAN_METHODS", "NEEDS", "GanMethod", "UnlearnedPair", "gan_method"]
