"""Inputs as small pictures for people to look at: PNG files as text, which a page can hold."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from expunge.data.pictures import Pixels
from expunge.data.rows import Indices, Rows

LARGEST = 96
"""Pixels of the longer side; larger pictures are made smaller."""
MODES = {1: "L", 3: "RGB"}
"""Channels -> what kind of picture that is."""
HEAD = "data:image/png;base64,"


def thumbnails(rows: Rows, at: Indices) -> list[str]:
    """Pictures of the rows at `at` `[n]`, as `data:image/png;base64,...`; empty where inputs are no pictures.

    Pictures are inputs `[1, height, width]` or `[3, height, width]`. How they were scaled is not known any more: in
    each channel the least value among those shown becomes black and the greatest full.

    Example:
        >>> from expunge.data import MemoryRows
        >>> flat = MemoryRows(np.zeros((2, 5)), np.array([0, 1]))
        >>> thumbnails(flat, np.arange(2))
        []
    """
    if len(at) == 0:
        return []
    x = rows.batch(at)[0].numpy()
    if x.ndim != 4 or x.shape[1] not in MODES or min(x.shape[2:]) < 2:
        return []
    low, high = (end(x, axis=(0, 2, 3), keepdims=True) for end in (np.min, np.max))
    pixels = np.round(255 * (x - low) / np.where(high > low, high - low, 1)).astype(np.uint8)
    return [_encoded(one[0] if len(one) == 1 else one.transpose(1, 2, 0)) for one in pixels]


def _encoded(pixels: Pixels) -> str:
    """One picture `[height, width]` or `[height, width, 3]`."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return HEAD + base64.b64encode(file.getvalue()).decode()
