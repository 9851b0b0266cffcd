"""The table of `expunge bench matching`: how far from gold, at what price, over the forget sets of a suite.

Distances are KLoM P95 over the null of the same split and the same numbers of models, so that 1 is gold; `of the way`
is the share of doing nothing's distance above the null that is left (1: as far as doing nothing, 0: gold). `explained`
is the share of gold's mean change of the forget rows' logits that the method brings too (1: gold; see
`audit/explained.py`). `cost` is the method's own, a share of one retraining; `attribution` what its predictions cost
once, and spread over the requests that they serve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from expunge.bench.summary import averaged
from expunge.methods.prediction import REQUESTS

Json = dict[str, Any]
HEADINGS = (
    "method",
    "forget / null",
    "of the way",
    "explained",
    "retain / null",
    "test / null",
    "U-LiRA",
    "test accuracy",
    "cost",
    "attribution",
    f"over {REQUESTS}",
)


def matching_summary(results: Sequence[Json]) -> list[Json]:
    """One line an entry that stands in every result, as HEADINGS; gold's own, the floor, comes last.

    Args:
        results: Of one suite, one a forget set.
    """
    entries = [{entry["name"]: entry for entry in one["entries"]} for one in results]
    shared = [name for name in entries[0] if all(name in one for one in entries)]
    order = [name for name in shared if name != "gold"] + [name for name in shared if name == "gold"]
    return [_line(results, [one[name] for one in entries], [one["original"] for one in entries]) for name in order]


def _line(results: Sequence[Json], own: Sequence[Json], nothing: Sequence[Json]) -> Json:
    def over(part: Callable[[Json, Json], float | None]) -> Json | None:
        return averaged(results, [part(*pair) for pair in zip(own, nothing, strict=True)])

    def ratio(split: str) -> Json | None:
        return over(lambda entry, start: _ratio(entry, start, split))

    return {
        "method": own[0]["label"],
        "forget / null": ratio("forget"),
        "of the way": over(_left),
        "explained": over(lambda entry, _: (entry.get("explained") or {}).get("share")),
        "retain / null": ratio("retain"),
        "test / null": ratio("test"),
        "U-LiRA": over(lambda entry, _: _measure(entry, "u_lira", "forget", "value")),
        "test accuracy": over(lambda entry, _: entry["accuracy"]["test"]["mean"]),
        "cost": over(lambda entry, _: 1.0 if entry["name"] == "gold" else (entry.get("cost") or {}).get("fraction")),
        "attribution": over(lambda entry, _: _attribution(entry).get("share_of_retraining")),
        f"over {REQUESTS}": over(lambda entry, _: _attribution(entry).get("share_over_requests")),
    }


def _measure(entry: Mapping[str, Any], measure: str, split: str, key: str) -> float | None:
    found: float | None = entry.get("measures", {}).get(measure, {}).get(split, {}).get(key)
    return found


def _ratio(entry: Json, start: Json, split: str) -> float | None:
    """KLoM P95 over its null; the null is the same for every entry and read where it always is, at the original."""
    value, null = _measure(entry, "klom", split, "value"), _measure(start, "klom", split, "null")
    return None if value is None or not null else value / null


def _left(entry: Json, start: Json) -> float | None:
    """What is left of doing nothing's distance above the null, on forget rows."""
    value, far = _measure(entry, "klom", "forget", "value"), _measure(start, "klom", "forget", "value")
    null = _measure(start, "klom", "forget", "null")
    if value is None or far is None or null is None or far <= null:
        return None
    return (value - null) / (far - null)


def _attribution(entry: Json) -> Json:
    found: Json = entry.get("notes", {}).get("attribution", {})
    return found
