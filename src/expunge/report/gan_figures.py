"""The figures of a GAN audit: measures over a method's own steps, and against what was spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from expunge.report.digits import fixed, share, span
from expunge.report.figures import BAND, GREY, Figure, layout, note, percent_ticks, plain, short
from expunge.report.gan_table import called, ends, gold_mean, known, places
from expunge.report.marks import Mark, marks
from expunge.report.result import Json, label, named, part

HEIGHT = {"timeline": 270, "curve": 340}
MOST = 3
"""Measures that are drawn against cost."""
ROOM = 0.1
"""Share of an axis beyond the outermost values, where labels stand too."""
CLOSE = 0.2
"""Share of an axis within which two labels would cover each other."""
ACROSS = {"xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
"""Of a shape from one side of a figure to the other."""

Point = tuple[float, float]
"""Visits as a share of one gold's, and the measure's value."""


def timeline_figures(result: Json) -> list[Figure]:
    """One small figure for each measure that was followed; empty where no method was."""
    timeline = part(result, "timeline")
    steps, name = timeline.get("steps") or [], str(timeline.get("entry") or "")
    own = named(result, name)
    mark = gan_marks(result).get(name) or _mark(name)
    figures = []
    for at, (key, values) in enumerate(part(timeline, "measures").items()):
        if known(values):
            measure = _measure(result, key)
            drawn = _layout(measure, "step", [known(values)], HEIGHT["timeline"])
            spec = {"data": [_steps(mark, steps, values, places(measure))], "layout": drawn}
            alt = _timeline_alt(measure, label(own) if own else "a method", known(values))
            figures.append(Figure(f"timeline-{at}", called(measure), alt, HEIGHT["timeline"], spec, wide=False))
    return figures


def curve_figures(result: Json) -> list[Figure]:
    """Each of up to three measures against the share of one gold's visits; empty without points."""
    found = gan_marks(result)
    drawable = {key: points for key in _ordered(result) if (points := _points(result, key))}
    figures = []
    for at, (key, points) in enumerate(list(drawable.items())[:MOST]):
        measure = _measure(result, key)
        values = [[value for _, value in own] for own in points.values()]
        drawn = _layout(measure, "cost, share of one gold's visits (log scale)", values, HEIGHT["curve"])
        drawn["xaxis"] |= _cost_axis([x for own in points.values() for x, _ in own])
        data = [_curve(found[name], own, places(measure)) for name, own in points.items()]
        alt = _curve_alt(measure, found, points)
        wide = len(drawable) == 1
        figures.append(
            Figure(f"curve-{at}", called(measure), alt, HEIGHT["curve"], {"data": data, "layout": drawn}, wide)
        )
    return figures


def gan_marks(result: Json) -> dict[str, Mark]:
    """How each entry is drawn, and each name of the curve that is none, such as a baseline at many costs."""
    names = [str(one["name"]) for one in result["entries"]]
    more = dict.fromkeys(str(one.get("name") or "") for one in result.get("curve") or [])
    return marks({"entries": [*result["entries"], *({"name": name} for name in more if name not in names)]})


def _mark(name: str) -> Mark:
    """Of an entry that is not named."""
    return marks({"entries": [{"name": name}]})[name]


def _measure(result: Json, key: str) -> Json:
    """The measure of that name; one that the table lacks has its name alone."""
    return next((one for one in result["measures"] if one["name"] == key), {"name": key})


def _ordered(result: Json) -> list[str]:
    """The measures of the curve: those that the verdict rests on first."""
    names = dict.fromkeys(key for one in result.get("curve") or [] for key in part(one, "values"))
    table = [str(one["name"]) for one in sorted(result["measures"], key=lambda one: not one.get("judged"))]
    return sorted(names, key=lambda name: table.index(name) if name in table else len(table))


def _points(result: Json, key: str) -> dict[str, list[Point]]:
    """The points of each name by rising cost; what cost nothing has no place on a log axis."""
    found: dict[str, list[Point]] = {}
    for one in result.get("curve") or []:
        cost, value = one.get("visits_share"), part(one, "values").get(key)
        if value is not None and cost and cost > 0:
            found.setdefault(str(one.get("name") or ""), []).append((cost, value))
    return {name: sorted(points) for name, points in found.items()}


def _layout(measure: Json, across: str, curves: Sequence[Sequence[float]], height: int) -> Json:
    """Axes that hold the curves, with gold's interval as a band, gold's mean and the original as labelled lines."""
    drawn = layout(across, short(str(measure.get("unit") or ""), 34), height)
    axis = _span(measure, [value for curve in curves for value in curve])
    drawn["yaxis"] |= {"range": list(axis), "nticks": 6}
    low, high = ends(measure)
    gold, original = gold_mean(measure), measure.get("original")
    band = {"type": "rect", **ACROSS, "y0": low, "y1": high, "fillcolor": BAND, "line": {"width": 0}}
    drawn["shapes"] = [] if low is None or high is None else [band]
    drawn["annotations"] = []
    close = gold is not None and original is not None and abs(gold - original) < CLOSE * (axis[1] - axis[0])
    left = close or len(curves) == 1  # one curve begins at the original, several begin anywhere
    for name, value, dash, at in (("gold", gold, "6px,4px", -1), ("original", original, "2px,3px", 0 if left else -1)):
        if value is not None:
            line = {"color": GREY, "width": 1.5, "dash": dash}
            drawn["shapes"].append({"type": "line", **ACROSS, "y0": value, "y1": value, "line": line})
            below = fmean(curve[at] for curve in curves) >= value
            text = f"{name} {fixed(value, places(measure))}".replace("-", "\N{MINUS SIGN}")
            where = {"xref": "paper", "y": value, "yanchor": "top" if below else "bottom"}
            side = {"x": 0.995, "xanchor": "right"} if at else {"x": 0.005, "xanchor": "left"}
            drawn["annotations"].append(note(text, **where, **side))
    return drawn


def _span(measure: Json, values: Sequence[float]) -> Point:
    """Ends of the axis of values; an interval of few golds is wide, so it may at most treble the axis."""
    own = [*values, *known([measure.get("original"), *known(measure.get("gold"))])]
    low, high = min(own), max(own)
    wide = high - low or abs(high) or 1.0
    least, most = ends(measure)
    low = min(low, max(least, low - wide)) if least is not None else low
    high = max(high, min(most, high + wide)) if most is not None else high
    room = ROOM * (high - low or wide)
    return low - room, high + room


def _steps(mark: Mark, steps: Sequence[float], values: Sequence[float | None], digits: int) -> Json:
    return _trace(mark, steps, values) | {
        "text": [f"step {step}: {fixed(value, digits)}" for step, value in zip(steps, values, strict=True)],
        "marker": {"color": mark.colour, "symbol": mark.symbol, "size": 7, "maxdisplayed": 14},
    }


def _curve(mark: Mark, points: Sequence[Point], digits: int) -> Json:
    x, y = zip(*points, strict=True)
    return _trace(mark, x, y) | {
        "text": [f"cost {share(cost)}: {fixed(value, digits)}" for cost, value in points],
        "marker": {"color": mark.colour, "symbol": mark.symbol, "size": 14 if mark.symbol == "star" else 10},
    }


def _trace(mark: Mark, x: Sequence[float], y: Sequence[float | None]) -> Json:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(mark.label),
        "meta": mark.name,
        "showlegend": False,
        "cliponaxis": False,
        "x": list(x),
        "y": list(y),
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        "line": {"color": mark.colour, "width": 1.8, "dash": mark.dash},
    }


def _cost_axis(costs: Sequence[float]) -> Json:
    left, right = math.log10(min(costs)) - 0.2, math.log10(max(1.0, *costs)) + 0.12
    return {"type": "log", "range": [left, right], **percent_ticks(left, right, most=1.4)}


def _timeline_alt(measure: Json, name: str, values: Sequence[float]) -> str:
    digits = places(measure)
    first, last = (fixed(value, digits) for value in (values[0], values[-1]))
    return " ".join([f"{called(measure)} over the steps of {name}: from {first} to {last}.", *_levels(measure)])


def _curve_alt(measure: Json, found: dict[str, Mark], points: dict[str, list[Point]]) -> str:
    digits = places(measure)
    says = [
        f"{found[name].label}: " + ", ".join(f"{fixed(value, digits)} at {share(cost)}" for cost, value in own) + "."
        for name, own in points.items()
    ]
    return " ".join([f"{called(measure)} against cost.", *says, *_levels(measure)])


def _levels(measure: Json) -> list[str]:
    """Gold, its interval and the original in words."""
    digits, (low, high) = places(measure), ends(measure)
    says = []
    if (mean := gold_mean(measure)) is not None:
        says.append(f"The mean of gold is {fixed(mean, digits)}.")
    if low is not None and high is not None:
        says.append(f"One more gold would lie in {span((low, high), digits)}.")
    if measure.get("original") is not None:
        says.append(f"The original is at {fixed(measure['original'], digits)}.")
    return says
