"""What all figures share: plotly's plain JSON; ink and grid take their colours from the style sheet.

Every figure says its entries by text, symbol or dash pattern too. Texts from outside are escaped here, because
plotly reads a little HTML inside texts.
"""

from __future__ import annotations

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
    """

    key: str
    title: str
    alt: str
    height: int
    spec: Json
    wide: bool = True


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
    return f"{title} {statistic}".strip() + (f" ({unit})" if unit else "")


def plain(text: str) -> str:
    """Text as plotly shows it letter by letter: its little HTML is not obeyed."""
    return escape(printable(text), quote=False)


def short(text: str, most: int) -> str:
    """At most so many letters of the text, as `plain` gives it."""
    return plain(text if len(text) <= most else text[: most - 1] + "…")
