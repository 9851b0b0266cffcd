"""Forget rows that gold gets right, and those it does not: were they foretold, and how far is each kind from gold?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.assemble import Audited, Pool
from expunge.audit.estimate import Estimate, plain_number
from expunge.audit.foretold import foretold, mostly_right
from expunge.audit.jackknife import FloatArray

SCORES, HARD = "easy_scores", "hard_rows"
"""Notes of a method that foretells which forget rows gold gets right: a number a row, and the rows called hard."""
APART = ("klom", "method_distance", "row_z", "u_lira", "activation_distance", "disagreement")
"""Measures of single rows that are shown for easy and hard rows apart."""
KINDS = ("easy", "hard")

Json = dict[str, Any]


def predictions(notes: Sequence[Json]) -> tuple[FloatArray, npt.NDArray[np.bool_]] | None:
    """What a method's models thought of the forget rows, `[models, rows]` each; None where one of them thought nothing.

    Args:
        notes: Of every model.

    Returns:
        How easy each row was thought to be, and whether it was called easy.

    Example:
        >>> predictions([{"easy_scores": [0.9, 0.2], "hard_rows": [1]}])[1].tolist()
        [[True, False]]
    """
    if not notes or any(SCORES not in one or HARD not in one for one in notes):
        return None
    scores = np.array([one[SCORES] for one in notes], dtype=np.float64)
    called = np.ones(scores.shape, dtype=bool)
    for model, one in enumerate(notes):
        called[model, one[HARD]] = False
    return scores, called


def foretellings(
    pool: Pool, notes: Mapping[str, Sequence[Json]], groups: Mapping[str, npt.NDArray[Any] | None]
) -> dict[str, Estimate]:
    """Entry -> how well it was foretold which forget rows gold gets right; empty where no method tried.

    Beside the methods stand the originals, which know the rows, and held-out gold, which nobody has: their margins
    are the scores, and what they get right is what they call easy.

    Args:
        pool: Gold, and the others.
        notes: Entry -> the notes of every model of a method.
        groups: Entry -> `[models]` the original behind each.
    """
    at = pool.splits["forget"]
    gold = _right(pool, pool.gold)
    thought = {label: said for label, every in notes.items() if (said := predictions(every)) is not None}
    if not thought or len(gold) < 2:
        return {}
    found = {label: foretold(*said, gold, groups=groups.get(label)) for label, said in thought.items()}
    found["original"] = foretold(pool.margins["original"][:, at], _right(pool, pool.original), gold)
    if pool.heldout is not None:
        found["gold"] = foretold(pool.margins["heldout"][:, at], _right(pool, pool.heldout), gold)
    return found


def ease(pool: Pool, audited: Mapping[str, Audited]) -> Json | None:
    """Mean distances of forget rows that most gold models get right, and of those that they do not.

    Args:
        pool: Whose gold says which row is which.
        audited: Entry -> its measures; gold's own are the null.

    Returns:
        `{"golds", "rows": {kind: number}, "values": {measure: {entry: {kind: mean}}}}`, kinds easy and hard, null
        where there is no such row; None with a single gold model, or outputs that are no more than margins.
    """
    if len(pool.gold) < 2 or not pool.whole:
        return None
    easy = mostly_right(_right(pool, pool.gold))
    kinds = dict(zip(KINDS, (easy, ~easy), strict=True))
    values: Json = {}
    for measure in APART:
        for label, one in audited.items():
            if "forget" in one.table.get(measure, {}):
                rows = one.table[measure]["forget"].rows
                own = {kind: plain_number(_mean(rows[which])) for kind, which in kinds.items()}
                values.setdefault(measure, {})[label] = own
    return {
        "golds": len(pool.gold),
        "rows": {kind: int(which.sum()) for kind, which in kinds.items()},
        "values": values,
    }


def _mean(rows: FloatArray) -> float:
    """Over the rows that have a value; NaN where there is none."""
    known = rows[np.isfinite(rows)]
    return float(known.mean()) if len(known) else np.nan


def _right(pool: Pool, logits: FloatArray) -> npt.NDArray[np.bool_]:
    """`[models, forget]` which forget rows each model gets right."""
    at = pool.splits["forget"]
    return np.asarray(logits[:, at].argmax(axis=-1) == pool.labels[at])
