"""What a result says in words: was there something to forget, which controls hold, what is the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.audit.assemble import Table
from expunge.audit.method_audit import MethodAudit
from expunge.audit.model_audit import ModelAudit
from expunge.audit.policy import Policy

Json = dict[str, Any]

INFORMATIVE = 5.0
"""The original should be at least this many times the null away from gold for a benchmark worth the name."""
SEEN = {"name": "no gold model saw a forget row", "holds": True, "detail": "read from every model's mask"}


def statements(tables: Mapping[str, Table], measure: str) -> list[Json]:
    """Was there something to forget, and does doing nothing look fine where people usually look?

    Args:
        tables: Entry -> its measures.
        measure: The one that the table leads with.
    """
    found = tables["original"]
    said = []
    if measure in found and found[measure]["forget"].null > 0:
        forget = found[measure]["forget"]
        ratio = forget.value / forget.null
        called = {"klom": "KLoM P95", "method_distance": "mean distance"}[measure]
        text = f"there was something to forget: original against gold, {called} on forget rows is "
        text += f"{forget.value:.2f}, its null {forget.null:.2f}, {ratio:.1f} times as much"
        said.append({"text": text, "value": ratio, "limit": f">= {INFORMATIVE:g}", "holds": ratio >= INFORMATIVE})
    if "accuracy_gap" in found:
        test = found["accuracy_gap"]["test"].extra
        better = test["unlearned_mean"] - test["gold_mean"]
        text = f"doing nothing looks fine on test rows: accuracy {test['unlearned_mean']:.3f}, "
        text += f"gold {test['gold_mean']:.3f}"
        said.append({"text": text, "value": better, "limit": ">= -0.01", "holds": better >= -0.01})
    return said


def method_verdict(audits: Mapping[str, MethodAudit], policy: Policy) -> Json:
    """The verdict of a single method; of several, that each has its own, or what kept all of them from one."""
    first = next(iter(audits.values()))
    blocked = not any(audit.judged for audit in audits.values())
    state, reasons = first.verdict, list(first.reasons)
    if len(audits) > 1:
        state = "inconclusive" if blocked else "measured"
        reasons = reasons if blocked else [f"Each method has a verdict of its own: {_counted(audits)}."]
    numbers = f"{first.models['ours']} gold models against {first.models['golds']} others"
    return {
        "state": state,
        "policy": named(policy),
        "reasons": reasons,
        "controls": [*_controls(first, f"of the choices of {numbers}"), SEEN],
    }


def _counted(audits: Mapping[str, MethodAudit]) -> str:
    words = [audit.verdict for audit in audits.values()]
    return ", ".join(f"{words.count(word)} {word}" for word in ("pass", "fail", "inconclusive") if word in words)


def entry_verdict(label: str, audits: Mapping[str, MethodAudit]) -> Json:
    """The verdict of one entry of a method audit; original and gold show how the controls went."""
    if label in audits:
        return {"state": audits[label].verdict, "reasons": list(audits[label].reasons)}
    first = next(iter(audits.values()))
    controls = first.controls
    if label == "original":
        return {"state": controls["original_verdict"], "reasons": [f"Control, {_p(controls['original_p'])}."]}
    holds = controls["gold_passed"] >= controls["gold_needed"]
    reason = f"Control, {controls['gold_passed']:.0%} of the choices of held-out gold pass."
    return {"state": "pass" if holds else "inconclusive", "reasons": [reason]}


def model_verdict(audit: ModelAudit, policy: Policy) -> Json:
    """The verdict of a model audit, the policy it was made under, and its controls."""
    return {
        "state": audit.verdict,
        "policy": named(policy),
        "reasons": list(audit.reasons),
        "controls": [*_controls(audit, "of the gold models, left out in turn"), SEEN],
    }


def _controls(audit: MethodAudit | ModelAudit, whose: str) -> list[Json]:
    passed, needed = (float(audit.controls[key]) for key in ("gold_passed", "gold_needed"))  # type: ignore[arg-type]
    return [
        {
            "name": "held-out gold passes",
            "holds": passed >= needed,
            "detail": f"{passed:.0%} {whose}; {needed:.0%} are needed",
        },
        {
            "name": "the original fails",
            "holds": audit.controls["original_verdict"] == "fail",
            "detail": f"verdict on the original: {audit.controls['original_verdict']}, "
            f"{_p(audit.controls['original_p'])}",
        },
    ]


def _p(value: object) -> str:
    return f"exact p {value:.3g}" if isinstance(value, float) else "too few originals for an exact test"


def named(policy: Policy) -> str:
    """A policy as a result names it."""
    return f"{policy.name}, sha256 {policy.fingerprint()[:12]}"


def not_measured(skipped: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What could not be measured and why, as sentences; once for all entries that share it.

    Args:
        skipped: Entry -> measure -> why.

    Example:
        >>> not_measured({"scrub": {"lira": "no shadow models"}, "ssd": {"lira": "no shadow models"}})
        ['not measured: lira (no shadow models)']
    """
    entries: dict[tuple[str, str], list[str]] = {}
    for entry, reasons in skipped.items():
        for measure, why in reasons.items():
            entries.setdefault((why, measure), []).append(entry)
    told: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (why, measure), who in entries.items():
        told.setdefault((why, tuple(who)), []).append(measure)
    return [
        f"not measured{'' if len(who) == len(skipped) else ' for ' + ', '.join(who)}: {', '.join(measures)} ({why})"
        for (why, who), measures in told.items()
    ]
