"""Image data before and after the split: bytes stay bytes until a part asks for its pixels.

Inputs are `(pixel / top - mean) / std` per channel, float32, where `mean` and `std` are constants of the data
set taken from its training split. They are fixed before any forget set is known and shared with gold.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from expunge.data.rows import Indices, MemoryRows
from expunge.data.splits import Parts, Splits
from expunge.errors import StoreError

Pixels = npt.NDArray[np.uint8]
Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, pixels in [0, 1]."""


@dataclass(frozen=True)
class Pictures:
    """Every row of an image data set before it is split."""

    labels: Indices
    """`[rows]` class of each row."""
    ids: tuple[str, ...]
    """`[rows]` unique ids."""
    classes: tuple[str, ...]
    """Name of each class."""
    decode: Callable[[Indices], Pixels]
    """Positions `[batch]` to pixels `[batch, channels, height, width]`."""
    scale: Scale | None = None
    """Constants of the data set; None measures them on the training rows that are loaded."""
    top: int = 255
    """Value of a full pixel."""

    def splits(self, name: str, parts: Parts) -> Splits:
        """The three parts in memory; nothing outside them is decoded."""
        train = self.decode(parts.train)
        mean, std = self.scale or measured(train, self.top)

        def rows(at: Indices, pixels: Pixels) -> MemoryRows:
            x = standardised(pixels, mean, std, self.top)
            return MemoryRows(x, self.labels[at], ids=[self.ids[i] for i in at], classes=self.classes)

        return Splits(
            name,
            train=rows(parts.train, train),
            holdout=rows(parts.holdout, self.decode(parts.holdout)),
            test=rows(parts.test, self.decode(parts.test)),
            classes=self.classes,
        )


def measured(pixels: Pixels, top: int = 255) -> Scale:
    """Mean and standard deviation of each channel of `[rows, channels, height, width]`, in [0, 1].

    A channel that never varies gets the standard deviation 1.
    """
    counts = np.stack([np.bincount(pixels[:, c].ravel(), minlength=256) for c in range(pixels.shape[1])])
    share = counts / counts.sum(1, keepdims=True)
    values = np.arange(256) / top
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


def standardised(
    pixels: Pixels, mean: tuple[float, ...], std: tuple[float, ...], top: int = 255
) -> npt.NDArray[np.float32]:
    """`(pixels / top - mean) / std` per channel, `[rows, channels, height, width]`."""
    x = pixels.astype(np.float32)
    x /= top
    x -= np.array(mean, dtype=np.float32)[:, None, None]
    x /= np.array(std, dtype=np.float32)[:, None, None]
    return x


def opened(data: bytes, where: str) -> Image.Image:
    """The header of an encoded image; its pixels are not decoded yet.

    Raises:
        StoreError: `data` is no image; the text says `where`.
    """
    try:
        return Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise StoreError(f"{where}: expected an image, got {len(data)} bytes that are none ({error})") from None


def decoded(data: bytes, mode: str, where: str) -> Pixels:
    """Pixels of an encoded image, `[channels, height, width]`.

    Args:
        data: A whole PNG or JPEG file.
        mode: "L" for one grey channel, "RGB" for three.
        where: What to call the image in an error.

    Raises:
        StoreError: the image is damaged.
    """
    picture = opened(data, where)
    try:
        pixels = np.asarray(picture.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:
        raise StoreError(f"{where}: damaged image ({error})") from None
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
