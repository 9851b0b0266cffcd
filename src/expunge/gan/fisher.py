"""Fisher information of a generator's weights, for methods that hold what matters to the rest.

Source:     elastic weight consolidation: Kirkpatrick et al., PNAS 2017; for generators: Heng and Soh, 2023.
Objective:  F_i = E_z |dG(z) / dw_i|^2: the diagonal of the Fisher information where pictures are read as the means of
            normal laws of variance 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.gan.nets import Generator
from expunge.seeds import generator
from expunge.training import Run

Weights = dict[str, Tensor]
"""Name of a parameter -> tensor of its shape."""


def weights_of(net: Generator, *, live: bool = False) -> Weights:
    """The parameters by name: copies, or `live` ones that carry gradients."""
    return {name: p if live else p.detach().clone() for name, p in net.named_parameters()}


def held(net: Generator, start: Weights, fisher: Weights) -> Tensor:
    """sum_i F_i (w_i - w0_i)^2 of a net's weights from `start`, a scalar with gradients."""
    now = weights_of(net, live=True)
    return torch.stack([((now[name] - start[name]).square() * fisher[name]).sum() for name in start]).sum()


def output_fisher(net: Generator, run: Run, *, count: int, labels: tuple[int, ...] = ()) -> Weights:
    """The diagonal Fisher information of a generator in evaluation mode, estimated with one random direction a row.

    For v ~ N(0, I), the gradient of v . G(z) is J'v, and the mean of its square is the diagonal of J'J.

    Args:
        net: Whose weights do not move.
        run: Seed, device and meter.
        count: Latents, each with a direction of its own, >= 1.
        labels: Of a conditional generator: those that are drawn, in turn; by default all.

    Returns:
        Name -> tensor of the parameter's shape, >= 0.
    """
    mode = net.training
    net.eval()
    parameters = [p for p in net.parameters() if p.requires_grad]
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in parameters]
    known = labels or tuple(range(net.classes))
    source = generator(run.seed, "fisher")
    for i in range(count):
        z = torch.randn(1, net.latent, generator=source).to(run.device)
        y = torch.tensor([known[i % len(known)]], device=run.device) if known else None
        shown = net(z, y)
        direction = torch.randn(shown.shape, generator=source).to(run.device)
        found = torch.autograd.grad((direction * shown).sum(), parameters, allow_unused=True)
        for kept, one in zip(total, found, strict=True):
            kept += torch.zeros_like(kept) if one is None else one.square() / count
    run.meter.backward("generator/fisher", count)
    net.train(mode)
    return dict(zip(names, total, strict=True))
