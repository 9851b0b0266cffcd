"""Results as plain data, schema 1: what the report is drawn from. `report/result.py` describes every part.

`method_result` is for several unlearned models per method, `model_result` for one unlearned model.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.assemble import SPLITS, Audited, Candidate, Pool, Table, audit_method, audit_one
from expunge.audit.estimate import Estimate, plain_number
from expunge.audit.explained import explained
from expunge.audit.floors import METHOD_FLOORS
from expunge.audit.foresight import Foresight
from expunge.audit.jackknife import FloatArray
from expunge.audit.klom import klom_rows
from expunge.audit.method_audit import MethodAudit
from expunge.audit.method_distance import LEAST as DISTANCE
from expunge.audit.method_distance import row_distances
from expunge.audit.policy import Policy
from expunge.bench.drawn import densities, difficulty, epsilons, per_row, roc
from expunge.bench.ease import ease, foretellings
from expunge.bench.judged import compared_method, distance_estimates, judged_method, judged_model, method_reference
from expunge.bench.words import entry_verdict, method_verdict, model_verdict, not_measured, statements
from expunge.data import ForgetSet
from expunge.errors import NeedsError
from expunge.methods import METHODS
from expunge.training import Cost, Progress, Recipe, silent

SCHEMA = 1
PACKAGES = ("expunge", "torch", "numpy", "scipy", "scikit-learn")
HOLDOUT_USED = "holdout_rows_trained_on"
"""Note of a method that trained on holdout rows: they are no non-members then, and no attack may use them."""
LABELS = {"original": "original (do nothing)", "gold": "gold (held out)"}

BLACK_BOX = "black-box outputs only: no weights, gradients or activations were attacked"
LOOKED_INSIDE = "weights and gradients were looked at for relearning and planted marks alone, by no other attack"
LIMITS = (
    "near duplicates of forget rows that stay in retain are in gold too",
    "what preprocessing was fitted on (means, scales, categories) held the forget rows, for gold too",
)

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What was asked, for the top of a result."""

    title: str
    command: str
    """What a person would type to run it again."""
    seed: int
    recipe: str
    """Name of the recipe, or where outputs come from that were made elsewhere."""
    data: str
    forget: ForgetSet | None
    """None where positions were given and no text form is known."""
    ids: tuple[str, ...]
    """`[rows]` of training, holdout and test."""
    epochs: int = 0
    """Of one retraining; 0 where that is not known."""
    retraining: float = math.nan
    """Seconds of one retraining, run as the methods were (alone, on one thread); NaN where that is not known."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one method did."""

    method: str
    settings: Json
    logits: FloatArray
    """`[unlearned models, rows, classes]`."""
    costs: list[Cost]
    notes: Json
    groups: npt.NDArray[Any] | None = None
    """`[unlearned models]` which original each comes from; None: each from its own."""
    every: Sequence[Json] = ()
    """The notes of every model, where they are known; those above are of one, or of all of them together."""


def check_classes(recipe: Recipe) -> None:
    """Audits read logits: refuse other tasks before anything is trained."""
    if recipe.task.kind != "classification":
        raise NeedsError(
            f"recipe {recipe.name}: audits need a classification task, got {recipe.task.kind}",
            hint="compare errors on forget rows with gold's yourself; no measure here reads real-valued outputs",
        )


def method_result(
    head: Head,
    pool: Pool,
    outcomes: Mapping[str, Outcome],
    policy: Policy,
    *,
    foresight: Foresight | None = None,
    extra: Audited | None = None,
    progress: Progress = silent,
) -> Json:
    """Audit every method, the original and held-out gold, and put everything into one result.

    Args:
        head: What was asked.
        pool: Outputs to compare with.
        outcomes: Label -> what a method did.
        policy: What the verdicts demand.
        foresight: What could be seen, said before.
        extra: Measures of the only method that took its models.
        progress: Called with (what, done, total).
    """
    sides: dict[str, FloatArray] = {"original": pool.original}
    sides |= {label: outcome.logits for label, outcome in outcomes.items()}
    sides["gold"] = pool.gold if pool.heldout is None else pool.heldout
    reference = method_reference(pool, policy, seed=head.seed)
    audited: dict[str, Audited] = {}
    verdicts: dict[str, MethodAudit] = {}
    for done, (label, logits) in enumerate(sides.items()):
        progress("audit", done, len(sides))
        audited[label] = Audited({})
        if label == "gold" and pool.heldout is None:
            continue  # gold against itself says nothing: its null stands in
        candidate = _candidate(pool, logits, outcomes.get(label), head.seed)
        audited[label] = audit_method(candidate)
        if len(logits) >= DISTANCE["unlearned"]:
            found = (judged_method if label in outcomes else compared_method)(candidate, reference, policy)
            audited[label].table["method_distance"] = distance_estimates(found)
            verdicts |= {label: found} if label in outcomes else {}
        if extra and label in outcomes:
            audited[label] = Audited(audited[label].table | extra.table, audited[label].skipped | extra.skipped)
    progress("audit", len(sides), len(sides))
    said = {label: outcome.every for label, outcome in outcomes.items()}
    for label, one in foretellings(pool, said, {label: one.groups for label, one in outcomes.items()}).items():
        audited[label].table["foretold"] = {"forget": one}
    compared = [len(outcome.logits) for outcome in outcomes.values()]
    enough = pool.heldout is not None and min(*compared, len(pool.gold)) >= METHOD_FLOORS["klom"]
    measure = "klom" if enough else "method_distance"  # whose null is at the numbers compared, held-out gold or not
    nulls = {split: gold_rows(pool, split, measure) for split in SPLITS} if pool.heldout is not None else None
    shown = {label: one for label, one in audited.items() if label != "gold" and measure in one.table}
    return {
        **_head(head, pool, "method"),
        "models": {
            "unlearned": max(compared),
            "gold": len(pool.gold),
            "heldout": 0 if pool.heldout is None else len(pool.heldout),
            "original": len(pool.original),
            "shadow": 0 if pool.shadows is None else len(pool.shadows.logits),
        },
        "verdict": method_verdict(verdicts, policy),
        "power": None if foresight is None else foresight.to_json(),
        "statements": statements({label: one.table for label, one in audited.items()}, measure),
        "entries": [
            _entry(label, audited[label].table, pool, logits, outcomes.get(label), head)
            | {"verdict": entry_verdict(label, verdicts)}
            for label, logits in sides.items()
        ],
        **_drawn(head, pool, sides, audited, shown, nulls, measure, "nats", outcomes),
        "limits": [
            LOOKED_INSIDE if extra and extra.table else BLACK_BOX,
            *LIMITS,
            *_looked_at_holdout(outcomes),
            *dict.fromkeys(limit for verdict in verdicts.values() for limit in verdict.limits),
            *not_measured({label: audited[label].skipped for label in outcomes}),
        ],
        "audit": {label: verdict.to_json() for label, verdict in verdicts.items()},
        "policy": policy.to_json(),
    }


def model_result(
    head: Head,
    pool: Pool,
    outcome: Outcome,
    policy: Policy,
    *,
    foresight: Foresight | None = None,
    extra: Audited | None = None,
) -> Json:
    """One unlearned model beside the original and gold, under the verdict of its model audit; see `method_result`."""
    sides = {"original": pool.original[:1], "unlearned": outcome.logits, "gold": pool.gold}
    candidates = {
        "original": _candidate(pool, sides["original"], None, head.seed),
        "unlearned": _candidate(pool, outcome.logits, outcome, head.seed),
    }
    audited = {label: audit_one(candidate) for label, candidate in candidates.items()}
    if extra:
        ours = audited["unlearned"]
        audited["unlearned"] = Audited(ours.table | extra.table, ours.skipped | extra.skipped)
    verdict = judged_model(candidates["unlearned"], policy)
    gold_z = {
        split: np.full(len(pool.splits[split]), audited["unlearned"].table["row_z"][split].null) for split in SPLITS
    }
    entries = [
        _entry("original", audited["original"].table, pool, sides["original"], None, head),
        {
            **_entry("unlearned", audited["unlearned"].table, pool, outcome.logits, outcome, head),
            "role": "unlearned",
            "label": outcome.method,
        },
        {**_entry("gold", {}, pool, pool.gold, None, head), "label": "gold"},
    ]
    return {
        **_head(head, pool, "model"),
        "models": {
            "unlearned": 1,
            "gold": len(pool.gold),
            "heldout": 0,
            "original": 1,
            "shadow": 0 if pool.shadows is None else len(pool.shadows.logits),
        },
        "verdict": model_verdict(verdict, policy),
        "power": None if foresight is None else foresight.to_json(),
        "statements": [],
        "entries": entries,
        **_drawn(
            head, pool, sides, audited, audited, gold_z, "row_z", "gold standard deviations", {"unlearned": outcome}
        ),
        "limits": [
            LOOKED_INSIDE if extra and extra.table else BLACK_BOX,
            *LIMITS,
            *_looked_at_holdout({outcome.method: outcome}),
            *verdict.limits,
            *not_measured({outcome.method: audited["unlearned"].skipped}),
        ],
        "audit": verdict.to_json(),
        "policy": policy.to_json(),
    }


def _candidate(pool: Pool, logits: FloatArray, outcome: Outcome | None, seed: int) -> Candidate:
    unseen = outcome is None or HOLDOUT_USED not in outcome.notes
    return Candidate(pool, logits, seed, None if outcome is None else outcome.groups, unseen)


def _drawn(
    head: Head,
    pool: Pool,
    sides: Mapping[str, FloatArray],
    audited: Mapping[str, Audited],
    shown: Mapping[str, Audited],
    nulls: Mapping[str, FloatArray] | None,
    measure: str,
    unit: str,
    outcomes: Mapping[str, Outcome],
) -> Json:
    """What the figures are drawn from; an attack on holdout rows is not drawn for who trained on them."""
    fair = {
        label: side
        for label, side in sides.items()
        if label not in outcomes or HOLDOUT_USED not in outcomes[label].notes
    }
    return {
        "densities": densities(pool, sides),
        "per_row": per_row(pool, head.ids, shown, nulls, measure=measure, unit=unit, seed=head.seed),
        "roc": roc(pool, fair),
        "epsilon": epsilons(pool, head.ids, audited),
        "ease": ease(pool, audited),
        "strata": difficulty(pool, shown, None if nulls is None else nulls["forget"], measure=measure, unit=unit),
    }


def gold_rows(pool: Pool, split: str, measure: str) -> FloatArray:
    """`[rows]` of KLoM or the method distance, held-out gold against gold.

    Args:
        pool: With held-out gold.
        split: Of the rows.
        measure: klom or method_distance.
    """
    at = pool.splits[split]
    gold = pool.margins["gold"][:, at]
    heldout = pool.margins["heldout"][:, at]
    if measure == "klom":
        return klom_rows(heldout, gold)
    first = np.arange(len(heldout) + len(gold)) < len(heldout)
    return row_distances(np.concatenate([heldout, gold]), first, ~first)


def _head(head: Head, pool: Pool, kind: str) -> Json:
    return {
        "schema": SCHEMA,
        "kind": kind,
        "title": head.title,
        "command": head.command,
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "seed": head.seed,
        "problem": {
            "recipe": head.recipe,
            "data": head.data,
            "forget": head.forget.text if head.forget else f"{len(pool.splits['forget'])} given rows",
            "forget_seed": head.forget.seed if head.forget else None,
            "rows": {split: len(at) for split, at in pool.splits.items()},
        },
        "retraining": None
        if not head.epochs
        else {
            "visits": _retraining_visits(head, pool),
            "seconds": None if math.isnan(head.retraining) else head.retraining,
        },
    }


def _retraining_visits(head: Head, pool: Pool) -> int:
    return head.epochs * len(pool.splits["retain"])


def _entry(label: str, table: Table, pool: Pool, logits: FloatArray, outcome: Outcome | None, head: Head) -> Json:
    known = METHODS.get(outcome.method) if outcome else None
    return {
        "name": label,
        "label": LABELS.get(label, label),
        "role": "method" if outcome else "control",
        "paper": known.paper if known else "",
        "settings": outcome.settings if outcome else {},
        "accuracy": {split: _accuracy(pool, logits, split, outcome.groups if outcome else None) for split in SPLITS},
        "explained": _explained(pool, logits) if pool.whole else None,
        "measures": {
            name: {split: _without_rows(estimate) for split, estimate in splits.items()}
            for name, splits in table.items()
        },
        "cost": _cost(outcome.costs, _retraining_visits(head, pool)) if outcome and outcome.costs else None,
        "notes": without_rows(outcome.notes) if outcome else {},
    }


def _explained(pool: Pool, logits: FloatArray) -> Json:
    """How much of the mean change that gold brings to the forget rows an entry brings."""
    at = pool.splits["forget"]
    found = explained(*(side[:, at] for side in (logits, pool.gold, pool.original)))
    return {name: plain_number(value) for name, value in found.items()}


def without_rows(notes: Json) -> Json:
    """Notes without positions of single rows: a list becomes how long it is.

    Example:
        >>> without_rows({"easy_share": 0.5, "hard_rows": [3, 8]})
        {'easy_share': 0.5, 'hard_rows': 2}
    """
    return {name: len(value) if isinstance(value, list) else value for name, value in notes.items()}


def _without_rows(estimate: Estimate) -> Json:
    return {key: value for key, value in estimate.to_json().items() if key not in ("rows", "name")}


def _accuracy(pool: Pool, logits: FloatArray, split: str, groups: npt.NDArray[Any] | None) -> Json:
    """Mean over models, with a 95 % normal interval over originals where there are several."""
    at = pool.splits[split]
    scores = (logits[:, at].argmax(-1) == pool.labels[at]).mean(1)
    mean = float(scores.mean())
    if groups is not None:
        scores = np.array([scores[groups == one].mean() for one in np.unique(groups)])
    if len(scores) == 1:
        return {"mean": mean, "low": None, "high": None}
    half = 1.96 * float(scores.std(ddof=1)) / math.sqrt(len(scores))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _cost(costs: Sequence[Cost], retraining: int) -> Json:
    visits = float(np.mean([cost.visits for cost in costs]))
    return {
        "fraction": visits / retraining,
        "visits": visits,
        "seconds": median_seconds(costs),
        "forward": costs[0].forward,
        "backward": costs[0].backward,
    }


def median_seconds(costs: Sequence[Cost]) -> float:
    """Median wall time of several runs."""
    return float(np.median([cost.seconds for cost in costs]))


def _looked_at_holdout(outcomes: Mapping[str, Outcome]) -> list[str]:
    """A sentence where methods compared themselves with the rows that the attack takes for unseen."""
    found = [
        label
        for label, outcome in outcomes.items()
        if outcome.method in METHODS and "holdout" in METHODS[outcome.method].needs
    ]
    text = "may look at the holdout rows, which the population attack takes for rows that nobody looked at"
    return [f"{', '.join(found)} {text}"] if found else []
