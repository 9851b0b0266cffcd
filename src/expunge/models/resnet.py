"""Residual networks for small images.

`resnet9` is the shallow network of fast CIFAR training (D. Page, "How to train your ResNet", 2018).
`resnet18` is He, Zhang, Ren, Sun, CVPR 2016, arXiv:1512.03385, with the stem that is usual for 32 x 32 pixels:
one 3 x 3 convolution of stride 1 and no pooling.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from expunge.errors import check
from expunge.models.checks import image, whole


class Residual(nn.Module):
    """`x + body(x)`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return x + self.body(x)  # type: ignore[no-any-return]


class MaxOver(nn.Module):
    """The largest value of each channel, `[batch, channels, height, width]` to `[batch, channels]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Over height and width."""
        return x.amax((-2, -1))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, which is 1 x 1 where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, before, height, width]` to `[batch, after, height / stride, width / stride]`."""
        y = relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return relu(y + self.shortcut(x))


def resnet9(shape: tuple[int, ...], width: int, *, channels: int = 64) -> nn.Module:
    """Eight 3 x 3 convolutions with batch normalisation, two residual blocks, one dense layer.

    Args:
        shape: (channels, height, width) of one row, at least 8 x 8 pixels.
        width: Outputs per row.
        channels: Of the first layer; they double three times, to 8 times as many.
    """
    colours, height, across = image("resnet9", shape)
    whole("channels", channels)
    check("shape", shape, "at least 8 x 8 pixels", min(height, across) >= 8)
    c = channels
    return nn.Sequential(
        _unit(colours, c),
        _unit(c, 2 * c, pool=True),
        Residual(nn.Sequential(_unit(2 * c, 2 * c), _unit(2 * c, 2 * c))),
        _unit(2 * c, 4 * c, pool=True),
        _unit(4 * c, 8 * c, pool=True),
        Residual(nn.Sequential(_unit(8 * c, 8 * c), _unit(8 * c, 8 * c))),
        MaxOver(),
        nn.Linear(8 * c, width),
    )


def resnet18(shape: tuple[int, ...], width: int, *, channels: int = 64) -> nn.Module:
    """Eight basic blocks in four stages, mean pooling, one dense layer; 11,173,962 parameters for CIFAR-10.

    Args:
        shape: (channels, height, width) of one row.
        width: Outputs per row.
        channels: Of the first stage; they double at each of the other three.
    """
    colours, _, _ = image("resnet18", shape)
    whole("channels", channels)
    layers: list[nn.Module] = [nn.Conv2d(colours, channels, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    before = channels
    for stage in range(4):
        after = channels * 2**stage
        layers += [BasicBlock(before, after, 1 if stage == 0 else 2), BasicBlock(after, after, 1)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, width))


def _unit(before: int, after: int, *, pool: bool = False) -> nn.Sequential:
    """3 x 3 convolution, batch normalisation, ReLU and, where asked, 2 x 2 max pooling."""
    layers = [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))
