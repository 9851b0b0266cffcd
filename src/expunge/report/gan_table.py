"""The table of measures of a GAN audit: its cells are written here once, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from expunge.report.digits import ABSENT, decimals, fixed, span
from expunge.report.gan_result import checked_gan
from expunge.report.result import Json, label, part, printable

IDLE = {"gold": "nothing to forget", "low": "original like gold", "high": "original like gold"}
"""What is said where original and gold do not differ: a quality is judged all the same."""
TARGETS = {"gold": "target: gold's value", "low": "target: not above gold", "high": "target: not below gold"}
LONGEST = 36
"""Letters of a word or number that a terminal keeps whole."""
CAPTION = (
    "gold: mean, and least to greatest. one more gold: where it would lie. "
    "*: outside of it, for a quality at its bad end."
)


@dataclass(frozen=True)
class Cell:
    """One number, what stands beside it in a quieter voice, and whether one more gold would not lie there."""

    value: str
    aside: str = ""
    outside: bool = False

    def __str__(self) -> str:
        said = f"{self.value}{'*' if self.outside else ''}"
        return f"{said} ({self.aside})" if self.aside else said


@dataclass(frozen=True)
class Line:
    """One measure: what people call it, what is counted, its standing in the verdict and its cells.

    Args:
        title: its name for people.
        unit: what is counted, and what to look for.
        judged: whether the verdict rests on it.
        idle: what is said where original and gold do not differ; empty where they do.
        cells: original, gold and every entry, in the order of `heads`.
        interval: of one more gold.
        null: mean gap of a gold to the others.
    """

    title: str
    unit: str
    judged: bool
    idle: str
    cells: tuple[Cell, ...]
    interval: str
    null: str

    @property
    def standing(self) -> str:
        """What the verdict makes of it, in words."""
        judged = self.judged and self.idle != IDLE["gold"]
        return ", ".join(text for text in ("judged" if judged else "", self.idle) if text)


def heads(result: Json) -> list[str]:
    """What stands above a line's cells."""
    return ["original", "gold", *(label(entry) for entry in result["entries"])]


def lines(result: Json) -> list[Line]:
    """One line per measure, in the order given, of a result that `checked_gan` made."""
    return [_line(result, measure) for measure in result["measures"]]


def called(measure: Json) -> str:
    """What people call a measure.

    Example:
        >>> called({"name": "class_share", "title": "share of the class"}), called({"name": "class_share"})
        ('share of the class', 'class share')
    """
    return printable(str(measure.get("title") or str(measure["name"]).replace("_", " ")))


def known(values: Iterable[float | None] | None) -> list[float]:
    """Those that are there."""
    return [value for value in values or [] if value is not None]


def gold_mean(measure: Json) -> float | None:
    """Mean over gold models; None without any."""
    found = known(measure.get("gold"))
    return fmean(found) if found else None


def ends(measure: Json) -> tuple[float | None, float | None]:
    """Where one more gold would lie; None where it is not known.

    Example:
        >>> ends({"interval": [0.4, None]}), ends({"interval": None})
        ((0.4, None), (None, None))
    """
    low, high = measure.get("interval") or (None, None)
    return low, high


def outside(measure: Json, value: float | None) -> bool:
    """Whether one more gold would not lie there: on either side, or beyond the bad end of a quality.

    Example:
        >>> share = {"better": "high", "interval": [0.8, 0.9]}
        >>> outside(share, 0.95), outside(share, 0.75), outside(share | {"better": "gold"}, 0.95)
        (False, True, True)
    """
    low, high = ends(measure)
    better = measure.get("better")
    above = value is not None and high is not None and value > high and better != "high"
    return above or (value is not None and low is not None and value < low and better != "low")


def places(measure: Json) -> int:
    """Decimals of a measure's numbers: three for shares and AUCs, fewer for large numbers, more for tiny ones.

    Example:
        >>> [places({"original": value}) for value in (0.512, 12.5, 340.0, 0.00021, None)]
        [3, 2, 1, 5, 3]
    """
    values = known([measure.get("original"), gold_mean(measure), *part(measure, "values").values()])
    most = max((abs(value) for value in values), default=0.0)
    return decimals(values, least=3 if most < 10 else 2 if most < 100 else 1, most=5)


def print_gan_table(result: Json, console: Console) -> None:
    """Print the table that the page shows; a narrow terminal gets two lines per cell, and several tables if need be."""
    result = checked_gan(result)
    whole = _table(result, range(len(result["entries"])), wide=True)
    if _least(whole, console) <= console.width:
        console.print(whole)
    else:
        for table in _narrow(result, console):
            console.print(table)
        console.print(Text("\n".join(_standings(result))))
    console.print(Text(CAPTION))


def _narrow(result: Json, console: Console) -> list[Table]:
    """Tables with as many entries at once as the terminal has room for."""
    every = range(len(result["entries"]))
    most = max(1, len(every))
    while most > 1 and _least(_table(result, every[:most], wide=False), console) > console.width:
        most -= 1
    return [_table(result, every[at : at + most], wide=False) for at in range(0, max(1, len(every)), most)]


def _least(table: Table, console: Console) -> int:
    """Columns of a terminal that the table needs, so that no number is cut."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).minimum


def _table(result: Json, entries: Sequence[int], *, wide: bool) -> Table:
    """The lines with the cells of original, gold and some entries; the verdict's column where there is room."""
    found = lines(result)
    numbers = [
        [heads(result)[at], *(str(line.cells[at]) for line in found)] for at in (0, 1, *(2 + e for e in entries))
    ]
    numbers.append(["one more gold", *(line.interval for line in found)])
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, int(wide), 0, 0), title_justify="left")
    if result.get("title") and list(entries[:1]) in ([], [0]):
        table.title = Text(printable(str(result["title"])), style="bold")
    columns = [["measure", *(line.title for line in found)], *(numbers if wide else map(_folded, numbers))]
    columns += [["verdict", *(line.standing or ABSENT for line in found)]] if wide else []
    for at, column in enumerate(columns):
        words = at == 0 or at == len(numbers) + 1
        letters = max(len(one) for text in column for one in text.split(None if words else "\n"))
        justify: JustifyMethod = "left" if words else "right"
        table.add_column(Text(column[0]), justify=justify, no_wrap=not words, min_width=min(letters, LONGEST))
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*map(Text, row))
    return table


def _folded(column: list[str]) -> list[str]:
    r"""A heading a word a line, and intervals on lines of their own.

    Example:
        >>> _folded(["one more gold", "0.50 to 0.54"])
        ['one\nmore\ngold', '0.50 to\n0.54']
    """
    head, *cells = column
    return [head.replace(" ", "\n"), *(cell.replace(" (", "\n(").replace(" to ", " to\n") for cell in cells)]


def _standings(result: Json) -> list[str]:
    """What the verdict rests on as lines, for a terminal that has no room for its column."""
    found: dict[str, list[str]] = {}
    for line in lines(result):
        if line.standing:
            found.setdefault(line.standing, []).append(line.title)
    return [f"{standing}: {', '.join(titles)}" for standing, titles in found.items()]


def _line(result: Json, measure: Json) -> Line:
    digits = places(measure)
    better = str(measure.get("better") or "gold")
    alike = measure.get("power") is False
    values = (part(measure, "values").get(str(entry["name"])) for entry in result["entries"])
    original = measure.get("original")
    gold = known(measure.get("gold"))
    return Line(
        called(measure),
        "; ".join(filter(None, (printable(str(measure.get("unit") or "")), TARGETS.get(better, "")))),
        bool(measure.get("judged")),
        IDLE.get(better, IDLE["gold"]) if alike else "",
        (
            # an attack's own error may hide a difference that the interval alone would show
            Cell(fixed(original, digits), outside=not alike and outside(measure, original)),
            Cell(fixed(gold_mean(measure), digits), span([min(gold), max(gold)], digits) if gold else ""),
            *(Cell(fixed(value, digits), outside=outside(measure, value)) for value in values),
        ),
        span(ends(measure), digits),
        fixed(measure.get("null"), decimals([measure.get("null")], least=digits, most=max(digits, 5))),
    )
