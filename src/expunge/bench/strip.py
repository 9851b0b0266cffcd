"""Strip a result of what concerns single rows: what may be kept once the rows themselves are gone."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

NAMED = ("ids:", "indices:", "subject:")
"""Beginnings of forget sets whose text says who is concerned."""
DRAWN = ("random:", "class:")
"""Beginnings of forget sets that a seed draws."""
FEWEST = 5
"""Rows that stand together in an aggregate; fewer could be told apart."""


def stripped(result: Json) -> Json:
    """The result without ids, labels and distances of single rows, and without whose rows were forgotten.

    Args:
        result: As in `report/result.py`; left as it is.

    Returns:
        A copy with `stripped` true: aggregates over at least 5 rows. With fewer forget rows, nothing on them alone is
        left but the verdict, its reasons and what stands in `audit`.

    Example:
        >>> stripped({"epsilon": {"values": {}}, "problem": {"forget": "subject:7"}})
        {'problem': {'forget': 'subject, not shown'}, 'stripped': True}
    """
    kept = {key: value for key, value in result.items() if key not in ("per_row", "epsilon")}
    if result.get("per_row"):  # which measure leads is no fact about a row
        kept["per_row"] = {key: result["per_row"].get(key) for key in ("measure", "unit")}
    problem = dict(kept.get("problem") or {})
    text = str(problem.get("forget", ""))
    if text.startswith(NAMED):
        problem["forget"] = f"{text.partition(':')[0]}, not shown"
    if text.startswith(DRAWN):
        problem["forget_seed"] = None  # it would draw the same rows again
    few = (problem.get("rows") or {}).get("forget", FEWEST) < FEWEST
    strata = kept.get("strata")
    if strata:
        kept["strata"] = None if min(strata["rows"].values()) < FEWEST else {**strata, "scores": None}
    ease = kept.get("ease")
    if ease and min(ease["rows"].values()) < FEWEST:
        kept["ease"] = None
    if few:
        kept = {key: value for key, value in kept.items() if key not in ("densities", "roc")}
        kept["entries"] = [_without_forget(entry) for entry in kept.get("entries", [])]
        kept["statements"] = []  # they speak of the original's distance on these rows
    elif result.get("kind") == "model":
        kept.pop("densities", None)  # of one model: a bin may hold a single row
    return {**kept, **({"problem": problem} if problem else {}), "stripped": True}


def _without_forget(entry: Json) -> Json:
    """An entry without numbers on forget rows alone, where these are so few that they tell of single ones."""

    def others(part: Json) -> Json:
        return {split: value for split, value in part.items() if split != "forget"}

    measures = {name: others(splits) for name, splits in (entry.get("measures") or {}).items()}
    return {**entry, "accuracy": others(entry.get("accuracy") or {}), "measures": measures}
