"""The tables of a benchmark of tuning: regret, order, sign tests and checks, as texts."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.digits import ABSENT, fixed
from expunge.report.result import Json, part, printable

ONE, USUAL = ", one twin", "default"
ORDERS = {
    "rho": "settings of a method",
    "rho_forget": "forget rows alone",
    "rho_check": "other rows alone",
    "overlap": "best 3 among the true 6",
}
"""Columns of the order of settings, within a method."""
WORDS = {
    "holdout": "matching unseen rows",
    "accuracy": "matching accuracy",
    "auc": "matching AUC",
    "close": "staying close",
    "random setting": "a setting at random (median)",
    "no change": "no change",
    "default": "the default",
    "gold, cross-fitted": "gold (upper bound)",
}
"""How ways of choosing are called; a kind of twin keeps its name."""


@dataclass(frozen=True)
class Table:
    """Texts in rows.

    Args:
        title: what stands above it; empty where its section says it.
        head: headings, of the column of names first.
        lines: name of a row -> its cells.
        note: a sentence below it.
        aside: small second texts of cells, by row and column; those that have none are not there.
    """

    title: str
    head: tuple[str, ...]
    lines: dict[str, list[str]]
    note: str = ""
    aside: dict[tuple[str, int], str] | None = None

    def small(self, line: str, column: int) -> str:
        """The small text of a cell."""
        return (self.aside or {}).get((line, column), "")


def called(way: str) -> str:
    """What people call a way of choosing.

    Example:
        >>> called("twin fresh, one twin"), called("auc")
        ('twin fresh, one twin', 'matching AUC')
    """
    return WORDS.get(way, printable(way))


def group_name(group: Json) -> str:
    """What a group is of.

    Example:
        >>> group_name({"data": "digits", "kind": "class"}), group_name({"data": None, "kind": None})
        ('digits, class', 'everything')
    """
    return ", ".join(printable(str(group[key])) for key in ("data", "kind") if group.get(key)) or "everything"


def regret_table(result: Json, which: str = "cells") -> Table:
    """Median relative regret with its interval, and below it median J*, of every way in every group."""
    groups = result["summary"]["groups"]
    lines: dict[str, list[str]] = {}
    aside: dict[tuple[str, int], str] = {}
    for way in _ways(groups, which):
        if which == "pooled" and way == USUAL:
            continue  # there the reference is the median setting
        name = called(way)
        lines[name] = []
        for at, group in enumerate(groups):
            one = part(group, which, "ways", way)
            own = one.get("regret") or {}
            lines[name].append(fixed(own.get("median"), 2))
            band = f"{fixed(own['low'], 2)} to {fixed(own['high'], 2)}; " if own.get("low") is not None else ""
            aside[name, at] = f"{band}J* {fixed(one.get('distance'), 2)}"
    counts = "informative cells" if which == "cells" else "informative units"
    lines[counts] = [_of(part(group, which), "informative", "cells") for group in groups]
    head = ("chosen by", *(group_name(group) for group in groups))
    return Table("", head, lines, aside=aside)


def order_table(group: Json, title: str = "") -> Table:
    """Rank correlations with the truth, and the overlap of the best."""
    ways = {way: one for way, one in part(group, "cells", "ways").items() if "rho" in one}
    pooled = part(group, "pooled", "ways")
    lines = {
        called(way): [
            *(fixed(one.get(key), 2) for key in ORDERS),
            fixed(part(pooled, way).get("rho"), 2),
        ]
        for way, one in ways.items()
    }
    return Table(title, ("way", *ORDERS.values(), "settings of all methods"), lines)


def sign_table(result: Json) -> Table:
    """How often a twin's choice lies nearer to gold than that of the best single rival."""
    lines = {}
    for group in result["summary"]["groups"]:
        for way, one in part(group, "cells", "sign").items():
            if one:
                lines[f"{group_name(group)}: {called(way)}"] = [
                    called(str(one.get("rival"))),
                    _of(one, "wins", "of"),
                    _p(one.get("p")),
                    _of(one, "units_won", "units_of"),
                    _p(one.get("units_p")),
                ]
    return Table("Sign test", ("group", "best rival", "cells won", "p", "units won", "p"), lines)


def twins_table(result: Json) -> Table:
    """One twin or several, over cells that have several; and how often a check on the analogy held."""
    lines = {}
    for group in result["summary"]["groups"]:
        for way in result["twins"]:
            several = part(group, "several", "ways", way)
            power = part(group, "power", way)
            lines[f"{group_name(group)}: {called(way)}"] = [
                fixed(several.get("one"), 2),
                fixed(several.get("all"), 2),
                str(part(group, "several").get("cells", ABSENT)),
                _of(power, "holds", "of"),
            ]
    head = ("group", "one twin", "several", "cells with several", "power check holds, twins")
    return Table("One twin or several, and what the checks say", head, lines)


def _ways(groups: list[Json], which: str) -> list[str]:
    found = dict.fromkeys(way for group in groups for way in part(group, which, "ways"))
    return [way for way in found if not way.endswith(ONE)]


def _of(one: Json, key: str, whole: str) -> str:
    return ABSENT if one.get(whole) is None else f"{one.get(key)} of {one[whole]}"


def _p(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}"
