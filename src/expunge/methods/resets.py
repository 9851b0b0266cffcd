"""Which weights to disturb, and how: selectors and perturbations by name.

A selector answers with a bool mask per parameter, true where the weight is to be disturbed. Selectors go by
the type and the order of layers, never by attribute names. `share` is that of the weights, or of the layers,
as said for each; where nothing is said it has no effect.

A perturbation answers with the disturbed values of one whole parameter; only those in the mask are taken.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from expunge.data import Indices
from expunge.errors import ConfigError
from expunge.methods.importance import Gradient, gradient
from expunge.methods.layers import layers, newborn
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.training import Run

Masks = dict[str, Tensor]
"""Parameter name -> bool tensor of its shape, true where it is to be disturbed; absent: nowhere."""
Selector = Callable[[nn.Module, Problem, Run, float, int], Masks]
"""(model, problem, run, share, cycle) -> masks."""
Perturbation = Callable[[Tensor, Tensor, Tensor, float, torch.Generator], Tensor]
"""(weight, mask, newborn weight, noise, source) -> disturbed weight."""


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> dense or convolutional layer, from input to output.

    Raises:
        ConfigError: there is none.
    """
    found: dict[str, nn.Module] = {name: m for name, m in layers(model).items() if isinstance(m, nn.Linear | _ConvNd)}
    if not found:
        raise ConfigError("selector: expected a model with dense or convolutional layers, got none")
    return found


def kernels(model: nn.Module) -> dict[str, Tensor]:
    """Name -> weight tensor of each dense or convolutional layer; no biases."""
    wanted = {f"{name}.weight".lstrip(".") for name in weight_layers(model)}
    return {name: p.detach() for name, p in model.named_parameters() if name in wanted}


def lowest(values: Tensor, share: float) -> Tensor:
    """True at the round(share * size) smallest values; of equal ones, those that come first.

    Example:
        >>> lowest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 0.5)
        tensor([False,  True, False,  True])
    """
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    mask[values.flatten().argsort(stable=True)[: round(share * values.numel())]] = True
    return mask.reshape(values.shape)


def small_gradient(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """The share of each kernel whose gradient of loss(some retain rows) - loss(forget) is smallest."""
    draw = generator(run.seed, "reset/rows", cycle)
    order = torch.randperm(len(problem.retain), generator=draw)
    some = problem.retain[order[: len(problem.forget)].numpy()]  # as many as forget rows
    kept = mean_gradient(model, problem, some, run, "retain")
    gone = mean_gradient(model, problem, problem.forget, run, "forget")
    return {name: lowest((kept[name] - gone[name]).abs(), share) for name in kernels(model)}


def small_magnitude(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """The share of all kernels' weights together that is smallest in size."""
    found = kernels(model)
    flat = lowest(torch.cat([kernel.abs().flatten() for kernel in found.values()]), share)
    parts = torch.split(flat, [kernel.numel() for kernel in found.values()])
    return {name: part.reshape(found[name].shape) for name, part in zip(found, parts, strict=True)}


def random_weights(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """A random share of each kernel's weights."""
    draw = generator(run.seed, "reset/select", cycle)
    found = kernels(model).items()
    return {name: lowest(torch.rand(kernel.shape, generator=draw), share).to(kernel.device) for name, kernel in found}


def random_layers(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """A random share of the dense and convolutional layers, at least one, biases included."""
    names = list(weight_layers(model))
    order = torch.randperm(len(names), generator=generator(run.seed, "reset/select", cycle)).tolist()
    return whole(model, {names[i] for i in order[: max(1, round(share * len(names)))]})


def ends(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """The first and the last dense or convolutional layer, biases included."""
    names = list(weight_layers(model))
    return whole(model, {names[0], names[-1]})


def first(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """The kernel of the first dense or convolutional layer."""
    name, kernel = next(iter(kernels(model).items()))
    return {name: torch.ones_like(kernel, dtype=torch.bool)}


def convolutions(model: nn.Module, problem: Problem, run: Run, share: float, cycle: int) -> Masks:
    """The kernels of all convolutions."""
    found = {name: torch.ones_like(k, dtype=torch.bool) for name, k in kernels(model).items() if k.ndim > 2}
    if not found:
        raise ConfigError(
            "selector 'convolutions': expected a model with convolutions, got none",
            hint="choose another selector, or a preset such as msg that takes dense layers too",
        )
    return found


def whole(model: nn.Module, names: set[str]) -> Masks:
    """All weights and biases of the named layers."""
    return {
        name: torch.ones_like(p, dtype=torch.bool)
        for name, p in model.named_parameters()
        if name.rpartition(".")[0] in names
    }


def mean_gradient(model: nn.Module, problem: Problem, indices: Indices, run: Run, role: str) -> Gradient:
    """Gradient of the mean loss over rows `[n]`, in evaluation mode, counted as visits of `role`."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for (batch,) in run.epochs(role, problem.rows, indices, count=1).load(run.device):
        part = gradient(model, weights, problem.recipe.task.loss, batch.x, batch.y)
        for name, value in part.items():
            total[name] += value * (len(batch) / len(indices))
        run.meter.backward(role, len(batch))
    return total


def reinitialise(weight: Tensor, mask: Tensor, fresh: Tensor, noise: float, source: torch.Generator) -> Tensor:
    """The weights of a newly built model."""
    return fresh


def add_noise(weight: Tensor, mask: Tensor, fresh: Tensor, noise: float, source: torch.Generator) -> Tensor:
    """Plus N(0, noise^2)."""
    return weight + noise * torch.randn(weight.shape, generator=source).to(weight.device)


def transpose(weight: Tensor, mask: Tensor, fresh: Tensor, noise: float, source: torch.Generator) -> Tensor:
    """Height and width of square image kernels change places; any other tensor stays."""
    square = weight.ndim == 4 and weight.shape[-1] == weight.shape[-2]
    return weight.transpose(-1, -2).clone() if square else weight


def shuffle(weight: Tensor, mask: Tensor, fresh: Tensor, noise: float, source: torch.Generator) -> Tensor:
    """The selected weights of the tensor change places at random."""
    mixed, chosen = weight.clone(), weight[mask]
    mixed[mask] = chosen[torch.randperm(len(chosen), generator=source).to(weight.device)]
    return mixed


SELECTORS: dict[str, Selector] = {
    kind.__name__: kind
    for kind in (small_gradient, small_magnitude, random_weights, random_layers, ends, first, convolutions)
}
PERTURBATIONS: dict[str, Perturbation] = {kind.__name__: kind for kind in (reinitialise, add_noise, transpose, shuffle)}


@torch.no_grad()
def disturb(
    model: nn.Module, masks: Masks, perturbation: str, noise: float, problem: Problem, run: Run, cycle: int
) -> float:
    """Perturb, in place, what the masks select; returns the share of all weights that was selected.

    Raises:
        ConfigError: not a single weight changed.
    """
    fresh = dict(newborn(problem, run, cycle).named_parameters())
    source = generator(run.seed, "reset/perturb", cycle)
    changed = False
    for name, weight in model.named_parameters():
        if name in masks:
            other = PERTURBATIONS[perturbation](weight, masks[name], fresh[name], noise, source)
            after = torch.where(masks[name], other, weight)
            changed |= not torch.equal(after, weight)
            weight.copy_(after)
    if not changed:
        raise ConfigError(
            f"perturbation {perturbation!r}: expected to change the selected weights, changed none of them",
            hint="transpose needs square convolution kernels larger than 1 x 1; noise needs noise > 0",
        )
    return sum(int(mask.sum()) for mask in masks.values()) / sum(p.numel() for p in model.parameters())
