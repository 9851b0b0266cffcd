"""The figure of cost against distance to gold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from expunge.report.digits import fixed, share
from expunge.report.figures import GREY, Figure, axis, layout, note, percent_ticks, short
from expunge.report.labels import Box, place
from expunge.report.marks import Mark, marks
from expunge.report.result import Json, headline, part, role
from expunge.report.words import measure_words

HEIGHT = 470
SIZES = {"wide": (1000.0, 400.0), "narrow": (320.0, 400.0)}
"""Pixels across and down between the axes that the labels are placed for."""


class Point(NamedTuple):
    """One entry: cost as a share of one retraining, distance, and the ends of the distance's interval."""

    mark: Mark
    cost: float
    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The label beside the symbol."""
        return short(self.mark.short, 24)


@dataclass(frozen=True)
class Frame:
    """The ends of the axes: powers of ten of the cost, and the largest distance."""

    left: float
    right: float
    top: float

    def at(self, cost: float, value: float, size: tuple[float, float]) -> tuple[float, float]:
        """Pixels from the upper left in a plot of that width and height."""
        across = (math.log10(cost) - self.left) / (self.right - self.left)
        return across * size[0], (1 - value / self.top) * size[1]


def cost_figure(result: Json) -> Figure | None:
    """Share of one retraining against distance to gold on forget rows; None where nothing has both."""
    measure = headline(result)
    points = _points(result, measure)
    if not points:
        return None
    words = measure_words(measure)
    lines = {key: _agreed(result, measure, key) for key in ("null", "start")}
    frame = _frame(points, lines)
    title = axis(words.title, words.statistic, words.unit)
    drawn = layout("cost, share of one retraining (log scale)", title, HEIGHT)
    drawn["xaxis"] |= {"type": "log", "range": [frame.left, frame.right], **percent_ticks(frame.left, frame.right)}
    drawn["yaxis"] |= {"range": [0, frame.top], "rangemode": "tozero"}
    drawn["shapes"], drawn["annotations"] = _levels(lines)
    data = [_scatter(points, _places(points, frame, SIZES["wide"]))]
    spec = {"data": data, "layout": drawn, "narrow": _places(points, frame, SIZES["narrow"])}
    return Figure("cost", "", _alt(words.title, points, lines), HEIGHT, spec)


def _points(result: Json, measure: str) -> list[Point]:
    found = marks(result)
    points = []
    for entry in result["entries"]:
        own = part(entry, "measures", measure, "forget")
        cost, value = part(entry, "cost").get("fraction"), own.get("value")
        if role(entry) == "gold":
            cost, value = cost or 1.0, value if value is not None else _agreed(result, measure, "null")
        if cost and cost > 0 and value is not None:
            ends = (value if end is None else end for end in own.get("interval") or (None, None))
            points.append(Point(found[str(entry["name"])], cost, value, *ends))
    return points


def _frame(points: list[Point], lines: dict[str, float | None]) -> Frame:
    """Axes that hold every point, the null and the start, with room for labels."""
    costs = [point.cost for point in points]
    top = max(*(max(point.value, point.high) for point in points), *(value or 0.0 for value in lines.values()))
    return Frame(math.log10(min(costs)) - 0.25, math.log10(max(1.0, *costs)) + 0.35, 1.12 * top or 1.0)


def _alt(title: str, points: list[Point], lines: dict[str, float | None]) -> str:
    says = [f"{point.mark.label}: cost {share(point.cost)}, distance {fixed(point.value, 2)}." for point in points]
    says += [f"The {key} is {fixed(value, 2)}." for key, value in lines.items() if value is not None]
    return " ".join([f"Cost against {title} on forget rows.", *says])


def _agreed(result: Json, measure: str, key: str) -> float | None:
    """The null or the start on forget rows where all entries agree to 2 decimals, else None."""
    found = [part(entry, "measures", measure, "forget").get(key) for entry in result["entries"]]
    values = {round(value, 2): value for value in found if value is not None}
    return next(iter(values.values())) if len(values) == 1 else None


def _scatter(points: list[Point], places: list[str]) -> Json:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "showlegend": False,
        "cliponaxis": False,
        "x": [point.cost for point in points],
        "y": [point.value for point in points],
        "text": [point.text for point in points],
        "textposition": places,
        "customdata": [share(point.cost) for point in points],
        "hovertemplate": "cost %{customdata}<br>distance %{y:.2f}<extra>%{text}</extra>",
        "marker": {
            "symbol": [point.mark.symbol for point in points],
            "color": [point.mark.colour for point in points],
            "size": [17 if point.mark.symbol == "star" else 12 for point in points],
            "opacity": 1,
            "line": {"width": 0},
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(point.high - point.value, 0.0) for point in points],
            "arrayminus": [max(point.value - point.low, 0.0) for point in points],
            "color": GREY,
            "thickness": 1,
            "width": 3,
        },
    }


def _places(points: list[Point], frame: Frame, size: tuple[float, float]) -> list[str]:
    """Where each label goes, so that labels, symbols and interval bars do not cover each other."""
    spots, bars = [], []
    for point in points:
        x, y = frame.at(point.cost, point.value, size)
        spots.append(Box(x, y, len(point.text)))
        bars.append((x - 3, frame.at(point.cost, point.high, size)[1], x + 3, frame.at(point.cost, point.low, size)[1]))
    return place(spots, bars, *size)


def _levels(lines: dict[str, float | None]) -> tuple[list[Json], list[Json]]:
    """Null and start as labelled horizontal lines."""
    says = {"null": "null {}: gold against gold", "start": "start {}: original against gold"}
    dash = {"null": "6px,4px", "start": "2px,3px"}
    shapes, texts = [], []
    for key, value in lines.items():
        if value is not None:
            ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "layer": "below"}
            shapes.append({"type": "line", **ends, "line": {"color": GREY, "width": 1.5, "dash": dash[key]}})
            texts.append(note(says[key].format(fixed(value, 2)), x=0.005, y=value, xref="paper", yanchor="bottom"))
    return shapes, texts
