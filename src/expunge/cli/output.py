"""Where words go: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from expunge.training import Progress

Json = Annotated[bool, Parameter(name="--json", negative="")]
DryRun = Annotated[bool, Parameter(name="--dry-run", negative="")]

SOON = 2.0
"""Seconds before the first bar shows: quick work needs none."""
EVERY = 10.0
"""Seconds between lines of progress where stderr is not a terminal."""


def out() -> Console:
    """The console of results; wide where nobody looks at it. No emoji: `class:cat:20` is no picture of a cat."""
    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, soft_wrap=False, emoji=False, color_system=_colours())


def err() -> Console:
    """The console of progress and complaints."""
    return Console(stderr=True, highlight=False, emoji=False, color_system=_colours())


def _colours() -> Literal["auto"] | None:
    """None where NO_COLOR asks for plain text: no bold either."""
    return None if os.environ.get("NO_COLOR") else "auto"


def show(data: Any) -> None:  # noqa: ANN401  (json is what it is)
    """Plain data on stdout, for programs."""
    print(json.dumps(data, indent=1))


def show_plan(plan: dict[str, Any], as_json: bool) -> int:
    """What long work would take, as plain data or as its sentence; the exit code."""
    show(plan) if as_json else out().print(plan["sentence"], markup=False, soft_wrap=True)
    return 0


def complain(message: str, hint: str = "") -> None:
    """A sentence about what went wrong, and what mends it."""
    console = err()
    console.print("error:", message, style=None, markup=False, soft_wrap=True)
    if hint:
        console.print("hint:", hint, markup=False, soft_wrap=True)


def table(headings: list[str], lines: list[list[str]]) -> None:
    """A plain table on stdout."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for line in lines:
        shown.add_row(*line)
    out().print(shown)


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars on stderr for whatever takes more than two seconds; plain lines where it is not a terminal."""
    console = err()
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Bars(*columns, console=console, transient=True)
    try:
        yield _Shown(bars)
    finally:
        bars.stop()


class _Lines:
    """One line every few seconds, and one when something long is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last > EVERY:
            self.last = now
            self.console.print(f"{what}: {done}/{total}")


class _Shown:
    """A bar per kind of work, from the third second on."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.begun = time.monotonic()
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
        if not self.bars.live.is_started and time.monotonic() - self.begun > SOON:
            self.bars.start()
