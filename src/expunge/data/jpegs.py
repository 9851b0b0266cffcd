"""CIFAR-10 (JPEG copy): the 60,000 pictures as JPEG bytes in one .npz.

A lossy copy in another order than the official batches: figures measured on it are to be reported as "CIFAR-10
(JPEG copy)", and positions from other projects do not line up with it.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.data.pictures import Pictures, Pixels, Scale, decoded
from expunge.data.rows import Indices, byte_ids
from expunge.data.splits import Request, Splits, official
from expunge.errors import StoreError

FILE = "cifar10_jpeg.npz"
SCALE: Scale = ((0.4914, 0.4824, 0.4467), (0.2451, 0.2425, 0.2604))
"""Measured on the 40,000 rows of the training split."""
HOLDOUT = 5
"""One in five training rows becomes holdout: 10,000 of 50,000."""
DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError)
"""What NumPy raises where an archive is cut off, holds something else, or is no archive."""


@dataclass(frozen=True)
class Jpegs:
    """JPEG files end to end."""

    data: Pixels
    """`[bytes]` all files."""
    offsets: Indices
    """`[rows + 1]` where each file begins, and where the last one ends."""
    labels: Indices
    """`[rows]`."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> bytes:
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()


def load_jpegs(request: Request) -> Splits:
    """`cifar10-jpeg`: inputs `[3, 32, 32]`, 10 classes.

    Raises:
        NeedsError: ROOT/cifar10-jpeg/cifar10_jpeg.npz and ROOT/cifar10_jpeg.npz are both missing.
        StoreError: the file is damaged, or a picture in it is.
    """
    path = request.files([[f"cifar10-jpeg/{FILE}"], [FILE]], f"put {FILE} into ROOT/cifar10-jpeg")[0]
    train, test, classes = read_jpegs(path)
    files = [part[i] for part in (train, test) for i in range(len(part))]
    labels = np.concatenate([train.labels, test.labels])

    def decode(at: Indices) -> Pixels:
        pixels = np.empty((len(at), 3, 32, 32), dtype=np.uint8)
        for slot, row in enumerate(at):
            picture = decoded(files[row], "RGB", f"{path}, picture {row}")
            if picture.shape != (3, 32, 32):
                raise StoreError(f"{path}, picture {row}: expected 32 x 32 pixels, got {picture.shape[1:]}")
            pixels[slot] = picture
        return pixels

    ids = byte_ids(file + bytes([label]) for file, label in zip(files, labels.tolist(), strict=True))
    parts = official(len(train), len(test), holdout=len(train) // HOLDOUT)
    return Pictures(labels, ids, classes, decode, SCALE).splits(request.spec, parts.first(request.first))


def read_jpegs(path: Path) -> tuple[Jpegs, Jpegs, tuple[str, ...]]:
    """Train, test and class names of the archive.

    Raises:
        StoreError: an array is missing, damaged, or does not fit the others.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            classes = tuple(str(name) for name in archive["class_names"])
            train, test = (
                Jpegs(
                    archive[f"{part}_jpeg"],
                    archive[f"{part}_offsets"].astype(np.int64),
                    archive[f"{part}_labels"].astype(np.int64),
                )
                for part in ("train", "test")
            )
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path}: expected an .npz of JPEG bytes, got a damaged one ({error})") from None
    for part in (train, test):
        _check(path, part, len(classes))
    return train, test, classes


def _check(path: Path, part: Jpegs, classes: int) -> None:
    offsets, labels = part.offsets, part.labels
    whole = len(offsets) == len(labels) + 1 and part.data.dtype == np.uint8 and part.data.ndim == 1
    if not whole or offsets[0] != 0 or offsets[-1] != len(part.data) or (np.diff(offsets) < 0).any():
        raise StoreError(f"{path}: expected offsets from 0 to {len(part.data)}, one more than labels")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise StoreError(f"{path}: expected labels 0..{classes - 1}, got {labels.min()}..{labels.max()}")
