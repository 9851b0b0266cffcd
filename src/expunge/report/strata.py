"""Easy and hard rows: one measure by how strongly the forget rows were memorised, as a figure and as a table."""

from __future__ import annotations

from expunge.report.details import Line
from expunge.report.digits import count, decimals, fixed, span
from expunge.report.figures import BAND, GREY, Figure, axis, layout, plain
from expunge.report.marks import Mark, marks
from expunge.report.result import STRATA, Json, label, part, role
from expunge.report.table import Column
from expunge.report.words import Measure, measure_words

HEIGHT = 400
REACH, STEP = 0.4, 0.12
"""How far entries stand from the middle of their stratum and from each other, at most; strata are 1 apart."""


def strata_figures(result: Json) -> list[Figure]:
    """Mean distances of every entry on easy, medium and hard rows, above the null; empty without values."""
    strata = part(result, "strata")
    shown = [mark for name, mark in marks(result).items() if part(strata, "values", name)]
    if not shown:
        return []
    words = _words(strata)
    drawn = layout("memorisation of the forget rows", axis(words.title, "mean", words.unit), HEIGHT)
    ticks = {"tickmode": "array", "tickvals": [0, 1, 2], "ticktext": [_tick(strata, name) for name in STRATA]}
    drawn["xaxis"] |= {"range": [-0.5, 2.5], "showgrid": False, **ticks}
    drawn["yaxis"]["rangemode"] = "tozero"
    drawn["margin"]["b"] = 92
    drawn["shapes"] = [shape for at, name in enumerate(STRATA) for shape in _null(at, part(strata, "null").get(name))]
    data = [_dots(mark, part(strata, "values", mark.name), _offset(at, len(shown))) for at, mark in enumerate(shown)]
    alt = f"Mean {words.title} of forget rows by memorisation. " + " ".join(
        f"{mark.label}: " + ", ".join(f"{name} {_value(strata, mark.name, name)}" for name in STRATA) + "."
        for mark in shown
    )
    return [Figure("strata", "", alt, HEIGHT, {"data": data, "layout": drawn})]


def strata_columns(result: Json) -> list[Column]:
    """One column per stratum; its number of rows, their least and most memorisation and the null stand below it."""
    strata = part(result, "strata")
    columns = []
    for name in STRATA:
        rows, scores, null = (part(strata, key).get(name) for key in ("rows", "scores", "null"))
        notes = [f"{count(rows)} rows"] if rows is not None else []
        notes += [span(scores, 2)] if scores else []
        notes += [f"null {fixed(null, _digits(strata))}"] if null is not None else []
        columns.append(Column("", name, tuple(notes)))
    return columns


def strata_lines(result: Json) -> list[Line]:
    """The mean distances of every entry that has some."""
    strata = part(result, "strata")
    return [
        Line(label(entry), role(entry), [_value(strata, str(entry["name"]), name) for name in STRATA])
        for entry in result["entries"]
        if part(strata, "values", str(entry["name"]))
    ]


def _words(strata: Json) -> Measure:
    known = measure_words(str(strata.get("measure") or "distance"))
    return Measure(known.title, str(strata.get("unit") or known.unit))


def _digits(strata: Json) -> int:
    found = [part(strata, "null"), *(part(strata, "values", name) for name in part(strata, "values"))]
    return decimals(values.get(name) for values in found for name in STRATA)


def _value(strata: Json, entry: str, name: str) -> str:
    return fixed(part(strata, "values", entry).get(name), _digits(strata))


def _tick(strata: Json, name: str) -> str:
    rows, scores = part(strata, "rows").get(name), part(strata, "scores").get(name)
    lines = [name, f"{count(rows)} rows" if rows is not None else "", span(scores, 2) if scores else ""]
    return "<br>".join(line for line in lines if line).replace("-", "\N{MINUS SIGN}")


def _offset(at: int, entries: int) -> float:
    """Where entry number `at` stands within a stratum.

    Example:
        >>> _offset(0, 1), _offset(0, 3), _offset(8, 9)
        (0.0, -0.12, 0.4)
    """
    step = min(STEP, 2 * REACH / max(entries - 1, 1))
    return round(step * (at - (entries - 1) / 2), 4)


def _null(at: int, value: float | None) -> list[Json]:
    """The null of one stratum: a grey area from 0, closed by a line."""
    if value is None:
        return []
    ends = {"x0": at - 0.46, "x1": at + 0.46, "y1": value, "layer": "below"}
    area = {"type": "rect", "y0": 0, **ends, "fillcolor": BAND, "line": {"width": 0}}
    return [area, {"type": "line", "y0": value, **ends, "line": {"color": GREY, "width": 1}}]


def _dots(mark: Mark, values: Json, offset: float) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(mark.label),
        "meta": mark.name,
        "showlegend": False,
        "x": [at + offset for at in range(len(STRATA))],
        "y": [values.get(name) for name in STRATA],
        "text": list(STRATA),
        "hovertemplate": "%{text} memorisation, mean %{y:.2f}<extra>%{fullData.name}</extra>",
        "marker": {"color": mark.colour, "symbol": mark.symbol, "size": 13 if mark.symbol == "star" else 10},
    }
