"""What a result says in words: was there something to forget, which controls hold, what is the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.audit.assemble import Table
from expunge.audit.model_audit import ModelAudit
from expunge.audit.policy import Policy

Json = dict[str, Any]

INFORMATIVE = 5.0
"""The original must be at least this many times the null away from gold, or there was nothing to forget."""


def statements(tables: Mapping[str, Table]) -> list[Json]:
    """Was there something to forget, and does doing nothing look fine where people usually look?"""
    forget = tables["original"]["klom"]["forget"]
    test = tables["original"]["accuracy_gap"]["test"].extra
    ratio = forget.value / forget.null
    better = test["unlearned_mean"] - test["gold_mean"]
    return [
        {
            "text": f"there was something to forget: original against gold, KLoM P95 on forget rows is "
            f"{forget.value:.2f}, its null {forget.null:.2f}, {ratio:.1f} times as much",
            "value": ratio,
            "limit": f">= {INFORMATIVE:g}",
            "holds": ratio >= INFORMATIVE,
        },
        {
            "text": f"doing nothing looks fine on test rows: accuracy {test['unlearned_mean']:.3f}, "
            f"gold {test['gold_mean']:.3f}",
            "value": better,
            "limit": ">= -0.01",
            "holds": better >= -0.01,
        },
    ]


def method_verdict(tables: Mapping[str, Table]) -> Json:
    """Measured, or inconclusive where there was nothing to forget; no policy judges a method yet."""
    start = tables["original"]["klom"]["forget"]
    power = start.value >= INFORMATIVE * start.null
    reason = "nothing to forget: the original is hardly farther from gold than gold is from itself"
    return {
        "state": "measured" if power else "inconclusive",
        "reasons": [] if power else [reason],
        "controls": [
            {
                "name": "the original is told from gold",
                "holds": power,
                "detail": f"KLoM P95 on forget rows {start.value:.2f}, null {start.null:.2f}",
            },
            {"name": "no gold model saw a forget row", "holds": True, "detail": "read from every model's mask"},
        ],
    }


def model_verdict(audit: ModelAudit, policy: Policy) -> Json:
    """The verdict of a model audit, the policy it was made under, and its controls."""
    controls = audit.controls
    passed, needed = controls["gold_passed"], controls["gold_needed"]
    return {
        "state": audit.verdict,
        "policy": f"{policy.name}, sha256 {policy.fingerprint()[:12]}",
        "reasons": list(audit.reasons),
        "controls": [
            {
                "name": "held-out gold passes",
                "holds": bool(passed >= needed),  # type: ignore[operator]
                "detail": f"{passed:.0%} of the gold models, left out in turn; {needed:.0%} are needed",
            },
            {
                "name": "the original fails",
                "holds": controls["original_verdict"] == "fail",
                "detail": f"verdict on the original: {controls['original_verdict']}",
            },
            {"name": "no gold model saw a forget row", "holds": True, "detail": "read from every model's mask"},
        ],
    }
