"""RMIA: by what share of unrelated rows is a row beaten, when both are weighed against reference models?

Source:     Zarifzadeh, Liu, Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024.
Objective:  r_x = p(x) / P(x), p the probability of the label;  score(x) = share over z of [r_x / r_z > gamma].
            P(x) online: half the mean over references trained with x and half the mean over those without;
            offline: ((1 + a) P_out(x) + 1 - a) / 2.
Deviations: see `rmia_scores`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_finite
from expunge.audit.jackknife import FloatArray
from expunge.audit.rmia_scores import MODES, choose_a, prior, rmia_scores
from expunge.audit.roc import attack_gap
from expunge.errors import NeedsError, ProblemError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2, "references": 1}  # references: 2 to choose a; 1 to 4 are sensible
ROLES = ("forget", "holdout", "population")


def rmia(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    references: FloatArray,
    membership: npt.NDArray[np.bool_],
    split: npt.NDArray[np.str_],
    ids: npt.NDArray[Any] | None = None,
    mode: str = "offline",
    a: float | None = None,
    gamma: float = 1.0,
    statistic: str = "auc",
    rate: float = 0.01,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between the robust attack's success on the unlearned models and on gold.

    Args:
        unlearned: [models_u, rows] probability of the label, in [0, 1], on forget, holdout and population rows.
        gold: [models_g, rows] likewise.
        original: [models_o, rows] likewise, or None: where the audit starts.
        references: [references, rows] likewise, of models that are none of the above.
        membership: [references, rows] true where the reference was trained on the row.
        split: [rows] "forget" (members), "holdout" (non-members) or "population" (the z of the comparison).
        ids: [rows] ids, to make sure that no population row is attacked as well; None trusts the positions.
        mode: online or offline.
        a: of the offline mode, in [0, 1]; None chooses it by attacking the first reference, see `choose_a`.
        gamma: > 0; 1 is published.
        statistic: auc, tpr or balanced_accuracy: which one is the value.
        rate: false-positive rate of tpr, in [0, 1).
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate of the gap to gold's mean; extra: `a` (offline), and those of `attack_gap`.

    Raises:
        ConfigError: unknown option. ShapeError: arrays that do not fit, or a probability outside [0, 1].
        NeedsError: too few models, a split without rows, a row without a reference on a side that the mode
        needs. ProblemError: an id that is both attacked and in the population.

    Source: see the head of the file; gold as reference is ours.

    Example:
        >>> split = np.array(["forget", "holdout", "population", "population"])
        >>> flat, out = np.full((2, 4), 0.5), np.zeros((2, 4), dtype=bool)
        >>> known = np.array([[0.9, 0.5, 0.5, 0.5]])
        >>> rmia(known, flat, None, references=flat, membership=out, split=split, a=0.5).value
        0.5
    """
    check("mode", mode, ", ".join(MODES), mode in MODES)
    roles = {"unlearned": unlearned, "gold": gold} | ({} if original is None else {"original": original})
    for role, part in (roles | {"references": references}).items():
        _check_probabilities(role, part, len(split))
    _check_split(split, ids)
    population = split == "population"
    if mode == "offline" and a is None:
        a = choose_a(references, membership=membership, population=population, gamma=gamma)[0]
    weight = prior(references, membership=membership, population=population, mode=mode, a=0.0 if a is None else a)
    scores = {role: rmia_scores(part, weight, population=population, gamma=gamma) for role, part in roles.items()}
    forget = split[~population] == "forget"
    result = attack_gap("rmia", scores, forget, statistic=statistic, rate=rate, groups=groups)
    if mode == "offline" and a is not None:
        result.extra["a"] = a
    return result


def _check_probabilities(role: str, part: FloatArray, rows: int) -> None:
    if part.ndim != 2 or part.shape[1] != rows:
        raise ShapeError(f"{role}: expected [models, {rows}], got {part.shape}")
    if len(part) < LEAST.get(role, 1):
        raise NeedsError(f"{role}: needs at least {LEAST.get(role, 1)} models, got {len(part)}")
    check_finite(role, part)
    if part.min() < 0 or part.max() > 1:
        raise ShapeError(f"{role}: expected probabilities in [0, 1], got {part.min()}..{part.max()}")


def _check_split(split: npt.NDArray[np.str_], ids: npt.NDArray[Any] | None) -> None:
    unknown = np.setdiff1d(split, ROLES)
    if len(unknown):
        raise ShapeError(f"split: expected {', '.join(ROLES)}, got {str(unknown[0])!r}")
    for role in ROLES:
        if not (split == role).any():
            raise NeedsError(f"RMIA needs {role} rows, got none")
    if ids is None:
        return
    if ids.shape != split.shape:
        raise ShapeError(f"ids: expected one per row ({len(split)}), got {ids.shape}")
    both = np.intersect1d(ids[split == "population"], ids[split != "population"])
    if len(both):
        raise ProblemError(f"expected population rows that are not attacked, got {len(both)} on both sides: {both[:3]}")
