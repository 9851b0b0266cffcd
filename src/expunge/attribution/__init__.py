"""Data attribution with units: what a model would put out if some rows had never been there, and how sure that is."""

from __future__ import annotations

from expunge.attribution.estimator import Estimator, Fitted, Removal, Source
from expunge.errors import unknown
from expunge.folder import classes_in

ESTIMATORS: dict[str, type[Estimator]] = {kind.name(): kind for kind in classes_in(__name__, __path__, Estimator)}
"""Every estimator of this folder by name."""
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
