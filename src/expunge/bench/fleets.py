"""The fleets of an audit: gold, shadow and untrained models, each found in the store before any is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from expunge.audit.assemble import Shadows
from expunge.audit.jackknife import FloatArray
from expunge.audit.lira import half_masks
from expunge.data import Indices, Rows, joined
from expunge.fleet import Executor, Fleet, Here, role_seeds, same_rows, train_fleet
from expunge.fleet.task import Mask
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Progress, Recipe, input_shape, predict, silent

UNTRAINED = 4
"""Freshly initialised models for ZRF."""


@dataclass(frozen=True)
class Fleets:
    """Who trains what: the recipe, the rows, and where finished models lie."""

    recipe: Recipe
    rows: Rows
    holdout: Rows
    test: Rows
    store: Store
    executor: Executor = field(default_factory=Here)
    device: str = "cpu"
    progress: Progress = silent

    @property
    def watch(self) -> tuple[Rows, Rows, Rows]:
        """Rows whose outputs every model keeps, in this order."""
        return self.rows, self.holdout, self.test

    @cached_property
    def sampled(self) -> Rows:
        """The rows that shadow models are trained on halves of: training and holdout rows."""
        return joined(self.rows, self.holdout)

    def same(self, indices: Indices, seeds: Sequence[int], label: str, *, weights: bool = False) -> Fleet:
        """Models that differ in their seeds alone, on the training rows `indices` `[n]`."""
        return self.train(self.rows, same_rows(self.rows, indices, len(seeds)), seeds, label, weights=weights)

    def gold(self, forget: Indices, models: int, *, seed: int, first: int = 0, weights: bool = False) -> Fleet:
        """Gold models `first` to `models`, trained without the rows `forget` `[forget]`.

        A model that saw one of them is refused when it is read back.
        """
        retain = np.setdiff1d(np.arange(len(self.rows)), forget)
        seeds = role_seeds(seed, "gold", models)[first:]
        return self.same(retain, seeds, "train gold", weights=weights).excluding(forget)

    def shadows(self, models: int, *, seed: int) -> Shadows:
        """Shadow models on random halves of training and holdout rows: one fleet for LiRA, RMIA and memorisation."""
        masks, seeds = shadow_plan(len(self.sampled), models, seed=seed)
        fleet = self.train(self.sampled, masks, seeds, "train shadows")
        unseen = np.zeros((models, len(self.test)), dtype=bool)
        return Shadows(fleet.logits(), np.concatenate([fleet.masks, unseen], axis=1))

    def untrained(self, *, seed: int) -> FloatArray:
        """`[models, rows, classes]` of models that were never trained; not kept, as they cost a forward pass."""
        shape = input_shape(self.rows)
        models = [self.recipe.fresh(shape, seed=derive(seed, "untrained", at)) for at in range(UNTRAINED)]
        return np.stack([outputs(model, self.watch) for model in models])

    def train(self, rows: Rows, masks: Mask, seeds: Sequence[int], label: str, *, weights: bool = False) -> Fleet:
        """Models on any rows, watched on training, holdout and test rows."""
        return train_fleet(
            self.recipe,
            rows,
            masks,
            seeds,
            watch=self.watch,
            store=self.store,
            executor=self.executor,
            keep_weights=weights,
            device=self.device,
            progress=self.progress,
            label=label,
        )


def shadow_plan(rows: int, models: int, *, seed: int) -> tuple[Mask, list[int]]:
    """Masks `[models, rows]` and seeds `[models]` of the shadow models."""
    return half_masks(models, rows, seed=derive(seed, "shadow/masks")), role_seeds(seed, "shadow", models)


def outputs(model: torch.nn.Module, watch: Sequence[Rows]) -> Any:  # noqa: ANN401  (float32 array)
    """`[rows, classes]` logits of one model on rows laid end to end."""
    return torch.cat([predict(model, rows) for rows in watch]).numpy()
