"""Named recipes of pairs. What MEASURED says of one was printed by `python -m benchmarks gan_recipes`."""

from __future__ import annotations

from dataclasses import replace

from expunge.errors import unknown
from expunge.gan.recipe import GanRecipe
from expunge.training.recipe import Recipe
from expunge.training.recipes import RECIPES, own

DIGITS = GanRecipe(
    name="digits-gan",
    data="digits",
    classifier="digits-cnn",
    model="mlp",
    arguments={"generator": [128, 128], "discriminator": [256, 128]},
    lr=1e-3,
    epochs=300,
    average=0.99,
)
MNIST = GanRecipe(
    name="mnist-dcgan",
    data="mnist@10000",
    classifier="mnist-cnn",
    model="dcgan",
    arguments={"widths": [16, 32]},
    latent=64,
    lr=1e-3,  # 2e-4, as published, is for ten times as many steps
    epochs=20,
    average=0.99,
)
CIFAR = GanRecipe(
    name="cifar10-dcgan",
    data="cifar10",
    classifier="cifar10-resnet9",
    model="dcgan",
    arguments={"widths": [64, 128, 256]},
    latent=100,
    batch_size=128,
    epochs=100,
    average=0.999,
)
FASHION = replace(MNIST, name="fashion-dcgan", data="fashion-mnist@10000", classifier="fashion-cnn")
_NAMED = (
    DIGITS,
    replace(DIGITS, name="digits-cgan", classes=10),
    MNIST,
    replace(MNIST, name="mnist-cdcgan", classes=10),
    FASHION,
    replace(FASHION, name="fashion-cdcgan", classes=10),
    CIFAR,
    replace(CIFAR, name="cifar10-cdcgan", classes=10),
)

GAN_RECIPES: dict[str, GanRecipe] = {recipe.name: recipe for recipe in _NAMED}

MEASURED: dict[str, str] = {}
"""Recipe -> quality and seconds."""


def any_recipe(name: str) -> Recipe | GanRecipe:
    """A recipe of a classifier or of a pair, by name or in a person's own `path/file.py:NAME` (which is executed).

    Raises:
        ConfigError: none of that name, or no recipe in that place.
    """
    found = own(name, Recipe, GanRecipe)
    if isinstance(found, Recipe | GanRecipe):
        return found
    known: dict[str, Recipe | GanRecipe] = {**RECIPES, **GAN_RECIPES}
    if name not in known:
        raise unknown("recipe", name, known, "expunge recipes")
    return known[name]
