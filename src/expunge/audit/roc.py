"""ROC: what an attack that ranks rows by a score achieves: AUC, true positives at few false ones, balanced accuracy.

Source:     Carlini et al., S&P 2022: an attack is judged at low false-positive rates, not by its AUC alone.
Objective:  TPR@f = share of members above every threshold that at most f of the non-members reach.
Deviations: none; too few non-members for a rate is an error, not a number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate
from expunge.audit.jackknife import FloatArray
from expunge.audit.per_model import gap_to_gold
from expunge.audit.population_attack import auc, threshold
from expunge.errors import NeedsError, ShapeError, check

ENOUGH = 10  # non-members per false positive that a rate allows: n >= ENOUGH / rate
STATISTICS = ("auc", "tpr", "balanced_accuracy")


def enough(nonmembers: int, rate: float) -> bool:
    """Whether there are 10 / rate non-members, so that the rate is not one or two rows.

    Args:
        nonmembers: count.
        rate: false-positive rate in [0, 1); at 0 the number says "above every non-member", and 1 is enough.

    Example:
        >>> enough(1000, 0.01), enough(1000, 0.001)
        (True, False)
    """
    return nonmembers * rate >= ENOUGH * (1 - 1e-9) if rate else nonmembers > 0


def tpr_at_fpr(members: FloatArray, nonmembers: FloatArray, *, rate: float = 0.01, strict: bool = True) -> FloatArray:
    """Share of members found by the lowest threshold that at most `rate` of the non-members reach.

    Args:
        members: [models, members] scores, higher = member.
        nonmembers: [models, non-members] scores.
        rate: false-positive rate in [0, 1); 0.01 and 0.001 are usual.
        strict: whether too few non-members for the rate are an error; if not, NaN.

    Returns:
        [models] float64 in [0, 1].

    Raises:
        ConfigError: a rate outside its range. NeedsError: fewer than 10 / rate non-members and `strict`.

    Source: Carlini et al., S&P 2022; the floor is a design choice.

    Example:
        >>> tpr_at_fpr(np.array([[5.0, 1.0]]), np.arange(4.0)[None], rate=0).tolist()
        [0.5]
    """
    check("rate", rate, "in [0, 1)", 0 <= rate < 1)
    count = nonmembers.shape[1]
    if not enough(count, rate):
        if not strict:
            return np.full(len(members), np.nan)
        floor = f"{math.ceil(ENOUGH / rate - 1e-9)}" if rate else "1"
        raise NeedsError(
            f"TPR at {rate:g} FPR needs {floor} non-members, got {count}",
            hint="attack more holdout rows, or ask for a higher rate",
        )
    allowed = math.floor(rate * count + 1e-9)
    highest = np.partition(nonmembers, count - 1 - allowed, axis=1)[:, count - 1 - allowed]
    return np.asarray((members > highest[:, None]).mean(axis=1))


def roc_curves(members: FloatArray, nonmembers: FloatArray, rates: FloatArray) -> FloatArray:
    """TPR of every model at several false-positive rates, however few non-members there are: for drawing.

    Args:
        members: [models, members] scores, higher = member.
        nonmembers: [models, non-members] scores.
        rates: [rates] in [0, 1]; below 1 / non-members the threshold is the highest non-member.

    Returns:
        [models, rates] float64 in [0, 1], rising along the rates.

    Example:
        >>> roc_curves(np.array([[5.0, 1.0]]), np.arange(4.0)[None], np.array([0.1, 0.5, 1.0])).tolist()
        [[0.5, 0.5, 1.0]]
    """
    count = nonmembers.shape[1]
    allowed = np.minimum(np.floor(rates * count + 1e-9).astype(np.intp), count)
    ranked = np.sort(nonmembers, axis=1)[:, ::-1]
    cuts = np.concatenate([ranked, np.full((len(ranked), 1), -np.inf)], axis=1)[:, allowed]  # [models, rates]
    inside = np.sort(members, axis=1)
    below = [np.searchsorted(one, cut, side="right") for one, cut in zip(inside, cuts, strict=True)]
    return np.asarray(1 - np.stack(below) / members.shape[1])


def attack_gap(
    name: str,
    scores: dict[str, FloatArray],
    forget: npt.NDArray[np.bool_],
    *,
    statistic: str = "auc",
    rate: float = 0.01,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Distance of an attack's success on the unlearned models from its mean success on gold.

    Args:
        name: the measure.
        scores: role -> [models, rows] membership scores; roles unlearned, gold, and perhaps original.
        forget: [rows] true on forget rows (members), false on holdout rows.
        statistic: auc, tpr (at `rate`) or balanced_accuracy (of the best threshold): which one is the value.
        rate: false-positive rate of `tpr`, in [0, 1).
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1], 0 = gold's mean, which need not be 1/2; `.rows` [forget rows] is the gap of the mean
        score. Extra: `auc_*`, `tpr_*` (NaN with too few holdout rows), `balanced_accuracy_*` for unlearned, gold
        and original (means over models), `rate`, `enough_nonmembers` (1 or 0), and those of `gap_to_gold`.

    Raises:
        ConfigError: unknown statistic. NeedsError: statistic "tpr" with too few holdout rows, or no forget or no
        holdout row. ShapeError: `forget` is no [rows] bool array.
    """
    check("statistic", statistic, ", ".join(STATISTICS), statistic in STATISTICS)
    check_forget(forget, scores["gold"].shape[1])
    table: dict[str, dict[str, FloatArray]] = {one: {} for one in STATISTICS}
    for role, part in scores.items():
        members, nonmembers = part[:, forget], part[:, ~forget]
        table["auc"][role] = auc(members, nonmembers)
        table["tpr"][role] = tpr_at_fpr(members, nonmembers, rate=rate, strict=statistic == "tpr")
        best = [threshold(ins, outs)[0] for ins, outs in zip(members, nonmembers, strict=True)]
        table["balanced_accuracy"][role] = np.array(best)
    rows = np.abs(scores["unlearned"][:, forget].mean(axis=0) - scores["gold"][:, forget].mean(axis=0))
    chosen = table[statistic]
    result = gap_to_gold(name, chosen["unlearned"], chosen["gold"], chosen.get("original"), rows=rows, groups=groups)
    for one, by_role in table.items():
        result.extra.update({f"{one}_{role}": float(values.mean()) for role, values in by_role.items()})
    result.extra.update(rate=rate, enough_nonmembers=float(enough(int((~forget).sum()), rate)))
    return result


def check_forget(forget: npt.NDArray[Any], rows: int) -> None:
    """Refuse a `forget` mask that is not [rows] bool, or that leaves no forget or no holdout row."""
    if forget.shape != (rows,) or forget.dtype != np.bool_:
        raise ShapeError(f"forget: expected ({rows},) bool, got {forget.shape} {forget.dtype}")
    if forget.all() or not forget.any():
        raise NeedsError(f"an attack needs forget and holdout rows, got {forget.sum()} and {(~forget).sum()}")
