"""MNIST and Fashion-MNIST from their four idx files.

An idx file holds two zero bytes, a type byte (8: unsigned bytes), the number of dimensions, each dimension as
a big-endian 32-bit number, then the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from expunge.data.pictures import Pictures, Pixels, Scale
from expunge.data.rows import Indices, content_ids
from expunge.data.splits import Request, Splits, official
from expunge.errors import StoreError

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
SCALES: dict[str, Scale] = {
    "mnist": ((0.1306,), (0.3080,)),
    "fashion-mnist": ((0.2865,), (0.3533,)),
}
"""Measured on the 50,000 rows of the training split."""
HOLDOUT = 6
"""One in six official training rows becomes holdout: 10,000 of 60,000."""


def load_idx(request: Request) -> Splits:
    """`mnist` or `fashion-mnist`: inputs `[1, 28, 28]`, 10 classes.

    The files lie in ROOT/mnist or ROOT/fashion-mnist, or in ROOT itself.

    Raises:
        NeedsError: a file is missing.
        StoreError: a file is damaged, or images and labels do not match.
    """
    name = request.name
    taken = request.root is not None and request.root.name in CLASSES.keys() - {name}
    choices = [[f"{name}/{file}" for file in FILES], *([] if taken else [FILES])]
    paths = request.files(choices, f"put its four idx .gz files into ROOT/{name}")
    train, train_labels = pair(paths[0], paths[1], len(CLASSES[name]))
    test, test_labels = pair(paths[2], paths[3], len(CLASSES[name]))
    if train.shape[1:] != test.shape[1:]:
        raise StoreError(f"{paths[2]}: expected images of {train.shape[1:]}, as in train, got {test.shape[1:]}")
    raw, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    pictures = Pictures(
        labels=labels,
        ids=content_ids(torch.from_numpy(raw), torch.from_numpy(labels)),
        classes=CLASSES[name],
        decode=lambda at: raw[at][:, None],
        scale=SCALES[name],
    )
    parts = official(len(train), len(test), holdout=len(train) // HOLDOUT)
    return pictures.splits(request.spec, parts.first(request.first))


def pair(images: Path, labels: Path, classes: int) -> tuple[Pixels, Indices]:
    """Images `[rows, height, width]` and labels `[rows]` of two files that belong together.

    Raises:
        StoreError: their counts differ, or a label is no class.
    """
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise StoreError(f"{images}: expected {len(y)} images, one per label in {labels.name}, got {len(x)}")
    if len(y) and int(y.max()) >= classes:
        raise StoreError(f"{labels}: expected labels 0..{classes - 1}, got {int(y.max())}")
    return x, y.astype(np.int64)


def read_idx(path: Path, dimensions: int) -> Pixels:
    """The unsigned bytes of one gzipped idx file.

    Raises:
        StoreError: it is no gzip file, has another header, or ends early or late.
    """
    try:
        with gzip.open(path) as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, 8, dimensions]):
                raise StoreError(
                    f"{path}: expected an idx file of unsigned bytes in {dimensions} dimensions "
                    f"(magic 000008{dimensions:02x}), got {head[:4].hex() or 'an empty file'}"
                )
            shape = struct.unpack(f">{dimensions}I", head[4:])
            data = file.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise StoreError(f"{path}: damaged gzip file ({error})", hint="copy the file again") from None
    if len(data) != math.prod(shape):
        more = "more" if len(data) > math.prod(shape) else str(len(data))
        raise StoreError(f"{path}: expected {math.prod(shape)} values for shape {shape}, got {more}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
