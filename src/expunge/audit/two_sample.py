"""Two-sample tests of many rows at once: Mann-Whitney, Kolmogorov-Smirnov, Brown-Forsythe.

Source:     Mann & Whitney 1947; Kolmogorov-Smirnov, path counting after Hodges 1958; Brown & Forsythe 1974.
Objective:  AUC = P(unlearned > gold) + P(tie) / 2;  KS = max_t |F_u(t) - F_g(t)|;  F test on |x - median|.
Deviations: margins are compared as float32, so values that differ only beyond float32 count as ties.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, kolmogorov, ndtr

from expunge.audit.jackknife import FloatArray, IntArray

BLOCK = 1 << 18  # margins sorted at once: bounds memory and stays in cache
SMALL = 8  # models on the smaller side up to which Mann-Whitney's law is counted out, where a row has no ties
COUNTED = 10_000  # models_u * models_g up to which it is
PATHS = 1 << 19  # models_u * models_g up to which the law of KS is counted out; beyond, its limit serves


class Ranks(NamedTuple):
    """What one sort of both sides gives, [rows] each.

    Args:
        auc: P(unlearned > gold) + P(tie) / 2, in [0, 1].
        ks: largest gap between the two distribution functions, in [0, 1].
        ties: sum over runs of equal margins of length^3 - length; 0 without ties.
    """

    auc: FloatArray
    ks: FloatArray
    ties: FloatArray


def ranks(unlearned: FloatArray, gold: FloatArray) -> Ranks:
    """AUC, KS distance and ties of every row.

    Args:
        unlearned: [models_u, rows] margins, nats, finite.
        gold: [models_g, rows] margins, nats, finite.

    Returns:
        Ranks, [rows] float64 each.

    Example:
        >>> found = ranks(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]]))
        >>> float(found.auc[0]), float(found.ks[0])
        (0.875, 0.5)
    """
    ours, rows = unlearned.shape
    both, step = ours + len(gold), max(1, BLOCK // (ours + len(gold)))
    out = np.empty((3, rows))
    keys = np.empty((min(step, rows), both), dtype=np.int64)
    for at in range(0, rows, step):
        block = slice(at, at + step)
        part = keys[: len(out[0, block])]
        part[:, :ours] = _ordered(unlearned[:, block]).T * 2
        part[:, ours:] = _ordered(gold[:, block]).T * 2 + 1  # the last bit says whose margin it is
        part.sort(axis=1)
        out[:, block] = _from_sorted(part, ours)
    return Ranks(*out)


def _ordered(values: FloatArray) -> npt.NDArray[np.int64]:
    """Integers that order as the float32 values do."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)


def _from_sorted(keys: npt.NDArray[np.int64], ours: int) -> FloatArray:
    """auc, ks, ties as [3, rows] from the sorted [rows, models] keys; on a tie unlearned stands first."""
    rows, both = keys.shape
    theirs, is_gold = both - ours, keys & 1
    seen = np.cumsum(is_gold, axis=1)  # gold models up to here
    last = np.ones((rows, both), dtype=bool)  # of a run of equal margins
    last[:, :-1] = keys[:, 1:] >> 1 != keys[:, :-1] >> 1
    gap = np.abs((np.arange(1, both + 1) - seen) * theirs - seen * ours)
    wins, ties = (seen * (1 - is_gold)).sum(axis=1).astype(np.float64), np.zeros(rows)
    tied = np.flatnonzero(~last.all(axis=1))
    if len(tied):
        run = np.cumsum(last[tied], axis=1) - last[tied] + np.arange(len(tied))[:, None] * both
        length = np.bincount(run.ravel(), minlength=len(tied) * both).astype(np.float64)
        golds = np.bincount(run.ravel(), weights=is_gold[tied].ravel(), minlength=len(tied) * both)
        wins[tied] += ((length - golds) * golds).reshape(len(tied), both).sum(axis=1) / 2
        ties[tied] = (length**3 - length).reshape(len(tied), both).sum(axis=1)
    return np.stack([wins, np.where(last, gap, 0).max(axis=1), ties]) / np.array([[ours * theirs]] * 2 + [[1]])


def mann_whitney_p(found: Ranks, ours: int, theirs: int) -> FloatArray:
    """Two-sided p of every row's AUC.

    Counted out for rows without ties where a side has at most SMALL models, otherwise the normal limit with
    tie and continuity correction.

    Args:
        found: `auc` and `ties`, [rows] each.
        ours: number of unlearned models, >= 1.
        theirs: number of gold models, >= 1.

    Returns:
        [rows] p in (0, 1]; 1 where all margins of a row are equal.

    Example:
        >>> float(mann_whitney_p(ranks(np.array([[3.0], [4.0]]), np.array([[1.0], [2.0]])), 2, 2)[0].round(4))
        0.3333
    """
    pairs, both = ours * theirs, ours + theirs
    off = np.abs(found.auc - 0.5) * pairs
    spread = np.sqrt(pairs / 12 * np.maximum(both + 1 - found.ties / (both * (both - 1)), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * ndtr(-np.maximum(off - 0.5, 0) / spread)
    p = np.where(spread > 0, np.minimum(p, 1.0), 1.0)
    if min(ours, theirs) <= SMALL and pairs <= COUNTED:
        exact = _wins_tail(min(ours, theirs), max(ours, theirs))
        at = np.rint(off + pairs / 2).astype(np.intp)
        p = np.where(found.ties == 0, np.minimum(1.0, 2 * exact[at]), p)
    return np.asarray(p)


@lru_cache(maxsize=16)
def _wins_tail(few: int, many: int) -> FloatArray:
    """P(wins >= k), k = 0..few * many, when the two sides do not differ: subsets of ranks, counted by sum."""
    size = few * many + few * (few - 1) // 2 + 1
    subsets = np.zeros((few + 1, size))
    subsets[0, 0] = 1.0
    for rank in range(few + many):
        subsets[1:, rank:] += subsets[:-1, : size - rank].copy()
    law = subsets[few, few * (few - 1) // 2 :]
    return np.asarray(np.cumsum(law[::-1])[::-1] / law.sum())


def ks_p(ks: FloatArray, ours: int, theirs: int) -> FloatArray:
    """Two-sided p of every row's KS distance, exact up to PATHS pairs; with ties it is an upper bound.

    Args:
        ks: [rows] distances in [0, 1].
        ours: number of unlearned models.
        theirs: number of gold models.

    Returns:
        [rows] p in [0, 1].

    Example:
        >>> float(ks_p(np.array([1.0]), 2, 2)[0].round(4))
        0.3333
    """
    gaps, where = np.unique(np.rint(ks * ours * theirs).astype(np.intp), return_inverse=True)
    if ours * theirs > PATHS:
        return np.asarray(kolmogorov(gaps / np.sqrt(ours * theirs * (ours + theirs)))[where])
    return np.asarray(_leaving(gaps, min(ours, theirs), max(ours, theirs))[where])


def _leaving(gaps: IntArray, few: int, many: int) -> FloatArray:
    """P(a random order of both sides reaches |i * many - j * few| >= gap), one value per gap.

    The walk (i, j) goes on by one model at a time; what leaves the band is added up, so nothing cancels.
    """
    inside, left = np.zeros((len(gaps), few + 1)), np.zeros(len(gaps))
    inside[:, 0] = 1.0
    i = np.arange(few + 1)
    for step in range(few + many):
        j = step - i
        rest = few + many - step
        up = inside * np.clip(few - i, 0, few) / rest
        inside *= np.clip(many - j, 0, many) / rest
        inside[:, 1:] += up[:, :-1]
        out = np.abs(i * many - (step + 1 - i) * few) >= gaps[:, None]
        left += np.where(out, inside, 0.0).sum(axis=1)
        inside[out] = 0.0
    return np.where(gaps <= 0, 1.0, np.minimum(left, 1.0))


def brown_forsythe_p(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """The p-value of the F test that both sides are as far from their own median, for every row.

    Args:
        unlearned: [models_u >= 3, rows] margins, nats.
        gold: [models_g >= 3, rows] margins, nats.

    Returns:
        [rows] p in [0, 1]; 1 where neither side varies.

    Example:
        >>> side = np.array([[-1.0], [0.0], [1.0]])
        >>> float(brown_forsythe_p(side, side + 7)[0])
        1.0
    """
    sides = [np.abs(side - np.median(side, axis=0)) for side in (unlearned.astype(float), gold.astype(float))]
    counts, means = [len(side) for side in sides], [side.mean(axis=0) for side in sides]
    inner = sum(((side - mean) ** 2).sum(axis=0) for side, mean in zip(sides, means, strict=True))
    between = counts[0] * counts[1] / sum(counts) * (means[0] - means[1]) ** 2
    free = sum(counts) - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = between / inner * free
    return np.where(between > 0, fdtrc(1, free, ratio), 1.0)
