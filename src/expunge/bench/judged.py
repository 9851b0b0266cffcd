"""From outputs and a policy to verdicts: the tests of the audit room, then the guard over utility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from expunge.audit.assemble import Candidate, Pool
from expunge.audit.estimate import Estimate, summary
from expunge.audit.guard import guard
from expunge.audit.method_audit import MethodAudit, Reference, method_audit
from expunge.audit.model_audit import ModelAudit, model_audit
from expunge.audit.policy import Policy

Verdict = TypeVar("Verdict", ModelAudit, MethodAudit)


def judged_model(candidate: Candidate, policy: Policy) -> ModelAudit:
    """The verdict on one unlearned model."""
    pool = candidate.pool
    fair = np.ones(len(pool.names), dtype=bool) if candidate.holdout_is_unseen else pool.names != "holdout"
    sides = candidate.margins, pool.margins["gold"], pool.margins["original"][:1]
    found = model_audit(
        *(side[:, fair] for side in sides),
        split=pool.names[fair],
        alpha=policy.alpha,
        shift_margin=policy.shift_margin,
        excess_margin=policy.excess_margin,
        least_gold=policy.gold,
    )
    return decided(found, guard(pool, candidate.logits, policy))


def method_reference(pool: Pool, policy: Policy, *, seed: int) -> Reference:
    """Gold and the originals, ready to judge methods under the policy."""
    return Reference(
        pool.margins["gold"],
        pool.margins["original"],
        pool.margins.get("heldout"),
        pool.names,
        policy.alpha,
        policy.method_margin,
        seed,
    )


def compared_method(candidate: Candidate, reference: Reference, policy: Policy) -> MethodAudit:
    """How far several models are from gold; of controls, whose utility nobody asks about."""
    return method_audit(
        candidate.margins,
        reference,
        groups=candidate.groups,
        least_gold=policy.gold,
        least_unlearned=policy.unlearned,
    )


def judged_method(candidate: Candidate, reference: Reference, policy: Policy) -> MethodAudit:
    """The verdict on a method from several of its models."""
    found = compared_method(candidate, reference, policy)
    return decided(found, guard(candidate.pool, candidate.logits, policy))


def decided(found: Verdict, against: Sequence[str]) -> Verdict:
    """The verdict once utility has been looked at: what is no use fails, unless the audit has no power."""
    if not against or not found.judged:
        return found
    return replace(found, verdict="fail", reasons=(*against, *found.reasons))


def distance_estimates(found: MethodAudit) -> dict[str, Estimate]:
    """The distances of a method audit as a measure: split -> Estimate."""
    return {split: _estimate(found, split) for split in found.distances}


def _estimate(found: MethodAudit, split: str) -> Estimate:
    one, rows = found.distances[split], found.rows[split]
    interval = one["interval"] and (one["interval"][0], one["interval"][1])
    extra = {key: one[key] for key in ("null_low", "null_high", "beyond", "margin", "resolution")}
    if split == "forget":
        extra["p"] = found.p
    return Estimate("method_distance", one["value"], interval, one["null"], one["start"], rows, summary(rows), extra)
