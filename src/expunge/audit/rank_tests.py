"""Rank tests: do the rows' margins of unlearned and of gold models come from one law? Tests and distances.

Source:     standard two-sample tests (see `two_sample`); Benjamini & Hochberg 1995 over rows.
Objective:  |AUC - 1/2|, KS distance and |log(v_u / v_g)| per row; three p-values per row, one family a split.
Deviations: none. All three are needed: outputs with half of gold's spread have AUC 1/2; KS and variance see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins, estimate
from expunge.audit.jackknife import FloatArray
from expunge.audit.loo import flag
from expunge.audit.two_sample import brown_forsythe_p, ks_p, mann_whitney_p, ranks
from expunge.errors import ShapeError, check

LEAST = {"unlearned": 3, "gold": 4, "original": 2, "heldout": 3}
POWERED = 64  # models a side that see a shift of half a gold sd in 79% of rows; 256 for a quarter
FLOOR = 1e-6  # smallest sd, as a fraction of gold's median sd over rows
TINY = 1e-12  # nats; the floor where gold never varies on any row
TESTS = ("auc", "ks", "variance")


@dataclass(frozen=True, eq=False)
class RankTests:
    """Result of `rank_tests`.

    Args:
        auc: Estimate of |AUC - 1/2|, in [0, 1/2]; extra `signed` is the mean of AUC - 1/2 over rows.
        ks: Estimate of the Kolmogorov-Smirnov distance, in [0, 1].
        variance: Estimate of |log(v_u / v_g)|; extra `signed` is the median of the log ratio over rows.
        p: test -> [rows] p-value; NaN where too few originals stand behind the unlearned models.
        flagged: test -> indices of the rows that Benjamini-Hochberg flags, over all tests of all rows together.
        tests: size of that family.
        tested: unlearned models behind the p-values: one for each original.
        alpha: false discovery rate.
    """

    auc: Estimate
    ks: Estimate
    variance: Estimate
    p: dict[str, FloatArray]
    flagged: dict[str, npt.NDArray[np.intp]]
    tests: int
    tested: int
    alpha: float

    def to_json(self, *, rows: bool = False) -> dict[str, Any]:
        """Plain dict for `json.dumps`; p-values and flagged rows are personal data and only there if `rows`."""
        plain: dict[str, Any] = {name: getattr(self, name).to_json() for name in TESTS}
        plain["flagged"] = {name: found.tolist() if rows else len(found) for name, found in self.flagged.items()}
        plain |= {"tests": self.tests, "tested": self.tested, "alpha": self.alpha}
        if rows:
            return plain | {"p": {name: None if np.isnan(p).any() else p.tolist() for name, p in self.p.items()}}
        for name in TESTS:
            del plain[name]["rows"]
        return plain


def rank_tests(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    heldout: FloatArray | None = None,
    alpha: float = 0.05,
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> RankTests:
    """Three tests per row that its margins follow gold's law, and the three distances behind them.

    Args:
        unlearned: [models_u, rows] margins, nats, of one split; 64 models advised.
        gold: [models_g, rows] margins, nats; need not be as many.
        original: [models_o, rows] margins, nats, or None: where the audit starts.
        heldout: [models_h, rows] margins of gold models kept for the null, or None.
        alpha: false discovery rate over the rows of this split, in (0, 1).
        seed: of the splits behind the null.
        groups: [models_u] id of the original behind each unlearned model: the p-values take the first of each.

    Returns:
        RankTests: Estimates, each P95 over rows, 0 = gold, with a null above 0 that depends on the number of
        models; extra `underpowered` (1 below 64 models a side) and those of `estimate`.

    Raises:
        ConfigError: alpha outside (0, 1). ShapeError, NeedsError: see `check_margins`.

    Source: see the head of the file.

    Example:
        >>> gold = np.arange(12.0)[:, None]
        >>> found = rank_tests(gold[:8] + 40, gold, None, seed=0)
        >>> found.auc.value, found.flagged["auc"].tolist()
        (0.5, [0])
    """
    check("alpha", alpha, "in (0, 1)", 0 < alpha < 1)
    check_margins(unlearned, gold, original, heldout, least=LEAST)
    if groups is not None and groups.shape != (len(unlearned),):
        raise ShapeError(f"groups: expected one id per unlearned model ({len(unlearned)}), got {groups.shape}")
    remembered = _Remembered()
    measures = {"auc": remembered.auc, "ks": remembered.ks, "variance": variance_rows}
    found = {
        name: estimate(f"rank_{name}", per_row, unlearned, gold, original, heldout, seed=seed, groups=groups)
        for name, per_row in measures.items()
    }
    for one in found.values():
        one.extra["underpowered"] = float(min(len(unlearned), len(gold)) < POWERED)
    found["auc"].extra["signed"] = float(ranks(unlearned, gold).auc.mean() - 0.5)
    found["variance"].extra["signed"] = float(np.median(log_variance_ratio(unlearned, gold)))
    chosen = np.arange(len(unlearned)) if groups is None else np.sort(np.unique(groups, return_index=True)[1])
    p = p_values(unlearned[chosen], gold)
    family = flag(np.concatenate([p[name] for name in TESTS]), alpha).reshape(len(TESTS), -1)
    flagged = {name: np.flatnonzero(one) for name, one in zip(TESTS, family, strict=True)}
    return RankTests(**found, p=p, flagged=flagged, tests=family.size, tested=len(chosen), alpha=alpha)


class _Remembered:
    """AUC and KS from one sort: `estimate` asks for the same models in the same order for both."""

    def __init__(self) -> None:
        self._ks: list[FloatArray] = []

    def auc(self, candidate: FloatArray, reference: FloatArray) -> FloatArray:
        found = ranks(candidate, reference)
        self._ks.append(found.ks)
        return np.asarray(np.abs(found.auc - 0.5))

    def ks(self, candidate: FloatArray, reference: FloatArray) -> FloatArray:
        return self._ks.pop(0)


def p_values(unlearned: FloatArray, gold: FloatArray) -> dict[str, FloatArray]:
    """The p-values of the three tests for every row.

    Args:
        unlearned: [models_u, rows] margins, nats, of independent models.
        gold: [models_g, rows] margins, nats.

    Returns:
        `auc`, `ks`, `variance`: [rows] each; NaN with fewer than 3 unlearned models.

    Example:
        >>> sorted(p_values(np.ones((3, 1)), np.ones((4, 1))).items())[0][1].tolist()
        [1.0]
    """
    ours, golds = len(unlearned), len(gold)
    if ours < LEAST["unlearned"]:
        return {name: np.full(gold.shape[1], np.nan) for name in TESTS}
    found = ranks(unlearned, gold)
    p = (mann_whitney_p(found, ours, golds), ks_p(found.ks, ours, golds), brown_forsythe_p(unlearned, gold))
    return dict(zip(TESTS, p, strict=True))


def variance_rows(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """|log(v_u / v_g)| of every row [models, rows] -> [rows].

    Example:
        >>> variance_rows(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]])).round(3).tolist()
        [1.386]
    """
    return np.abs(log_variance_ratio(unlearned, gold))


def log_variance_ratio(unlearned: FloatArray, gold: FloatArray) -> FloatArray:
    """log(v_u / v_g) of every row, variances with n - 1 and a floor, so that a constant side stays finite.

    Args:
        unlearned: [models_u >= 2, rows] margins, nats.
        gold: [models_g >= 2, rows] margins, nats; sets the floor.

    Returns:
        [rows] float64, signed.

    Example:
        >>> float(log_variance_ratio(np.zeros((3, 1)), np.array([[0.0], [1.0], [2.0]]))[0].round(2))
        -27.63
    """
    ours, golds = (side.std(axis=0, ddof=1, dtype=np.float64) for side in (unlearned, gold))
    floor = max(FLOOR * float(np.median(golds)), TINY)
    return np.asarray(2 * np.log(np.maximum(ours, floor) / np.maximum(golds, floor)))
