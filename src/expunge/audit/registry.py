"""Every measure with the models it needs and its summary, for `expunge measures`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from expunge.audit.accuracy import accuracy_gap
from expunge.audit.activation_distance import activation_distance
from expunge.audit.aus import aus
from expunge.audit.challenge import challenge
from expunge.audit.confusion import confusion
from expunge.audit.efficacy import efficacy
from expunge.audit.epsilon import epsilon
from expunge.audit.gaussian_kl import gaussian_kl
from expunge.audit.gaussian_poison import gaussian_poison
from expunge.audit.jensen_shannon import jensen_shannon
from expunge.audit.klom import klom
from expunge.audit.lira import lira
from expunge.audit.memorisation import memorisation
from expunge.audit.model_audit import model_audit
from expunge.audit.one_run import one_run
from expunge.audit.population_attack import population_attack
from expunge.audit.rank_tests import rank_tests
from expunge.audit.relearn import relearn
from expunge.audit.rmia import rmia
from expunge.audit.tug_of_war import tug_of_war
from expunge.audit.u_lira import u_lira
from expunge.audit.utility import utility
from expunge.audit.zrf import zrf


@dataclass(frozen=True)
class Measure:
    """One entry of the list.

    Args:
        name: name on the command line, the function's own.
        function: the measure.
        least: fewest models per role; fewer raise NeedsError.
        summary: first sentence of its docstring.
    """

    name: str
    function: Callable[..., Any]
    least: Mapping[str, int]
    summary: str

    @property
    def page(self) -> str:
        """Head of the measure's file (source, formula, deviations), then its docstring."""
        module = sys.modules[self.function.__module__]
        return f"{inspect.getdoc(module)}\n\n{inspect.getdoc(self.function)}"


def _measure(function: Callable[..., Any]) -> Measure:
    least: Mapping[str, int] = vars(sys.modules[function.__module__])["LEAST"]
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return Measure(function.__name__, function, least, summary)


MEASURES: Mapping[str, Measure] = {
    function.__name__: _measure(function)
    for function in (
        klom,
        gaussian_kl,
        activation_distance,
        jensen_shannon,
        accuracy_gap,
        population_attack,
        model_audit,
        challenge,
        epsilon,
        tug_of_war,
        aus,
        zrf,
        utility,
        relearn,
        confusion,
        gaussian_poison,
        one_run,
        rank_tests,
        lira,
        u_lira,
        rmia,
        efficacy,
        memorisation,
    )
}
"""Name -> Measure; a new measure adds its function here."""
