"""What a benchmark yields: a figure with its goal; and many of them as a table or as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from expunge.errors import ExpungeError

HEADINGS = ("figure", "goal", "measured", "holds")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person may choose; every benchmark gets it."""

    times: int = 3
    """Repetitions behind each median, and trainings of each recipe, >= 1."""
    recipes: tuple[str, ...] = ("digits-mlp", "digits-cnn", "mnist-cnn", "fashion-mlp", "fashion-cnn")
    """Named recipes that `recipes` trains."""
    out: str | None = None
    """File that `tuning` writes its result to; None: none."""
    store: str | None = None
    """Folder of the runs that `tuning` finished; None: EXPUNGE_STORE, or one that is removed afterwards."""
    processes: int | None = None
    """Worker processes of `tuning`; None: one a core."""
    twins: int | None = None
    """Twins of each kind in `tuning`, >= 1; None: as many as it is laid out for."""
    replicates: int | None = None
    """Replicates of each forget set in `tuning`, >= 1; None: as many as it is laid out for."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number."""

    what: str
    """Figure and conditions, in a line."""
    measured: float | None
    """The number; None where it could not be measured."""
    unit: str = ""
    """Behind the number, such as "s"."""
    least: float | None = None
    """The goal is to reach this."""
    most: float | None = None
    """The goal is not to exceed this."""
    text: str = ""
    """Shown in place of the number where the number alone would not say it."""

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None without a goal or a number."""
        if self.measured is None or (self.least is None and self.most is None):
            return None
        low, high = self.least is None or self.measured >= self.least, self.most is None or self.measured <= self.most
        return low and high

    @property
    def goal(self) -> str:
        """The goal as people read it."""
        low = [] if self.least is None else [f">= {number(self.least)} {self.unit}"]
        high = [] if self.most is None else [f"<= {number(self.most)} {self.unit}"]
        return ", ".join(text.strip() for text in (*low, *high)) or "-"

    @property
    def shown(self) -> str:
        """The measurement as people read it."""
        return self.text or ("-" if self.measured is None else f"{number(self.measured)} {self.unit}".strip())

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "holds": self.holds}


def skipped(what: str, error: ExpungeError) -> Figure:
    """The figure that says why there is none."""
    return Figure(what=what, measured=None, text=f"skipped: {error.message}")


def number(value: float) -> str:
    """Three digits, or all of them where there are more before the point.

    Example:
        >>> number(0.01234), number(5.0), number(123456.7)
        ('0.0123', '5', '123,457')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """The figures in aligned columns."""
    says = {True: "yes", False: "NO", None: "-"}
    lines = [HEADINGS, *((figure.what, figure.goal, figure.shown, says[figure.holds]) for figure in figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
