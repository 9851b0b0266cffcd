"""What the figures of a report are drawn from: densities, per-row distances, ROC, epsilon and difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from expunge.audit.assemble import SPLITS, Audited, Pool
from expunge.audit.jackknife import FloatArray
from expunge.audit.lira import lira_scores
from expunge.audit.margins import margins
from expunge.audit.memorisation import NAMES, memorisation, strata
from expunge.audit.roc import roc_curves
from expunge.errors import NeedsError
from expunge.seeds import numpy_generator

BINS = 60
"""Of the margin densities."""
SHOWN = 400
"""Rows of retain and test whose distances are kept; of forget, all."""
RATES = 40
"""Points of a ROC curve."""
BAND = (0.05, 0.95)
"""Of a ROC curve over models."""

Json = dict[str, Any]
Sides = Mapping[str, FloatArray]
"""Entry -> `[models, rows, classes]` logits on the pool's rows."""


def densities(pool: Pool, sides: Sides) -> Json:
    """Margins of all models and rows of each split, as densities over bins around original and gold."""
    return {split: _density(pool, sides, split) for split in SPLITS}


def _density(pool: Pool, sides: Sides, split: str) -> Json:
    at = pool.splits[split]
    values = {label: margins(logits[:, at], pool.labels[at]).ravel() for label, logits in sides.items()}
    ends = np.array([np.percentile(values[label], [0.5, 99.5]) for label in ("original", "gold")])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    around = 0.3 * (high - low) + 1e-6  # a broken model's margins lie far out; they are counted in the last bins
    edges = np.linspace(low - around, high + around, BINS + 1)
    return {
        "edges": edges.tolist(),
        "density": {
            label: np.histogram(np.clip(side, edges[0], edges[-1]), edges, density=True)[0].tolist()
            for label, side in values.items()
        },
    }


def per_row(
    pool: Pool,
    ids: tuple[str, ...],
    audited: Mapping[str, Audited],
    nulls: Mapping[str, FloatArray] | None,
    *,
    measure: str,
    unit: str,
    seed: int,
) -> Json:
    """Distances of every forget row and of a random sample of the others.

    Args:
        pool: Whose rows.
        ids: `[rows]` of the pool.
        audited: Entry -> its measures.
        nulls: Split -> `[rows]` what gold shows against gold; None where it cannot at these numbers of models.
        measure: The measure whose distances these are.
        unit: Its unit.
        seed: Of the sample.
    """
    result: Json = {"measure": measure, "unit": unit}
    for split in SPLITS:
        at = pool.splits[split]
        shown = np.arange(len(at))
        if split != "forget" and len(at) > SHOWN:
            draw = numpy_generator(seed, f"shown/{split}")
            shown = np.sort(draw.choice(len(at), SHOWN, replace=False))
        result[split] = {
            "ids": [ids[row] for row in at[shown]],
            "labels": pool.labels[at[shown]].tolist(),
            "values": {label: one.table[measure][split].rows[shown].tolist() for label, one in audited.items()},
            "null": None if nulls is None else nulls[split][shown].tolist(),
        }
    return result


def roc(pool: Pool, sides: Sides) -> Json | None:
    """ROC of the strongest attack there are models for: forget against holdout rows; None where there are none."""
    members, unseen = pool.splits["forget"], pool.splits["holdout"]
    if not len(unseen):
        return None
    at = np.concatenate([members, unseen])
    rates = np.unique(np.geomspace(0.5 / len(unseen), 1.0, RATES))
    attack = "loss threshold"
    if pool.shadows is not None:
        attack = f"LiRA, online, {len(pool.shadows.logits)} shadow models"
    curves = {}
    for label, logits in sides.items():
        found = margins(logits[:, at], pool.labels[at])  # margins rank rows as the loss does
        if pool.shadows is not None:
            try:
                membership = pool.shadows.membership[:, at]
                found = lira_scores(found, pool.margins["shadows"][:, at], membership=membership)
            except NeedsError:  # too few shadows with or without some row
                return None
        rising = roc_curves(found[:, : len(members)], found[:, len(members) :], rates)
        band = np.quantile(rising, BAND, axis=0) if len(rising) > 2 else None
        curves[label] = {
            "tpr": rising.mean(axis=0).tolist(),
            "low": None if band is None else band[0].tolist(),
            "high": None if band is None else band[1].tolist(),
        }
    return {
        "attack": attack,
        "members": len(members),
        "nonmembers": len(unseen),
        "fpr": rates.tolist(),
        "entries": curves,
    }


def epsilons(pool: Pool, ids: tuple[str, ...], audited: Mapping[str, Audited]) -> Json | None:
    """The lower bound of epsilon on every forget row, and held-out gold's; None with too few models for any."""
    found = {label: one.table["epsilon"]["forget"] for label, one in audited.items() if "epsilon" in one.table}
    gold = found.pop("gold", None)
    if not found:
        return None
    most = max(found.values(), key=lambda one: one.extra["ceiling"])
    return {
        "ids": [ids[row] for row in pool.splits["forget"]],
        "values": {label: one.rows.tolist() for label, one in found.items()},
        "null": None if gold is None else gold.rows.tolist(),
        "ceiling": most.extra["ceiling"],
        "models": int(most.extra["models"]),
    }


def difficulty(
    pool: Pool, audited: Mapping[str, Audited], null: FloatArray | None, *, measure: str, unit: str
) -> Json | None:
    """Mean distance of the forget rows by how much they are memorised; None without shadow models.

    Equal scores are ordered by the same difference in margins, which hardly ever ties.

    Args:
        pool: With shadows.
        audited: Entry -> its measures.
        null: `[forget]` what gold shows against gold, or None.
        measure: The measure whose distances these are.
        unit: Its unit.
    """
    if pool.shadows is None:
        return None
    at = pool.splits["forget"]
    right = pool.shadows.logits[:, at].argmax(axis=-1) == pool.labels[at]
    inside = pool.shadows.membership[:, at]
    try:
        found = memorisation(right, inside)
    except NeedsError:  # a row that is in every shadow, or in none
        return None
    seen, unseen = (
        np.where(side, pool.margins["shadows"][:, at], 0).sum(0) / side.sum(0) for side in (inside, ~inside)
    )
    ties = np.argsort(np.argsort(seen - unseen)) / (1e6 * len(at))  # most rows are not memorised at all
    try:
        place = strata(found.scores + ties)
    except NeedsError:  # fewer than three forget rows
        return None

    def by_stratum(rows: FloatArray) -> Json:
        return {name: float(rows[place == name].mean()) for name in NAMES}

    return {
        "measure": measure,
        "unit": unit,
        "shadows": len(right),
        "rows": {name: int((place == name).sum()) for name in NAMES},
        "scores": {
            name: [float(found.scores[place == name].min()), float(found.scores[place == name].max())] for name in NAMES
        },
        "values": {label: by_stratum(one.table[measure]["forget"].rows) for label, one in audited.items()},
        "null": None if null is None else by_stratum(null),
    }
