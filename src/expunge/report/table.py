"""The table of methods against gold: its cells are written here once, for the terminal and for the page."""

from __future__ import annotations

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from expunge.report.digits import ABSENT, fixed, gap, seconds, share
from expunge.report.gan_result import KIND as GAN
from expunge.report.gan_table import print_gan_table
from expunge.report.result import (
    DECIDED,
    SPLITS,
    Json,
    checked,
    headline,
    label,
    measured,
    named,
    part,
    printable,
    role,
)
from expunge.report.words import measure_words

DIGITS = {"accuracy": 3, "measure": 2}
WIDE = 112
"""Columns of a terminal from which a cell stands on one line."""
VERDICT = 14
"""Columns of a terminal that the verdicts take."""
CAPTION = (
    "In brackets: gap to gold. null: gold against gold. start: original against gold. "
    "cost: row visits as a share of one retraining."
)


@dataclass(frozen=True)
class Column:
    """One column of numbers, or of verdicts.

    Args:
        group: what stands above several columns, such as "accuracy"; empty where nothing does.
        title: its own heading.
        notes: null and start, where all rows share them.
        text: whether its cells are words rather than numbers.
    """

    group: str
    title: str
    notes: tuple[str, ...] = ()
    text: bool = False


@dataclass(frozen=True)
class Cell:
    """One number, and what stands beside it in a quieter voice; or a verdict, then `state` is its key in STATES."""

    value: str
    aside: str = ""
    state: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.aside}".strip()


@dataclass(frozen=True)
class Row:
    """One entry: its name, what people call it, its role (gold, original, method, unlearned) and its cells."""

    name: str
    label: str
    role: str
    cells: tuple[Cell, ...]


def columns(result: Json) -> list[Column]:
    """The columns after the entry's name, as many as each row has cells."""
    result = checked(result)
    found = headline(result)
    words = measure_words(found)
    title = f"{words.title} {words.statistic}".strip()
    return [
        *(Column("accuracy", split) for split in SPLITS if _any(result, "accuracy")),
        *(Column(title, split, _notes(result, found, split)) for split in SPLITS if found),
        Column("", "cost"),
        Column("", "seconds"),
        *([Column("", "verdict", text=True)] if _any(result, "verdict") else []),
    ]


def rows(result: Json) -> list[Row]:
    """One row per entry, in the order given.

    Args:
        result: as in `expunge.report.result`.

    Raises:
        ConfigError, StoreError: see `expunge.report.result.checked`.
    """
    result = checked(result)
    return [Row(str(entry["name"]), label(entry), role(entry), _cells(result, entry)) for entry in result["entries"]]


def print_table(result: Json, console: Console) -> None:
    """Print the table that the page shows; a narrow terminal gets two lines per cell."""
    if result.get("kind") == GAN:
        print_gan_table(result, console)
        return
    judged = _any(result, "verdict")
    wide = console.width >= WIDE + VERDICT * judged
    heads = columns(result) if wide or not judged else columns(result)[:-1]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, int(wide), 0, 0), title_justify="left")
    table.title = Text(printable(str(result.get("title") or "")), style="bold")
    table.add_column("method" if result["kind"] == "method" else "model", overflow="fold", min_width=10)
    for column in heads:
        head = [column.group, column.title, *(column.notes if wide else ())]
        side: JustifyMethod = "left" if column.text else "right"
        table.add_column(Text("\n".join(line for line in head if line)), justify=side, no_wrap=wide)
    for row in rows(result):
        between = " " if wide else "\n"
        cells = (Text(str(cell).replace(" (", f"{between}(")) for cell in row.cells[: len(heads)])
        table.add_row(Text(row.label), *cells, style="bold" if row.role == "gold" else "")
    console.print(table)
    if not wide:
        notes = (f"{column.group} {column.title}: {', '.join(column.notes)}" for column in heads if column.notes)
        console.print(Text("\n".join((*notes, *_verdicts(result)))))
    console.print(Text(CAPTION))


def _verdicts(result: Json) -> list[str]:
    """Verdicts as lines, for a terminal that has no room for their column."""
    found = {state: [label(entry) for entry in result["entries"] if _state(entry) == state] for state in DECIDED}
    return [f"verdict {state}: {', '.join(labels)}" for state, labels in found.items() if labels]


def _state(entry: Json) -> str:
    return str(part(entry, "verdict").get("state") or "")


def _any(result: Json, key: str) -> bool:
    """Whether some entry has that part."""
    return any(part(entry, key) for entry in result["entries"])


def _cells(result: Json, entry: Json) -> tuple[Cell, ...]:
    found = headline(result)
    return (
        *(_accuracy(result, entry, split) for split in SPLITS if _any(result, "accuracy")),
        *(_measure(result, entry, found, split) for split in SPLITS if found),
        *_cost(result, entry),
        *([Cell(_state(entry) or ABSENT, state=_state(entry))] if _any(result, "verdict") else []),
    )


def _accuracy(result: Json, entry: Json, split: str) -> Cell:
    mean = part(entry, "accuracy", split).get("mean")
    gold = part(named(result, "gold"), "accuracy", split).get("mean")
    digits = DIGITS["accuracy"]
    return Cell(fixed(mean, digits), "" if role(entry) == "gold" else gap(mean, gold, digits))


def _measure(result: Json, entry: Json, found: str, split: str) -> Cell:
    own = measured(result, entry, found, split)
    if not own:
        return Cell(ABSENT)
    shared = {note.split()[0] for note in _notes(result, found, split)}
    lone = [
        f"{key} {fixed(own[key], DIGITS['measure'])}"
        for key in ("null", "start")
        if key not in shared and own.get(key) is not None
    ]
    return Cell(fixed(own.get("value"), DIGITS["measure"]), f"({', '.join(lone)})" if lone else "")


def _notes(result: Json, found: str, split: str) -> tuple[str, ...]:
    """Null and start of a column, each where it is the same for all rows that have it."""
    notes = []
    for key in ("null", "start"):
        values = [part(entry, "measures", found, split).get(key) for entry in result["entries"]]
        texts = {fixed(value, DIGITS["measure"]) for value in values if value is not None}
        if len(texts) == 1:
            notes.append(f"{key} {texts.pop()}")
    return tuple(notes)


def _cost(result: Json, entry: Json) -> tuple[Cell, Cell]:
    """Share and seconds; gold without a cost of its own costs one retraining."""
    cost = part(entry, "cost")
    if not cost and role(entry) == "gold" and part(result, "retraining"):
        cost = {"fraction": 1.0, "seconds": part(result, "retraining").get("seconds")}
    return Cell(share(cost.get("fraction"))), Cell(seconds(cost.get("seconds")))
