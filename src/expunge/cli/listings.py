"""`expunge methods | estimators | measures | recipes | data`: what there is; with a name, its page."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from expunge.attribution import ESTIMATORS, Estimator
from expunge.attribution import estimator as find_estimator
from expunge.audit import MEASURES, Measure
from expunge.audit.registry import MODES
from expunge.cli.flags import described
from expunge.cli.output import Json, out, show, table
from expunge.data import DATASETS
from expunge.errors import unknown
from expunge.gan.methods import GAN_METHODS, GanMethod
from expunge.gan.recipes import GAN_RECIPES, any_recipe
from expunge.gan.recipes import MEASURED as GAN_MEASURED
from expunge.methods import METHODS, Method
from expunge.training.recipes import MEASURED, RECIPES

ESTIMATOR_HEADINGS = ("estimator", "what", "needs", "rows", "does", "source")
"""rows: those that it answers for, any or only those that subset models or a training were watched on."""
KINDS: dict[str, dict[str, type[Method]] | dict[str, type[GanMethod]]] = {"classifier": METHODS, "GAN": GAN_METHODS}
"""Of what -> its methods by name."""
UNMEASURED = "not measured here"
COST = (
    "c: a training, u: an unlearning run, beside passes over the rows; originals come on top, and gold models serve "
    "every measure."
)
"""How to read the costs of measures."""


def methods(name: str = "", *, as_json: Json = False) -> int:
    """The unlearning methods, for classifiers and for GANs; with a name, its paper, idea, deviations, cost and flags.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        return _method_pages(name, as_json)
    lines = [
        [
            kind.name(),
            of,
            summary(kind),
            ", ".join(sorted(kind.needs)) or "-",
            ", ".join(sorted(kind.forget_kinds)),
            "yes" if kind.stochastic else "no",
        ]
        for of, kinds in KINDS.items()
        for kind in kinds.values()
    ]
    _listing(["method", "of", "what", "needs", "forgets", "stochastic"], lines, as_json)
    return 0


def estimators(name: str = "", *, as_json: Json = False) -> int:
    """The estimators of data attribution; with a name, its source, idea, deviations, cost and settings.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        return _estimator_page(name, as_json)
    _listing(list(ESTIMATOR_HEADINGS), [estimator_cells(kind) for kind in ESTIMATORS.values()], as_json)
    return 0


def measures(name: str = "", *, as_json: Json = False) -> int:
    """The measures of the audit; with a name, its formula, units and source. Those of GANs stand in docs/gan.md.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        return _measure_page(name, as_json)
    if as_json:
        show([_measure_facts(measure) for measure in MEASURES.values()])
        return 0
    headings = ["measure", "mode", "models (advised)", "cost", "null", "what"]
    table(headings, [measure_cells(measure) for measure in MEASURES.values()])
    out().print(f"\n{COST}", markup=False)
    return 0


def recipes(name: str = "", *, as_json: Json = False) -> int:
    """The named recipes; with a name, every setting.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        settings = any_recipe(name).to_dict()
        if as_json:
            show(settings)
        else:
            table(["setting", "value"], [[key, str(value)] for key, value in settings.items()])
        return 0
    lines = [
        [recipe.name, recipe.data, recipe.model, str(recipe.epochs), MEASURED.get(recipe.name, UNMEASURED)]
        for recipe in RECIPES.values()
    ] + [
        [
            recipe.name,
            recipe.data,
            f"{recipe.model} pair",
            str(recipe.epochs),
            GAN_MEASURED.get(recipe.name, UNMEASURED),
        ]
        for recipe in GAN_RECIPES.values()
    ]
    _listing(["recipe", "data", "model", "epochs", "measured on 2 cores"], lines, as_json)
    return 0


def data(name: str = "", *, as_json: Json = False) -> int:
    """The named data sets and where their files are looked for.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name and name not in DATASETS:
        raise unknown("data set", name, DATASETS, "expunge data")
    lines = [[key, text] for key, text in DATASETS.items() if name in ("", key)]
    _listing(["data set", "what"], lines, as_json)
    return 0


def summary(kind: type[Any]) -> str:
    """The first line of a method's file, without its name."""
    first = (inspect.getdoc(sys.modules[kind.__module__]) or "").splitlines()[0]
    return first.partition(": ")[2] or first


def estimator_cells(kind: type[Estimator]) -> list[str]:
    """A line of the table of estimators."""
    return [
        kind.name(),
        summary(kind),
        ", ".join(sorted(kind.needs)) or "-",
        "any" if kind.any_rows else "watched",
        "predicts, ranks" if kind.predicts else "ranks",
        kind.paper,
    ]


def setting_of(flag: str) -> str:
    """A flag as a setting is written behind an estimator's name.

    Example:
        >>> setting_of("--some-thing")
        'some_thing'
    """
    return flag.lstrip("-").replace("-", "_")


def measure_cells(measure: Measure) -> list[str]:
    """Name, mode, models (a line each), cost, null and summary: a line of the table of measures."""
    models = "\n".join(_count(measure.least[role], advised, role) for role, advised in measure.advised.items())
    return [measure.name, measure.mode, models, measure.cost, measure.null, measure.summary]


def _count(least: int, advised: int, role: str) -> str:
    return f"{least} {role}" if least == advised else f"{least} ({advised}) {role}"


def _counts(counts: Mapping[str, int], roles: Iterable[str]) -> str:
    return ", ".join(f"{counts[role]} {role}" for role in roles)


def _measure_facts(measure: Measure) -> dict[str, Any]:
    return {
        "measure": measure.name,
        "mode": measure.mode,
        "least": dict(measure.least),
        "advised": dict(measure.advised),
        "cost": measure.cost,
        "null": measure.null,
        "what": measure.summary,
    }


def _measure_page(name: str, as_json: bool) -> int:
    if name not in MEASURES:
        raise unknown("measure", name, MEASURES, "expunge measures")
    measure = MEASURES[name]
    if as_json:
        show({"name": name, **_measure_facts(measure), "page": measure.page})
        return 0
    may_lack = [role for role in measure.least if role not in measure.advised]
    least = f"at least {_counts(measure.least, measure.advised)}"
    lines = (
        f"mode:   {measure.mode}, {MODES[measure.mode]}",
        f"models: {_counts(measure.advised, measure.advised)} advised; {least}"
        + (f"; if any, {_counts(measure.least, may_lack)}" if may_lack else ""),
        f"cost:   {measure.cost}",
        f"null:   {measure.null}",
    )
    out().print(name, *lines, "", COST, "", measure.page, sep="\n", markup=False)
    return 0


def _method_pages(name: str, as_json: bool) -> int:
    """The page of that name; where a method for classifiers and one for GANs bear it, both."""
    found = {of: kinds[name] for of, kinds in KINDS.items() if name in kinds}
    if not found:
        raise unknown("method", name, dict.fromkeys([*METHODS, *GAN_METHODS]), "expunge methods")
    facts = []
    for of, kind in found.items():
        page = inspect.getdoc(sys.modules[kind.__module__]) or ""
        flags = [[flag, str(default), text] for flag, default, text in described(kind)]
        facts.append({"name": name, "of": of, "page": page, "flags": flags, "needs": sorted(kind.needs)})
        if not as_json:
            out().print((f"of a {of}\n\n" if len(found) > 1 else "") + page + "\n", markup=False)
            table(["flag", "default", "what"], flags)
    if as_json:
        show(facts[0] if len(facts) == 1 else facts)
    return 0


def _estimator_page(name: str, as_json: bool) -> int:
    kind = find_estimator(name)
    page = inspect.getdoc(sys.modules[kind.__module__]) or ""
    settings = [[setting_of(flag), str(default), text] for flag, default, text in described(kind)]
    if as_json:
        show({"name": name, "page": page, "settings": settings, "needs": sorted(kind.needs)})
        return 0
    out().print(page + "\n", markup=False)
    table(["setting", "default", "what"], settings)
    return 0


def _listing(headings: list[str], lines: list[list[str]], as_json: bool) -> None:
    if as_json:
        show([dict(zip(headings, line, strict=True)) for line in lines])
    else:
        table(headings, lines)
