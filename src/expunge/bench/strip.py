"""Strip a result of what concerns single rows: what may be kept once the rows themselves are gone."""

from __future__ import annotations

import hashlib
from typing import Any

Json = dict[str, Any]

NAMED = ("ids:", "indices:", "subject:")
"""Beginnings of forget sets whose text says who is concerned."""
FEWEST = 5
"""Rows that stand together in an aggregate; fewer could be told apart."""


def stripped(result: Json) -> Json:
    """The result without ids, labels and distances of single rows; whose rows were forgotten becomes a hash.

    Args:
        result: As in `report/result.py`; left as it is.

    Returns:
        A copy with `stripped` true: aggregates alone. Difficulty strata of fewer than 5 rows go as well.

    Example:
        >>> stripped({"per_row": {"forget": {}}, "problem": {"forget": "class:8:80"}})
        {'problem': {'forget': 'class:8:80'}, 'stripped': True}
    """
    kept = {key: value for key, value in result.items() if key not in ("per_row", "epsilon")}
    problem = dict(kept.get("problem") or {})
    text = str(problem.get("forget", ""))
    if text.startswith(NAMED):
        problem["forget"] = f"{text.partition(':')[0]}, sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}"
    strata = kept.get("strata")
    if strata and min(strata["rows"].values()) < FEWEST:
        kept["strata"] = None
    if (problem.get("rows") or {}).get("forget", FEWEST) < FEWEST:
        kept.pop("densities", None)
        kept.pop("roc", None)
    return {**kept, **({"problem": problem} if problem else {}), "stripped": True}
