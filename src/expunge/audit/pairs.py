"""Measures that are means of a distance over pairs (unlearned, gold) of models, in bounded memory and time.

Each pair is looked at once: its mean over rows goes into a table [unlearned, gold], from which the value, the
null, the start and every leave-out of the interval are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, Models, check_margins, from_numbers
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import probabilities

Distance = Callable[
    [FloatArray, FloatArray], FloatArray
]  # ([rows, classes], [models, rows, classes]) -> [models, rows]

BLOCK = 1 << 17  # numbers of gold handled at once
PARTNERS = 16  # gold models that each model is paired with; a mean over more pairs of the same models gains little


def pair_table(distance: Distance, models: FloatArray, gold: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean distance of each pair over rows, and of each row over pairs.

    Every model meets PARTNERS gold models, or more where few models have to meet many, in turns: each gold model is
    met, and about equally often.

    Args:
        distance: one model against several gold models, on a block of rows.
        models: [models, rows, classes] probabilities.
        gold: [models_g, rows, classes] probabilities.

    Returns:
        [models, models_g], NaN for pairs that do not meet, and [rows] float64, in the distance's unit.

    Example:
        >>> gap = lambda one, gold: abs(gold - one).sum(axis=-1)
        >>> pair_table(gap, np.zeros((2, 1, 1)), np.array([[[1.0]], [[3.0]]]))[0].tolist()
        [[1.0, 3.0], [1.0, 3.0]]
    """
    golds, count = gold.shape[:2]
    partners = min(max(PARTNERS, -(-golds // len(models))), golds)
    step = max(1, BLOCK // (partners * gold.shape[2]))
    table, rows = np.full((len(models), golds), np.nan), np.zeros(count)
    for k, one in enumerate(models):
        met = (k * partners + np.arange(partners)) % golds
        theirs = gold if partners == golds else gold[met]
        sums = np.zeros(partners)
        for at in range(0, count, step):
            block = distance(one[at : at + step], theirs[:, at : at + step])
            sums += block.sum(axis=1)
            rows[at : at + step] += block.mean(axis=0)
        table[k, met if partners < golds else slice(None)] = sums / count
    return table, rows / len(models)


def estimate_over_pairs(
    name: str,
    distance: Distance,
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    heldout: FloatArray | None,
    *,
    least: dict[str, int],
    seed: int,
    groups: npt.NDArray[Any] | None,
    prepare: Callable[[FloatArray], FloatArray] = probabilities,
) -> Estimate:
    """Estimate of the mean distance over pairs; the arguments are those of the measure, logits throughout.

    `prepare` turns the logits of several models into what `distance` compares, once for each model.

    The null is gold against other gold models and lies above 0; `extra["ratio"]` = matched / null.
    """
    check_margins(unlearned, gold, original, heldout, least=least, ndim=3)
    golds = prepare(gold)
    sides = {"unlearned": unlearned, "original": original, "heldout": heldout}
    tables, rows = {}, {}
    for role, side in sides.items():
        if side is not None:
            tables[role], rows[role] = pair_table(distance, prepare(side[: len(unlearned)]), golds)
    if len(tables.get("heldout", ())) < len(unlearned):  # too few held out: the null comes from splits of gold
        tables["gold"], _ = pair_table(distance, golds, golds)

    def number(role: str, models: Models, reference: Models, repeated: bool) -> float:
        return float(np.nanmean(tables[role][models][:, reference]))

    counts = {role: len(table) for role, table in tables.items()} | {"gold": len(gold)}
    result = from_numbers(name, rows["unlearned"], number, counts, headline="mean", seed=seed, groups=groups)
    result.extra["ratio"] = result.extra["matched"] / result.null if result.null > 0 else np.nan
    return result
