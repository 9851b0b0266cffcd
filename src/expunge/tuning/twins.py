"""Twins to tune on: rows that the original never saw are taught to a copy of it, and to forget them has a known gold.

Source:     own proposal on the construction of arXiv:2408.11433; see `methods/twin_problem.py`. Experimental.
Kinds:      finetune    the original trained further on its rows and the auxiliary ones: costs a few epochs
            rewind      the original as it was after half of its training, trained to the end of the recipe's
                        schedule on all of them: costs half a retraining, and needs that checkpoint
            fresh       a new model trained on all of them: costs a retraining, has the structure of the true problem;
                        one serves every forget set that asks for as many rows of the same classes
Deviations: 1. the optimiser of a rewound twin starts anew, its momentum at zero, since checkpoints hold weights alone.
            2. auxiliary rows are drawn by class alone, those of a chosen person or of rows named one by one too: a
               check says where they are told apart from the forget rows.
            3. the forget rows are retained data of every twin, so tuning reads them before they are forgotten.
Holdout:    divided by row before anything runs: auxiliary rows of every twin, rows that methods may look at (guide),
            rows that utility is measured on (check), and rows that tuning never touches (audit).
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import margins
from expunge.data import Indices, MemoryRows, Rows
from expunge.errors import NeedsError, check
from expunge.fleet import shelve
from expunge.methods.twin_problem import (
    NONE,
    auxiliary_counts,
    auxiliary_rows,
    draw_auxiliary,
    twin_model,
    twin_problem,
)
from expunge.problem import Problem
from expunge.seeds import derive, numpy_generator
from expunge.store import Contents, Store, key_of
from expunge.training import Cost, Run, fit, input_shape, predict, train_on, weights_hash
from expunge.training.cost import FORWARD_SHARE

KINDS = ("finetune", "rewind", "fresh")
EPOCHS = 30
"""Most passes of a finetuned twin."""
SHARE = 0.2
"""Of the recipe's step size, for a finetuned twin."""
LEAST_CHECK = 50
"""Rows that utility needs; 200 advised."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model shows on some rows."""

    margins: FloatArray
    """`[rows]` nats."""
    right: npt.NDArray[np.bool_]
    """`[rows]` whether the label has the largest output: of more than two classes a margin alone does not tell."""

    def __len__(self) -> int:
        return len(self.margins)


@dataclass(frozen=True, eq=False)
class Twin:
    """A twin problem in the store, with what its gold puts out."""

    problem: Problem
    """Rows are D and D_aux, forget is D_aux, holdout the guide rows, test the check rows, original the twin model."""
    model: str
    """Id of the twin model in the store."""
    gold: Seen
    """Of the original, which is this problem's gold, on forget and check rows."""
    start: Seen
    """Of the twin, on the same: where every method begins."""
    cost: Cost
    notes: dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """Holdout positions by purpose."""

    auxiliary: tuple[Indices, ...]
    """One draw a twin, disjoint."""
    guide: Indices
    check: Indices
    audit: Indices
    """Never read while tuning."""


def divide(problem: Problem, twins: int, *, seed: int) -> tuple[Parts, dict[int, int]]:
    """Divide the holdout rows; fewer twins where they, or those of a class, run out.

    Args:
        problem: Whose holdout rows.
        twins: Twins wanted, >= 1.
        seed: Of the draws.

    Returns:
        Parts, and class -> auxiliary rows that a twin needs.

    Raises:
        NeedsError: a class without holdout rows, a whole class to forget, or too few rows left to check utility on.
    """
    check("twins", twins, ">= 1", twins >= 1)
    counts = auxiliary_counts(problem, scope="class")
    drawn: list[Indices] = []
    for at in range(twins):
        avoid = np.concatenate([NONE, *drawn])
        spare = len(problem.holdout) - len(avoid) - sum(counts.values())
        if at and (spare < 3 * LEAST_CHECK or not _enough(problem, counts, avoid)):
            break
        drawn.append(draw_auxiliary(problem, counts, seed=derive(seed, "tuning/auxiliary", at), avoid=avoid))
    left = np.setdiff1d(np.arange(len(problem.holdout)), np.concatenate(drawn))
    shuffled = numpy_generator(seed, "tuning/holdout").permutation(left)
    guide, looked, audit = (np.sort(part) for part in np.array_split(shuffled, 3))
    if len(looked) < LEAST_CHECK:
        missing = 3 * (LEAST_CHECK - len(looked))
        raise NeedsError(
            f"tuning needs {LEAST_CHECK} holdout rows to check utility on, {len(looked)} are left beside the "
            f"auxiliary rows, those that methods look at, and those that an audit keeps",
            hint=f"about {missing} more holdout rows, or fewer forget rows",
        )
    return Parts(tuple(drawn), guide, looked, audit), counts


def _enough(problem: Problem, counts: dict[int, int], avoid: Indices) -> bool:
    """Whether another disjoint draw finds as many rows as the first had."""
    free = np.setdiff1d(np.arange(len(problem.holdout)), avoid)
    labels = problem.holdout.labels.numpy()[free]
    return all(int((labels == group).sum()) >= count for group, count in counts.items())


def build(
    problem: Problem, parts: Parts, counts: dict[int, int], at: int, *, kind: str, seed: int, store: Store
) -> Twin:
    """One twin, trained unless the store holds it.

    Args:
        problem: The true problem.
        parts: From `divide`.
        counts: Class -> auxiliary rows.
        at: Which of the draws.
        kind: "finetune", "rewind" or "fresh".
        seed: Root seed of the twins.
        store: Where the twin and its rows lie.

    Raises:
        NeedsError: a rewound twin is asked for, and the problem does not hold where to start.
    """
    check_kind(problem, kind)
    asked, auxiliary, copies = framed(problem, parts, counts, at, seed=seed)
    request = asked_for(problem, asked.rows, at, kind=kind, seed=seed)
    key, looked = key_of(request), asked.test
    if not store.has("model", key):
        shelve(store, asked.rows)
        model, cost, notes = _train(problem, auxiliary, asked.rows, kind, request["seed"])
        facts = {"request": request, "cost": cost.to_dict(), "notes": notes}
        store.put(key, Contents("model", facts, weights={"weights": model.state_dict()}))
    folder = store.get("model", key)
    model = folder.load_into(problem.recipe.fresh(input_shape(asked.rows), seed=0), "weights")
    notes = {**folder.facts["notes"], "auxiliary_rows": len(auxiliary), "augmented_rows": copies}
    gold, start = (look(one, auxiliary, looked) for one in (problem.original, model))
    return Twin(replace(asked, original=model), key, gold, start, Cost.from_dict(folder.facts["cost"]), notes)


def check_kind(problem: Problem, kind: str) -> None:
    """Whether a twin of that kind can be made.

    Raises:
        ConfigError: no kind is called that.
        NeedsError: the original as it was after half of its training is needed, and not kept.
    """
    check("kind", kind, ", ".join(KINDS), kind in KINDS)
    if kind == "rewind" and problem.halfway is None:
        half, epochs, name = problem.recipe.half, problem.recipe.epochs, problem.recipe.name
        raise NeedsError(
            f"kind rewind: expected the original as it was after {half} of its {epochs} epochs, which was not kept",
            hint=f"train it anew: `expunge train {name} -o RUN` keeps that, as does fit(..., halfway=True) for "
            "Problem(halfway=...); or take another --kind",
        )


def framed(
    problem: Problem, parts: Parts, counts: dict[int, int], at: int, *, seed: int
) -> tuple[Problem, MemoryRows, int]:
    """A twin problem whose twin is still to be made: the original stands for it.

    Args:
        problem: The true problem; only guide and check rows of its holdout, and the auxiliary ones, are read.
        parts: From `divide`.
        counts: Class -> auxiliary rows.
        at: Which of the draws.
        seed: Root seed of the twins.

    Returns:
        The problem, its auxiliary rows, and how many of these are copies.
    """
    auxiliary, copies = auxiliary_rows(problem, parts.auxiliary[at], counts, seed=derive(seed, "tuning/twin", at))
    guide, looked = (problem.holdout.take(part) for part in (parts.guide, parts.check))
    seen = replace(problem, holdout=guide, test=looked)  # first: the audit's rows are not even looked at
    return twin_problem(seen, auxiliary, problem.original), auxiliary, copies


def asked_for(problem: Problem, rows: Rows, at: int, *, kind: str, seed: int) -> dict[str, Any]:
    """All that decides a twin: of a fresh one neither the original nor which rows are to be forgotten does.

    Args:
        problem: The true problem.
        rows: D and D_aux.
        at: Which of the draws.
        kind: Of the twin.
        seed: Root seed of the twins.
    """
    request = {
        "twin": kind,
        "recipe": problem.recipe.fingerprint(),
        "rows": rows.fingerprint,
        "seed": derive(seed, "tuning/twin", at),
    }
    if kind == "rewind" and problem.halfway is not None:
        return {**request, "halfway": weights_hash(problem.halfway)}
    if kind == "finetune":  # its aim is the original's accuracy on the forget rows
        forget = hashlib.sha256(problem.forget.tobytes()).hexdigest()
        return {**request, "original": weights_hash(problem.original), "forget": forget}
    return request


def twin_visits(problem: Problem, added: int, kind: str) -> tuple[float, float]:
    """Least and most row visits of training one twin; they differ where a stop rule decides.

    Args:
        problem: The true problem.
        added: Auxiliary rows.
        kind: Of the twin.
    """
    rows, recipe = len(problem.rows) + added, problem.recipe
    if kind != "finetune":
        passes = recipe.epochs - (recipe.half if kind == "rewind" else 0)
        return float(passes * rows), float(passes * rows)
    one, most = (epochs * rows + FORWARD_SHARE * (len(problem.forget) + epochs * added) for epochs in (1, EPOCHS))
    return one, most


def _train(
    problem: Problem, auxiliary: MemoryRows, rows: Rows, kind: str, seed: int
) -> tuple[nn.Module, Cost, dict[str, Any]]:
    recipe = problem.recipe
    if kind == "fresh":
        trained = fit(recipe, rows, seed=seed)
        return trained.model, trained.cost, {}
    run = Run(seed, recipe.batch_size, "cpu", recipe.precision, "twin")
    if kind == "rewind":
        begun = deepcopy(problem.halfway)
        assert begun is not None  # `check_kind` has seen to it
        trained = train_on(recipe, begun, rows, np.arange(len(rows)), run, first=recipe.half)
        return trained.model, trained.cost, {}
    model, notes = twin_model(
        problem,
        auxiliary,
        run,
        epochs=EPOCHS,
        lr=SHARE * recipe.lr,
        optimizer=recipe.optimizer,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    return model, run.meter.cost(), notes


def look(model: nn.Module, *parts: Rows) -> Seen:
    """What a model shows on several rows laid end to end."""
    outputs = torch.cat([predict(model, rows) for rows in parts]).numpy()
    return seen(outputs, np.concatenate([rows.labels.numpy() for rows in parts]))


def seen(logits: FloatArray, labels: npt.NDArray[np.int64]) -> Seen:
    """What outputs `[rows, classes]` show of labels `[rows]`."""
    return Seen(margins(logits, labels), logits.argmax(axis=-1) == labels)
