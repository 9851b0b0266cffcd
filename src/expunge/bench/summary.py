"""One table over several results of a suite: how each method does on average over its forget sets.

Accuracy on forget rows is compared with the mean of the gold fleet of each forget set; `gap` is the mean over forget
sets of the absolute gap, and stands beside its floor, the mean gap of single gold models. Means over forget sets come
with a standard error over forget sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Json = dict[str, Any]
HEADINGS = ("method", "forget", "gap", "test", "test gap", "activation distance", "disagreement", "cost")
FLOOR = "one gold model (floor)"


def summary(results: Sequence[Json]) -> list[Json]:
    """One line an entry that stands in every result, original first and gold's own floor last.

    Args:
        results: Of one suite, one a forget set; see `report/result.py`.

    Returns:
        Lines of `{"method": label, heading: {"mean", "error"} or None}`, headings as HEADINGS.
    """
    shared = [entry["name"] for entry in results[0]["entries"] if all(_entry(one, entry["name"]) for one in results)]
    lines = [_line(results, name) for name in shared if name != "gold"]
    return [*lines, _floor(results)]


def _line(results: Sequence[Json], name: str) -> Json:
    def over(part: Callable[[Json, Json], float | None]) -> Json | None:
        return _mean([part(one, _entry(one, name)) for one in results])

    return {
        "method": _entry(results[0], name)["label"],
        "forget": over(lambda one, entry: _accuracy(entry, "forget")),
        "gap": over(lambda one, entry: _gap(one, entry, "forget")),
        "test": over(lambda one, entry: _accuracy(entry, "test")),
        "test gap": over(lambda one, entry: _gap(one, entry, "test")),
        "activation distance": over(lambda one, entry: _value(entry, "activation_distance", "value")),
        "disagreement": over(lambda one, entry: _value(entry, "disagreement", "value")),
        "cost": over(lambda one, entry: (entry.get("cost") or {}).get("fraction")),
    }


def _floor(results: Sequence[Json]) -> Json:
    """What one gold model shows against the others: the nulls, which are the same for every entry."""

    def null(measure: str, split: str) -> Json | None:
        return _mean([_value(_entry(one, "original"), measure, "null", split) for one in results])

    gold = [_entry(one, "gold") for one in results]
    return {
        "method": FLOOR,
        "forget": _mean([_accuracy(entry, "forget") for entry in gold]),
        "gap": null("accuracy_gap", "forget"),
        "test": _mean([_accuracy(entry, "test") for entry in gold]),
        "test gap": null("accuracy_gap", "test"),
        "activation distance": null("activation_distance", "forget"),
        "disagreement": null("disagreement", "forget"),
        "cost": {"mean": 1.0, "error": 0.0},
    }


def _entry(result: Json, name: str) -> Json:
    found: Json = next((one for one in result["entries"] if one["name"] == name), {})
    return found


def _accuracy(entry: Json, split: str) -> float | None:
    mean: float | None = entry["accuracy"][split]["mean"]
    return mean


def _gap(result: Json, entry: Json, split: str) -> float | None:
    """|mean accuracy of the method - mean accuracy of gold|, of which a perfect method has about 0."""
    ours, gold = _accuracy(entry, split), _accuracy(_entry(result, "gold"), split)
    return None if ours is None or gold is None else abs(ours - gold)


def _value(entry: Json, measure: str, key: str, split: str = "forget") -> float | None:
    found: float | None = entry.get("measures", {}).get(measure, {}).get(split, {}).get(key)
    return found


def _mean(values: Sequence[float | None]) -> Json | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    error = float(np.std(known, ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan
    return {"mean": float(np.mean(known)), "error": None if math.isnan(error) else error}
