"""Fleets whose outputs are planted, not trained: what an estimator on subset models should find is then known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.attribution.estimator import Source
from expunge.attribution.subsets import subset_masks
from expunge.data import MemoryRows
from expunge.fleet import Fleet, shelve
from expunge.store import Folder, Store
from expunge.training import Cost
from tests.tiny import tiny_recipe, tiny_rows

RECIPE = tiny_recipe(model="linear", epochs=1)


@dataclass(frozen=True)
class Held(Folder):
    """A finished model's folder that was never written."""

    outputs: np.ndarray

    def array(self, stem: str) -> np.ndarray:
        assert stem == "logits"
        return self.outputs


@dataclass(frozen=True)
class Planted:
    """What lies behind the outputs: each row adds its effect to the outputs of every model that saw it."""

    source: Source
    watch: MemoryRows
    effects: np.ndarray
    """`[rows, watched, outputs]`."""

    def lost(self, forget: np.ndarray) -> np.ndarray:
        """`[watched, outputs]` by how much outputs change without these rows."""
        return -self.effects[forget].sum(axis=0)


def planted(
    folder: Path,
    *,
    models: int,
    rows: int,
    watched: int = 4,
    noise: float = 0.1,
    sparse: int | None = None,
    equal: bool = False,
    scale: float = 1.0,
    mean: float = 0.0,
    seed: int = 0,
) -> Planted:
    """Subset models with additive outputs; `sparse` keeps so many rows' effects and sets the others to 0."""
    train, watch = tiny_rows(rows, seed=seed), tiny_rows(watched, seed=seed + 100)
    draw = np.random.default_rng(seed)
    effects = mean + scale * draw.normal(size=(rows, watched, 3))
    if sparse is not None:
        effects[sparse:] = 0
    masks = subset_masks(models, rows, equal=equal, seed=seed)
    logits = np.einsum("mn,nwo->mwo", masks, effects) + noise * draw.normal(size=(models, watched, 3))
    fleet = fleet_of(folder, train, watch, masks, 5 + logits)
    source = Source(recipe=RECIPE, rows=train, model=RECIPE.fresh((6,), 0), subsets=fleet)
    return Planted(source, watch, effects)


def fleet_of(
    folder: Path, train: MemoryRows, watch: MemoryRows, masks: np.ndarray, logits: np.ndarray, *, first: int = 0
) -> Fleet:
    """A fleet with these outputs `[models, watched, outputs]`, in memory; its models are numbered from `first`."""
    store = Store(folder)
    facts = {"task": {"watch": [shelve(store, watch)]}}
    held = tuple(
        Held(
            path=store.path("model", str(first + index)),
            kind="model",
            facts=facts | {"cost": Cost({}, {"train": int(mask.sum())}, 0.5).to_dict()},
            hashes={},
            outputs=outputs,
        )
        for index, (mask, outputs) in enumerate(zip(masks, logits.astype(np.float32), strict=True))
    )
    return Fleet(RECIPE, (6,), held, masks, train.fingerprint, watch.ids)
