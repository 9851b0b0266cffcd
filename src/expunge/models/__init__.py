"""Architectures: plain modules, built by name.

    mlp, linear, cnn, resnet9, resnet18, allcnn, vit     built in, one file each
    timm:NAME                                            any timm model, freshly initialised
    PATH.py:FUNCTION                                     your own: FUNCTION(shape=..., width=..., ...)

A factory takes `shape`, the shape of one row, and `width`, the outputs per row; everything else is its own
argument. Weights come from torch's own layer initialisers and thus from the generator that the caller lends.

Methods speak of "the last k layers". They mean leaf modules with parameters in order of registration, so every
built-in model registers its layers in the order in which a row passes them, keeps each parameter in a leaf
module, and has its classifier, a dense layer, last.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from torch import nn

from expunge.errors import ConfigError, unknown
from expunge.models.allcnn import allcnn
from expunge.models.checks import whole, wholes
from expunge.models.cnn import cnn
from expunge.models.foreign import from_file, from_timm
from expunge.models.mlp import linear, mlp
from expunge.models.resnet import resnet9, resnet18
from expunge.models.vit import vit

__all__ = ["MODELS", "build"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "cnn": cnn,
    "resnet9": resnet9,
    "resnet18": resnet18,
    "allcnn": allcnn,
    "vit": vit,
}
"""Factory of each built-in architecture."""


def build(name: str, *, shape: tuple[int, ...], width: int, **arguments: object) -> nn.Module:
    """A freshly initialised model.

    Args:
        name: Of a built-in model, `timm:NAME`, or `PATH.py:FUNCTION` (that file is executed).
        shape: Of one row, such as (3, 32, 32).
        width: Outputs per row: classes or targets.
        arguments: The model's own.

    Raises:
        ConfigError: no such model, or an argument that it does not take.
        NeedsError: timm is not installed.

    Example:
        >>> build("mlp", shape=(1, 8, 8), width=10, hidden=[32])[-1]
        Linear(in_features=32, out_features=10, bias=True)
    """
    wholes("shape", shape)
    whole("width", width)
    family, _, rest = name.partition(":")
    if family == "timm" and rest:
        return from_timm(rest, tuple(shape), width, arguments)
    path, _, function = name.rpartition(":")
    if path.endswith(".py") and function:
        return from_file(Path(path), function, tuple(shape), width, arguments)
    if name not in MODELS:
        raise unknown("model", name, MODELS, "expunge recipes")
    accepted = list(inspect.signature(MODELS[name]).parameters)[2:]
    strange = [argument for argument in arguments if argument not in accepted]
    if strange:
        raise ConfigError(f"model {name}: unknown argument {strange[0]!r}, expected {', '.join(accepted) or 'none'}")
    return MODELS[name](tuple(shape), width, **arguments)
