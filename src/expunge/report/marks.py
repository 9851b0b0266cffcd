"""How each entry is drawn: a colour, a dash pattern and a symbol, so that nobody needs the colour."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.result import Json, label, role

COLOURS = (
    "#2f7fc1",
    "#c8621a",
    "#2f8f5b",
    "#b0519f",
    "#1f8a96",
    "#7d69d1",
    "#c9506a",
    "#80801f",
    "#9c6b45",
    "#5f7f9f",
)
"""Each at least 3:1 against the light and against the dark page."""
DASHES = ("solid", "7px,3px", "2px,3px", "11px,4px", "8px,3px,2px,3px", "4px,2px", "12px,3px,2px,3px,2px,3px")
SYMBOLS = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "pentagon",
    "bowtie",
    "hourglass",
    "triangle-right",
)
FIXED = {"gold": ("#a97b12", "solid", "star"), "original": ("#7c828c", "9px,3px,2px,3px", "x")}
"""Colour, dash pattern and symbol of the two that are no methods."""
OUTLINES = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M-4-4h8v8h-8z",
    "triangle-up": "M0-5L5 4H-5z",
    "diamond": "M0-5.5L5.5 0L0 5.5L-5.5 0z",
    "triangle-down": "M0 5L5-4H-5z",
    "cross": "M-1.7-5h3.4v3.3H5v3.4H1.7V5h-3.4V1.7H-5v-3.4h3.3z",
    "pentagon": "M0-5L4.8-1.5L2.9 4.1H-2.9L-4.8-1.5z",
    "bowtie": "M-5-4L5 4V-4L-5 4z",
    "hourglass": "M-4-5H4L-4 5H4z",
    "triangle-right": "M5 0L-4 5V-5z",
    "star": "M0-6L1.5-2L5.7-1.9L2.4.8L3.5 4.9L0 2.5L-3.5 4.9L-2.4.8L-5.7-1.9L-1.5-2z",
    "circle-open": "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0zM-3.5 0a3.5 3.5 0 1 1 7 0a3.5 3.5 0 1 1-7 0z",
    "x": "M-4.6-2.3L-2.3-4.6L0-2.3L2.3-4.6L4.6-2.3L2.3 0L4.6 2.3L2.3 4.6L0 2.3L-2.3 4.6L-4.6 2.3L-2.3 0z",
}
"""The symbols as SVG paths about 0, for the key and the table."""


@dataclass(frozen=True)
class Mark:
    """How an entry is drawn, in every figure and in the key; `short` is its label up to the first bracket."""

    name: str
    label: str
    short: str
    colour: str
    dash: str
    symbol: str

    @property
    def outline(self) -> str:
        """SVG path of the symbol about 0."""
        return OUTLINES[self.symbol]

    @property
    def dashes(self) -> str:
        """The dash pattern in SVG's spelling."""
        return "none" if self.dash == "solid" else self.dash.replace("px", "")


def marks(result: Json) -> dict[str, Mark]:
    """The mark of each entry by name; gold and the original always look the same.

    Example:
        >>> marks({"entries": [{"name": "scrub"}, {"name": "gold"}]})["gold"].symbol
        'star'
    """
    labels = [label(entry) for entry in result["entries"]]
    brief = [text.split(" (")[0] for text in labels]
    found: dict[str, Mark] = {}
    methods = 0
    for entry, text, stem in zip(result["entries"], labels, brief, strict=True):
        name, kind = str(entry["name"]), role(entry)
        look = FIXED.get(kind) or _look(methods)
        found[name] = Mark(name, text, stem if brief.count(stem) == 1 else text, *look)
        methods += kind not in FIXED
    return found


def _look(at: int) -> tuple[str, str, str]:
    """Colour, dash pattern and symbol of method number `at`; the three repeat with different periods."""
    return COLOURS[at % len(COLOURS)], DASHES[at % len(DASHES)], SYMBOLS[at % len(SYMBOLS)]
