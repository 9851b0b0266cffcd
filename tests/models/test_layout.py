"""Channels last where the kernels bear it."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from expunge.models import build
from expunge.models.layout import channels_last


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(15, 8, 1, stride=2), False),
        (nn.Conv2d(15, 8, 1, stride=(1, 2)), False),
        (nn.Conv2d(32, 8, 1, stride=2, groups=4), False),
        (nn.Conv2d(16, 8, 1, stride=2), True),
        (nn.Conv2d(15, 8, 3, stride=2), True),
    ],
)
def test_a_model_at_risk_keeps_its_layout(layer, expected):
    model = nn.Sequential(nn.Conv2d(3, layer.in_channels, 3), layer)
    before = [parameter.clone() for parameter in model.parameters()]
    assert channels_last(model) is model
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last) is expected
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(("channels", "expected"), [(4, False), (16, True)])
def test_a_narrow_resnet_is_at_risk(channels, expected):
    model = channels_last(build("resnet18", shape=(3, 32, 32), width=10, channels=channels))
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.is_contiguous(memory_format=torch.channels_last) is expected


def test_a_narrow_resnet_trains_on_odd_batches_with_two_threads():
    """In a process of its own: where the layout is wrong, the heap breaks and the process ends."""
    script = (
        "import torch; from expunge.models import build; from expunge.models.layout import channels_last\n"
        "torch.set_num_threads(2)\n"
        "model = channels_last(build('resnet18', shape=(3, 32, 32), width=10, channels=4))\n"
        "for rows in (1, 3) * 4:\n"
        "    for autocast in (True, False):\n"
        "        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):\n"
        "            outputs = model(torch.randn(rows, 3, 32, 32))\n"
        "        outputs.float().square().mean().backward()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
