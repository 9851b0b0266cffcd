"""The figures of a benchmark of tuning: distance on the twin against distance to gold, setting by setting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from expunge.report.digits import count, fixed
from expunge.report.figures import GREY, Figure, layout, note, percent_ticks, plain
from expunge.report.marks import COLOURS, FIXED, SYMBOLS, Mark
from expunge.report.result import Json, part

HEIGHT = 430
ROOM = 0.08
"""Powers of ten beyond the outermost points."""
METHODS = 6
"""Colours that methods share; those behind point choices out."""
TWIN, GOLD, DEFAULT = "twin's choice", "gold's choice", "default"
CHOICES = {TWIN: (COLOURS[METHODS], "solid", "circle-open"), GOLD: FIXED["gold"], DEFAULT: FIXED["original"]}
"""How settings that somebody takes are marked, over the symbols of their methods."""

Point = tuple[float, float, str]
"""J, J* and whose it is."""


def tuning_marks(result: Json) -> dict[str, Mark]:
    """How the methods and the choices are drawn, in the figures and in the key."""
    names = dict.fromkeys(str(cell["method"]) for cell in result["cells"])
    looks = {name: (COLOURS[at % METHODS], "solid", SYMBOLS[at % len(SYMBOLS)]) for at, name in enumerate(names)}
    return {name: Mark(name, name, name, *look) for name, look in (looks | CHOICES).items()}


def tuning_figures(result: Json, way: str) -> list[Figure]:
    """One figure of a kind of twin for each data set and kind of forget set; none where nothing can be drawn."""
    place = list(result["twins"]).index(way)
    found = []
    for at, (data, kind) in enumerate(dict.fromkeys((cell["data"], cell["kind"]) for cell in result["cells"])):
        cells = [
            cell for cell in result["cells"] if (cell["data"], cell["kind"]) == (data, kind) and way in cell["ways"]
        ]
        points = _points(cells, way)
        if any(points.values()):
            lines = _lines(result, cells, data, kind)
            title = f"{data}, {kind}"
            spec = {"data": _traces(result, points), "layout": _layout(points, lines, way)}
            alt = _alt(title, way, cells, points, lines)
            found.append(Figure(f"twin-{place}-{at}", title, alt, HEIGHT, spec, wide=False, note=_left_out(cells, way)))
    return found


def pair(cell: Json, way: str, place: int) -> tuple[float, float] | None:
    """J of a candidate, the mean over twins, and J*, the mean over gold models; None where either is not there.

    Example:
        >>> pair({"ways": {"twin": {"value": [[0.2], [0.4]]}}, "true": [[0.5, 0.7]]}, "twin", 0)
        (0.30000000000000004, 0.6)
    """
    ours = [run[place] for run in part(cell, "ways", way).get("value") or []]
    theirs = cell["true"][place]
    if not ours or not theirs or None in ours or None in theirs or min(*ours, *theirs) <= 0:
        return None
    return fmean(ours), fmean(theirs)


def _points(cells: Sequence[Json], way: str) -> dict[str, list[Point]]:
    """The points of each mark: every setting under its method, and once more where somebody takes it."""
    found: dict[str, list[Point]] = {name: [] for name in (*(str(cell["method"]) for cell in cells), *CHOICES)}
    for cell in cells:
        text = plain(f"{cell['method']}, {cell.get('forget', '')}, {cell.get('replicate', '')}")
        at = {place: pair(cell, way, place) for place in range(len(cell["true"]))}
        taken = part(cell, "places")
        names = {
            str(cell["method"]): range(1, len(at)),
            TWIN: taken.get(way) or [],
            GOLD: dict.fromkeys(taken.get("gold, cross-fitted") or []),
            DEFAULT: taken.get("default") or [],
        }
        for name, places in names.items():
            found[name] += [(*both, text) for place in places if (both := at[place]) is not None]
    return found


def _traces(result: Json, points: dict[str, list[Point]]) -> list[Json]:
    every = [value for found in points.values() for x, y, _ in found for value in (x, y)]
    ends = [min(every), max(every)]
    line = {"color": GREY, "width": 1, "dash": "2px,3px"}
    diagonal = {"type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip", "x": ends, "y": ends}
    marks = tuning_marks(result)
    return [{**diagonal, "line": line}, *(_trace(marks[name], found) for name, found in points.items() if found)]


def _trace(mark: Mark, found: list[Point]) -> Json:
    chosen = mark.name in CHOICES
    x, y, text = zip(*found, strict=True)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(mark.label),
        "meta": mark.name,
        "showlegend": False,
        "x": [_short(value) for value in x],
        "y": [_short(value) for value in y],
        "text": list(text),
        "hovertemplate": "J %{x:.2f}, J* %{y:.2f}<br>%{text}<extra>%{fullData.name}</extra>",
        "marker": {
            "symbol": mark.symbol,
            "color": mark.colour,
            "size": 11 if chosen else 6,
            "opacity": 0.95 if chosen else 0.55,
            "line": {"width": 1.8 if mark.symbol.endswith("open") else 0},
        },
    }


def _layout(points: dict[str, list[Point]], lines: dict[str, float], way: str) -> Json:
    drawn = layout(f"J on the {plain(way)} (log scale)", "J*, true distance to gold (log scale)", HEIGHT)
    drawn["xaxis"] |= _axis(x for found in points.values() for x, _, _ in found)
    drawn["yaxis"] |= _axis([*(y for found in points.values() for _, y, _ in found), *lines.values()])
    drawn["shapes"], drawn["annotations"] = [], []
    for (name, value), dash in zip(lines.items(), ("6px,4px", "2px,3px"), strict=False):
        ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "layer": "below"}
        drawn["shapes"].append({"type": "line", **ends, "line": {"color": GREY, "width": 1.5, "dash": dash}})
        where = {"x": 0.995, "y": math.log10(value), "xref": "paper", "yanchor": "bottom", "xanchor": "right"}
        drawn["annotations"].append(note(f"{name} {fixed(value, 2)}", **where))
    return drawn


def _axis(values: Iterable[float]) -> Json:
    known = list(values)
    low, high = math.log10(min(known)) - ROOM, math.log10(max(known)) + ROOM
    ticks = percent_ticks(low, high)
    return {"type": "log", "range": [low, high], **ticks, "ticktext": [f"{value:g}" for value in ticks["tickvals"]]}


def _lines(result: Json, cells: Sequence[Json], data: str, kind: str) -> dict[str, float]:
    """The null and what doing nothing comes to: medians over units and cells."""
    units = [one for one in result.get("units") or [] if (one.get("data"), one.get("kind")) == (data, kind)]
    nulls = [fmean(one["null"]) for one in units if one.get("null") and None not in one["null"]]
    nothing = [fmean(cell["true"][0]) for cell in cells if cell["true"] and None not in cell["true"][0]]
    named = {"null: gold against gold": nulls, "no change": nothing}
    return {name: found for name, values in named.items() if values and (found := median(values)) > 0}


def _left_out(cells: Sequence[Json], way: str) -> str:
    lost = sum(pair(cell, way, place) is None for cell in cells for place in range(1, len(cell["true"])))
    return f"{count(lost)} settings diverged on the twin or on the true problem and have no place here." if lost else ""


def _alt(title: str, way: str, cells: Sequence[Json], points: dict[str, list[Point]], lines: dict[str, float]) -> str:
    settings = sum(len(found) for name, found in points.items() if name not in CHOICES)
    says = [f"{title}: J on the {way} against the true distance to gold, {settings} settings in {len(cells)} cells."]
    taken = {name: median(y for _, y, _ in points[name]) for name in CHOICES if points[name]}
    says += [f"Median true distance of {name}: {fixed(value, 2)}." for name, value in taken.items()]
    says += [f"The line of {name} is at {fixed(value, 2)}." for name, value in lines.items()]
    return " ".join(says)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
