"""The tables under the main one: every measure with interval, null and start; accuracy; cost; settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from expunge.report.digits import ABSENT, count, decimals, fixed, gap, loose, seconds, share, span
from expunge.report.result import SPLITS, Json, headline, label, named, part, printable, role
from expunge.report.words import Measure, measure_words

STATS = {"mean": "mean", "p50": "P50", "p95": "P95", "p99": "P99"}


@dataclass(frozen=True)
class Line:
    """One entry's cells in a block."""

    label: str
    role: str
    cells: list[str]


@dataclass(frozen=True)
class Block:
    """One table: columns after the entry's, and lines under the title of their group."""

    title: str
    note: str
    columns: list[str]
    groups: dict[str, list[Line]] = field(default_factory=dict)
    text: bool = False
    """Whether the cells are words rather than numbers."""


def blocks(result: Json) -> list[Block]:
    """The tables that have something to show: measures first, the headline one leading."""
    names = dict.fromkeys(
        [headline(result), *(name for entry in result["entries"] for name in part(entry, "measures"))]
    )
    every = [
        *(measure_block(result, name) for name in names if name),
        accuracy_block(result),
        cost_block(result),
        settings_block(result),
    ]
    return [block for block in every if any(block.groups.values())]


def measure_block(result: Json, name: str) -> Block:
    """Value, interval, null, start, statistics over rows and companions of one measure, by split."""
    words = measure_words(name)
    found = [part(entry, "measures", name, split) for entry in result["entries"] for split in SPLITS]
    digits = decimals(own.get(key) for own in found for key in ("value", "null", "start"))
    stats = [key for key in STATS if any(part(own, "stats").get(key) is not None for own in found)]
    extras = [key for key in _extras(words, found) if any(part(own, "extra").get(key) is not None for own in found)]
    titles = [STATS[key] for key in stats] + [words.extras.get(key, key.replace("_", " ")) for key in extras]
    block = Block(words.title, _unit(words), ["value", "95% interval", "null", "start", *titles])
    for split in SPLITS:
        for entry in result["entries"]:
            own = part(entry, "measures", name, split)
            if own:
                cells = _values(own, digits) + [fixed(part(own, "stats").get(key), digits) for key in stats]
                cells += [fixed(part(own, "extra").get(key), digits) for key in extras]
                block.groups.setdefault(split, []).append(Line(label(entry), role(entry), cells))
    return block


def accuracy_block(result: Json) -> Block:
    """Accuracy with its interval and its gap to gold, by split."""
    block = Block("Accuracy", "share of rows; target: gold's value", ["mean", "95% interval", "gap to gold"])
    for split in SPLITS:
        gold = part(named(result, "gold"), "accuracy", split).get("mean")
        for entry in result["entries"]:
            own = part(entry, "accuracy", split)
            if own:
                mean, away = own.get("mean"), gap(own.get("mean"), gold).strip("()") or ABSENT
                cells = [fixed(mean, 3), span([own.get("low"), own.get("high")], 3), away]
                block.groups.setdefault(split, []).append(Line(label(entry), role(entry), cells))
    return block


def cost_block(result: Json) -> Block:
    """Row visits, forward only and with training, and seconds."""
    block = Block("Cost", _retraining(result), ["share", "visits", "seconds", "forward only", "forward and backward"])
    for entry in result["entries"]:
        cost = part(entry, "cost")
        if cost:
            cells = [share(cost.get("fraction")), count(cost.get("visits")), seconds(cost.get("seconds"))]
            cells += [_visits(part(cost, way)) for way in ("forward", "backward")]
            block.groups.setdefault("", []).append(Line(label(entry), role(entry), cells))
    return block


def settings_block(result: Json) -> Block:
    """Where each method comes from and how it was set."""
    block = Block("Settings", "as they were run", ["paper", "settings", "notes"], text=True)
    for entry in result["entries"]:
        cells = [str(entry.get("paper") or ""), _pairs(part(entry, "settings")), _pairs(part(entry, "notes"))]
        if any(cells):
            cells = [printable(cell) or ABSENT for cell in cells]
            block.groups.setdefault("", []).append(Line(label(entry), role(entry), cells))
    return block


def _values(own: Json, digits: int) -> list[str]:
    return [
        fixed(own.get("value"), digits),
        span(own.get("interval"), digits),
        fixed(own.get("null"), digits),
        fixed(own.get("start"), digits),
    ]


def _extras(words: Measure, found: list[Json]) -> list[str]:
    """The companions to show: the known ones, or all of a measure that is not known."""
    return list(words.extras) or list(dict.fromkeys(key for own in found for key in part(own, "extra")))


def _unit(words: Measure) -> str:
    statistic = f"{words.statistic} over rows" if words.statistic in {"P95", "mean"} else words.statistic
    return ", ".join(text for text in (statistic, words.unit, "distance to gold") if text)


def _retraining(result: Json) -> str:
    once = part(result, "retraining")
    if not once:
        return "share of one retraining"
    return f"one retraining: {count(once.get('visits'))} visits, {seconds(once.get('seconds'))} seconds"


def _visits(visits: Json) -> str:
    return ", ".join(f"{printable(str(key))} {count(value)}" for key, value in visits.items()) or ABSENT


def _pairs(facts: Json) -> str:
    return ", ".join(f"{key} {loose(value)}" for key, value in facts.items())
