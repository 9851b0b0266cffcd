"""LDS of the estimators on handwritten digits, each beside its ceiling, its null and what it cost.

Ground truth: models of the same recipe on random halves of the training rows, several seeds each, margins of test rows.
An estimator is fitted on one model of all rows; TRAK with 50 checkpoints on 49 more halves, drawn apart from the
held-out ones. The recipes are those of the benchmark that the goals come from (TRAIS-Lab/dattri: plain descent, no
decay), without its dropout; the network has fewer rows than there, for the sake of 2 cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.figure import Figure, Options, number
from expunge.attribution.estimator import Fitted, Source
from expunge.attribution.named import configured
from expunge.attribution.subsets import train_subsets
from expunge.attribution.watched import Floats
from expunge.audit.lds import Lds, lds, split_half, summed
from expunge.data import Rows, load
from expunge.fleet import Fleet, Local
from expunge.store import Store
from expunge.tasks import Classification
from expunge.training import Recipe, fit

SUBSETS, SEEDS = 50, 4
CHECKPOINTS = 50
DIGITS = {"task": Classification(10), "lr": 0.01, "weight_decay": 0.0, "schedule": "constant", "batch_size": 64}
"""What both recipes share."""


@dataclass(frozen=True)
class Case:
    """An architecture, and which estimators are measured on it."""

    recipe: Recipe
    rows: int
    targets: int
    estimators: dict[str, float | None]
    """Text form -> the LDS to reach, if there is one."""


def decay_of(rows: int, epochs: int) -> float:
    """The weight decay that stopping so early is worth, about 1 / (lr steps): damping for what never saw a minimum."""
    return round(1 / (0.01 * epochs * -(-rows // 64)), 4)


TRAK = "trak:form=margin,dimension=512"
CASES = (
    Case(
        Recipe(name="logistic regression", model="linear", momentum=0.0, epochs=20, **DIGITS),
        rows=5000,
        targets=500,
        estimators={
            f"influence:solver=explicit,correction=none,damping={decay_of(5000, 20)}": 0.78,
            "ekfac": None,
            TRAK: None,
            f"{TRAK},checkpoints={CHECKPOINTS}": 0.66,
            "grad_dot": None,
        },
    ),
    Case(
        Recipe(name="mlp", model="mlp", arguments={"hidden": [128, 64]}, momentum=0.9, epochs=50, **DIGITS),
        rows=2000,
        targets=200,
        estimators={"ekfac": None, TRAK: None, f"{TRAK},checkpoints={CHECKPOINTS}": 0.45, "grad_dot": None},
    ),
)


def measure(options: Options) -> Iterator[Figure]:
    """Every estimator of every case; skipped where there are no files."""
    with tempfile.TemporaryDirectory() as folder, Local(options.processes) as executor:
        for case in CASES:
            kept = options.store or os.environ.get("EXPUNGE_STORE") or folder
            yield from one_case(case, Store(kept), executor)


def one_case(case: Case, store: Store, executor: Local) -> Iterator[Figure]:
    """Train what is compared with, then fit and compare."""
    splits = load(f"mnist@{case.rows}")
    rows, targets = splits.train, splits.test.take(np.arange(case.targets))
    begin = time.perf_counter()
    held = halves(case.recipe, rows, targets, SUBSETS * SEEDS, SEEDS, 0, store, executor)
    checkpoints = halves(case.recipe, rows, targets, CHECKPOINTS - 1, 1, 1, store, executor, keep_weights=True)
    source = Source(recipe=case.recipe, rows=rows, model=fit(case.recipe, rows, seed=2).model, subsets=checkpoints)
    trained = time.perf_counter() - begin
    truth = margins(held, targets).reshape(SUBSETS, SEEDS, -1).transpose(1, 0, 2)
    halved, ceiling = split_half(truth, seed=0)
    sizes = f"{case.rows:,} rows, {case.targets} targets, {SUBSETS} halves x {SEEDS} seeds"
    yield Figure(
        what=f"LDS, {case.recipe.name}, {sizes}: ceiling",
        measured=ceiling,
        text=f"{number(ceiling)} (halves of the seeds agree to {number(halved)})",
    )
    yield Figure(what=f"  training of {len(held) + len(checkpoints)} subset models", measured=trained, unit="s")
    for text, goal in case.estimators.items():
        begin = time.perf_counter()
        fitted = configured(text).fit(source)
        scores = np.concatenate([part for _, part in fitted.stream(targets)])
        spent = time.perf_counter() - begin
        found = lds(summed(scores, held.masks[::SEEDS]), truth, seed=0)
        shown = shown_of(found, fitted, case, spent)
        if "checkpoints=" in text:
            shown += f", beside {len(checkpoints)} models of halves"
        yield Figure(what=f"  {text}", measured=found.value, least=goal, text=shown)


def halves(
    recipe: Recipe,
    rows: Rows,
    targets: Rows,
    models: int,
    repeats: int,
    seed: int,
    store: Store,
    executor: Local,
    *,
    keep_weights: bool = False,
) -> Fleet:
    """Models on random halves of one size."""
    return train_subsets(
        recipe,
        rows,
        [targets],
        models,
        equal=True,
        repeats=repeats,
        seed=seed,
        store=store,
        executor=executor,
        keep_weights=keep_weights,
    )


def margins(fleet: Fleet, targets: Rows) -> Floats:
    """`[models, targets]` nats."""
    outputs = torch.from_numpy(fleet.logits())
    labels = targets.labels.repeat(len(outputs))
    return np.asarray(
        fleet.recipe.task.margin(outputs.flatten(0, 1), labels).reshape(outputs.shape[:2]).double().numpy()
    )


def shown_of(found: Lds, fitted: Fitted, case: Case, seconds: float) -> str:
    """LDS with interval and null, and the cost in seconds and in trainings of the model."""
    low, high = found.interval or (np.nan, np.nan)
    trainings = fitted.cost.visits / (case.recipe.epochs * case.rows)
    return (
        f"{found.value:.3f} ({low:.2f} to {high:.2f}; null {found.null:.2f}), {number(seconds)} s, "
        f"visits of {number(trainings)} trainings"
    )
