"""Small real pairs for tests: two-layer nets on the digits that scikit-learn brings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from expunge.data import MemoryRows, Splits, forget, load
from expunge.gan.fit import fit_pair
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.recipe import GanRecipe
from expunge.training import fit
from expunge.training.recipes import recipe

RECIPE = GanRecipe(
    name="tiny-gan",
    data="digits@300",
    classifier="digits-mlp",
    arguments={"generator": [32], "discriminator": [32]},
    latent=8,
    lr=2e-3,
    epochs=40,
    batch_size=32,
    average=0.9,
)
CONDITIONAL = replace(RECIPE, name="tiny-cgan", classes=10, epochs=150)


@cache
def digits() -> Splits:
    return load("digits@300")


@cache
def _original(name: str) -> Pair:
    recipe = {one.name: one for one in (RECIPE, CONDITIONAL)}[name]
    return fit_pair(recipe, digits().train, seed=0).pair


def original(recipe: GanRecipe = RECIPE) -> Pair:
    """The pair of one of the two recipes, trained once."""
    return _original(recipe.name)


@cache
def classifier():
    return fit(recipe("digits-mlp"), digits().train, seed=5).model


def problem(spec: str = "class:3", *, of: GanRecipe | None = None, **parts: object) -> GanProblem:
    """A problem on digits; `parts` replace its parts."""
    chosen = of or RECIPE
    splits = digits()
    given = {
        "recipe": chosen,
        "rows": splits.train,
        "forget": forget(spec),
        "holdout": splits.holdout,
        "test": splits.test,
        "original": parts.get("original") or original(chosen),
        "classifier": classifier(),
    }
    return GanProblem(**{**given, **parts})


def rows(count: int, shape: tuple[int, ...], *, seed: int = 0, classes: int = 2) -> MemoryRows:
    """Noise with labels, for shapes that digits do not have."""
    draw = np.random.default_rng(seed)
    return MemoryRows(draw.normal(size=(count, *shape)), np.arange(count) % classes)


def same_pair(one: Pair, other: Pair) -> bool:
    """Bit-identical weights of both nets."""
    return one.hash() == other.hash()
