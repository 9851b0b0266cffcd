"""Utility: what unlearning cost on retain and test rows, against the band that gold's seeds span.

Source:     accuracies as in every unlearning paper; calibration error with adaptive bins as in Nguyen & O'Connor
            2015; the guard against gold's seed band is our own construction.
Objective:  per model: retain accuracy; test accuracy; worst class = min over classes of (test accuracy on the class
            - mean of gold's on it); calibration = sum over bins of (share of rows) * |accuracy - mean confidence|.
            A model is beyond the band where it is worse than the gold mean by more than
            t_{N-1, 1 - alpha} * sd of gold * sqrt(1 + 1 / N), of an accuracy at least by more than ROWS rows: gold
            models that all get the same rows right do not show that another would.
Deviations: bins hold equally many test rows, ordered by confidence (equal confidences by position); the error is
            biased upwards by the number of rows, equally for gold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from expunge.audit.estimate import Estimate, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import check_logits, probabilities
from expunge.audit.per_model import gap_to_gold
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 3}
BINS = 15  # of the calibration error
TERMS = ("retain_accuracy", "test_accuracy", "worst_class", "calibration")
ROWS = 2  # of a split or class; with fewer errors than this the spread of gold is not known
SAME = 1e-6  # largest difference of probabilities between rows that counts as constant output


@dataclass(frozen=True, eq=False)
class Utility:
    """Result of `utility`.

    Args:
        terms: retain_accuracy, test_accuracy, worst_class, calibration -> Estimate of the gap to gold. Extra of
            each: `loss` (how much worse than gold's mean, below 0 = better), `loss_start` (the original's, where
            there is one), `band` (a gold model loses more with probability alpha), `beyond` (share of unlearned
            models that lose more), and those of `gap_to_gold`.
        constant: [models_u] true where outputs do not depend on the row, or one class is always called while
            gold calls several.
        destroyed: [models_u] true where test accuracy is no better than always calling the commonest class, and
            every gold model is better.
        alpha: of the band.
    """

    terms: dict[str, Estimate]
    constant: npt.NDArray[np.bool_]
    destroyed: npt.NDArray[np.bool_]
    alpha: float

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`."""
        return {
            "terms": {name: term.to_json() for name, term in self.terms.items()},
            "constant": self.constant.tolist(),
            "destroyed": self.destroyed.tolist(),
            "alpha": self.alpha,
        }


def utility(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    labels: npt.NDArray[Any],
    test: npt.NDArray[np.bool_],
    alpha: float = 0.05,
    groups: npt.NDArray[Any] | None = None,
) -> Utility:
    """Retain and test accuracy, worst class and calibration error of the unlearned models, against gold's band.

    Args:
        unlearned: [models_u, rows, classes] logits on retain and test rows together.
        gold: [models_g, rows, classes] logits; the band rests on their spread over seeds.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        labels: [rows] integers.
        test: [rows] true on test rows, false on retain rows.
        alpha: probability that one term of a gold model lies beyond its band, in (0, 0.5).
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Utility. A gold model is beyond one of the four bands with probability up to 4 alpha.

    Raises:
        ConfigError: alpha out of range. ShapeError: see `check_margins`; test is no [rows] bool.
        NeedsError: see `check_margins`; no retain or no test row.

    Source: see the head of the file.

    Example:
        >>> labels, test = np.array([0, 1, 0, 1]), np.array([True, True, False, False])
        >>> gold = np.eye(2)[labels][None].repeat(3, axis=0)
        >>> found = utility(0 * gold[:1], gold, None, labels=labels, test=test)
        >>> found.terms["test_accuracy"].value, found.constant.tolist()
        (0.5, [True])
    """
    check("alpha", alpha, "in (0, 0.5)", 0 < alpha < 0.5)
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=3)
    check_logits(gold, labels)
    if test.shape != labels.shape or test.dtype != np.bool_:
        raise ShapeError(f"test: expected {labels.shape} bool, got {test.shape} {test.dtype}")
    if test.all() or not test.any():
        raise NeedsError(f"utility: needs retain and test rows, got {(~test).sum()} and {test.sum()}")
    sides = {"unlearned": unlearned, "gold": gold, "original": original}
    right = {role: side.argmax(axis=-1) == labels for role, side in sides.items() if side is not None}
    worst = _worst_class({role: part[:, test] for role, part in right.items()}, labels[test])
    numbers = {
        "retain_accuracy": {role: part[:, ~test].mean(axis=1) for role, part in right.items()},
        "test_accuracy": {role: part[:, test].mean(axis=1) for role, part in right.items()},
        "worst_class": worst,
        "calibration": {
            role: calibration_error(side[:, test], labels[test]) for role, side in sides.items() if side is not None
        },
    }
    gaps = np.abs(right["unlearned"].mean(axis=0) - right["gold"].mean(axis=0))
    rows = {name: gaps[~test] if name == "retain_accuracy" else gaps[test] for name in TERMS}
    smallest = int(np.unique(labels[test], return_counts=True)[1].min())
    least = {
        "retain_accuracy": ROWS / (~test).sum(),
        "test_accuracy": ROWS / test.sum(),
        "worst_class": ROWS / smallest,
    }
    terms = {name: _term(name, numbers[name], rows[name], alpha, groups, least.get(name, 0.0)) for name in TERMS}
    return Utility(
        terms,
        constant(unlearned[:, test], gold[:, test]),
        _destroyed(numbers["test_accuracy"], labels[test]),
        alpha,
    )


def calibration_error(logits: FloatArray, labels: npt.NDArray[Any], *, bins: int = BINS) -> FloatArray:
    """Expected calibration error of every model, with bins of equally many rows.

    Args:
        logits: [models, rows, classes].
        labels: [rows] integers.
        bins: number of bins, >= 1; fewer where there are fewer rows.

    Returns:
        [models] float64 in [0, 1].

    Raises:
        ConfigError: bins below 1. ShapeError: see `check_logits`.

    Example:
        >>> calibration_error(np.zeros((1, 2, 2)), np.array([0, 1]), bins=1).tolist()
        [0.0]
    """
    check("bins", bins, ">= 1", bins >= 1)
    check_logits(logits, labels)
    cuts = np.linspace(0, len(labels), min(bins, len(labels)) + 1).astype(np.intp)[:-1]
    out = np.empty(len(logits))
    for model, one in enumerate(logits):
        confidence = probabilities(one).max(axis=-1)
        order = np.argsort(confidence, kind="stable")
        surplus = (one.argmax(axis=-1) == labels)[order] - confidence[order]
        out[model] = np.abs(np.add.reduceat(surplus, cuts)).sum() / len(labels)
    return out


def constant(unlearned: FloatArray, gold: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether each unlearned model ignores its input where gold does not.

    Args:
        unlearned: [models_u, rows, classes] logits.
        gold: [models_g, rows, classes] logits.

    Returns:
        [models_u] true where probabilities differ by at most 1e-6 between rows, or where one class is called on
        every row and no gold model does that.

    Example:
        >>> constant(np.zeros((1, 2, 2)), np.eye(2)[None]).tolist()
        [True]
    """
    single, single_gold = (np.ptp(side.argmax(axis=-1), axis=1) == 0 for side in (unlearned, gold))
    return np.asarray((unlearned.shape[1] > 1) & (flat(unlearned) | (single & ~single_gold.any())))


def flat(unlearned: FloatArray) -> npt.NDArray[np.bool_]:
    """[models_u] true where the probabilities of [models_u, rows, classes] logits differ by at most 1e-6 between rows.

    Example:
        >>> flat(np.zeros((1, 2, 2))).tolist()
        [True]
    """
    return np.array([np.ptp(probabilities(one), axis=0).max() <= SAME for one in unlearned])


def _worst_class(right: dict[str, FloatArray], labels: npt.NDArray[Any]) -> dict[str, FloatArray]:
    """Smallest (accuracy on a class - mean of gold's) per model; each gold against the other golds."""
    classes = np.unique(labels)
    means = {
        role: np.stack([part[:, labels == c].mean(axis=1) for c in classes], axis=1) for role, part in right.items()
    }
    gold = means["gold"]
    reference = {role: gold.mean(axis=0) for role in means}
    reference["gold"] = (gold.sum(axis=0) - gold) / (len(gold) - 1)
    return {role: (part - reference[role]).min(axis=1) for role, part in means.items()}


def _destroyed(accuracy: dict[str, FloatArray], labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """[models_u] test accuracy within two standard errors of the commonest class's share, or below, unlike gold's."""
    share = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    chance = share + 2 * math.sqrt(share * (1 - share) / len(labels))
    return np.asarray((accuracy["unlearned"] <= chance) & (accuracy["gold"].min() > chance))


def _term(
    name: str,
    numbers: dict[str, FloatArray],
    rows: FloatArray,
    alpha: float,
    groups: npt.NDArray[Any] | None,
    least: float,
) -> Estimate:
    """Gap to gold with loss and band; a larger calibration error is worse, of the others a smaller number."""
    ours, golds, before = numbers["unlearned"], numbers["gold"], numbers.get("original")
    result = gap_to_gold(name, ours, golds, before, rows=rows, groups=groups)
    sign, count = (1 if name == "calibration" else -1), len(golds)
    losses = sign * (ours - golds.mean())
    band = max(least, float(stdtrit(count - 1, 1 - alpha) * golds.std(ddof=1) * math.sqrt(1 + 1 / count)))
    result.extra.update(
        least=least, loss=float(losses.mean()), band=band, beyond=float((losses > band * (1 + 1e-9)).mean())
    )
    if before is not None:
        result.extra["loss_start"] = float(sign * (before.mean() - golds.mean()))
    return result
