"""Ghost products: inner products of the gradients of single rows, without forming any of these gradients.

Source:     arXiv:2406.11011, the ghost dot product; its use with convolutions and the choice below are our extension.
Objective:  for one row, the gradient by the weight of a dense layer is the outer product b a' of the layer's input a
            and the slope b, the derivative of what is measured by the layer's output. So for two rows

                <g_1, g_2> = (a_1 . a_2) (b_1 . b_2) + (b_1 . b_2)          the second term is the bias

            A layer that works at many positions (a sequence, the patches under a convolution) sums both factors'
            product over pairs of positions: positions^2 (in + out) steps a pair of rows. Forming the gradients takes
            positions in out steps a row, and in out a pair of rows. The cheaper of the two is taken, layer by layer.
Cost:       beside the forward and backward pass that give a and b, nearly nothing for dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = nn.Linear | nn.Conv2d

NUMBERS = 1 << 24
"""Numbers in memory at once: 64 MB in float32."""


@dataclass(frozen=True)
class Trace:
    """What one layer saw of some rows: enough to know their gradients by its weight and bias."""

    inputs: Tensor
    """`[rows, ...]` what went in; of a convolution the picture."""
    slopes: Tensor
    """`[rows, ...]` derivative of what is measured by what came out."""

    def split(self, rows: int) -> tuple[Trace, Trace]:
        """The first `rows` rows, and the others."""
        return Trace(self.inputs[:rows], self.slopes[:rows]), Trace(self.inputs[rows:], self.slopes[rows:])


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """Their sum, in the place of the first; at least one."""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def product(layer: Layer, ours: Trace, theirs: Trace, *, bias: bool) -> Tensor:
    """`[rows, others]` inner products of gradients by one layer's weight and, where asked, its bias, float32.

    Args:
        layer: Both traces are of it.
        ours: `rows` rows.
        theirs: `others` rows.
        bias: Whether the bias counts.

    Example:
        >>> one = Trace(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]))
        >>> product(nn.Linear(2, 1), one, one, bias=True).item()  # |(3, 6, 3)|^2
        54.0
    """
    a, b, others_a, others_b = (part.float() for part in (ours.inputs, ours.slopes, theirs.inputs, theirs.slopes))
    if isinstance(layer, nn.Linear) and a.ndim == 2:
        alike, steep = others_a @ a.T, others_b @ b.T  # [others, rows]: the faster way round
        return (torch.addcmul(steep, alike, steep) if bias else alike.mul_(steep)).T
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    seen = zip(*(_grouped(_inputs(layer, part), groups) for part in (a, others_a)), strict=True)
    felt = zip(*(_grouped(_slopes(layer, part), groups) for part in (b, others_b)), strict=True)
    found = []
    for (inputs, others_inputs), (slopes, others_slopes) in zip(seen, felt, strict=True):
        way = by_pairs if _pairs_are_cheaper(inputs, slopes, others_inputs) else by_gradients
        found.append(way(inputs, slopes, others_inputs, others_slopes))
        if bias:
            found.append(slopes.sum(1) @ others_slopes.sum(1).T)
    return sum_of(found)


def by_pairs(a: Tensor, b: Tensor, others_a: Tensor, others_b: Tensor) -> Tensor:
    """Sum over pairs of positions of (a . a')(b . b'), `[rows, others]`.

    Args:
        a: `[rows, positions, in]` inputs.
        b: `[rows, positions, out]` slopes.
        others_a: `[others, positions, in]`.
        others_b: `[others, positions, out]`.
    """
    others, places, _ = others_a.shape
    step = max(1, NUMBERS // (2 * a.shape[1] * others * places))
    flat_a, flat_b = others_a.flatten(0, 1).T, others_b.flatten(0, 1).T
    parts = []
    for cut in range(0, len(a), step):
        alike = (a[cut : cut + step] @ flat_a) * (b[cut : cut + step] @ flat_b)
        parts.append(alike.view(*alike.shape[:2], others, places).sum((1, 3)))
    return torch.cat(parts)


def by_gradients(a: Tensor, b: Tensor, others_a: Tensor, others_b: Tensor) -> Tensor:
    """The same numbers from the gradients themselves, `[rows, others]`; arguments as for `by_pairs`."""
    size = a.shape[2] * b.shape[2]
    theirs = (others_b.mT @ others_a).flatten(1).T  # [out * in, others]
    step = max(1, NUMBERS // size)
    cuts = range(0, len(a), step)
    return torch.cat([(b[cut : cut + step].mT @ a[cut : cut + step]).flatten(1) @ theirs for cut in cuts])


def _pairs_are_cheaper(a: Tensor, b: Tensor, others_a: Tensor) -> bool:
    """Whether `by_pairs` takes fewer steps than `by_gradients`, for tensors as there."""
    (rows, positions, wide), (others, places, _), out = a.shape, others_a.shape, b.shape[2]
    pairs = rows * others * positions * places * (wide + out)
    return pairs <= wide * out * (rows * positions + others * places + rows * others)


def _inputs(layer: Layer, a: Tensor) -> Tensor:
    """`[rows, positions, in]` what the weight is multiplied with at each position."""
    if isinstance(layer, nn.Linear):
        return a.reshape(len(a), -1, a.shape[-1])
    settings = {"dilation": layer.dilation, "padding": layer.padding, "stride": layer.stride}
    return functional.unfold(a, layer.kernel_size, **settings).mT  # type: ignore[arg-type]


def _slopes(layer: Layer, b: Tensor) -> Tensor:
    """`[rows, positions, out]` slopes at each position."""
    return b.reshape(len(b), -1, b.shape[-1]) if isinstance(layer, nn.Linear) else b.flatten(2).mT


def _grouped(part: Tensor, groups: int) -> Sequence[Tensor]:
    """The last axis in as many equal parts as a convolution has groups."""
    return part.chunk(groups, dim=-1)
