"""Gradients of single rows from what each layer saw: no gradient is summed over rows and none is computed twice.

Objective:  the gradient of a row by the weight of a dense layer is b a', a -> the layer's input, b -> the slope of what
            is measured by its output; a convolution sums that over the places of its patches. All rows share one
            forward and one backward pass, and the products go straight into the vector of all parameters.
Cost:       a forward pass, two thirds of a backward pass, and writing the numbers down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.attribution.ghost import Layer
from expunge.attribution.layers import Layers
from expunge.errors import NeedsError

SLICE = 2**22
"""Numbers that are written before the next rows come: 16 MB in float32, which caches hold better than more."""


class Layerwise:
    """A model of dense and convolutional layers, and where their gradients go.

    Args:
        model: In evaluation mode; hooks are on it only while rows pass.
        parameters: Name -> parameter, in the order in which their gradients stand.

    Raises:
        NeedsError: another kind of layer has parameters, or a convolution has groups.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        self.layers = Layers(model)
        self.starts: dict[str, int] = {}
        self.size = 0
        for name, value in parameters.items():
            self.starts[name], self.size = self.size, self.size + value.numel()
        if any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in self.layers.layers):
            raise NeedsError("gradients: a convolution with groups has no gradient layer by layer")

    def gradients(self, x: Tensor, measure: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """`[rows, p]` gradients of what is measured of each row.

        Args:
            x: `[rows, ...]` inputs.
            measure: (outputs `[some, outputs]` of the rows of a slice, that slice) -> a number per row, `[some]`.

        Raises:
            NeedsError: a layer is passed twice or not at all, or does not see one line per row.
        """
        found = torch.empty(len(x), self.size, dtype=x.dtype, device=x.device)
        step = max(1, SLICE // self.size)
        with self.layers as layers, torch.enable_grad():
            for start in range(0, len(x), step):
                cut = slice(start, min(start + step, len(x)))
                outputs = layers.forward(x[cut].detach().requires_grad_())  # else nothing would have a gradient
                traces = layers.traces(measure(outputs, cut).sum())
                for name, layer, trace in zip(layers.names, layers.layers, traces, strict=True):
                    self._write(found[cut], name, layer, trace.inputs.detach(), trace.slopes)
        return found

    def _write(self, found: Tensor, name: str, layer: Layer, a: Tensor, b: Tensor) -> None:
        """The gradients of one layer, to their place in `found` `[rows, p]`."""
        if len(a) != len(found) or len(b) != len(found):
            raise NeedsError(f"gradients: layer {name} does not see one line per row")
        prefix = f"{name}." if name else ""
        weight, bias = self.starts.get(f"{prefix}weight"), self.starts.get(f"{prefix}bias")
        slopes = b.permute(0, 2, 3, 1).flatten(1, 2) if isinstance(layer, nn.Conv2d) else b
        if weight is not None:
            size = layer.weight.numel()
            target = found[:, weight : weight + size].view(len(found), *layer.weight.shape)
            if isinstance(layer, nn.Conv2d):
                by_patch(target, patches(layer, a), slopes)
            elif a.ndim == 2:
                torch.mul(b[:, :, None], a[:, None, :], out=target)
            else:
                torch.matmul(b.flatten(1, -2).mT, a.flatten(1, -2), out=target)
        if bias is not None:
            found[:, bias : bias + slopes.shape[-1]] = slopes if slopes.ndim == 2 else slopes.flatten(1, -2).sum(1)


def layerwise(model: nn.Module, parameters: Mapping[str, Tensor]) -> Layerwise | None:
    """A `Layerwise` of the model, or None for a model of other layers."""
    try:
        return Layerwise(model, parameters)
    except NeedsError:
        return None


def patches(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """What the kernel is multiplied with at each place of pictures `[rows, channels, height, width]`.

    Returns:
        `[rows, places, kernel height * kernel width * channels]`.
    """
    tall, wide = (int(side) for side in layer.padding)
    padded = functional.pad(a, (wide, wide, tall, tall)).permute(0, 2, 3, 1).contiguous()
    (rows, height, width, channels), (row, line, place, _) = padded.shape, padded.stride()
    sizes = zip((height, width), layer.kernel_size, layer.stride, layer.dilation, strict=True)
    down, across = ((size - spread * (kernel - 1) - 1) // step + 1 for size, kernel, step, spread in sizes)
    strides = (
        row,
        line * layer.stride[0],
        place * layer.stride[1],
        line * layer.dilation[0],
        place * layer.dilation[1],
        1,
    )
    seen = padded.as_strided((rows, down, across, *layer.kernel_size, channels), strides)
    return seen.reshape(rows, down * across, -1)


def by_patch(target: Tensor, seen: Tensor, slopes: Tensor) -> None:
    """Sum over places of slope times patch, into `target` `[rows, out, channels, kernel height, kernel width]`."""
    rows, out, channels, tall, wide = target.shape
    narrow = tall * wide * channels < out  # then the product is faster the other way round
    found = (seen.mT @ slopes).mT if narrow else slopes.mT @ seen
    target.copy_(found.reshape(rows, out, tall, wide, channels).permute(0, 1, 4, 2, 3))
