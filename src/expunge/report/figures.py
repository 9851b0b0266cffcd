"""What all figures share: plotly's plain JSON; ink and grid take their colours from the style sheet.

Every figure says its entries by text, symbol or dash pattern too. Texts from outside are escaped here, because
plotly reads a little HTML inside texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from expunge.report.result import Json, printable

GREY = "rgba(128,132,140,0.9)"
BAND = "rgba(128,132,140,0.22)"


@dataclass(frozen=True)
class Figure:
    """One plot of the page.

    Args:
        key: its id on the page.
        title: what stands above it.
        alt: what it shows, for people who cannot see it.
        height: pixels.
        spec: plotly's data and layout, and `narrow`: positions of the labels on a narrow screen.
        wide: whether it takes the whole width.
        note: a sentence below it; empty where there is nothing to add.
    """

    key: str
    title: str
    alt: str
    height: int
    spec: Json
    wide: bool = True
    note: str = ""


def layout(x: str, y: str, height: int, left: int = 64) -> Json:
    """Two titled axes on nothing, which neither zoom nor drag: pages with figures stay easy to scroll."""
    line = {"zeroline": False, "showline": False, "gridwidth": 1, "ticks": ""}
    return {
        "height": height,
        "autosize": True,
        "margin": {"l": left, "r": 16, "t": 12, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "dragmode": False,
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            "size": 12.5,
            "color": "#6b7078",
        },
        "xaxis": {**line, "title": {"text": x, "standoff": 10, "font": {"size": 13}}, "fixedrange": True},
        "yaxis": {**line, "title": {"text": y, "standoff": 10, "font": {"size": 13}}, "fixedrange": True},
    }


def note(text: str, **where: object) -> Json:
    """A short text inside a figure."""
    return {"text": text, "showarrow": False, "xanchor": "left", "font": {"size": 12}, **where}


def axis(title: str, statistic: str, unit: str) -> str:
    """The title of an axis that shows a measure."""
    return plain(f"{title} {statistic}".strip() + (f" ({unit})" if unit else ""))


def percent_ticks(left: float, right: float, most: float = 2.6) -> Json:
    """1%, 2%, 5%, 10%... on a log axis between two powers of ten.

    Args:
        left: power of ten at one end.
        right: power of ten at the other.
        most: a longer range than this has only the powers themselves.

    Example:
        >>> percent_ticks(-1.1, 0)["ticktext"], percent_ticks(-3, 0)["ticktext"]
        (['10%', '20%', '50%', '100%'], ['0.1%', '1%', '10%', '100%'])
    """
    steps = (1, 2, 5) if right - left < most else (1,)
    values = [step * 10.0**power for power in range(math.floor(left), math.ceil(right) + 1) for step in steps]
    inside = [value for value in values if left <= math.log10(value) <= right]
    return {"tickmode": "array", "tickvals": inside, "ticktext": [f"{100 * value:.4g}%" for value in inside]}


def faint(colour: str, areas: int) -> str:
    """A colour such as "#2f7fc1" for one of so many areas that lie over each other: the more, the fainter.

    Example:
        >>> faint("#ff0080", 1), faint("#ff0080", 10)
        ('rgba(255,0,128,0.09)', 'rgba(255,0,128,0.03)')
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{min(0.09, 0.3 / areas):.2g})"


def plain(text: str) -> str:
    """Text as plotly shows it letter by letter: its little HTML is not obeyed."""
    return escape(printable(text), quote=False)


def short(text: str, most: int) -> str:
    """At most so many letters of the text, as `plain` gives it; the middle goes, as names often differ at their end.

    Example:
        >>> short("datamodel matching, ours", 17), short("datamodel matching, published", 17)
        ('datamode…ng, ours', 'datamode…ublished')
    """
    before = most // 2
    return plain(text if len(text) <= most else f"{text[:before]}…{text[before + 1 - most :]}")
