"""Distances of single models to a gold fleet, with interval, resolution and margin: what a verdict compares.

Objective:  shift  = mean over rows of z'          (gold sd; z' = leave-one-out z, centred on test rows)
            excess = mean of z'^2, less gold's     (gold variances)
            drift  = mean of z over test rows      (gold sd)
Source:     own construction; margins have no published origin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray, groups_of, half_width, variance
from expunge.audit.loo import FLOOR, TINY, centred, loo_z

ROWS = 10_000  # rows per split behind the jackknife when there are more
Masks = Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Distance:
    """One distance of every model: the candidates first, then each gold against the other golds.

    Args:
        values: [candidates + golds].
        halves: [candidates + golds] half widths of the 95% jackknife interval over gold, the model held fixed.
        resolution: quantile of gold's own values that a gold model exceeds with probability alpha; alpha is divided
            by their number for the distances on other rows than forget, which can only fail a model.
        margin: largest distance that counts as equal to gold.
        two_sided: whether a negative value is as far as a positive one; excess is one-sided.
    """

    values: FloatArray
    halves: FloatArray
    resolution: float
    margin: float
    two_sided: bool = True

    @property
    def sizes(self) -> FloatArray:
        """[candidates + golds] |value| where two-sided, else value."""
        return np.abs(self.values) if self.two_sided else self.values

    @property
    def resolved(self) -> bool:
        """Whether gold can tell the margin from zero."""
        return self.resolution <= self.margin

    def to_json(self, model: int) -> dict[str, object]:
        """Plain dict of one model's distance."""
        value, half = float(self.values[model]), float(self.halves[model])
        interval = None if math.isnan(half) else [value - half, value + half]
        return {"value": value, "interval": interval, "margin": self.margin, "resolution": self.resolution}


def raw_distances(candidates: FloatArray, gold: FloatArray, masks: Masks) -> dict[str, FloatArray]:
    """Shift, excess and drift of the candidates against gold, and of each gold against the other golds.

    Args:
        candidates: [candidates, rows] margins, nats; they never enter gold's mean and sd.
        gold: [models_g >= 3, rows] margins, nats.
        masks: split -> [rows] bool, with "test".

    Returns:
        "drift", "<split>.shift" (not for test) and "<split>.excess" -> [candidates + golds] float64.

    Example:
        >>> masks = {"test": np.array([True, False]), "forget": np.array([False, True])}
        >>> gold = np.array([[-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])
        >>> raw_distances(np.array([[0.0, 2.0]]), gold, masks)["forget.shift"].round(3)[0].item()
        1.732
    """
    z = np.concatenate([_against(candidates, gold), loo_z(gold)])
    z, drift = centred(z, masks["test"])
    found = {"drift": drift}
    count = len(candidates)
    for split, mask in masks.items():
        part = z[:, mask]
        size = np.einsum("kr,kr->k", part, part) / part.shape[1]
        golds = size[count:]
        others = (golds.sum() - golds) / (len(golds) - 1)  # mean over the other golds
        if split != "test":  # centring makes it 0 there; drift stands in its place
            found[f"{split}.shift"] = part.mean(axis=1)
        found[f"{split}.excess"] = np.concatenate([size[:count] - golds.mean(), golds - others])
    return found


def _against(candidates: FloatArray, gold: FloatArray) -> FloatArray:
    """Leave-one-out z of each candidate among itself and gold, [candidates, rows]."""
    count = len(gold)
    spread = gold.std(axis=0, ddof=1, dtype=np.float64)
    spread = np.maximum(spread, max(FLOOR * float(np.median(spread)), TINY))
    return np.asarray((candidates - gold.mean(axis=0, dtype=np.float64)) / (spread * math.sqrt(1 + 1 / count)))


def distances(
    candidates: FloatArray,
    gold: FloatArray,
    masks: Masks,
    *,
    alpha: float,
    shift_margin: float | None,
    excess_margin: float | None,
) -> dict[str, Distance]:
    """All distances with intervals, resolutions and margins.

    A margin that is not given comes from gold: its resolution plus the full width of a gold's interval, so that
    a gold model at its own 95% quantile still has its upper bound under the margin.

    Args:
        candidates: [candidates, rows] margins, nats.
        gold: [models_g >= 4, rows] margins, nats.
        masks: split -> [rows] bool, with "test".
        alpha: in (0, 1).
        shift_margin: gold sd, > 0; None derives it.
        excess_margin: gold variances, > 0; None derives it, as is always done for drift.

    Returns:
        Name -> Distance, the names of `raw_distances`.
    """
    values = raw_distances(candidates, gold, masks)
    halves = _halves(candidates, gold, masks, level=1 - alpha)
    sides = sum(not name.startswith("forget.") for name in values)  # looked at beside the forget rows: Bonferroni
    given = {"shift": shift_margin, "excess": excess_margin, "drift": None}
    out = {}
    for name, value in values.items():
        kind = name.split(".")[-1]
        golds = value[len(candidates) :]
        level = alpha if name.startswith("forget.") else alpha / sides
        order = min(len(gold), math.ceil((len(gold) + 1) * (1 - level))) - 1
        resolution = float(np.sort(np.abs(golds) if kind != "excess" else golds)[order])
        width = 2 * float(np.nanmedian(halves[name][len(candidates) :]))
        margin = given[kind]
        margin = resolution + width if margin is None else margin
        out[name] = Distance(value, halves[name], resolution, margin, kind != "excess")
    return out


def _halves(candidates: FloatArray, gold: FloatArray, masks: Masks, *, level: float) -> dict[str, FloatArray]:
    """Half widths by the delete-group jackknife over gold; a gold in the deleted group has no value there."""
    keep_rows = np.unique(np.concatenate([_some(np.flatnonzero(mask)) for mask in masks.values()]))
    few = {split: mask[keep_rows] for split, mask in masks.items()}
    candidates, gold = candidates[:, keep_rows], gold[:, keep_rows]
    groups, count = groups_of(len(gold)), len(candidates)
    runs: dict[str, list[FloatArray]] = {}
    for group in groups:
        kept = np.setdiff1d(np.arange(len(gold)), group)
        for name, value in raw_distances(candidates, gold[kept], few).items():
            full = np.full(count + len(gold), np.nan)
            full[:count], full[count + kept] = value[:count], value[count:]
            runs.setdefault(name, []).append(full)
    return {name: half_width(variance(np.stack(run)), len(groups), level=level) for name, run in runs.items()}


def _some(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """At most ROWS of the rows, evenly spaced."""
    return rows if len(rows) <= ROWS else rows[np.linspace(0, len(rows) - 1, ROWS).astype(np.intp)]
