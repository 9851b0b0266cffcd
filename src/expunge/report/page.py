"""The report: one HTML file that needs no network, drawn from a result and nothing else.

The result's form stands in `expunge.report.result`, that of a benchmark of tuning in
`expunge.report.tuning_result`, that of attribution in `expunge.report.attribution_result`, that of generators in
`expunge.report.gan_result`. Names, row ids and every other text of it are not trusted: the template escapes them, and
so does the JSON of the figures.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from expunge.errors import StoreError
from expunge.report.attribution import TEMPLATE as ATTRIBUTION_TEMPLATE
from expunge.report.attribution import attribution_context
from expunge.report.attribution_result import KIND as ATTRIBUTION
from expunge.report.attribution_result import checked_attribution
from expunge.report.costs import cost_figure
from expunge.report.densities import density_figures
from expunge.report.details import blocks
from expunge.report.digits import count, loose
from expunge.report.epsilons import epsilon_figures
from expunge.report.figures import Figure
from expunge.report.gan import TEMPLATE as GAN_TEMPLATE
from expunge.report.gan import gan_context
from expunge.report.gan_result import KIND as GAN
from expunge.report.gan_result import checked_gan
from expunge.report.marks import Mark, marks
from expunge.report.per_row import row_figures
from expunge.report.result import Json, checked, headline, part
from expunge.report.roc import roc_figures
from expunge.report.strata import strata_columns, strata_figures, strata_lines
from expunge.report.table import CAPTION, columns, rows
from expunge.report.tuning import TEMPLATE as TUNING_TEMPLATE
from expunge.report.tuning import tuning_context
from expunge.report.tuning_result import KIND as TUNING
from expunge.report.tuning_result import checked_tuning
from expunge.report.words import EACH, GLOSSARY, STATES, measure_words, number_words

UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Letters that could end a script element, or a line of one, and how JSON spells them."""


def write_page(result: Json, path: Path) -> Path:
    """Write the page; whoever reads `path` sees the whole of it or what was there before.

    Args:
        result: as in `expunge.report.result`.
        path: the file to write; its folder is made where it is missing.

    Returns:
        `path`.

    Raises:
        StoreError: the result has a newer schema, or the page cannot be written.
        ConfigError: a needed part of it is missing.
    """
    text = render(result)
    try:
        _replace(path, text)
    except OSError as error:
        raise StoreError(f"could not write {path}: {error}", hint="choose another place with -o") from None
    return path


def _replace(path: Path, text: str) -> None:
    """Write a temporary sibling and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def render(result: Json) -> str:
    """The page as text.

    Args:
        result: as in `expunge.report.result`, `expunge.report.tuning_result`, `expunge.report.attribution_result` or
            `expunge.report.gan_result`.

    Raises:
        StoreError: the result has a newer schema.
        ConfigError: a needed part of it is missing.
    """
    if result.get("kind") == ATTRIBUTION:
        return _filled(ATTRIBUTION_TEMPLATE, [], **attribution_context(checked_attribution(result)))
    if result.get("kind") == TUNING:
        context, figures = tuning_context(checked_tuning(result))
        return _filled(TUNING_TEMPLATE, figures, **context)
    if result.get("kind") == GAN:
        context, figures = gan_context(checked_gan(result))
        return _filled(GAN_TEMPLATE, figures, **context)
    result = checked(result)
    drawn = _figures(result)
    return _filled(
        "template.html.j2",
        [figure for group in drawn.values() for figure in group],
        result=result,
        title=str(result.get("title") or "expunge report"),
        state=STATES[result["verdict"]["state"]],
        states=STATES,
        meaning=_meaning(result),
        facts=_facts(result),
        columns=columns(result),
        groups=_groups(result),
        rows=rows(result),
        caption=CAPTION,
        marks=marks(result),
        keys={group: _key(result, drawn[group]) for group in drawn},
        measure=measure_words(headline(result)) if headline(result) else None,
        figures=drawn,
        strata=(strata_columns(result), strata_lines(result)),
        blocks=blocks(result),
        glossary=_glossary(result),
        count=count,
        number_words=number_words,
    )


def _filled(template: str, plots: list[Figure], **context: object) -> str:
    """A template with all its figures and whatever else it needs."""
    specs = _json({figure.key: figure.spec for figure in plots})
    plotly = _plotly() if plots else ""
    return _environment().get_template(template).render(**context, specs=specs, plotly=plotly, loose=loose)


def _figures(result: Json) -> dict[str, list[Figure]]:
    """The figures of each section, in the order of the page."""
    cost = cost_figure(result)
    return {
        "densities": density_figures(result),
        "cost": [cost] if cost else [],
        "roc": roc_figures(result),
        "rows": row_figures(result),
        "epsilon": epsilon_figures(result),
        "strata": strata_figures(result),
    }


def _key(result: Json, figures: list[Figure]) -> list[Mark]:
    """The entries that the buttons above these figures hide and show."""
    drawn = {trace.get("meta") for figure in figures for trace in figure.spec["data"]}
    return [mark for name, mark in marks(result).items() if name in drawn]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("expunge.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = minus
    return environment


def minus(text: str) -> str:
    """A number's hyphen as a minus sign, and the absent number's as a dash.

    Example:
        >>> minus("(-0.03)") == "(\u22120.03)", minus("-") == "\u2013"
        (True, True)
    """
    return "\N{EN DASH}" if text == "-" else text.replace("-", "\N{MINUS SIGN}")


def _plotly() -> Markup:
    return Markup(get_plotlyjs().replace("</script", "<\\/script"))


def _json(value: object) -> Markup:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter, spelled in UNSAFE.items():
        text = text.replace(letter, spelled)
    return Markup(text)


def _meaning(result: Json) -> str:
    """What the verdict says; where only single entries were judged, that they were."""
    state = result["verdict"]["state"]
    judged = any(part(entry, "verdict") for entry in result["entries"])
    return EACH if judged and state == "measured" else STATES[state].meaning


def _facts(result: Json) -> list[tuple[str, str]]:
    """What was tested, as pairs for the head of the page."""
    problem, number = part(result, "problem"), part(result, "problem", "rows")
    kind = {"method": "methods, over many models", "model": "one unlearned model"}[result["kind"]]
    seed = problem.get("forget_seed")
    facts = [
        ("tested", kind),
        ("recipe", problem.get("recipe")),
        ("data", problem.get("data")),
        (
            "forget",
            f"{problem['forget']}{'' if seed is None else f', seed {seed}'}" if "forget" in problem else None,
        ),
        ("rows", ", ".join(f"{count(number[split])} {split}" for split in number)),
        ("models", ", ".join(f"{count(models)} {role}" for role, models in part(result, "models").items())),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _groups(result: Json) -> list[tuple[str, int]]:
    """The upper row of the table's head: what stands there and over how many columns."""
    groups: list[tuple[str, int]] = []
    for column in columns(result):
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return groups


def _glossary(result: Json) -> dict[str, str]:
    """The page's words, and the measures that occur."""
    names = dict.fromkeys(name for entry in result["entries"] for name in part(entry, "measures"))
    known = {measure_words(name).title: measure_words(name).meaning for name in names}
    return {**GLOSSARY, **{title: meaning for title, meaning in known.items() if meaning}}
