"""The dense and convolutional layers of a model whose gradient is a sum of outer products, and what passes them.

Other layers, those that are passed twice or not at all, and those that no output hangs on are left to others: here, a
layer that cannot be followed is no error, as it is in `layers`.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from expunge.attribution.gradients import Network

NUMBERS = 2**24
"""Numbers that the per-row gradients of a layer, or what goes into it, may fill: 64 MB in float32."""
AT_ONCE = 256
"""Rows in hand at most."""


@dataclass(frozen=True)
class Layer:
    """A layer whose gradient is a sum of outer products."""

    name: str
    module: nn.Linear | nn.Conv2d

    @property
    def weight(self) -> str:
        """Name of the weight among the model's parameters."""
        return f"{self.name}.weight".lstrip(".")

    @property
    def bias(self) -> str:
        """Name of the bias among the model's parameters, or nothing."""
        return "" if self.module.bias is None else f"{self.name}.bias".lstrip(".")

    @property
    def sizes(self) -> tuple[int, int]:
        """Outputs, and inputs with the bias as one."""
        weight = self.module.weight
        return len(weight), weight[0].numel() + (self.module.bias is not None)

    def inputs(self, a: Tensor) -> Tensor:
        """`[rows, positions, in]` what the weight is multiplied with, a 1 behind it where there is a bias."""
        if isinstance(self.module, nn.Conv2d):
            at = self.module
            settings = {"dilation": at.dilation, "padding": at.padding, "stride": at.stride}
            a = functional.unfold(a, at.kernel_size, **settings).mT  # type: ignore[arg-type]
        a = a.reshape(len(a), -1, a.shape[-1])
        return functional.pad(a, (0, 1), value=1.0) if self.bias else a

    def slopes(self, b: Tensor) -> Tensor:
        """`[rows, positions, out]` slopes of what comes out."""
        return b.flatten(2).mT if isinstance(self.module, nn.Conv2d) else b.reshape(len(b), -1, b.shape[-1])


class Passes:
    """A copy of a model that notes what passes its layers.

    Args:
        network: Whose model; copied, in evaluation mode.
    """

    def __init__(self, network: Network) -> None:
        self.model = deepcopy(network.model).requires_grad_(True)
        self.layers = candidates(self.model)
        self._inputs: dict[str, Tensor] = {}
        self._edges: dict[str, GradientEdge] = {}
        self._times: Counter[str] = Counter()
        for layer in self.layers:
            layer.module.register_forward_hook(partial(self._note, layer.name))

    def keep_single(self, x: Tensor) -> None:
        """Keep the layers that one row, x `[1, ...]`, passes exactly once, and as one row."""
        outputs = self.outputs(x)
        times, inputs = self._times, self._inputs
        self.layers = [at for at in self.layers if times[at.name] == 1 and len(inputs[at.name]) == 1]
        if self.layers:  # what passes a layer may go nowhere, as in a head that only training looks at
            edges = [self._edges[at.name] for at in self.layers]
            found = torch.autograd.grad(outputs.sum(), edges, allow_unused=True)
            self.layers = [at for at, slope in zip(self.layers, found, strict=True) if slope is not None]
        held = sum(a.numel() for a in self.inputs()) + max((at.module.weight.numel() for at in self.layers), default=0)
        self.at_once = max(1, min(AT_ONCE, NUMBERS // max(1, held)))

    def outputs(self, x: Tensor) -> Tensor:
        """`[rows, outputs]` with a graph; what was noted before is forgotten."""
        self._times.clear()
        found: Tensor = self.model(x)
        return found

    def inputs(self) -> list[Tensor]:
        """What went into each layer, `[rows, positions, in]`."""
        return [layer.inputs(self._inputs[layer.name]) for layer in self.layers]

    def slopes(self, outputs: Tensor, cotangent: Tensor) -> list[Tensor]:
        """Slopes of each layer, `[rows, positions, out]`, for outputs and a cotangent `[rows, outputs]`."""
        edges = [self._edges[layer.name] for layer in self.layers]
        found = torch.autograd.grad(outputs, edges, cotangent, retain_graph=True)
        return [layer.slopes(slope) for layer, slope in zip(self.layers, found, strict=True)]

    def _note(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:  # as in a frozen part under no_grad
            return
        # the edge and not the output: an activation that works in place would put its own result there
        self._inputs[name], self._edges[name] = inputs[0].detach(), get_gradient_edge(output)
        self._times[name] += 1


def candidates(model: nn.Module) -> list[Layer]:
    """Dense and convolutional layers that share no parameter, outer products position by position."""
    owners = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    found = []
    for name, module in model.named_modules():
        single = all(owners[id(p)] == 1 for p in module.parameters(recurse=False))
        # exactly these kinds: a subclass may do something else with its weight
        if single and (type(module) is nn.Linear or (type(module) is nn.Conv2d and plain(module))):
            found.append(Layer(name, module))
    return found


def plain(module: nn.Conv2d) -> bool:
    """Whether every output channel sees every input channel, with zeros around by numbers."""
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
