"""Unlearning methods: one file each, found by scanning this folder and the entry points of other packages."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points
from typing import Any

from expunge.errors import unknown
from expunge.folder import classes_in
from expunge.methods.method import FORGET_KINDS, NEEDS, Method, Unlearned

GROUP = "expunge.methods"


def _found() -> dict[str, type[Method]]:
    """Every method by name: those of this folder, then those that installed packages offer."""
    found: dict[str, type[Method]] = {kind.name(): kind for kind in classes_in(__name__, __path__, Method)}
    for entry in entry_points(group=GROUP):
        try:
            kind = entry.load()
            found.setdefault(kind.name(), kind)
        except Exception as error:  # a broken package must not take expunge with it
            warnings.warn(f"method {entry.name} of another package cannot be loaded: {error}", stacklevel=2)
    return found


METHODS: dict[str, type[Method]] = _found()
globals().update({kind.__name__: kind for kind in METHODS.values()})


def method(name: str) -> type[Method]:
    """The method class of that name.

    Raises:
        ConfigError: no method is called that; with close matches.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS, "expunge methods")
    return METHODS[name]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (a method class; which one, only the folder knows)
    raise AttributeError(f"no method class {name!r}; METHODS names them all: {', '.join(METHODS)}")


__all__ = ["FORGET_KINDS", "METHODS", "NEEDS", "Method", "Unlearned", "method"]
