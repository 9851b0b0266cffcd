"""Dense networks on flattened rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from expunge.models.checks import wholes


def mlp(shape: tuple[int, ...], width: int, *, hidden: Sequence[int] = (64,)) -> nn.Module:
    """Dense layers with ReLU between them.

    Args:
        shape: Of one row; any.
        width: Outputs per row.
        hidden: Units of each hidden layer; none makes the model linear.
    """
    wholes("hidden", hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [math.prod(shape), *hidden]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], width))


def linear(shape: tuple[int, ...], width: int) -> nn.Module:
    """One dense layer: logistic or linear regression.

    Args:
        shape: Of one row; any.
        width: Outputs per row.
    """
    return mlp(shape, width, hidden=())
