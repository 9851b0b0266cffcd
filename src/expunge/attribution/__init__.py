"""Data attribution with units: what a model would put out if some rows had never been there, and how sure that is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from expunge.attribution.estimator import Estimator, Fitted, Removal, Source
from expunge.errors import unknown


def _found() -> dict[str, type[Estimator]]:
    """Every estimator of this folder by name."""
    found: dict[str, type[Estimator]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, Estimator) and not inspect.isabstract(value):
                found[value.name()] = value
    return found


ESTIMATORS: dict[str, type[Estimator]] = _found()
globals().update({kind.__name__: kind for kind in ESTIMATORS.values()})


def estimator(name: str) -> type[Estimator]:
    """The estimator class of that name.

    Raises:
        ConfigError: no estimator is called that; with close matches.
    """
    if name not in ESTIMATORS:
        raise unknown("estimator", name, ESTIMATORS, "expunge estimators")
    return ESTIMATORS[name]


__all__ = ["ESTIMATORS", "Estimator", "Fitted", "Removal", "Source", "estimator"]
