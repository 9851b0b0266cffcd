"""Efficacy: attacks that papers report under one name or another, for comparability only, each beside gold's value.

Source:     starting_kit: NeurIPS 2023 unlearning challenge, starting kit. svc: "MIA-efficacy" of Jia et al. 2023
            (L1-sparse) and Fan et al. 2023 (SalUn). bad_teacher: Chundawat et al. 2023, also used by SSD.
Objective:  starting_kit: cross-validated accuracy of forget against test on the loss;
            svc: trained on retain (member) against test, share of forget rows called non-member, on one feature;
            bad_teacher: the same on entropy, share of forget rows called member.
Deviations: 1. svc and bad_teacher take the exact one-dimensional threshold by default; classifier="svc" for parity.
            2. modified entropy as in its paper; public code makes a row's value depend on its batch.
            3. as many retain as test rows, the first ones, as published; starting_kit draws its own subsamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.logistic import cross_validated
from expunge.audit.margins import check_logits
from expunge.audit.per_model import gap_to_gold
from expunge.audit.population_attack import SCORES, scores, threshold
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2}
ATTACKS = ("starting_kit", "svc", "bad_teacher")
FEATURES = (*SCORES, "correctness")
CLASSIFIERS = ("threshold", "svc")
SPLITS = ("forget", "retain", "test")


def efficacy(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    labels: npt.NDArray[Any],
    split: npt.NDArray[np.str_],
    attack: str = "svc",
    feature: str = "confidence",
    classifier: str = "threshold",
    seed: int,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between a published attack's value on the unlearned models and its mean value on gold.

    Args:
        unlearned: [models_u, rows, classes] logits on forget, test and, except for starting_kit, retain rows.
        gold: [models_g, rows, classes] logits.
        original: [models_o, rows, classes] logits, or None: where the audit starts.
        labels: [rows] integers.
        split: [rows] "forget", "retain" or "test"; test rows serve as non-members, as published.
        attack: starting_kit, svc or bad_teacher.
        feature: of the svc attack: loss, confidence, entropy, modified_entropy or correctness.
        classifier: of svc and bad_teacher: threshold (exact) or svc (scikit-learn; C = 3, rbf, gamma auto).
        seed: of starting_kit's subsamples and folds.
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate in [0, 1]: |value - gold's mean value|, 0 = gold, in either direction: neither a high nor a low
        value is good by itself. `.rows` [forget rows] is the gap of the mean feature. Extra: the values as
        `unlearned_mean`, `gold_mean`, `original_mean`, and those of `gap_to_gold`.

    Raises:
        ConfigError: unknown option. ShapeError, NeedsError: see `check_margins`; a split without rows, or fewer
        than 10 forget or test rows for starting_kit.

    Source: see the head of the file; gold as reference is ours.

    Example:
        >>> split = np.repeat(["forget", "retain", "test"], 2)
        >>> logits = np.zeros((2, 6, 2))
        >>> logits[:, 2:4, 0] = 5.0
        >>> kept = logits.copy()
        >>> kept[:, :2, 0] = 5.0
        >>> efficacy(kept, logits, None, labels=np.zeros(6, int), split=split, seed=0).value
        1.0
    """
    for name, value, known in (("attack", attack, ATTACKS), ("feature", feature, FEATURES)):
        check(name, value, ", ".join(known), value in known)
    check("classifier", classifier, ", ".join(CLASSIFIERS), classifier in CLASSIFIERS)
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=3)
    check_logits(gold, labels)
    _check_split(split, len(labels), attack)
    chosen = {"starting_kit": "loss", "bad_teacher": "entropy"}.get(attack, feature)

    def attacked(values: FloatArray) -> FloatArray:
        parts = [values[:, split == name] for name in SPLITS]
        if attack == "starting_kit":
            return np.array([cross_validated(*pair, seed=seed) for pair in zip(parts[0], parts[2], strict=True)])
        members = [called_member(*three, classifier=classifier) for three in zip(*parts, strict=True)]
        return np.array([share if attack == "bad_teacher" else 1 - share for share in members])

    ours, golds = (features(side, labels, feature=chosen) for side in (unlearned, gold))
    before = None if original is None else attacked(features(original, labels, feature=chosen))
    forget = split == "forget"
    rows = np.abs(ours[:, forget].mean(axis=0) - golds[:, forget].mean(axis=0))
    return gap_to_gold(f"efficacy_{attack}", attacked(ours), attacked(golds), before, rows=rows, groups=groups)


def features(logits: FloatArray, labels: npt.NDArray[Any], *, feature: str = "confidence") -> FloatArray:
    """Feature of every model and row; a row's value needs no other row.

    Args:
        logits: [models, rows, classes] finite.
        labels: [rows] integers.
        feature: correctness (1 or 0), or a score of `population_attack`, oriented so that higher = member.

    Returns:
        [models, rows] float64.

    Raises:
        ConfigError: unknown feature.

    Example:
        >>> features(np.array([[[1.0, 0.0]]]), np.array([0]), feature="correctness").tolist()
        [[1.0]]
    """
    check("feature", feature, ", ".join(FEATURES), feature in FEATURES)
    if feature == "correctness":
        return np.asarray((logits.argmax(axis=-1) == labels).astype(np.float64))
    return scores(logits, labels, score=feature)


def called_member(forget: FloatArray, retain: FloatArray, test: FloatArray, *, classifier: str = "threshold") -> float:
    """Share of forget rows that a classifier of retain (member) against test rows calls member.

    Args:
        forget: [forget rows] feature, higher = member.
        retain: [retain rows] feature; the first ones, as many as test rows, are used.
        test: [test rows] feature.
        classifier: threshold = the cut with the best balanced accuracy on retain and test; svc = SVC(C = 3, rbf,
            gamma = 1 / features), which may cut more than once.

    Returns:
        Share in [0, 1]. Where no threshold separates anything, every row is called member.

    Example:
        >>> called_member(np.array([0.0, 3.0]), np.array([2.0, 3.0]), np.array([0.0, 1.0]))
        0.5
    """
    retain = retain[: len(test)]
    if classifier == "threshold":
        return float((forget >= threshold(retain, test)[1]).mean())
    from sklearn.svm import SVC  # here alone: importing the audit room must not load scikit-learn

    known, member = np.concatenate([retain, test])[:, None], np.repeat([1, 0], [len(retain), len(test)])
    fitted = SVC(C=3, kernel="rbf", gamma="auto").fit(known, member)
    return float((fitted.predict(forget[:, None]) == 1).mean())


def _check_split(split: npt.NDArray[np.str_], rows: int, attack: str) -> None:
    if split.shape != (rows,):
        raise ShapeError(f"split: expected one name per row ({rows}), got {split.shape}")
    unknown = np.setdiff1d(split, SPLITS)
    if len(unknown):
        raise ShapeError(f"split: expected {', '.join(SPLITS)}, got {str(unknown[0])!r}")
    for name in SPLITS:
        wanted = 10 if attack == "starting_kit" else 1
        found = int((split == name).sum())
        if found < wanted and not (attack == "starting_kit" and name == "retain"):
            raise NeedsError(f"efficacy attack {attack} needs {wanted} {name} rows, got {found}")
