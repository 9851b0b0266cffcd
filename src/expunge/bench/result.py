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

from expunge.audit.assemble import SPLITS, Pool, Table, audit_method, audit_one
from expunge.audit.estimate import Estimate
from expunge.audit.jackknife import FloatArray
from expunge.audit.klom import klom_rows
from expunge.audit.margins import margins
from expunge.audit.model_audit import ModelAudit
from expunge.audit.policy import Policy
from expunge.bench.words import method_verdict, model_verdict, statements
from expunge.data import ForgetSet
from expunge.errors import NeedsError
from expunge.methods import METHODS
from expunge.seeds import numpy_generator
from expunge.training import Cost, Progress, Recipe, silent

SCHEMA = 1
PACKAGES = ("expunge", "torch", "numpy", "scipy", "scikit-learn")
HOLDOUT_USED = "holdout_rows_trained_on"
"""Note of a method that trained on holdout rows: they are no non-members then, and no attack may use them."""
BINS = 60
"""Of the margin densities."""
SHOWN = 400
"""Rows of retain and test whose distances are kept; of forget, all."""
LABELS = {"original": "original (do nothing)", "gold": "gold (held out)"}

LIMITS = (
    "black-box outputs only: no weights, gradients or activations were attacked",
    "no likelihood-ratio attack (LiRA, U-LiRA, RMIA) and no epsilon bound",
    "near duplicates of forget rows that stay in retain are in gold too",
    "what preprocessing was fitted on (means, scales, categories) held the forget rows, for gold too",
)
NO_VERDICT = "no verdict: this is a measurement, not a decision under a policy"

Json = dict[str, Any]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What was asked, for the top of a result."""

    title: str
    command: str
    """What a person would type to run it again."""
    seed: int
    recipe: Recipe
    forget: ForgetSet | None
    """None where positions were given and no text form is known."""
    ids: tuple[str, ...]
    """`[rows]` of training, holdout and test."""
    retraining: float
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


def check_classes(recipe: Recipe) -> None:
    """Audits read logits: refuse other tasks before anything is trained."""
    if recipe.task.kind != "classification":
        raise NeedsError(
            f"recipe {recipe.name}: audits need a classification task, got {recipe.task.kind}",
            hint="compare errors on forget rows with gold's yourself; no measure here reads real-valued outputs",
        )


def method_result(head: Head, pool: Pool, outcomes: Mapping[str, Outcome], progress: Progress = silent) -> Json:
    """Audit every method, the original and held-out gold, and put everything into one result."""
    heldout = pool.gold if pool.heldout is None else pool.heldout
    sides: dict[str, FloatArray] = {"original": pool.original}
    sides |= {label: outcome.logits for label, outcome in outcomes.items()}
    sides["gold"] = heldout
    tables: dict[str, Table] = {}
    for done, (label, logits) in enumerate(sides.items()):
        progress("audit", done, len(sides))
        tables[label] = audit_method(pool, logits, seed=head.seed)
        if label in outcomes and HOLDOUT_USED in outcomes[label].notes:
            del tables[label]["population_attack"]
    progress("audit", len(sides), len(sides))
    nulls = {
        split: klom_rows(_margins(heldout, pool, pool.splits[split]), _margins(pool.gold, pool, pool.splits[split]))
        for split in SPLITS
    }
    distances = {
        split: {label: table["klom"][split].rows for label, table in tables.items() if label != "gold"}
        for split in SPLITS
    }
    return {
        **_head(head, pool, "method"),
        "models": {
            "unlearned": len(pool.original),
            "gold": len(pool.gold),
            "heldout": len(heldout),
            "original": len(pool.original),
        },
        "verdict": method_verdict(tables),
        "statements": statements(tables),
        "entries": [
            _entry(label, tables[label], pool, logits, outcomes.get(label), head) for label, logits in sides.items()
        ],
        "densities": _densities(pool, sides),
        "per_row": _per_row(head, pool, "klom", "nats", distances, nulls),
        "limits": [
            *LIMITS,
            *_looked_at_holdout(outcomes),
            "no verdict: this is a measurement, not a decision under a policy",
        ],
    }


def model_result(head: Head, pool: Pool, outcome: Outcome, audit: ModelAudit, policy: Policy) -> Json:
    """One unlearned model beside the original and gold, under the verdict of its model audit."""
    sides = {"original": pool.original[:1], "unlearned": outcome.logits, "gold": pool.gold}
    tables = {label: audit_one(pool, sides[label], seed=head.seed) for label in ("original", "unlearned")}
    if HOLDOUT_USED in outcome.notes:
        del tables["unlearned"]["population_attack"]
    distances = {split: {label: table["row_z"][split].rows for label, table in tables.items()} for split in SPLITS}
    gold_z = {split: np.full(len(pool.splits[split]), tables["unlearned"]["row_z"][split].null) for split in SPLITS}
    entries = [
        _entry("original", tables["original"], pool, sides["original"], None, head),
        {
            **_entry("unlearned", tables["unlearned"], pool, outcome.logits, outcome, head),
            "role": "unlearned",
            "label": outcome.method,
        },
        {**_entry("gold", {}, pool, pool.gold, None, head), "label": "gold"},
    ]
    return {
        **_head(head, pool, "model"),
        "models": {"unlearned": 1, "gold": len(pool.gold), "heldout": 0, "original": 1},
        "verdict": model_verdict(audit, policy),
        "statements": [],
        "entries": entries,
        "densities": _densities(pool, sides),
        "per_row": _per_row(head, pool, "row_z", "gold standard deviations", distances, gold_z),
        "limits": [*LIMITS, *_looked_at_holdout({outcome.method: outcome}), *audit.limits],
        "audit": audit.to_json(),
        "policy": policy.to_json(),
    }


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
            "recipe": head.recipe.name,
            "data": head.recipe.data,
            "forget": head.forget.text if head.forget else f"{len(pool.splits['forget'])} given rows",
            "forget_seed": head.forget.seed if head.forget else None,
            "rows": {split: len(at) for split, at in pool.splits.items()},
        },
        "retraining": {
            "visits": _retraining_visits(head, pool),
            "seconds": None if math.isnan(head.retraining) else head.retraining,
        },
    }


def _retraining_visits(head: Head, pool: Pool) -> int:
    return head.recipe.epochs * len(pool.splits["retain"])


def _entry(label: str, table: Table, pool: Pool, logits: FloatArray, outcome: Outcome | None, head: Head) -> Json:
    known = METHODS.get(outcome.method) if outcome else None
    return {
        "name": label,
        "label": LABELS.get(label, label),
        "role": "method" if outcome else "control",
        "paper": known.paper if known else "",
        "settings": outcome.settings if outcome else {},
        "accuracy": {split: _accuracy(pool, logits, split) for split in SPLITS},
        "measures": {
            name: {split: _without_rows(estimate) for split, estimate in splits.items()}
            for name, splits in table.items()
        },
        "cost": _cost(outcome.costs, _retraining_visits(head, pool)) if outcome else None,
        "notes": outcome.notes if outcome else {},
    }


def _without_rows(estimate: Estimate) -> Json:
    return {key: value for key, value in estimate.to_json().items() if key not in ("rows", "name")}


def _accuracy(pool: Pool, logits: FloatArray, split: str) -> Json:
    """Mean over models, with a 95 % normal interval over models where there are several."""
    at = pool.splits[split]
    scores = (logits[:, at].argmax(-1) == pool.labels[at]).mean(1)
    mean = float(scores.mean())
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


def _margins(logits: FloatArray, pool: Pool, at: Positions) -> FloatArray:
    return margins(logits[:, at], pool.labels[at])


def _densities(pool: Pool, sides: Mapping[str, FloatArray]) -> Json:
    """Margins of all models and rows of each split, as densities over bins around original and gold."""
    return {split: _density(pool, sides, pool.splits[split]) for split in SPLITS}


def _density(pool: Pool, sides: Mapping[str, FloatArray], at: Positions) -> Json:
    values = {label: _margins(logits, pool, at).ravel() for label, logits in sides.items()}
    ends = np.array([np.percentile(values[label], [0.5, 99.5]) for label in ("original", "gold")])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    around = 0.3 * (high - low) + 1e-6  # a broken model's margins lie far out; they are counted in the last bins
    edges = np.linspace(low - around, high + around, BINS + 1)
    return {
        "edges": edges.tolist(),
        "density": {
            label: np.histogram(np.clip(side, edges[0], edges[-1]), edges, density=True)[0].tolist()
            for label, side in values.items()
        },
    }


def _per_row(
    head: Head,
    pool: Pool,
    measure: str,
    unit: str,
    distances: Mapping[str, Mapping[str, FloatArray]],
    nulls: Mapping[str, FloatArray],
) -> Json:
    """Distances of every forget row and of a random sample of the others."""
    result: Json = {"measure": measure, "unit": unit}
    for split in SPLITS:
        at = pool.splits[split]
        shown = np.arange(len(at))
        if split != "forget" and len(at) > SHOWN:
            draw = numpy_generator(head.seed, f"shown/{split}")
            shown = np.sort(draw.choice(len(at), SHOWN, replace=False))
        result[split] = {
            "ids": [head.ids[row] for row in at[shown]],
            "labels": pool.labels[at[shown]].tolist(),
            "values": {label: rows[shown].tolist() for label, rows in distances[split].items()},
            "null": nulls[split][shown].tolist(),
        }
    return result
