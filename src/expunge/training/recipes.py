"""Named recipes. What MEASURED says of one was printed by `python -m benchmarks recipes`.

The small recipes are in float32, so that they give nearly the same model everywhere; channels_last makes their
convolutions cheaper. The CIFAR-10 recipes use bf16, which is meant for accelerators and for processors that multiply
in it (about twice as fast as float32 on the one we measured); `python -m benchmarks precision` says how it is here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from expunge.errors import ConfigError, unknown
from expunge.models.foreign import executed
from expunge.tasks import Classification
from expunge.training.recipe import Recipe

Kind = TypeVar("Kind")
TEN = Classification(10)


def _cifar(name: str, model: str, **settings: object) -> Recipe:
    """What the CIFAR-10 recipes share; 2 cores cannot train them in useful time, so no figure is given."""
    common = {
        "optimizer": "sgd",
        "lr": 0.1,
        "epochs": 60,
        "batch_size": 128,
        "augmentation": ("crop", "flip"),
        "precision": "bf16",
        "channels_last": True,
    }
    return Recipe(name=name, data="cifar10", model=model, task=TEN, **{**common, **settings})  # type: ignore[arg-type]


_NAMED = (
    Recipe(
        name="digits-mlp",
        data="digits",
        model="mlp",
        arguments={"hidden": [64]},
        task=TEN,
        lr=0.1,
        epochs=30,
        batch_size=64,
    ),
    Recipe(
        name="digits-cnn",
        data="digits",
        model="cnn",
        arguments={"widths": [16, 32], "hidden": 64},
        task=TEN,
        lr=0.05,
        epochs=20,
        batch_size=64,
    ),
    Recipe(
        name="mnist-cnn",
        data="mnist@10000",
        model="cnn",
        arguments={"widths": [16, 32], "hidden": 64},
        task=TEN,
        lr=0.05,
        epochs=8,
        batch_size=64,
        channels_last=True,
    ),
    Recipe(
        name="fashion-mlp",
        data="fashion-mnist@2000",
        model="mlp",
        arguments={"hidden": [128]},
        task=TEN,
        lr=0.05,
        epochs=30,
        batch_size=64,
    ),
    Recipe(
        name="fashion-cnn",
        data="fashion-mnist@10000",
        model="cnn",
        arguments={"widths": [16, 32], "hidden": 64},
        task=TEN,
        lr=0.05,
        epochs=12,
        batch_size=64,
        channels_last=True,
    ),
    _cifar("cifar10-resnet9", "resnet9", epochs=24, lr=0.2, schedule="triangle"),
    _cifar("cifar10-resnet18", "resnet18"),
    _cifar("cifar10-allcnn", "allcnn", lr=0.05),
    _cifar("cifar10-vit", "vit", optimizer="adamw", lr=1e-3, weight_decay=0.05),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _NAMED}

MEASURED: dict[str, str] = {
    "digits-mlp": "98.0 % test (sd 0.0, 3 seeds), 0.2 s on one thread",
    "digits-cnn": "98.7 % test (sd 0.1, 3 seeds), 0.8 s on one thread",
    "mnist-cnn": "98.5 % test (sd 0.1, 3 seeds), 10 s on one thread",
    "fashion-mlp": "82.2 % test (sd 0.3, 3 seeds), 1.3 s on one thread",
    "fashion-cnn": "89.2 % test (sd 0.2, 3 seeds), 16 s on one thread",
}
"""Recipe -> test accuracy and seconds, as `python -m benchmarks recipes` printed them."""


def recipe(name: str) -> Recipe:
    """A recipe by name, or the one called NAME in a person's own `path/file.py:NAME` (the file is executed).

    Raises:
        ConfigError: no recipe of that name, or no Recipe in that place.
    """
    found = own(name, Recipe)
    if found is not None:
        return found
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES, "expunge recipes")
    return RECIPES[name]


def own(name: str, *kinds: type[Kind]) -> Kind | None:
    """What a person's own `path/file.py:NAME` holds, where it is of one of these kinds; None for any other name.

    Raises:
        ConfigError: no such file, or nothing of these kinds in that place.
    """
    path, _, wanted = name.rpartition(":")
    if not path.endswith(".py"):
        return None
    found = vars(executed(Path(path), "recipe")).get(wanted)
    if not isinstance(found, kinds):
        raise ConfigError(
            f"recipe {name}: expected a Recipe called {wanted!r} in {path}, got {type(found).__name__}",
            hint="NAME = expunge.Recipe(...) at the top level",
        )
    return found
