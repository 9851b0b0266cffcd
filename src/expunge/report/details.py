"""The tables under the main one: verdicts; every measure with interval, null and start; accuracy; cost; settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from expunge.report.digits import ABSENT, count, decimals, fixed, gap, loose, seconds, share, span
from expunge.report.result import SPLITS, TOGETHER, Json, headline, label, named, part, printable, role
from expunge.report.words import MEASURES, Measure, measure_words

BASIC = {"value": "value", "interval": "95% interval", "null": "null", "band": "null band", "start": "start"}
OVER_ROWS = ("P95", "mean")
"""Statistics that make one number of the rows' distances."""
BAND = ("null_low", "null_high")
EASE = ("easy", "hard")
"""Forget rows by whether most gold models get them right."""
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
    """The tables that have something to show: verdicts, then the measures, the headline one leading."""
    names = dict.fromkeys(
        [headline(result), *(name for entry in result["entries"] for name in part(entry, "measures"))]
    )
    every = [
        verdict_block(result),
        *(measure_block(result, name) for name in names if name),
        accuracy_block(result),
        ease_block(result),
        cost_block(result),
        settings_block(result),
    ]
    return [block for block in every if any(block.groups.values())]


def verdict_block(result: Json) -> Block:
    """The verdict on each entry, and the sentences that led to it."""
    block = Block("Verdicts", "one for each entry that was judged", ["verdict", "reasons"], text=True)
    for entry in result["entries"]:
        own = part(entry, "verdict")
        if own:
            reasons = "\n".join(printable(str(reason)) for reason in own.get("reasons") or [])
            line = Line(label(entry), role(entry), [str(own["state"]), reasons or ABSENT])
            block.groups.setdefault("", []).append(line)
    return block


def measure_block(result: Json, name: str) -> Block:
    """Value, interval, null, start, statistics over rows and companions of one measure, by split.

    A measure whose value is no statistic over rows has rows of another unit: they are left out.
    """
    words, splits = measure_words(name), (*SPLITS, TOGETHER)
    found = [part(entry, "measures", name, split) for entry in result["entries"] for split in splits]
    digits = decimals(own.get(key) for own in found for key in ("value", "null", "start"))
    basic = {key: title for key, title in BASIC.items() if key != "band" or any(map(_band, found))}
    rowwise = words.statistic in OVER_ROWS or name not in MEASURES
    stats = [key for key in STATS if rowwise and any(part(own, "stats").get(key) is not None for own in found)]
    extras = {key: places for key in _extras(words, found) if (places := _places(found, key, digits)) is not None}
    titles = [STATS[key] for key in stats] + [words.extras.get(key, key.replace("_", " ")) for key in extras]
    block = Block(words.title, _unit(words), [*basic.values(), *titles])
    for split in splits:
        for entry in result["entries"]:
            own = part(entry, "measures", name, split)
            if own:
                cells = [_basic(own, key, digits) for key in basic]
                cells += [fixed(part(own, "stats").get(key), digits) for key in stats]
                cells += [fixed(part(own, "extra").get(key), places) for key, places in extras.items()]
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


def ease_block(result: Json) -> Block:
    """Mean distances of the forget rows that most gold models get right, and of the others."""
    ease = part(result, "ease")
    values, rows = part(ease, "values"), part(ease, "rows")
    note = f"{count(rows.get('easy'))} easy: right in at least half of {count(ease.get('golds'))} gold models"
    block = Block(
        "Easy and hard forget rows", f"{note}; target: gold's value", [measure_words(m).title for m in values]
    )
    for kind in EASE:
        digits = {name: decimals(own.get(kind) for own in found.values()) for name, found in values.items()}
        for entry in result["entries"]:
            own = {name: part(found, str(entry["name"])).get(kind) for name, found in values.items()}
            if any(value is not None for value in own.values()):
                cells = [fixed(value, digits[name]) for name, value in own.items()]
                block.groups.setdefault(kind, []).append(Line(label(entry), role(entry), cells))
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


def _basic(own: Json, key: str, digits: int) -> str:
    if key == "interval":
        return span(own.get(key), digits)
    return span(_band(own), digits) if key == "band" else fixed(own.get(key), digits)


def _band(own: Json) -> list[float]:
    """5% and 95% of the null; empty unless both are known."""
    low, high = (part(own, "extra").get(key) for key in BAND)
    return [] if low is None or high is None else [low, high]


def _extras(words: Measure, found: list[Json]) -> list[str]:
    """The companions to show: the known ones, or all but the null's band of a measure that names none."""
    every = dict.fromkeys(key for own in found for key in part(own, "extra"))
    return list(words.extras) or [key for key in every if key not in BAND]


def _places(found: list[Json], key: str, digits: int) -> int | None:
    """Decimals of a companion's column: none for whole numbers; None where nobody has it."""
    values = [part(own, "extra").get(key) for own in found]
    known = [value for value in values if value is not None]
    whole = all(float(value).is_integer() for value in known)
    return (0 if whole else digits) if known else None


def _unit(words: Measure) -> str:
    statistic = f"{words.statistic} over rows" if words.statistic in OVER_ROWS else words.statistic
    return ", ".join(text for text in (statistic, words.unit, words.reading) if text)


def _retraining(result: Json) -> str:
    once = part(result, "retraining")
    if not once:
        return "share of one retraining"
    return f"one retraining: {count(once.get('visits'))} visits, {seconds(once.get('seconds'))} seconds"


def _visits(visits: Json) -> str:
    return ", ".join(f"{printable(str(key))} {count(value)}" for key, value in visits.items()) or ABSENT


def _pairs(facts: Json) -> str:
    return ", ".join(f"{key} {loose(value)}" for key, value in facts.items())
