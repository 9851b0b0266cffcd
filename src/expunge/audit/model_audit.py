"""Model audit: is this one unlearned model a plausible draw from the gold distribution?

Source:     own construction (see `loo`); no published origin. Statistical evidence under the thresholds given,
            never proof of erasure.
Verdict:    see `verdict`.
Cannot see: outputs that vary too little or too much over runs; what other runs of the method would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from expunge.audit.distance_to_gold import Masks, distances
from expunge.audit.estimate import check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.loo import STATISTICS, centred, exact_p, flag, joint_statistics, loo_z, omnibus_p, pooled_p
from expunge.audit.per_model import rank_p
from expunge.audit.population_attack import auc
from expunge.audit.verdict import FLOOR_GOLD, blind_spots, explain, judge, obstacles, run_controls, word
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 4, "original": 1}
SPLITS = ("forget", "retain", "test", "holdout")


@dataclass(frozen=True, eq=False)
class ModelAudit:
    """Result of `model_audit`.

    Args:
        verdict: pass, fail or inconclusive.
        judged: false where too little gold, its resolution or a control ruled out any verdict beforehand.
        reasons: sentences that led to the verdict.
        limits: what this audit could not see.
        joint: split -> exact p of T1..T3 (`shift`, `size`, `largest`), `omnibus`, the same `_raw`.
        distances: name -> value, interval, margin, resolution.
        drift_p: two-sided rank p of the drift over the test rows.
        controls: `gold_passed`, `gold_accepted` (shares), `gold_needed`, `original_verdict`, `original_p`.
        flagged: split -> indices of rows that Benjamini-Hochberg flags on pooled p.
        gold_flags: [golds] number of forget rows flagged in each gold under the same rule.
        attack: loss attack of forget against holdout, from margins; empty without holdout rows.
        rows: per-row `z` (centred), `pooled_p`, `rank_p` (shown, never corrected), `t_p` (display).
        thresholds: the policy: alpha, margins, tails.
    """

    verdict: str
    judged: bool
    reasons: tuple[str, ...]
    limits: tuple[str, ...]
    joint: dict[str, dict[str, float]]
    distances: dict[str, dict[str, object]]
    drift_p: float
    controls: dict[str, object]
    flagged: dict[str, npt.NDArray[np.intp]]
    gold_flags: npt.NDArray[np.intp]
    attack: dict[str, float]
    rows: dict[str, FloatArray]
    thresholds: dict[str, object]
    mode: str = "model"

    def to_json(self, *, rows: bool = False) -> dict[str, Any]:
        """Plain dict for `json.dumps`; per-row entries are personal data and only there if `rows`."""
        plain = {name: value for name, value in vars(self).items() if name not in {"rows", "flagged"}}
        plain |= {
            "reasons": list(self.reasons),
            "limits": list(self.limits),
            "gold_flags": self.gold_flags.tolist(),
        }
        plain["flagged"] = {split: found.tolist() if rows else len(found) for split, found in self.flagged.items()}
        if rows:
            plain["rows"] = {name: value.tolist() for name, value in self.rows.items()}
        return plain


@dataclass(frozen=True, eq=False)
class _Tests:
    """Exact tests and row flags of one candidate within the stack of itself and gold."""

    joint: dict[str, dict[str, float]]
    drift_p: float
    z: FloatArray
    pooled: FloatArray
    flagged: dict[str, npt.NDArray[np.intp]]


def model_audit(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray,
    *,
    split: npt.NDArray[np.str_],
    alpha: float = 0.05,
    shift_margin: float | None = None,
    excess_margin: float | None = None,
    tails: str = "signed",
    least_gold: int = FLOOR_GOLD,
) -> ModelAudit:
    """Verdict on one unlearned model against a gold fleet, with both controls.

    Args:
        unlearned: [1, rows] margins, nats.
        gold: [models_g, rows] margins, nats; 64 advised, below 19 always inconclusive.
        original: [1, rows] margins, nats: the control that must fail.
        split: [rows] "forget", "retain", "test" or "holdout"; forget and test needed, 400 test advised.
        alpha: level of the exact test, of the intervals and of the false discovery rate, in (0, 0.5).
        shift_margin: gold sd, > 0, a policy; None derives it from gold's own 95% quantile, see `distances`: the
            question is then whether the model could be a gold model, as far as this many gold models can tell.
        excess_margin: gold variances, > 0; None derives it from gold's own 95% quantile, see `distances`.
        tails: "signed" or "abs", see `pooled_p`.
        least_gold: fewest gold models that the policy accepts, >= 19.

    Returns:
        ModelAudit.

    Raises:
        ConfigError: a threshold outside its range. ShapeError: arrays that do not fit, an unknown split, or
        several unlearned models. NeedsError: fewer than 4 gold models, or no forget or test rows.

    Source: own construction; equivalence logic: interval under the margin, not "no difference found".

    Example:
        >>> random = np.random.default_rng(0)
        >>> split = np.repeat(["forget", "test"], [40, 40])
        >>> gold = random.normal(size=(8, 80))
        >>> model_audit(gold[:1] + 3, gold[1:], gold[:1] + 3, split=split).verdict
        'inconclusive'
    """
    _check(unlearned, gold, original, split, alpha, shift_margin, excess_margin)
    masks = {name: split == name for name in SPLITS if (split == name).any()}
    candidates = np.concatenate([unlearned, original[:1]])
    far = distances(candidates, gold, masks, alpha=alpha, shift_margin=shift_margin, excess_margin=excess_margin)
    ours, start = (_tests(candidates[[k]], gold, masks, alpha=alpha, tails=tails) for k in range(2))
    golds_p, gold_flags = _gold_tests(gold, masks, alpha=alpha, tails=tails)
    p = np.concatenate([[ours.joint["forget"]["omnibus"], start.joint["forget"]["omnibus"]], golds_p])
    flags = np.concatenate([[len(ours.flagged["forget"]), len(start.flagged["forget"])], gold_flags])
    derived = shift_margin is None or excess_margin is None
    failed, passed = judge(far, p, flags, alpha, derived=derived)
    controls = run_controls(failed, passed, float(p[1]), alpha, derived=derived)
    blocked = obstacles(len(gold), far, controls, alpha, least_gold)
    verdict = "inconclusive" if blocked else word(bool(failed[0]), bool(passed[0]))
    reasons = blocked or explain(far, float(p[0]), len(ours.flagged["forget"]), alpha)
    margins_used = {
        f"{name.rpartition('.')[2]}_margin": far[name].margin for name in ("forget.shift", "forget.excess", "drift")
    }
    return ModelAudit(
        verdict=verdict,
        judged=not blocked,
        reasons=tuple(reasons),
        limits=tuple(blind_spots(len(gold), masks, far)),
        joint=ours.joint,
        distances={name: distance.to_json(0) for name, distance in far.items()},
        drift_p=ours.drift_p,
        controls=controls,
        flagged=ours.flagged,
        gold_flags=gold_flags,
        attack=_attack(candidates, gold, masks),
        rows=_row_table(unlearned[0], gold, ours),
        thresholds={"alpha": alpha, "tails": tails, **margins_used},
    )


def _check(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray,
    split: npt.NDArray[np.str_],
    alpha: float,
    shift_margin: float | None,
    excess_margin: float | None,
) -> None:
    check("alpha", alpha, "in (0, 0.5)", 0 < alpha < 0.5)
    check("shift_margin", shift_margin, "> 0 or None", shift_margin is None or shift_margin > 0)
    check("excess_margin", excess_margin, "> 0 or None", excess_margin is None or excess_margin > 0)
    check_margins(unlearned, gold, original, None, least=LEAST)
    if len(unlearned) != 1:
        raise ShapeError(f"unlearned: a model audit takes 1 model, got {len(unlearned)}")
    if split.shape != gold.shape[1:]:
        raise ShapeError(f"split: expected one name per row ({gold.shape[1]}), got {split.shape}")
    unknown = np.setdiff1d(split, SPLITS)
    if len(unknown):
        raise ShapeError(f"split: expected {', '.join(SPLITS)}, got {str(unknown[0])!r}")
    for name in ("forget", "test"):
        if not (split == name).any():
            raise NeedsError(f"model audit needs {name} rows, got none")


def _tests(candidate: FloatArray, gold: FloatArray, masks: Masks, *, alpha: float, tails: str) -> _Tests:
    """Exact joint p per split, pooled p and flags per row; the candidate is model 0 of the stack."""
    raw = loo_z(np.concatenate([candidate, gold]))
    z, drift = centred(raw, masks["test"])
    joint, flagged = {}, {}
    pooled = np.empty(z.shape[1])
    for split, mask in masks.items():
        statistics, statistics_raw = joint_statistics(z[:, mask]), joint_statistics(raw[:, mask])
        joint[split] = dict(zip(STATISTICS, exact_p(statistics)[0].tolist(), strict=True))
        joint[split]["omnibus"] = float(omnibus_p(statistics)[0])
        for name, value in zip(STATISTICS, exact_p(statistics_raw)[0].tolist(), strict=True):
            joint[split][f"{name}_raw"] = value
        joint[split]["omnibus_raw"] = float(omnibus_p(statistics_raw)[0])
        pooled[mask] = pooled_p(z[0, mask], z[1:, mask], tails=tails)
        constant = np.ptp(gold[:, mask], axis=0) == 0  # all gold agree: any other value is flagged outright
        outright = constant & (candidate[0, mask] != gold[0, mask])
        flagged[split] = np.flatnonzero(mask)[flag(pooled[mask], alpha) | outright]
    return _Tests(joint, rank_p(float(drift[0]), drift[1:]), z[0], pooled, flagged)


def _gold_tests(gold: FloatArray, masks: Masks, *, alpha: float, tails: str) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Omnibus p and number of flagged forget rows of each gold against the other golds, [golds] each."""
    z = centred(loo_z(gold), masks["test"])[0][:, masks["forget"]]
    statistics = joint_statistics(z)
    z.sort(axis=1)  # counts do not depend on the order of rows, and sorted queries are fast
    flags = flag(pooled_p(z, z, tails=tails, own=True), alpha).sum(axis=1)
    return omnibus_p(statistics), flags


def _attack(candidates: FloatArray, gold: FloatArray, masks: Masks) -> dict[str, float]:
    """AUC of the loss attack, forget against holdout; margins rank rows as the loss does."""
    if "holdout" not in masks:
        return {}
    found = auc(*(np.concatenate([candidates, gold])[:, masks[name]] for name in ("forget", "holdout")))
    unlearned, original, golds = float(found[0]), float(found[1]), found[2:]
    return {
        "unlearned": unlearned,
        "original": original,
        "gold_mean": float(golds.mean()),
        "gold_min": float(golds.min()),
        "gold_max": float(golds.max()),
        "gap": unlearned - float(golds.mean()),
        "rank_p": rank_p(unlearned, golds),
    }


def _row_table(unlearned: FloatArray, gold: FloatArray, tests: _Tests) -> dict[str, FloatArray]:
    tail = np.minimum((gold <= unlearned).sum(axis=0), (gold >= unlearned).sum(axis=0)) + 1
    return {
        "z": tests.z,
        "pooled_p": tests.pooled,
        "rank_p": np.minimum(1.0, 2 * tail / (len(gold) + 1)),
        "t_p": 2 * stdtr(len(gold) - 1, -np.abs(tests.z)),
    }
