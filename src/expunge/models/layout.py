"""Memory layout: channels last, the fast one for convolutions, where torch's kernels bear it."""

from __future__ import annotations

import torch
from torch import nn

BLOCK = 16
"""Input channels below which a strided 1 x 1 convolution is unsafe, see `channels_last`."""


def channels_last(model: nn.Module) -> nn.Module:
    """Lay a model's weights out channels last, in place; values stay, and so do the weights of a model at risk.

    At risk is a model with a strided 1 x 1 convolution of fewer than 16 input channels: on x86 its backward pass writes
    past its workspace in this layout (oneDNN issue 6035, in torch up to 2.14), which ends the process or, worse, goes
    on with what it overwrote.
    """
    if not any(_at_risk(module) for module in model.modules()):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _at_risk(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d) or module.in_channels // module.groups >= BLOCK:
        return False
    return set(module.kernel_size) == {1} and max(module.stride) > 1
