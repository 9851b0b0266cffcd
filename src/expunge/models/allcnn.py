"""The all-convolutional network.

Source:     Springenberg, Dosovitskiy, Brox, Riedmiller, ICLR workshop 2015, arXiv:1412.6806, All-CNN-C.
Deviations: 1. batch normalisation after each convolution, as the unlearning literature trains it.
            2. the classifier is a dense layer on the mean over pixels: the same function as a 1 x 1
               convolution followed by that mean, without the ReLU between them.
            3. dropout is off by default; the paper has 0.5 (0.2 on the input, which is left out).
"""

from __future__ import annotations

from torch import nn

from expunge.models.checks import image, share, whole


def allcnn(shape: tuple[int, ...], width: int, *, channels: int = 96, dropout: float = 0.0) -> nn.Module:
    """Eight convolutions, two of them with stride 2 in the place of pooling, and one dense layer.

    Args:
        shape: (channels, height, width) of one row.
        width: Outputs per row.
        channels: Of the first three convolutions; the other five have twice as many.
        dropout: Share of values dropped after each stride, in [0, 1).
    """
    colours, _, _ = image("allcnn", shape)
    whole("channels", channels)
    share("dropout", dropout)
    narrow, wide = channels, 2 * channels
    return nn.Sequential(
        *_unit(colours, narrow),
        *_unit(narrow, narrow),
        *_unit(narrow, narrow, stride=2),
        nn.Dropout(dropout),
        *_unit(narrow, wide),
        *_unit(wide, wide),
        *_unit(wide, wide, stride=2),
        nn.Dropout(dropout),
        *_unit(wide, wide),
        *_unit(wide, wide, size=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(wide, width),
    )


def _unit(before: int, after: int, *, size: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU()]
