"""KLoM: KL divergence of margins, per row, between the histograms of unlearned and of gold models.

Source:     "Attribute-to-Delete", arXiv:2410.23232 (ICLR 2025); presets from its public code's behaviour.
Objective:  KLoM(x) = sum_b p_b log(p_b / q_b), p and q the shares of models per bin of the row's joint range.
Deviations: `default` keeps the largest margin, which every published version drops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from expunge.audit.estimate import Estimate, check_margins, estimate, summary
from expunge.audit.jackknife import FloatArray
from expunge.errors import check

LEAST = {"unlearned": 2, "gold": 4}  # legal, not advised: below POWERED the number is mostly bias
POWERED = 50  # models a side below which 20 bins have no power
EPS = 1e-5  # floor on a gold share
CLIP = 100.0  # nats
BLOCK = 1 << 17  # margins handled at once: bounds memory and stays in cache
FORWARD, REVERSE = "unlearned||gold", "gold||unlearned"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One published reading of KLoM; `q` is the second argument of the KL.

    Args:
        bins: intervals over the row's joint range.
        empty: further bins that are always empty, but are floored.
        drop_max: whether values on the last edge are lost.
        clip: which samples are clipped to +-CLIP: "both", or "first" argument of the KL alone.
        floor: "seen" raises q to EPS where p > 0; "all" in every bin; "add" adds EPS to every bin of p and q.
        renormalise: whether q sums to 1 again after the floor.
        widen: whether a row whose margins are all equal gets a range of 1, and so 0; without, NaN.
        fixed: whether the range is [-CLIP, CLIP] instead of the row's own.
        direction: FORWARD or REVERSE.
        headline: statistic over rows.
    """

    bins: int = 20
    empty: int = 0
    drop_max: bool = True
    clip: str = "both"
    floor: str = "seen"
    renormalise: bool = True
    widen: bool = True
    fixed: bool = False
    direction: str = FORWARD
    headline: str = "p95"


PRESETS = {
    "default": Preset(drop_max=False),
    "paper": Preset(bins=19, empty=1, clip="first", floor="all", widen=False),
    "bench": Preset(direction=REVERSE),
    "easydub": Preset(renormalise=False),
    "fixed": Preset(drop_max=False, floor="add", renormalise=False, fixed=True, direction=REVERSE, headline="mean"),
}


def klom(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    preset: str = "default",
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """KL divergence of the rows' margins from gold's, by histograms over models.

    Args:
        unlearned: [models_u, rows] margins, nats; 100 models advised.
        gold: [models_g, rows] margins, nats; need not be as many; more gold lowers the null.
        original: [models_o, rows] margins, nats, or None: where the audit starts.
        heldout: [models_h, rows] margins of gold models kept for the null, or None.
        preset: default, paper, bench, easydub or fixed; only `default` is meant for new work.
        seed: of the splits behind the null.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in nats, 0 = gold, in the preset's direction; the null is above 0 and depends on the number of
        models. Extra: `reverse` (the other direction), `debiased` (matched - null), `ceiling` (largest possible
        value), `underpowered` (1 below 50 models a side with 20 bins), and those of `estimate`.

    Raises:
        ConfigError: unknown preset. ShapeError, NeedsError: see `check_margins`.

    Source: arXiv:2410.23232, and the tables of its null that we measured.

    Example:
        >>> apart = klom(np.full((4, 2), 9.0), np.arange(8.0).reshape(4, 2), None, seed=0)
        >>> apart.value < apart.extra["ceiling"] < 11.52
        True
    """
    check("preset", preset, ", ".join(PRESETS), preset in PRESETS)
    check_margins(unlearned, gold, original, heldout, least=LEAST)
    chosen = PRESETS[preset]

    def per_row(candidate: FloatArray, reference: FloatArray) -> FloatArray:
        return klom_rows(candidate, reference, preset=preset)

    result = estimate(
        "klom", per_row, unlearned, gold, original, heldout, headline=chosen.headline, seed=seed, groups=groups
    )
    other = REVERSE if chosen.direction == FORWARD else FORWARD
    reverse = summary(klom_rows(unlearned, gold, preset=preset, direction=other))
    cells = chosen.bins + chosen.empty
    result.extra.update(
        reverse=reverse[chosen.headline],
        ceiling=math.log((1 + cells * EPS) / EPS),
        underpowered=float(min(len(unlearned), len(gold)) < POWERED and cells >= 20),
    )
    return result


def klom_rows(
    unlearned: FloatArray, gold: FloatArray, *, preset: str = "default", direction: str | None = None
) -> FloatArray:
    """KLoM of every row.

    Args:
        unlearned: [models_u, rows] margins, nats, finite.
        gold: [models_g, rows] margins, nats, finite.
        preset: a key of PRESETS.
        direction: "unlearned||gold" or "gold||unlearned"; None takes the preset's.

    Returns:
        [rows] float64, nats; NaN only in presets that drop the maximum, where a side loses all its models.

    Raises:
        ConfigError: unknown preset or direction.

    Example:
        >>> klom_rows(np.zeros((3, 1)), np.zeros((5, 1))).tolist()
        [0.0]
    """
    check("preset", preset, ", ".join(PRESETS), preset in PRESETS)
    chosen = PRESETS[preset]
    direction = direction or chosen.direction
    check("direction", direction, f"{FORWARD} or {REVERSE}", direction in {FORWARD, REVERSE})
    first, second = (unlearned, gold) if direction == FORWARD else (gold, unlearned)
    rows = first.shape[1]
    step = max(1, BLOCK // (len(first) + len(second)))
    out = np.empty(rows)
    for at in range(0, rows, step):
        block = slice(at, at + step)
        out[block] = _block(first[:, block].astype(np.float64), second[:, block].astype(np.float64), chosen)
    return out


def _block(first: FloatArray, second: FloatArray, preset: Preset) -> FloatArray:
    """KL(first || second) per row of one block of [models, rows] float64 copies."""
    first = np.clip(first, -CLIP, CLIP)
    if preset.clip == "both":
        second = np.clip(second, -CLIP, CLIP)
    low = np.minimum(first.min(axis=0), second.min(axis=0))
    high = np.maximum(first.max(axis=0), second.max(axis=0))
    if preset.fixed:
        low, high = np.full_like(low, -CLIP), np.full_like(high, CLIP)
    flat = high == low
    edges = np.linspace(low, np.where(flat, low + 1, high), preset.bins + 1)  # [bins + 1, rows]
    p, q = (counts(side, edges, drop_max=preset.drop_max) for side in (first, second))
    divergence = _divergence(p, q, preset)
    return divergence if preset.widen else np.where(flat, np.nan, divergence)


def counts(values: FloatArray, edges: FloatArray, *, drop_max: bool = False) -> npt.NDArray[np.intp]:
    """Histogram of every row with its own equal bins, bin for bin what `numpy.histogram` gives.

    Args:
        values: [models, rows] float64 within the edges.
        edges: [bins + 1, rows] increasing, from `numpy.linspace`.
        drop_max: whether values on the last edge are lost instead of belonging to the last bin.

    Returns:
        [rows, bins] number of models.

    Example:
        >>> counts(np.array([[0.0], [0.5], [1.0]]), np.linspace([0.0], [1.0], 3)).tolist()
        [[1, 2]]
    """
    bins, rows = len(edges) - 1, values.shape[1]
    low, width = edges[0], edges[-1] - edges[0]
    place = (values - low) * (bins / width)
    index = place.astype(np.intp)
    slack = 1e-6 + 1e-13 * bins * np.maximum(np.abs(low), np.abs(edges[-1])) / width
    models, columns = np.nonzero(np.abs(place - np.rint(place)) < slack)  # rounding decides only next to an edge
    near, guess = values[models, columns], np.minimum(index[models, columns], bins)
    guess -= near < edges[guess, columns]
    guess += near >= edges[np.minimum(guess + 1, bins), columns]
    index[models, columns] = np.minimum(guess, bins)
    index += np.arange(rows) * (bins + 1)  # the last edge is a bin of its own at first
    found = np.bincount(index.ravel(), minlength=rows * (bins + 1)).reshape(rows, bins + 1)
    if not drop_max:
        found[:, -2] += found[:, -1]
    return found[:, :-1]


def _divergence(p_counts: npt.NDArray[np.intp], q_counts: npt.NDArray[np.intp], preset: Preset) -> FloatArray:
    """KL in nats from [rows, bins] counts, with the preset's floor and normalisation."""
    with np.errstate(invalid="ignore"):  # a side that lost all its models gives 0 / 0 = NaN
        p = p_counts / p_counts.sum(axis=1, keepdims=True)
        q = q_counts / q_counts.sum(axis=1, keepdims=True)
    if preset.floor == "add":
        p, q = p + EPS, q + EPS
    elif preset.floor == "all":
        q = np.maximum(q, EPS)
    else:
        q = np.where(p > 0, np.maximum(q, EPS), q)
    if preset.renormalise:
        q = q / (q.sum(axis=1, keepdims=True) + preset.empty * EPS)
    return np.asarray(rel_entr(p, q).sum(axis=1))
