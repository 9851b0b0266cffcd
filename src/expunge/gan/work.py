"""Pairs and classifiers that lie in a store, and what an executor does to put them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from expunge.data import Indices, Rows
from expunge.fleet import Executor, fetch, shelve
from expunge.gan.fit import KIND, TrainedPair, fit_pair, training_key
from expunge.gan.measures import Numbers, Yardstick, measure
from expunge.gan.pair import Pair
from expunge.gan.recipe import GanRecipe
from expunge.seeds import derive
from expunge.store import Contents, Store, key_of
from expunge.training import Cost, Progress, Recipe, Trained, fit, input_shape, silent, weights_hash

CLASSIFIER = "gan-classifier"
NUMBERS = "gan-numbers"


def pair_job(job: dict[str, Any]) -> str:
    """Train one pair and keep it in the store; returns its key.

    Args:
        job: `{"store": path, "recipe": plain data, "rows": fingerprint, "at": [position], "seed": n, "device": name}`.
    """
    store, recipe = Store(job["store"]), GanRecipe.from_dict(job["recipe"])
    rows, at = fetch(store, job["rows"]), np.array(job["at"], dtype=np.int64)
    fit_pair(recipe, rows, at, seed=job["seed"], device=job["device"], store=store)
    return training_key(recipe, rows, at, job["seed"])


def same_pairs(
    recipe: GanRecipe,
    rows: Rows,
    at: Indices,
    seeds: Sequence[int],
    *,
    store: Store,
    executor: Executor,
    device: str = "cpu",
    what: str = "train gold",
    progress: Progress = silent,
) -> list[TrainedPair]:
    """Pairs trained on the same rows with several seeds; those in the store are not trained again.

    Args:
        recipe: How.
        rows: Where the rows lie.
        at: `[n]` positions to train on.
        seeds: One for each pair.
        store: Where they are kept.
        executor: Who trains.
        device: Such as "cpu" or "cuda".
        what: What progress calls it.
        progress: Called after each pair.
    """
    missing = [seed for seed in seeds if not store.has(KIND, training_key(recipe, rows, at, seed))]
    if missing:
        shared = {
            "store": str(store.root.resolve()),
            "recipe": recipe.to_dict(),
            "rows": shelve(store, rows),
            "at": at.tolist(),
            "device": device,
        }
        done = len(seeds) - len(missing)
        progress(what, done, len(seeds))
        for _ in executor.map(pair_job, [{**shared, "seed": seed} for seed in missing]):
            done += 1
            progress(what, done, len(seeds))
    return [fit_pair(recipe, rows, at, seed=seed, store=store) for seed in seeds]


def classifier_for(recipe: Recipe, rows: Rows, role: str, *, seed: int, store: Store, progress: Progress) -> Trained:
    """The classifier of one role, trained on all of `rows` once and then taken from the store.

    Args:
        recipe: How it is trained.
        rows: Training rows; forget rows are among them, so it is never handed out with an unlearned pair.
        role: "method" or "audit": the one that judges is never the one that a method used.
        seed: Root seed.
        store: Where it is kept.
        progress: Called after each step.
    """
    own = derive(seed, f"gan classifier/{role}")
    key = key_of({"recipe": recipe.fingerprint(), "rows": rows.fingerprint, "seed": own})
    if store.has(CLASSIFIER, key):
        folder = store.get(CLASSIFIER, key)
        model = folder.load_into(recipe.fresh(input_shape(rows), seed=0), "weights")
        return Trained(model, Cost.from_dict(folder.facts["cost"]), [])
    trained = fit(recipe, rows, seed=own, progress=progress)
    facts = {"recipe": recipe.to_dict(), "role": role, "cost": trained.cost.to_dict()}
    store.put(key, Contents(CLASSIFIER, facts, {"weights": trained.model.state_dict()}))
    return trained


def measured(stick: Yardstick, pair: Pair, store: Store | None) -> Numbers:
    """`measure`, kept in a store by all that decides it."""
    if store is None:
        return measure(stick, pair)
    problem = stick.problem
    key = key_of(
        {
            "pair": pair.hash(),
            "rows": [part.fingerprint for part in (problem.rows, problem.holdout, problem.test)],
            "forget": problem.forget.tolist(),
            "judge": weights_hash(stick.judge.classifier),
            "downstream": stick.judge.recipe.fingerprint(),
            "features": stick.judge.extractor_name,
            "settings": asdict(stick.settings),
            "expunge": version("expunge"),
        }
    )
    if not store.has(NUMBERS, key):
        store.put(key, Contents(NUMBERS, {"numbers": measure(stick, pair)}))
    return dict(store.get(NUMBERS, key).facts["numbers"])
