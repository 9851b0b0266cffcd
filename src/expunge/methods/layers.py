"""Layers in order, the last k of them as a part that can be trained alone, and a fresh model to reset from.

A layer is a module that holds parameters of its own; the order is that of registration, taken to be the order
from input to output.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.errors import ConfigError, ShapeError, check
from expunge.problem import Problem
from expunge.seeds import derive
from expunge.training import Run, input_shape


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer, from input to output."""
    return {name: m for name, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))}


@dataclass(frozen=True)
class Part:
    """The last layers of a model."""

    layers: list[str]
    """Names of the layers, from input to output."""
    modules: dict[str, nn.Module]
    """Every module from the first of these layers on, those without parameters (dropout, pooling) too."""

    def together(self) -> nn.Module:
        """All of it as one module, to hand to `descend`."""
        return nn.ModuleList(self.modules.values())


def last_layers(model: nn.Module, k: int) -> Part:
    """The last k layers; with k = all layers, the whole model.

    Raises:
        ConfigError: k is not in 1..layers, or a weight is shared with a layer that would be held.
    """
    ordered, modules = list(layers(model)), dict(model.named_modules())
    check("k", k, f"in 1..{len(ordered)}, the number of layers", 1 <= k <= len(ordered))
    if k == len(ordered):
        return Part(ordered, modules)
    names = list(modules)
    part = Part(ordered[-k:], {name: modules[name] for name in names[names.index(ordered[-k]) :]})
    inside = {id(p) for p in part.together().parameters()}
    for name in ordered[:-k]:
        if any(id(p) in inside for p in modules[name].parameters(recurse=False)):
            raise ConfigError(f"k: layer {name!r} shares weights with the last {k} layers and cannot be held")
    return part


@contextmanager
def only(model: nn.Module, part: nn.Module) -> Iterator[None]:
    """While the context lasts, nothing outside `part` has a gradient or leaves evaluation mode."""
    before = [(p, p.requires_grad) for p in model.parameters()]
    model.eval().requires_grad_(False)
    part.requires_grad_(True)
    try:
        yield
    finally:
        for p, flag in before:
            p.requires_grad_(flag)
        model.eval()


def newborn(problem: Problem, run: Run, index: int = 0) -> nn.Module:
    """A newly built model of the recipe: resets take their weights from it.

    So every layer is initialised as its architecture does it, from a seed of the run that no training uses.

    Raises:
        ShapeError: the recipe does not build the architecture of the original.
    """
    fresh = problem.recipe.fresh(input_shape(problem.rows), derive(run.seed, "reset", index)).to(run.device)
    ours = {name: p.shape for name, p in problem.original.state_dict().items()}
    theirs = {name: p.shape for name, p in fresh.state_dict().items()}
    if ours != theirs:
        wrong = min(name for name, _ in ours.items() ^ theirs.items())
        raise ShapeError(
            f"reset: the recipe builds {tuple(theirs.get(wrong, ()))} for {wrong!r}, "
            f"the original has {tuple(ours.get(wrong, ()))}",
            hint="give the problem the recipe that the original was trained with",
        )
    return fresh


@torch.no_grad()
def reset(part: Part, fresh: nn.Module) -> None:
    """Copy weights and running statistics of the same modules of `fresh` into the part, in place."""
    for name, module in part.modules.items():
        for ours, theirs in zip(_own(module), _own(fresh.get_submodule(name)), strict=True):
            ours.copy_(theirs)


def _own(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
