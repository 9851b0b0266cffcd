"""The fleets of an audit: gold, shadow and untrained models, each found in the store before any is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from expunge.attribution.subsets import train_subsets
from expunge.audit.assemble import Pool, Shadows, positions
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

    @property
    def ids(self) -> tuple[str, ...]:
        """`[rows]` ids of the watched rows."""
        return tuple(row_id for rows in self.watch for row_id in rows.ids)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """`[rows]` labels of the watched rows."""
        return np.concatenate([rows.labels.numpy() for rows in self.watch])

    def pool(
        self,
        gold: FloatArray,
        heldout: FloatArray | None,
        original: FloatArray,
        *,
        forget: Indices,
        shadows: Shadows | None,
        seed: int,
    ) -> Pool:
        """What unlearned models are compared with: outputs `[models, rows, classes]` on the watched rows."""
        return Pool(
            gold=gold,
            heldout=heldout,
            original=original,
            labels=self.labels,
            splits=positions(len(self.rows), len(self.holdout), len(self.test), forget),
            shadows=shadows,
            untrained=self.untrained(seed=seed),
        )

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

    def oracles(self, forget: Indices, models: int, *, seed: int) -> Fleet:
        """Gold models for methods that are upper bounds, with weights; none of them is among those of `gold`."""
        retain = np.setdiff1d(np.arange(len(self.rows)), forget)
        seeds = role_seeds(seed, "gold to match", models)
        return self.same(retain, seeds, "train gold to match", weights=True).excluding(forget)

    def subsets(self, models: int, *, share: float, seed: int) -> Fleet:
        """Models on random subsets of the training rows, for attribution."""
        return train_subsets(
            self.recipe,
            self.rows,
            self.watch,
            models,
            share=share,
            seed=seed,
            store=self.store,
            executor=self.executor,
            device=self.device,
            progress=self.progress,
        )

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
