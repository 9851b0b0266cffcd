"""A small convolutional network without normalisation: fast to train, and rows never influence each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from expunge.errors import check
from expunge.models.checks import image, whole, wholes


def cnn(shape: tuple[int, ...], width: int, *, widths: Sequence[int] = (16, 32), hidden: int = 64) -> nn.Module:
    """Blocks of 3 x 3 convolution, ReLU and 2 x 2 max pooling, then two dense layers.

    Args:
        shape: (channels, height, width) of one row, at least 2 pixels a side per block, doubled each block.
        width: Outputs per row.
        widths: Channels of each block.
        hidden: Units of the dense layer before the classifier.
    """
    channels, height, across = image("cnn", shape)
    wholes("widths", widths)
    whole("hidden", hidden)
    shrink = 2 ** len(widths)
    enough = min(height, across) >= shrink
    check("widths", widths, f"at most so many blocks as {height} x {across} pixels can be halved", enough)
    layers: list[nn.Module] = []
    for before, after in pairwise([channels, *widths]):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    flat = [channels, *widths][-1] * (height // shrink) * (across // shrink)
    dense = [nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, width)]
    return nn.Sequential(*layers, *dense)
