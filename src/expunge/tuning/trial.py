"""Trials: one setting of a method on one scene, kept in the store, and the numbers by which settings are compared.

Objective:  twin        J = (mean over D_aux of |m_U - m_gold| + the same over check rows) / start, start the twin's own
                        distance on D_aux; m margins, nats; the twin's gold is the original
Rivals, on the true problem, none of which needs a gold model (U what the method returns, O the original):
            holdout     1-Wasserstein distance of U's margins on D_f to those on unseen rows of the same classes, plus
                        the mean of |m_U - m_O| on check rows
            accuracy    |accuracy of U on D_f - accuracy of U on unseen rows of the same classes|
            close       mean of |m_U - m_O| on check rows
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from expunge.bench.cell import FAILED, KIND, Cell, cell_job, ended
from expunge.data import Indices, joined
from expunge.fleet import Executor
from expunge.methods import Method
from expunge.problem import Problem
from expunge.store import Contents, Store, key_of
from expunge.training import Cost, weights_hash
from expunge.tuning.twins import Seen, Twin, look, seen

OBJECTIVES = ("twin", "holdout", "accuracy", "close")


@dataclass(frozen=True, eq=False)
class Scene:
    """What a setting is run on: a problem whose model and rows lie in the store."""

    problem: Problem
    """Its test rows are the check rows, and behind them, of the true problem, the unseen rows of D_f's classes."""
    model: str
    """Id of the model in the store."""
    reference: Seen
    """What to compare with, on forget and test rows: of a twin its gold, of the true problem the original."""
    start: Seen
    """Of the model that is unlearned, on the same rows."""
    matched: int
    """How many of the last test rows are unseen rows of D_f's classes; 0 for a twin."""


@dataclass(frozen=True)
class Numbers:
    """What one run of a setting on a scene came to."""

    forget: float
    """Mean distance of margins on forget rows, nats."""
    check: float
    """The same on check rows."""
    value: float
    """The objective."""
    lost: float
    """Accuracy on check rows below the reference's."""
    visits: float


def of_twin(twin: Twin) -> Scene:
    """The scene of a twin problem."""
    return Scene(twin.problem, twin.model, twin.gold, twin.start, 0)


def of_truth(problem: Problem, guide: Indices, check: Indices, unseen: Indices, store: Store) -> Scene:
    """The scene of the true problem, for the rivals.

    Args:
        problem: The true problem.
        guide: Holdout positions that methods may look at.
        check: Holdout positions that utility is measured on.
        unseen: Holdout positions of D_f's classes.
        store: Where the original is kept.
    """
    key = key_of({"model": weights_hash(problem.original), "recipe": problem.recipe.fingerprint()})
    if not store.has("model", key):
        store.put(key, Contents("model", {}, weights={"weights": problem.original.state_dict()}))
    test = joined(problem.holdout.take(check), problem.holdout.take(unseen))
    start = look(problem.original, problem.rows.take(problem.forget), test)
    asked = replace(problem, holdout=problem.holdout.take(guide), test=test)
    return Scene(asked, key, start, start, len(unseen))


def cell(scene: Scene, method: type[Method], settings: dict[str, Any], seed: int, store: Store) -> Cell:
    """The run of one setting on one scene, as data."""
    problem = scene.problem
    return Cell.of(
        store,
        problem.recipe,
        (problem.rows, problem.holdout, problem.test),
        problem.forget,
        kind=problem.kind,
        original=scene.model,
        method=method(**settings),
        seed=seed,
    )


def run(cells: Sequence[Cell], store: Store, executor: Executor) -> None:
    """Run the cells that the store holds neither a model nor a failure of."""
    missing = [one for one in cells if not ended(store, one)]
    jobs = [{"store": str(store.root.resolve()), "device": "cpu", "cells": [one.to_dict()]} for one in missing]
    for _ in executor.map(cell_job, jobs):
        pass


def numbers(scene: Scene, one: Cell, store: Store, *, objective: str) -> Numbers | None:
    """What a finished cell came to; None where it diverged or put out something that is not finite."""
    found = finished(scene, one, store)
    if found is None:
        return None
    return compare(scene, found, Cost.from_dict(store.get(KIND, one.id).facts["cost"]).visits, objective=objective)


def finished(scene: Scene, one: Cell, store: Store) -> Seen | None:
    """What a finished cell shows on forget and test rows; None where it diverged or put out what is not finite."""
    if store.has(FAILED, one.id):
        return None
    logits, problem = store.get(KIND, one.id).array("logits"), scene.problem
    if not np.isfinite(logits).all():
        return None
    after = len(problem.rows) + len(problem.holdout)
    at = np.concatenate([problem.forget, after + np.arange(len(problem.test))])
    labels = np.concatenate([problem.rows.labels.numpy()[problem.forget], problem.test.labels.numpy()])
    return seen(logits[at], labels)


def unchanged(scene: Scene, *, objective: str) -> Numbers:
    """What returning the model as it is comes to."""
    return compare(scene, scene.start, 0, objective=objective)


def compare(scene: Scene, found: Seen, visits: float, *, objective: str) -> Numbers:
    """The numbers of what a model shows on the forget and test rows of a scene."""
    forget = np.arange(len(found)) < len(scene.problem.forget)
    unseen = np.arange(len(found)) >= len(found) - scene.matched
    check = ~forget & ~unseen
    away = np.abs(found.margins - scene.reference.margins)
    close = float(away[check].mean())
    if objective == "twin":
        begun = float(np.abs(scene.start.margins - scene.reference.margins)[forget].mean())
        value = (float(away[forget].mean()) + close) / begun if begun > 0 else math.inf
    elif objective == "holdout":
        from scipy.stats import wasserstein_distance  # here alone: heavy to import, and rarely needed

        value = float(wasserstein_distance(found.margins[forget], found.margins[unseen])) + close
    elif objective == "accuracy":
        value = abs(float(found.right[forget].mean()) - float(found.right[unseen].mean()))
    else:
        value = close
    lost = float(scene.reference.right[check].mean() - found.right[check].mean())
    return Numbers(float(away[forget].mean()), close, value, lost, visits)
