"""Estimate: what every measure returns, and the one place that gives interval, null and start."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray, IntArray, two_sided
from expunge.errors import NeedsError, ShapeError, check

PerRow = Callable[[FloatArray, FloatArray], FloatArray]
Models = IntArray | slice
Number = Callable[[str, Models, Models, bool], float]
"""(role, its models, gold models, repeated) -> headline; `repeated` evaluations may look at fewer rows."""

SPLITS = 20  # random halves of gold behind the split null
ROWS = 10_000  # rows behind the repeated evaluations (jackknife, split null) when there are more
QUANTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}


@dataclass(frozen=True, eq=False)
class Estimate:
    """One measure on one split of the rows: 0 = same as gold.

    Args:
        name: the measure.
        value: distance of unlearned from gold.
        interval: 95% interval over models, or None where there are too few of them.
        null: the same measure on gold against gold.
        start: the same measure on the original against gold, or None without an original.
        rows: [rows] the distance of every row.
        stats: mean, p50, p95, p99 over the finite entries of `rows`.
        extra: companions of the value, by name; each measure's docstring lists them.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    null: float
    start: float | None
    rows: FloatArray
    stats: dict[str, float]
    extra: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`: rows as a list, NaN and infinities as None."""
        plain = {key: plain_number(value) for key, value in vars(self).items() if key not in {"rows", "stats", "extra"}}
        plain["rows"] = [plain_number(value) for value in self.rows.tolist()]
        plain["stats"] = {key: plain_number(value) for key, value in self.stats.items()}
        plain["extra"] = {key: plain_number(value) for key, value in self.extra.items()}
        return plain


def plain_number(value: object) -> object:
    """What JSON knows: a tuple as a list, NaN and infinities as None, anything else as it is.

    Example:
        >>> plain_number((1.0, math.nan))
        [1.0, None]
    """
    if isinstance(value, tuple):
        return [plain_number(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_margins(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    heldout: FloatArray | None,
    *,
    least: Mapping[str, int],
    ndim: int = 2,
) -> None:
    """Refuse arrays that do not fit together.

    Args:
        unlearned: [models_u, rows] margins; with ndim=3 [models_u, rows, classes] logits. Likewise the others.
        gold: [models_g, rows].
        original: [models_o, rows] or None.
        heldout: [models_h, rows] gold models that serve the null alone, or None.
        least: smallest number of models per role.
        ndim: 2 for margins, 3 for logits.

    Raises:
        ShapeError: wrong number of dimensions, other rows or classes than gold, or an entry that is not finite.
        NeedsError: fewer models than `least` in a role.

    Example:
        >>> check_margins(np.zeros((2, 5)), np.zeros((4, 5)), None, None, least={"gold": 4})
    """
    roles = {"gold": gold, "unlearned": unlearned, "original": original, "heldout": heldout}
    for role, array in roles.items():
        if array is None:
            continue
        if array.ndim != ndim or array.shape[1:] != gold.shape[1:]:
            raise ShapeError(f"{role}: expected {ndim} dimensions [models, {gold.shape[1:]}], got {array.shape}")
        check_finite(role, array)
        if len(array) < least.get(role, 1):
            raise NeedsError(f"{role}: needs at least {least.get(role, 1)} models, got {len(array)}")
    if gold.shape[1] == 0:
        raise ShapeError(f"gold: expected at least 1 row, got {gold.shape}")


def check_finite(role: str, array: FloatArray) -> None:
    """Raise ShapeError that names the first model and row [models, rows, ...] which is not finite."""
    if np.isfinite(array).all():
        return
    where = np.argwhere(~np.isfinite(array))[0]
    place = ", ".join(f"{axis} {at}" for axis, at in zip(("model", "row", "class"), where, strict=False))
    raise ShapeError(
        f"{role}: expected finite values, got {array[tuple(where)]} at {place}",
        hint="compute margins from float32 logits, not from half-precision probabilities",
    )


def summary(rows: FloatArray) -> dict[str, float]:
    """mean, p50, p95 and p99 over the finite entries of [rows]; NaN where there is none.

    Example:
        >>> summary(np.array([1.0, 3.0, np.nan]))["mean"]
        2.0
    """
    known = rows[np.isfinite(rows)]
    if not len(known):
        return dict.fromkeys(("mean", *QUANTILES), math.nan)
    tails = np.percentile(known, list(QUANTILES.values()))
    return {"mean": float(known.mean()), **dict(zip(QUANTILES, tails.tolist(), strict=True))}


def estimate(
    name: str,
    per_row: PerRow,
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    heldout: FloatArray | None,
    *,
    headline: str = "p95",
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Value, interval, null and start of a measure that compares two sets of models row by row.

    Interval: delete-group jackknife of the headline over models of both sides, never over rows.
    Null: `heldout[:models_u]` against gold, where there are that many held-out gold models. Otherwise the split
    null: a = min(models_u, models_g // 2) random gold models against the remaining models_g - a, mean of SPLITS
    draws; its sizes differ from the value's, so `extra["matched"]` is the value at those same sizes: compare
    that with `null`. Beyond ROWS rows, jackknife and split null use a fixed random ROWS of them.

    Args:
        name: the measure.
        per_row: (candidate [models, rows, ...], gold [models, rows, ...]) -> [rows].
        unlearned: [models_u, rows, ...].
        gold: [models_g, rows, ...].
        original: [models_o, rows, ...] or None; its first models_u models give the start.
        heldout: [models_h, rows, ...] gold models that are not in `gold`, or None.
        headline: which of mean, p50, p95, p99 over rows is the value.
        seed: of the splits of gold and of the choice of rows.
        groups: [models_u] id of each unlearned model's original: the jackknife deletes whole originals.

    Returns:
        Estimate with extra `matched`, `debiased` = matched - null, `null_heldout` (1 or 0), `null_unlearned`
        and `null_gold` (models behind the null), `null_low` and `null_high` (5% and 95% of the splits, split
        null only), `start_models`, `missing_rows` (rows whose value is NaN).

    Raises:
        ConfigError: unknown headline. ShapeError: `groups` has another length than `unlearned`.

    Example:
        >>> def shift(a, b): return abs(a.mean(0) - b.mean(0))
        >>> flat = np.zeros((4, 3))
        >>> estimate("shift", shift, flat + 1, flat, None, None, seed=0).value
        1.0
    """
    check("headline", headline, "mean, p50, p95 or p99", headline in {"mean", *QUANTILES})
    if groups is not None and groups.shape != (len(unlearned),):
        raise ShapeError(f"groups: expected one id per unlearned model ({len(unlearned)}), got {groups.shape}")

    sides = {"unlearned": unlearned, "gold": gold, "original": original, "heldout": heldout}
    few = _few_rows(gold.shape[1], seed)

    def number(role: str, models: Models, reference: Models, repeated: bool) -> float:
        side, at = sides[role], few if repeated else slice(None)
        assert side is not None
        return summary(per_row(side[models][:, at], gold[reference][:, at]))[headline]

    counts = {role: len(side) for role, side in sides.items() if side is not None}
    rows = per_row(unlearned, gold)
    return from_numbers(name, rows, number, counts, headline=headline, seed=seed, groups=groups)


def from_numbers(
    name: str,
    rows: FloatArray,
    number: Number,
    counts: Mapping[str, int],
    *,
    headline: str,
    seed: int,
    groups: npt.NDArray[Any] | None,
) -> Estimate:
    """Estimate from the rows' distances and a function that gives the headline for any choice of models.

    Args:
        name: the measure.
        rows: [rows] distance of each row, of all unlearned to all gold models.
        number: (role, its models, gold models, repeated) -> headline; see `Number`.
        counts: number of models by role: unlearned, gold, and where there are any, original and heldout.
        headline: which statistic over rows is the value.
        seed: of the splits of gold.
        groups: [models_u] id of the original behind each unlearned model.
    """
    stats = summary(rows)
    value, ours, golds = stats[headline], counts["unlearned"], counts["gold"]
    half = two_sided(lambda u, g: number("unlearned", u, g, True), (ours, golds), clusters=groups)
    if counts.get("heldout", 0) >= ours:
        sizes = {"null_unlearned": float(ours), "null_gold": float(golds), "null_heldout": 1.0}
        null = {"null": number("heldout", slice(ours), slice(None), False), "matched": value, **sizes}
    else:
        null = split_null(number, ours, golds, seed=seed)
    extra = {**null, "debiased": null["matched"] - null["null"], "missing_rows": float(np.isnan(rows).sum())}
    start = None
    if "original" in counts:
        start = number("original", slice(ours), slice(None), False)
        extra["start_models"] = float(min(counts["original"], ours))
    interval = None if half is None else (value - half, value + half)
    return Estimate(name, value, interval, extra.pop("null"), start, rows, stats, extra)


def split_null(number: Number, ours: int, golds: int, *, seed: int) -> dict[str, float]:
    """Gold against gold over random splits, and the measure at the sizes of those splits.

    Args:
        number: see `from_numbers`.
        ours: number of unlearned models.
        golds: number of gold models, >= 2.
        seed: of the splits.

    Returns:
        `null`, `matched`, `null_low`, `null_high`, `null_unlearned`, `null_gold`, `null_heldout` = 0.
    """
    random = np.random.default_rng([abs(seed), 1])
    size = min(ours, golds // 2)
    nulls, matched = np.empty(SPLITS), np.empty(SPLITS)
    for split in range(SPLITS):
        order = random.permutation(golds)
        chosen = random.permutation(ours)[:size]
        nulls[split] = number("gold", order[:size], order[size:], True)
        matched[split] = number("unlearned", chosen, order[size:], True)
    low, high = np.quantile(nulls, [0.05, 0.95]).tolist()
    sizes = {"null_unlearned": float(size), "null_gold": float(golds - size), "null_heldout": 0.0}
    return {
        "null": float(nulls.mean()),
        "matched": float(matched.mean()),
        "null_low": low,
        "null_high": high,
    } | sizes


def _few_rows(count: int, seed: int) -> slice | npt.NDArray[np.intp]:
    if count <= ROWS:
        return slice(None)
    return np.sort(np.random.default_rng([abs(seed), 0]).choice(count, ROWS, replace=False))
