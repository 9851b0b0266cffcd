"""Models from elsewhere: `timm:NAME`, and a function in a person's own file, `PATH.py:FUNCTION`."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from expunge.errors import ConfigError, NeedsError, unknown

RESERVED = ("pretrained", "num_classes", "in_chans", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")


def from_timm(name: str, shape: tuple[int, ...], width: int, arguments: dict[str, object]) -> nn.Module:
    """A timm model without its published weights: gold must start from a fresh initialisation too.

    Raises:
        NeedsError: timm is not installed.
        ConfigError: timm has no such model, or an argument is one that follows from the rows or
            loads weights.
    """
    try:
        import timm
    except ImportError:
        raise NeedsError(f"model timm:{name}: timm is not installed", hint='pip install "expunge[vision]"') from None
    taken = [argument for argument in RESERVED if argument in arguments]
    if taken:
        raise ConfigError(
            f"model timm:{name}: {taken[0]} is not an argument: widths follow from the rows, weights start afresh"
        )
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models(), "python -m timm.models")
    try:
        model = timm.create_model(name, pretrained=False, num_classes=width, in_chans=shape[0], **arguments)
    except TypeError as error:
        raise ConfigError(f"model timm:{name}: {error}") from error
    return checked(model, f"timm:{name}")


def from_file(path: Path, function: str, shape: tuple[int, ...], width: int, arguments: dict[str, object]) -> nn.Module:
    """What `function(shape=..., width=..., **arguments)` in the file at `path` returns.

    The file is executed: it is code that the person named, and it must stand alone.

    Raises:
        ConfigError: the file, or the function in it, is missing; the file cannot be executed; the function
            does not take the arguments, or does not return a module.
    """
    name = f"{path}:{function}"
    factory = vars(executed(path, "model")).get(function)
    if not callable(factory):
        raise ConfigError(f"model {name}: no function {function!r} in {path}")
    try:
        inspect.signature(factory).bind(shape=shape, width=width, **arguments)
    except TypeError as error:
        raise ConfigError(
            f"model {name}: {error}",
            hint=f"def {function}(shape, width, ...) is called with keywords, and with the model's arguments",
        ) from None
    return checked(factory(shape=shape, width=width, **arguments), name)


def checked(model: object, name: str) -> nn.Module:
    """`model`, which must be a module.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model {name}: expected a torch.nn.Module, got {type(model).__name__}")
    return model


def executed(path: Path, what: str) -> ModuleType:
    """A person's own file as a module, executed once per content.

    Args:
        path: Of the file, which the person named.
        what: What is looked for in it ("model", "recipe"), for the errors.

    Raises:
        ConfigError: no such file, not Python, or it fails.
    """
    if not path.is_file():
        raise ConfigError(f"{what} {path}: no such file")
    digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:16]
    name = f"_expunge_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{what} {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a module up by its name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{what} {path}: failed with {type(error).__name__}: {error}") from error
    return module
