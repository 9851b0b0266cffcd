"""`expunge methods | measures | recipes | data`: what there is; with a name, its page."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from expunge.audit import MEASURES
from expunge.cli.flags import described
from expunge.cli.output import Json, out, show, table
from expunge.data import DATASETS
from expunge.errors import unknown
from expunge.methods import METHODS
from expunge.methods import method as find_method
from expunge.training.recipes import MEASURED, RECIPES
from expunge.training.recipes import recipe as find_recipe


def methods(name: str = "", *, as_json: Json = False) -> int:
    """The unlearning methods; with a name, its paper, idea, deviations, cost and flags.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        return _method_page(name, as_json)
    lines = [
        [
            kind.name(),
            summary(kind),
            ", ".join(sorted(kind.needs)) or "-",
            ", ".join(sorted(kind.forget_kinds)),
            "yes" if kind.stochastic else "no",
        ]
        for kind in METHODS.values()
    ]
    _listing(["method", "what", "needs", "forgets", "stochastic"], lines, as_json)
    return 0


def measures(name: str = "", *, as_json: Json = False) -> int:
    """The measures of the audit; with a name, its formula, units and source.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        if name not in MEASURES:
            raise unknown("measure", name, MEASURES, "expunge measures")
        page = MEASURES[name].page
        show({"name": name, "page": page}) if as_json else out().print(page, markup=False)
        return 0
    lines = [
        [measure.name, ", ".join(f"{count} {role}" for role, count in measure.least.items()), measure.summary]
        for measure in MEASURES.values()
    ]
    _listing(["measure", "at least", "what"], lines, as_json)
    return 0


def recipes(name: str = "", *, as_json: Json = False) -> int:
    """The named recipes; with a name, every setting.

    Args:
        name: One of them.
        as_json: Plain data instead of a table.
    """
    if name:
        settings = find_recipe(name).to_dict()
        if as_json:
            show(settings)
        else:
            table(["setting", "value"], [[key, str(value)] for key, value in settings.items()])
        return 0
    lines = [
        [recipe.name, recipe.data, recipe.model, str(recipe.epochs), MEASURED.get(recipe.name, "not measured here")]
        for recipe in RECIPES.values()
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


def _method_page(name: str, as_json: bool) -> int:
    kind = find_method(name)
    page = inspect.getdoc(sys.modules[kind.__module__]) or ""
    flags = [[flag, str(default), text] for flag, default, text in described(kind)]
    if as_json:
        show({"name": name, "page": page, "flags": flags, "needs": sorted(kind.needs)})
        return 0
    out().print(page + "\n", markup=False)
    table(["flag", "default", "what"], flags)
    return 0


def _listing(headings: list[str], lines: list[list[str]], as_json: bool) -> None:
    if as_json:
        show([dict(zip(headings, line, strict=True)) for line in lines])
    else:
        table(headings, lines)
