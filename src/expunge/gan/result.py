"""The result of an audit of generators as plain data, kind "gan": `report/gan_result.py` describes every part."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from expunge.data import MemoryRows
from expunge.data.thumbnails import thumbnails
from expunge.gan.fit import TrainedPair
from expunge.gan.measures import MEASURES, Numbers, Yardstick, quick, shown
from expunge.gan.methods.method import UnlearnedPair
from expunge.gan.pair import Pair, drawn
from expunge.gan.problem import GanProblem
from expunge.gan.verdict import FORGETTING, Scored, auc_error, scored, share_error, verdict
from expunge.gan.work import measured
from expunge.store import Store
from expunge.training import Cost, Progress, silent
from expunge.training.stream import cut

Json = dict[str, Any]
SCHEMA = 1
KIND = "gan"
PACKAGES = ("expunge", "torch", "numpy", "scipy", "scikit-learn")
BASELINES = ("finetune, same visits",)
"""What stands beside the methods in every result."""
GRID = 60
"""Pictures in a grid: whole turns of ten labels, where a generator is asked for labels."""
MOST_SWAPS = 10
"""Substituted latents that are shown."""
LIMITS = (
    "the classifier that measures is of the same kind as the one that a method may use, trained with another seed",
    "near duplicates of forget rows that stay in retain are in gold too",
    "what pixels are scaled by was fixed on all training rows, for gold too",
)
FEW = 2048
"""Pictures below which distances depend so much on their number that no figure from elsewhere compares."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One unlearned pair in an audit."""

    name: str
    made: UnlearnedPair
    role: str = "method"
    """"method" or "baseline"."""
    steps: Mapping[int, Pair] = field(default_factory=dict)
    """The pair after some of its own steps."""


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
        "gold_cost": _median(gold),
        "grids": _grids(stick, gold, candidates),
        "swaps": _swaps(problem, first) if asked.rows_shown else [],
        "timeline": _timeline(stick, first, table),
        "curve": _curve(candidates, by_name, gold, judged),
        "statements": _statements(table, first, by_name[first.name], gold, steps_of(problem)),
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
    whole, made = _median(gold), one.made
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


def by_net(cost: Cost) -> dict[str, float]:
    """Visits of each net: forward+backward ones, plus a third of the forward-only ones.

    Example:
        >>> by_net(Cost({"generator/fake": 3}, {"generator/fake": 2, "discriminator/fake": 5}, 0.0))
        {'generator': 3.0, 'discriminator': 5.0}
    """
    nets = dict.fromkeys(role.partition("/")[0] for role in (*cost.forward, *cost.backward))
    return {
        net: Cost(
            {role: n for role, n in cost.forward.items() if role.startswith(f"{net}/")},
            {role: n for role, n in cost.backward.items() if role.startswith(f"{net}/")},
            0.0,
        ).visits
        for net in nets
    }


def _median(gold: Sequence[TrainedPair]) -> Json:
    return {
        "visits": float(np.median([one.cost.visits for one in gold])),
        "seconds": float(np.median([one.cost.seconds for one in gold])),
        "threads": gold[0].cost.threads,
    }


def _grids(stick: Yardstick, gold: Sequence[TrainedPair], candidates: Sequence[Candidate]) -> list[Json]:
    pairs = {"original": stick.problem.original, "gold": gold[0].pair}
    pairs |= {one.name: one.made.pair for one in candidates}
    count = min(GRID, stick.pictures)
    every = torch.cat([shown(stick, pair, count=count) for pair in pairs.values()])
    pictures = thumbnails(_rows(every), np.arange(len(every)))  # all at once: one scale of grey for all of them
    cuts = range(0, len(pictures), count)
    return [
        {"name": name, "pictures": pictures[at : at + count]} for name, at in zip(pairs, cuts, strict=bool(pictures))
    ]


def _swaps(problem: GanProblem, one: Candidate) -> list[Json]:
    """Pictures of the same latents before and after, and what was wanted between."""
    z, labels, wanted = one.made.swaps
    if z is None or wanted is None or not len(z):
        return []
    z, y, wanted = z[:MOST_SWAPS], None if labels is None else labels[:MOST_SWAPS], wanted[:MOST_SWAPS]
    before, after = (drawn(pair.generator, z, y) for pair in (problem.original, one.made.pair))
    pictures = thumbnails(_rows(torch.cat([before, wanted.cpu(), after])), np.arange(3 * len(z)))
    parts = [pictures[at : at + len(z)] for at in range(0, len(pictures), len(z))]
    return [{"before": a, "wanted": b, "after": c} for a, b, c in zip(*parts, strict=True)] if parts else []


def _rows(x: torch.Tensor) -> MemoryRows:
    return MemoryRows(x, torch.zeros(len(x)), ids=[str(i) for i in range(len(x))])


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
    visits = _median(gold)["visits"]
    return [
        {
            "name": one.made.method,
            "visits_share": one.made.cost.visits / visits,
            "values": {name: by_name[one.name].get(name) for name in judged},
        }
        for one in candidates
    ]


def steps_of(problem: GanProblem) -> int:
    """Steps of one gold's training."""
    return problem.recipe.epochs * len(cut(problem.retain, problem.recipe.batch_size))


def _statements(
    table: Sequence[Scored], one: Candidate, values: Numbers, gold: Sequence[TrainedPair], steps: int
) -> list[Json]:
    """What the room's own goals say of the first candidate, each with both numbers."""
    by_name, said = {line.name: line for line in table}, []
    for name in FORGETTING:
        if name not in by_name or name == "class_share" or not by_name[name].power:
            continue  # where there was nothing to forget, nothing was achieved
        ours = abs(values[name] - 0.5)
        theirs = float(np.mean([abs(value - 0.5) for value in by_name[name].gold]))
        text = (
            f"{MEASURES[name].title}, both sides: {ours:.3f} from one half, gold {theirs:.3f} (at most 0.05 more); "
            f"{values[name] - by_name[name].mean:+.3f} from gold's mean"
        )
        said.append({"text": text, "holds": ours <= theirs + 0.05})
    if "class_share" in by_name and by_name["class_share"].power:
        mean = float(np.mean(by_name["class_share"].gold))
        text = f"share of the class: {values['class_share']:.3f}, gold {mean:.3f} (at most 0.01)"
        said.append({"text": text, "holds": values["class_share"] <= 0.01})
    ratio = values["frechet"] / float(np.mean(by_name["frechet"].gold))
    said.append({"text": f"Frechet distance: {ratio:.2f} of gold's (at most 1.15)", "holds": ratio <= 1.15})
    whole, cost = _median(gold), one.made.cost
    visits = whole["visits"] / cost.visits if cost.visits else float("inf")
    seconds = whole["seconds"] / cost.seconds if cost.seconds else float("inf")
    text = (
        f"gold took {visits:.1f} times the visits and {seconds:.1f} times the seconds (at least 10): {steps:,} steps "
        f"on {whole['threads']} threads against {one.made.steps:,} on {cost.threads}"
    )
    if "classifier_seconds" in one.made.notes:
        both = whole["seconds"] / (cost.seconds + one.made.notes["classifier_seconds"])
        text += f"; with the classifier that finds the class, trained once for all requests, {both:.1f} times"
    said.append({"text": text, "holds": min(visits, seconds) >= 10})
    if "downstream_accuracy" in values:
        theirs = float(np.mean(by_name["downstream_accuracy"].gold))
        ours = values["downstream_accuracy"]
        text = f"downstream accuracy {ours:.3f}, with gold's pictures {theirs:.3f} (at most 0.01 below)"
        said.append({"text": text, "holds": ours >= theirs - 0.01})
    return said


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
