"""Every measure with its mode, the models it needs, its cost, its null and its summary, for `expunge measures`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from expunge.audit.accuracy import accuracy_gap, average_gap
from expunge.audit.activation_distance import activation_distance
from expunge.audit.aus import aus
from expunge.audit.challenge import challenge
from expunge.audit.confusion import confusion
from expunge.audit.disagreement import disagreement
from expunge.audit.efficacy import efficacy
from expunge.audit.epsilon import epsilon
from expunge.audit.foretold import foretold
from expunge.audit.gaussian_kl import gaussian_kl
from expunge.audit.gaussian_poison import gaussian_poison
from expunge.audit.jensen_shannon import jensen_shannon
from expunge.audit.klom import klom
from expunge.audit.lira import lira
from expunge.audit.memorisation import memorisation
from expunge.audit.method_audit import method_audit
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

MODES: Mapping[str, str] = {
    "model": "one unlearned model against gold",
    "method": "many unlearned models of one method against gold",
    "either": "one unlearned model or many",
    "planted": "a model trained with planted rows, then unlearned",
}
"""Mode -> what is compared."""


@dataclass(frozen=True)
class Measure:
    """One entry of the list.

    Args:
        name: name on the command line, the function's own.
        function: the measure.
        mode: one of MODES.
        least: fewest models per role; fewer raise NeedsError.
        advised: models per role with which it says something; roles that may be absent are not in it.
        cost: trainings (c) and unlearning runs (u) at the advised numbers, without originals; of a planted measure
            one training is the planted one.
        null: what gold shows against gold, or the law under which the test is exact.
        summary: first sentence of its docstring.
    """

    name: str
    function: Callable[..., Any]
    mode: str
    least: Mapping[str, int]
    advised: Mapping[str, int]
    cost: str
    null: str
    summary: str

    @property
    def page(self) -> str:
        """Head of the measure's file (source, formula, deviations), then its docstring."""
        module = sys.modules[self.function.__module__]
        return f"{inspect.getdoc(module)}\n\n{inspect.getdoc(self.function)}"


def _measure(function: Callable[..., Any], mode: str, advised: Mapping[str, int], cost: str, null: str) -> Measure:
    least: Mapping[str, int] = vars(sys.modules[function.__module__])["LEAST"]
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return Measure(function.__name__, function, mode, least, advised, cost, null, summary)


def _sides(models: int) -> Mapping[str, int]:
    return {"unlearned": models, "gold": models}


def _one(**others: int) -> Mapping[str, int]:
    return {"unlearned": 1, **others}


# Gold models beside one unlearned model: 3 are the fewest that give an interval, 16 as many as a model is paired with,
# 39 the fewest with which a two-sided rank can reach 0.05; with 20 the band of `utility` is a tenth wider than with
# many. The numbers in nulls are of normal margins.
_TABLE = (
    (klom, "method", _sides(100), "100 c + 100 u", "P95 0.69 at 100 + 100, 0.28 at 200 + 200"),
    (gaussian_kl, "method", _sides(50), "50 c + 50 u", "P95 0.128 at 50 + 50, 0.062 at 100 + 100"),
    (activation_distance, "either", _one(gold=16), "16 c", "gold to gold, above 0"),
    (jensen_shannon, "either", _one(gold=16), "16 c", "gold to gold, above 0"),
    (accuracy_gap, "either", _one(gold=3), "3 c", "gold's own gap"),
    (disagreement, "either", _one(gold=16), "16 c", "gold to gold, above 0"),
    (foretold, "either", _one(gold=16), "16 c", "one gold against most others"),
    (average_gap, "either", _one(gold=3), "3 c", "gold's own gaps"),
    (population_attack, "either", _one(gold=39), "39 c", "gold's AUC"),
    (model_audit, "model", _one(gold=64, original=1), "64 c", "exact: ranks among gold"),
    (method_audit, "method", _sides(64), "64 c + 64 u", "exact: permutations"),
    (challenge, "method", _sides(512), "512 c + 512 u", "F 0.19, not 1, at 512 + 512"),
    (epsilon, "method", _sides(128), "128 c + 128 u", "0 at level alpha"),
    (tug_of_war, "either", _one(gold=3), "3 c", "gold's own ToW"),
    (aus, "either", _one(gold=3, original=1), "3 c", "gold's AUS"),
    (zrf, "either", _one(gold=3, random=1), "3 c", "gold's ZRF"),
    (utility, "either", _one(gold=20), "20 c", "gold's band over seeds"),
    (relearn, "either", _one(gold=3, original=1), "3 c, relearning", "AIN 1"),
    (confusion, "planted", _one(gold=3), "4 c + 1 u", "gold's error"),
    (gaussian_poison, "planted", _one(), "1 c + 1 u", "exact: z of N(0, 1)"),
    (one_run, "planted", _one(), "1 c + 1 u", "0 at level alpha"),
    (rank_tests, "method", _sides(64), "64 c + 64 u", "exact p"),
    (lira, "either", _one(gold=3, shadows=16), "19 c", "gold's AUC"),
    (u_lira, "method", _sides(64), "64 c + 64 u", "accuracy 0.5"),
    (rmia, "either", _one(gold=39, references=4), "43 c", "gold's AUC"),
    (efficacy, "either", _one(gold=3), "3 c", "gold's value"),
    (memorisation, "either", {"fleet": 64}, "64 c", "0, s.e. 0.12 at 64"),
)

MEASURES: Mapping[str, Measure] = {entry[0].__name__: _measure(*entry) for entry in _TABLE}
"""Name -> Measure; a new measure adds its line to the table."""
