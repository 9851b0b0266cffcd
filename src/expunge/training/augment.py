"""Augmentation of a whole batch at once, on the device where it lies, from an explicit generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def flip(x: Tensor, source: torch.Generator) -> Tensor:
    """Mirror each image left-right with probability 1/2; x `[batch, channels, height, width]`."""
    coin = torch.rand(len(x), generator=source).to(x.device) < 0.5
    return torch.where(coin[:, None, None, None], x.flip(-1), x)


def crop(x: Tensor, source: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its size, zeros outside; x as for `flip`."""
    height, width = x.shape[-2:]
    by_row, by_column = height // 8, width // 8
    padded = functional.pad(x, (by_column, by_column, by_row, by_row))
    top = torch.randint(2 * by_row + 1, (len(x),), generator=source).to(x.device)
    left = torch.randint(2 * by_column + 1, (len(x),), generator=source).to(x.device)
    rows = top[:, None] + torch.arange(height, device=x.device)  # [batch, height]
    columns = left[:, None] + torch.arange(width, device=x.device)  # [batch, width]
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "crop": crop}
