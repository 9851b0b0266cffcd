"""Data sets by name, each loaded by a spec that the command line and every manifest use.

    digits                                      ships with scikit-learn
    mnist, fashion-mnist, cifar10, cifar10-jpeg files below the data folder
    folder:PATH                                 pictures, PATH/CLASS/*.png or *.jpg
    csv:FILE?label=COLUMN&id=COLUMN             a csv or parquet table
    NAME@N                                      only the first N training rows, at most N of holdout

The data folder is `root`, else the environment variable EXPUNGE_DATA. Nothing is downloaded. Ids are hashes
over the content of the whole data set, taken before it is split: the same row has the same id under every @N.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from expunge.data.cifar import load_cifar10
from expunge.data.folder import load_folder
from expunge.data.idx import load_idx
from expunge.data.jpegs import load_jpegs
from expunge.data.pictures import Pictures, Scale
from expunge.data.rows import content_ids
from expunge.data.splits import Request, Splits, drawn
from expunge.data.tables import FORM, load_table
from expunge.errors import ConfigError, unknown

DIGITS_SCALE: Scale = ((0.3055,), (0.3763,))
"""Measured on the 1,097 rows of the training split."""


def load_digits(request: Request) -> Splits:
    """`digits`: 1,097 train, 300 holdout and 400 test rows, inputs `[1, 8, 8]`, 10 classes."""
    from sklearn.datasets import load_digits as bundled  # takes a second to import

    bunch = bundled()
    raw, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    pictures = Pictures(
        labels=labels,
        ids=content_ids(torch.from_numpy(raw), torch.from_numpy(labels)),
        classes=tuple("0123456789"),
        decode=lambda at: raw[at][:, None],
        scale=DIGITS_SCALE,
        top=16,
    )
    return pictures.splits(request.spec, drawn(len(raw), holdout=300, test=400).first(request.first))


LOADERS: dict[str, Callable[[Request], Splits]] = {
    "digits": load_digits,
    "mnist": load_idx,
    "fashion-mnist": load_idx,
    "cifar10": load_cifar10,
    "cifar10-jpeg": load_jpegs,
    "folder": load_folder,
    "csv": load_table,
}
DATASETS: dict[str, str] = {
    "digits": "handwritten digits 8 x 8, 1,797 rows, ships with scikit-learn",
    "mnist": "handwritten digits 28 x 28, 70,000 rows, four idx .gz files",
    "fashion-mnist": "clothes 28 x 28, 70,000 rows, four idx .gz files",
    "cifar10": "CIFAR-10, colour 32 x 32, 60,000 rows, official binary or python batches",
    "cifar10-jpeg": "CIFAR-10 (JPEG copy), lossy, 60,000 rows in another order, one .npz of JPEG bytes",
    "folder": "folder:PATH, pictures of one size in PATH/CLASS/*.png or *.jpg",
    "csv": f"{FORM}, a csv or parquet table",
}
"""Name of each data set and a line about it."""


def load(spec: str, *, root: Path | None = None) -> Splits:
    """A named data set in three parts.

    Args:
        spec: One of the forms above, such as "fashion-mnist@10000".
        root: Data folder; without one, that of the environment variable EXPUNGE_DATA.

    Raises:
        ConfigError: no such data set, or more training rows are asked for than there are.
        NeedsError: a file is missing; the text names every path looked at.
        StoreError: a file is damaged.
        ProblemError: the rows contradict each other.

    Example:
        >>> splits = load("digits@100")
        >>> len(splits.train), len(splits.holdout), len(splits.test), splits.classes[:3]
        (100, 100, 400, ('0', '1', '2'))
    """
    found = re.fullmatch(r"(.*)@([0-9]+)", spec)
    body, first = (found[1], int(found[2])) if found else (spec, None)
    name, colon, rest = body.partition(":")
    takes_rest = name in ("folder", "csv")
    if name not in LOADERS or (colon and not takes_rest):
        raise unknown("data set", body, DATASETS, "expunge data")
    if takes_rest and not rest:
        raise ConfigError(f"data set {name}: expected {'folder:PATH' if name == 'folder' else FORM}, got {spec!r}")
    return LOADERS[name](Request(spec, name, rest, first, _root(root)))


def _root(root: Path | None) -> Path | None:
    named = os.environ.get("EXPUNGE_DATA")
    return Path(root) if root is not None else Path(named) if named else None
