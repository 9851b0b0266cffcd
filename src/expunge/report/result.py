"""The result that the report is drawn from: plain JSON, schema 1, checked here once.

    schema      1
    kind        "method" (several unlearned models per method) or "model" (one unlearned model)
    title, command (reproduces it exactly), versions {package: version}, machine {fact: value}, seed
    problem     recipe, data, forget (text form), forget_seed, rows {forget, retain, holdout, test}
    models      number of models by role: unlearned, gold, heldout, original
    retraining  visits and seconds of one retraining: what a cost of 100% is
    verdict     state "pass", "fail", "inconclusive" or "measured"; reasons [text];
                controls [{name, holds, detail}]
    statements  [{text, value, limit, holds}]
    power       what the audit could see: text [sentence], items [{name, value (number or null), unit, detail}]
    entries     original first, gold last, methods between; each of them
                name, label, role ("control", "method", "unlearned"), paper, settings {}, notes {},
                verdict {state "pass", "fail" or "inconclusive", reasons [text]}
                accuracy {split: {mean, low, high}}          low, high: interval over models, may be null
                explained {share, slope, correlation}        of gold's mean change on forget rows; may be null
                measures {measure: {split: E}}               E: value, interval, null, start, stats {}, extra {};
                                                             extra null_low, null_high: 5% and 95% of the null
                cost {fraction, visits, seconds, forward {}, backward {}} or null
    densities   {split: {edges [B + 1], density {entry name: [B]}}}       margins, nats
    per_row     measure, unit, {split: {ids, labels, values {entry name: [rows]}, null [rows]}}
    roc         attack (text), members, nonmembers (rows, at least 1), fpr [K] rising in (0, 1],
                entries {entry name: {tpr [K], low [K], high [K]}}        low, high may be null
    epsilon     ids [rows], values {entry name: [rows]}, null [rows], ceiling, models        lower bounds, nats
    ease        golds (models), rows {K: number}, values {measure: {entry name: {K: mean over rows}}}
                K: easy, which at least half of the gold models get right, or hard; gold's own values are the null
    strata      measure, unit, shadows, rows {S: number}, scores {S: [least, most]},
                values {entry name: {S: mean over rows}}, null {S: mean}          S: low, medium or high memorisation
    stripped    true where everything about single rows was taken out
    limits      [text]: what was not tested

Splits are forget, retain and test; a measure that looks at all three together stands under "all". `schema`,
`kind`, `verdict.state` and `entries` with their `name` are needed; everything else may be absent, null, or hold
for some of the entries and splits only. Where `ids` are absent, rows are drawn without a name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from expunge.errors import ConfigError, StoreError, unknown
from expunge.report.words import STATES

SCHEMA = 1
"""Version of the result that this report reads; a newer one is refused."""
NEEDED = ("kind", "verdict", "entries")
KINDS = ("method", "model")
DECIDED = ("pass", "fail", "inconclusive")
"""Verdicts of a single entry."""
SPLITS = ("forget", "retain", "test")
TOGETHER = "all"
"""Where a measure of forget, retain and test rows together stands."""
STRATA = ("low", "medium", "high")
"""Forget rows by memorisation: easy, between, hard."""

Json = dict[str, Any]


def checked(result: Json) -> Json:
    """A copy without NaN and infinities (they become None), once the needed parts are there.

    Raises:
        StoreError: the result has a newer schema.
        ConfigError: a needed part is missing, or a kind or state is unknown.

    Example:
        >>> least = {"schema": 1, "kind": "model", "verdict": {"state": "pass"}, "entries": [{"name": "gold"}]}
        >>> checked(least | {"seed": math.nan})["seed"] is None
        True
    """
    check_schema(result.get("schema"))
    missing = [part for part in NEEDED if not result.get(part)]
    if missing:
        raise ConfigError(f"result: expected the parts {', '.join(NEEDED)}, {' and '.join(missing)} missing")
    if result["kind"] not in KINDS:
        raise unknown("kind of result", str(result["kind"]), KINDS, "expunge audit --help")
    state = result["verdict"].get("state")
    if state not in STATES:
        raise unknown("verdict", str(state), STATES, "expunge audit --help")
    for at, entry in enumerate(result["entries"]):
        if not entry.get("name"):
            raise ConfigError(f"result: entry {at} has no name")
        own = part(entry, "verdict")
        if own and own.get("state") not in DECIDED:
            said = f"verdict of {entry['name']}: expected {', '.join(DECIDED)}"
            raise ConfigError(f"{said}, got {own.get('state')!r}")
    _check_lengths(result)
    return {key: finite(value) for key, value in result.items()}


def check_schema(schema: object) -> None:
    """The schema is one that this report reads.

    Raises:
        StoreError: it is newer.
        ConfigError: it is no number.
    """
    if not isinstance(schema, int):
        raise ConfigError(f"result: expected a schema number, got {schema!r}")
    if schema > SCHEMA:
        raise StoreError(
            f"result: expected schema {SCHEMA} or older, got {schema}", hint="pip install --upgrade expunge"
        )


def _check_lengths(result: Json) -> None:
    for split in SPLITS:
        _check_rows(f"per_row {split}", part(result, "per_row", split))
        shape = part(result, "densities", split)
        for name, values in part(shape, "density").items():
            if len(values) + 1 != len(shape.get("edges") or []):
                raise ConfigError(f"densities {split}: {len(values)} values of {name} do not fit the edges")
    _check_rows("epsilon", part(result, "epsilon"))
    if part(result, "roc"):
        _check_roc(result["roc"])
    _check_strata(part(result, "strata"))


def _check_rows(title: str, rows: Json) -> None:
    """As many values of each entry and of the null as there are ids, or as of each other where ids are absent."""
    lists = part(rows, "values") | ({"the null": rows["null"]} if rows.get("null") else {})
    ids = rows.get("ids")
    given = next(iter(lists.values()), []) if ids is None else ids
    for name, values in lists.items():
        if len(values) != len(given):
            what = "rows" if ids is None else "ids"
            raise ConfigError(f"{title}: {len(given)} {what}, {len(values)} values of {name}")


def _check_roc(roc: Json) -> None:
    for key in ("members", "nonmembers"):
        if not (roc.get(key) or 0) >= 1:
            raise ConfigError(f"roc: expected {key} of at least 1, got {roc.get(key)}")
    fpr = roc.get("fpr") or []
    if not _rising(fpr):
        raise ConfigError("roc: expected fpr that rises from above 0 to at most 1")
    for name, curve in part(roc, "entries").items():
        for key in ("tpr", "low", "high"):
            values = (curve or {}).get(key)
            if values is not None and len(values) != len(fpr):
                raise ConfigError(f"roc: {len(fpr)} fpr, {len(values)} {key} of {name}")


def _rising(rates: Sequence[object]) -> bool:
    """Whether these are numbers that rise within (0, 1].

    Example:
        >>> _rising([0.1, 1.0]), _rising([0.0, 1.0]), _rising([0.1, math.nan]), _rising([None])
        (True, False, False, False)
    """
    numbers = [rate for rate in rates if isinstance(rate, int | float)]
    rise = all(low < high for low, high in pairwise([0.0, *numbers]))
    return rise and len(numbers) == len(rates) and max(numbers, default=0) <= 1


def _check_strata(strata: Json) -> None:
    by_stratum = {key: part(strata, key) for key in ("rows", "scores", "null")}
    by_stratum |= {f"values of {name}": found or {} for name, found in part(strata, "values").items()}
    for title, found in by_stratum.items():
        if odd := sorted(set(found) - set(STRATA)):
            raise ConfigError(f"strata: expected {', '.join(STRATA)} in {title}, got {odd[0]}")
    for name, ends in part(strata, "scores").items():
        if ends is not None and len(ends) != 2:
            raise ConfigError(f"strata: expected least and most score of {name} rows, got {len(ends)} numbers")


def part(tree: Json, *path: str) -> Json:
    """The dict at `path`, empty where it or something above it is absent or null.

    Example:
        >>> part({"cost": None}, "cost", "forward")
        {}
    """
    for key in path:
        tree = tree.get(key) or {}
    return tree


def role(entry: Json) -> str:
    """gold, original, or what the entry says of itself.

    Example:
        >>> role({"name": "gold", "role": "control"}), role({"name": "scrub"})
        ('gold', 'method')
    """
    name = str(entry["name"])
    return name if name in {"gold", "original"} else str(entry.get("role") or "method")


def label(entry: Json) -> str:
    """What people call the entry; characters that a terminal would obey are replaced.

    Example:
        >>> label({"name": "scrub", "label": "SCRUB"})
        'SCRUB'
    """
    return printable(str(entry.get("label") or entry["name"]))


def printable(text: str) -> str:
    r"""The text with each character that cannot be printed as U+FFFD.

    Example:
        >>> printable("a\x1b[2J") == "a\ufffd[2J"
        True
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def named(result: Json, name: str) -> Json:
    """The entry of that name, empty where there is none."""
    return next((entry for entry in result["entries"] if entry["name"] == name), {})


def headline(result: Json) -> str:
    """The measure of the table's main columns: of `per_row`, else KLoM, else the first; empty without any."""
    found = [name for entry in result["entries"] for name in part(entry, "measures")]
    for name in (part(result, "per_row").get("measure"), "klom", *found):
        if name in found:
            return str(name)
    return ""


def measured(result: Json, entry: Json, measure: str, split: str) -> Json:
    """The entry's E; for gold without one, its null stands in, as gold against gold is the null."""
    own = part(entry, "measures", measure, split)
    if own or role(entry) != "gold":
        return own
    null = next((_null(other, measure, split) for other in result["entries"] if part(other, "measures")), None)
    return {} if null is None else {"value": null, "null": null}


def _null(entry: Json, measure: str, split: str) -> float | None:
    null: float | None = part(entry, "measures", measure, split).get("null")
    return null


def finite(value: object) -> object:
    """Plain data in which NaN and infinities are None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
