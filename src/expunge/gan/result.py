"""The result of an audit of generators as plain data, kind "gan": `report/gan_result.py` describes every part."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from expunge.gan.candidate import Candidate, by_net, median_cost
from expunge.gan.fit import TrainedPair
from expunge.gan.gallery import grids, swaps
from expunge.gan.goals import statements, steps_of
from expunge.gan.measure_table import MEASURES
from expunge.gan.measures import Numbers, Yardstick, quick
from expunge.gan.problem import GanProblem
from expunge.gan.verdict import Scored, auc_error, scored, share_error, verdict
from expunge.gan.work import measured
from expunge.store import Store
from expunge.training import Progress, silent

Json = dict[str, Any]
SCHEMA = 1
KIND = "gan"
PACKAGES = ("expunge", "torch", "numpy", "scipy", "scikit-learn")
LIMITS = (
    "the classifier that measures is of the same kind as the one that a method may use, trained with another seed",
    "near duplicates of forget rows that stay in retain are in gold too",
    "what pixels are scaled by was fixed on all training rows, for gold too",
)
FEW = 2048
"""Pictures below which distances depend so much on their number that no figure from elsewhere compares."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked, for the top of a result."""

    title: str
    command: str
    seed: int
    rows_shown: bool = True
    """Whether pictures of single forget rows may be shown."""


def audit_pairs(
    asked: Asked,
    stick: Yardstick,
    gold: Sequence[TrainedPair],
    candidates: Sequence[Candidate],
    *,
    store: Store | None = None,
    progress: Progress = silent,
) -> Json:
    """Measure original, gold and every candidate, judge the first, and say it all as plain data.

    Args:
        asked: What was asked.
        stick: What pairs are held against.
        gold: At least 2, trained on retain alone.
        candidates: The first is what the verdict is about; others stand beside it.
        store: Where what was measured is kept.
        progress: Called after each pair.

    Raises:
        NeedsError: fewer than 2 golds.
    """
    problem = stick.problem
    pairs = [problem.original, *(one.pair for one in gold), *(one.made.pair for one in candidates)]
    numbers = []
    for done, pair in enumerate(pairs):
        numbers.append(measured(stick, pair, store))
        progress("measure pairs", done + 1, len(pairs))
    original, golds, ours = numbers[0], numbers[1 : len(gold) + 1], numbers[len(gold) + 1 :]
    judged = _judged(original)
    table = scored(original, golds, errors=_errors(stick, golds), judged=judged)
    by_name = {one.name: values for one, values in zip(candidates, ours, strict=True)}
    first = candidates[0]
    state, reasons, checks = verdict(table, original, golds, ours[0])
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "title": asked.title,
        "command": asked.command,
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "seed": asked.seed,
        "problem": _problem(problem, stick),
        "settings": asdict(stick.settings),
        "features": stick.judge.words(stick.reference.shape[1]),
        "drawn": stick.pictures,
        "verdict": {"state": state, "reasons": reasons, "controls": checks},
        "measures": [_line(one, by_name) for one in table],
        "entries": [_entry(one, gold) for one in candidates],
        "gold_cost": median_cost(gold),
        "grids": grids(stick, gold, candidates),
        "swaps": swaps(problem, first) if asked.rows_shown else [],
        "timeline": _timeline(stick, first, table),
        "curve": _curve(candidates, by_name, gold, judged),
        "statements": statements(table, first, by_name[first.name], gold, steps_of(problem)),
        "limits": _limits(stick),
    }


def _judged(numbers: Numbers) -> list[str]:
    """The judged measures that apply.

    Where a whole class went, membership is judged among rows of that class: against rows of all classes, the attack
    finds the class itself, of which the label of a method decides what a discriminator says.
    """
    names = [name for name, one in MEASURES.items() if one.judged and name in numbers]
    return [name for name in names if not (name == "discriminator_auc" and "class_share" in numbers)]


def _errors(stick: Yardstick, golds: Sequence[Numbers]) -> dict[str, float]:
    """Standard error of each attack's AUC and of the class's share, from the rows and pictures behind them."""
    forget, searched = len(stick.problem.forget), stick.settings.searched
    found = {"discriminator_auc": auc_error(forget, len(stick.unseen))}
    if stick.same is not None:
        found["discriminator_auc_same_class"] = auc_error(forget, len(stick.same))
        share = float(np.mean([one["class_share"] for one in golds]))
        found["class_share"] = share_error(share, stick.pictures)
    elif searched:
        found["reconstruction_auc"] = auc_error(min(forget, searched), min(len(stick.unseen), searched))
    return found


def _problem(problem: GanProblem, stick: Yardstick) -> Json:
    names = [problem.rows.classes[c] if problem.rows.classes else str(c) for c in problem.forgotten]
    asked = problem.forget_set
    return {
        "recipe": problem.recipe.name,
        "data": problem.recipe.data,
        **({"forget": asked.text} if asked else {}),
        **({"forget_seed": asked.seed} if asked and asked.random else {}),
        "mode": problem.kind,
        "classes": names,
        "rows": {
            "forget": len(problem.forget),
            "retain": len(problem.retain),
            "unseen": len(stick.unseen),
            **({"unseen of the class": len(stick.same)} if stick.same is not None else {}),
            "test": len(stick.stays),
        },
    }


def _line(one: Scored, by_name: Mapping[str, Numbers]) -> Json:
    about = MEASURES[one.name]
    return {
        "name": one.name,
        "title": about.title,
        "meaning": about.meaning,
        "unit": about.unit,
        "better": about.better,
        "judged": one.judged,
        "original": one.original,
        "gold": one.gold,
        "interval": [one.low, one.high],
        "null": one.null,
        "error": one.error or None,
        "power": one.power,
        "values": {name: values.get(one.name) for name, values in by_name.items()},
    }


def _entry(one: Candidate, gold: Sequence[TrainedPair]) -> Json:
    whole, made = median_cost(gold), one.made
    return {
        "name": one.name,
        "label": one.name,
        "role": one.role,
        "settings": made.settings,
        "notes": made.notes,
        "cost": {
            "visits": made.cost.visits,
            "seconds": made.cost.seconds,
            "share": made.cost.visits / whole["visits"],
            "ratio": whole["seconds"] / made.cost.seconds if made.cost.seconds > 0 else None,
            "by_net": by_net(made.cost),
            "steps": made.steps,
            "threads": made.cost.threads,
        },
    }


def _timeline(stick: Yardstick, one: Candidate, table: Sequence[Scored]) -> Json:
    """The measures after some steps of a method; those that need a search or a training are left out."""
    if not one.steps:
        return {}
    found = {step: quick(stick, pair) for step, pair in sorted(one.steps.items())}
    names = [line.name for line in table if all(line.name in numbers for numbers in found.values())]
    return {
        "entry": one.name,
        "steps": list(found),
        "measures": {name: [numbers[name] for numbers in found.values()] for name in names},
    }


def _curve(
    candidates: Sequence[Candidate], by_name: Mapping[str, Numbers], gold: Sequence[TrainedPair], judged: Sequence[str]
) -> list[Json]:
    """The judged measures against cost, where one method stands there at several costs."""
    methods = [one.made.method for one in candidates]
    if len(set(methods)) == len(methods):
        return []
    visits = median_cost(gold)["visits"]
    return [
        {
            "name": one.made.method,
            "visits_share": one.made.cost.visits / visits,
            "values": {name: by_name[one.name].get(name) for name in judged},
        }
        for one in candidates
    ]


def _limits(stick: Yardstick) -> list[str]:
    limits, n, width = list(LIMITS), stick.pictures, stick.reference.shape[1]
    searched = bool(stick.settings.searched) and not stick.problem.forgotten
    limits.insert(
        0,
        f"the generator was looked at by its pictures{' and by latent search' if searched else ' alone'}, the "
        "discriminator by its scores: no other attack was tried",
    )
    if stick.problem.forgotten:
        limits.append(
            "what the discriminator says of the forgotten class as a whole is shown and not judged: whoever gets the "
            "discriminator may see from it which class went"
        )
    if n < FEW:
        limits.append(f"distances rest on {n} pictures: compare them within this page alone")
    if n <= width:
        limits.append(f"{n} pictures do not span {width} features: covariances are singular")
    return limits
