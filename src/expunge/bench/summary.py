"""One table over several results of a suite: how each method does on average over its forget sets.

Accuracy on forget rows is compared with the mean of the gold fleet of each forget set; `gap` is the absolute gap of one
model, averaged over models and forget sets, and stands beside its floor, the same of single gold models. Draws of a
forget set are averaged first; means over forget sets come with a standard error over them, or over draws of a single
one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Json = dict[str, Any]
HEADINGS = ("method", "forget", "gap", "test", "test gap", "activation distance", "disagreement", "cost")
APART = (
    "method",
    "AUROC",
    "balanced accuracy",
    "gain over all easy",
    "easy: distance",
    "hard: distance",
    "easy: U-LiRA",
    "hard: U-LiRA",
)
"""Of the second table: was it foretold which rows gold gets right, and how far from gold is either kind of row?"""
FLOOR = "one gold model (floor)"
PREDICTED = {"AUROC": "auroc", "balanced accuracy": "balanced_accuracy", "gain over all easy": "gain"}
DISTANCES = ("klom", "method_distance")
"""The first of these that there is counts as the distance of a row."""


def summary(results: Sequence[Json]) -> list[Json]:
    """One line an entry that stands in every result, original first and gold's own floor last.

    Args:
        results: Of one suite, one a forget set; see `report/result.py`.

    Returns:
        Lines of `{"method": label, heading: {"mean", "error"} or None}`, headings as HEADINGS and APART.
    """
    shared = [entry["name"] for entry in results[0]["entries"] if all(_entry(one, entry["name"]) for one in results)]
    lines = [_line(results, name) for name in shared if name != "gold"]
    return [*lines, _floor(results)]


def by_size(results: Sequence[Json]) -> dict[int, list[Json]]:
    """Results by how many rows were forgotten, fewest first: means over different sizes would say nothing.

    Example:
        >>> by_size([{"problem": {"rows": {"forget": n}}} for n in (30, 10, 30)]).keys()
        dict_keys([10, 30])
    """
    sizes = sorted({_size(result) for result in results})
    return {size: [result for result in results if _size(result) == size] for size in sizes}


def known(lines: Sequence[Json], headings: Sequence[str]) -> list[str]:
    """The headings, "method" first, under which some line holds something."""
    return ["method", *(one for one in headings[1:] if any(line[one] for line in lines))]


def _line(results: Sequence[Json], name: str) -> Json:
    def over(part: Callable[[Json, Json], float | None]) -> Json | None:
        return averaged(results, [part(one, _entry(one, name)) for one in results])

    return {
        "method": _entry(results[0], name)["label"],
        "forget": over(lambda one, entry: _accuracy(entry, "forget")),
        "gap": over(lambda _, entry: _value(entry, "accuracy_gap", "value")),
        "test": over(lambda one, entry: _accuracy(entry, "test")),
        "test gap": over(lambda _, entry: _value(entry, "accuracy_gap", "value", "test")),
        "activation distance": over(lambda one, entry: _value(entry, "activation_distance", "value")),
        "disagreement": over(lambda one, entry: _value(entry, "disagreement", "value")),
        "cost": over(lambda one, entry: (entry.get("cost") or {}).get("fraction")),
        **_apart(results, name),
    }


def _floor(results: Sequence[Json]) -> Json:
    """What one gold model shows against the others: the nulls, which are the same for every entry."""

    def null(measure: str, split: str) -> Json | None:
        return averaged(results, [_value(_entry(one, "original"), measure, "null", split) for one in results])

    gold = [_entry(one, "gold") for one in results]
    return {
        "method": FLOOR,
        "forget": averaged(results, [_accuracy(entry, "forget") for entry in gold]),
        "gap": null("accuracy_gap", "forget"),
        "test": averaged(results, [_accuracy(entry, "test") for entry in gold]),
        "test gap": null("accuracy_gap", "test"),
        "activation distance": null("activation_distance", "forget"),
        "disagreement": null("disagreement", "forget"),
        "cost": {"mean": 1.0, "error": 0.0},
        **_apart(results, "gold"),
    }


def _apart(results: Sequence[Json], name: str) -> Json:
    """What was foretold, and the distances of easy and hard rows: headings as APART."""
    line = {
        heading: averaged(results, [_foretold(_entry(one, name), key) for one in results])
        for heading, key in PREDICTED.items()
    }
    for kind in ("easy", "hard"):
        for heading, measures in {"distance": DISTANCES, "U-LiRA": ("u_lira",)}.items():
            line[f"{kind}: {heading}"] = averaged(results, [_of_kind(one, name, measures, kind) for one in results])
    return line


def _foretold(entry: Json, key: str) -> float | None:
    found: float | None = entry.get("measures", {}).get("foretold", {}).get("forget", {}).get("extra", {}).get(key)
    return found


def _of_kind(result: Json, name: str, measures: Sequence[str], kind: str) -> float | None:
    """Mean over the forget rows of a kind of the first of the measures that the result has."""
    values = (result.get("ease") or {}).get("values", {})
    measure = next((one for one in measures if one in values), "")
    found: float | None = values.get(measure, {}).get(name, {}).get(kind)
    return found


def _entry(result: Json, name: str) -> Json:
    found: Json = next((one for one in result["entries"] if one["name"] == name), {})
    return found


def _accuracy(entry: Json, split: str) -> float | None:
    mean: float | None = entry["accuracy"][split]["mean"]
    return mean


def _value(entry: Json, measure: str, key: str, split: str = "forget") -> float | None:
    found: float | None = entry.get("measures", {}).get(measure, {}).get(split, {}).get(key)
    return found


def _size(result: Json) -> int:
    rows: int = result["problem"]["rows"]["forget"]
    return rows


def averaged(results: Sequence[Json], values: Sequence[float | None]) -> Json | None:
    """Mean and standard error over forget sets; draws of one set are averaged first, unless there is but one set."""
    by_set: dict[str, list[float]] = {}
    for result, value in zip(results, values, strict=True):
        if value is not None:
            by_set.setdefault(result["problem"]["forget"], []).append(value)
    if not by_set:
        return None
    parts = [float(np.mean(draws)) for draws in by_set.values()]
    parts = parts if len(parts) > 1 else next(iter(by_set.values()))
    error = float(np.std(parts, ddof=1) / math.sqrt(len(parts))) if len(parts) > 1 else None
    return {"mean": float(np.mean(parts)), "error": error}
