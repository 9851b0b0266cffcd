"""Where the labels of a scatter go, so that they stay readable."""

from __future__ import annotations

from dataclasses import dataclass

LETTER, LINE, RADIUS = 6.6, 15.0, 9.0
"""Pixels of a letter, of a line of text, and of a symbol with the space about it."""
SIDES = {
    "middle right": (1.0, 0.0),
    "middle left": (-1.0, 0.0),
    "top center": (0.0, -1.0),
    "bottom center": (0.0, 1.0),
    "top right": (1.0, -1.0),
    "bottom right": (1.0, 1.0),
    "top left": (-1.0, -1.0),
    "bottom left": (-1.0, 1.0),
}
"""Plotly's text positions, and where the text's middle lies; the earlier is preferred."""

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """A symbol at x, y (pixels from the upper left) whose label has so many letters."""

    x: float
    y: float
    letters: int

    @property
    def symbol(self) -> Rectangle:
        """Left, top, right, bottom of the symbol."""
        return (self.x - RADIUS, self.y - RADIUS, self.x + RADIUS, self.y + RADIUS)

    def label(self, side: str) -> Rectangle:
        """Left, top, right, bottom of the label on that side."""
        across, down = SIDES[side]
        width = self.letters * LETTER
        x = self.x + across * (width / 2 + (RADIUS if down == 0 else 0))
        y = self.y + down * (LINE / 2 + RADIUS)
        return (x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2)


def place(boxes: list[Box], others: list[Rectangle], width: float, height: float) -> list[str]:
    """A side for each label, one after the other, by the least area that it covers of what is there already.

    Args:
        boxes: the symbols and their labels' lengths.
        others: what labels should not cover either.
        width: of the plot, pixels; what lies outside counts as covered.
        height: likewise.

    Example:
        >>> place([Box(50, 50, 5), Box(70, 50, 5)], [], 200, 100)
        ['middle left', 'middle right']
    """
    taken = [*others, *(box.symbol for box in boxes)]
    sides = []
    for box in boxes:
        costs = {side: _cost(box.label(side), taken, width, height) for side in SIDES}
        side = min(costs, key=lambda name: costs[name])
        sides.append(side)
        taken.append(box.label(side))
    return sides


def _cost(label: Rectangle, taken: list[Rectangle], width: float, height: float) -> float:
    inside = _overlap(label, (0.0, 0.0, width, height))
    area = (label[2] - label[0]) * (label[3] - label[1])
    return area - inside + sum(_overlap(label, other) for other in taken)


def _overlap(one: Rectangle, other: Rectangle) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)
