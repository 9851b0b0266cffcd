"""CIFAR-10 from its official binary or python batches.

The binary version (`cifar-10-batches-bin`) is one label byte and 3,072 pixel bytes per row. The python version
(`cifar-10-batches-py`) is pickled, and a pickle can name any function to be called while it is read. Here it
names nothing: the unpickler refuses every name but the three that an array needs, and even those stand for an
inert note of what was asked, never for NumPy. The array is then built from the noted bytes.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import torch

from expunge.data.pictures import Pictures, Pixels, Scale
from expunge.data.rows import Indices, content_ids
from expunge.data.splits import Request, Splits, official
from expunge.errors import StoreError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SCALE: Scale = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Of the official training set, to four digits."""
WIDTH = 3 * 32 * 32
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
CHOICES = [
    [f"{folder}cifar-10-batches-{version}/{batch}{suffix}" for batch in BATCHES]
    for version, suffix in (("bin", ".bin"), ("py", ""))
    for folder in ("", "cifar10/")
]
"""The binary version is preferred; the test batch stands last."""
HOLDOUT = 5
"""One in five official training rows becomes holdout: 10,000 of 50,000."""
OBTAIN = (
    "put the official cifar-10-batches-bin (or cifar-10-batches-py) folder into ROOT; "
    "a JPEG copy is the data set cifar10-jpeg"
)
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


def load_cifar10(request: Request) -> Splits:
    """`cifar10`: inputs `[3, 32, 32]`, 10 classes; the binary version is preferred where both are there.

    Raises:
        NeedsError: neither version is below the root.
        StoreError: a batch is damaged, or is a pickle that asks for more than an array.
    """
    paths = request.files(CHOICES, OBTAIN)
    batches = [read_binary(path) if path.suffix else read_python(path) for path in paths]
    pixels = np.concatenate([batch for batch, _ in batches])
    labels = np.concatenate([batch for _, batch in batches])
    test = len(batches[-1][1])
    pictures = Pictures(
        labels=labels,
        ids=content_ids(torch.from_numpy(pixels), torch.from_numpy(labels)),
        classes=CLASSES,
        decode=lambda at: pixels[at].reshape(-1, 3, 32, 32),
        scale=SCALE,
    )
    parts = official(len(labels) - test, test, holdout=(len(labels) - test) // HOLDOUT)
    return pictures.splits(request.spec, parts.first(request.first))


def read_binary(path: Path) -> tuple[Pixels, Indices]:
    """Pixels `[rows, 3072]` and labels `[rows]` of one binary batch.

    Raises:
        StoreError: the size is no multiple of 3,073 bytes, or a label is no class.
    """
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if len(data) == 0 or len(data) % (WIDTH + 1):
        raise StoreError(f"{path}: expected a multiple of {WIDTH + 1} bytes, got {len(data)}")
    table = data.reshape(-1, WIDTH + 1)
    return _checked(path, table[:, 1:], table[:, 0].astype(np.int64))


def read_python(path: Path) -> tuple[Pixels, Indices]:
    """Pixels `[rows, 3072]` and labels `[rows]` of one python batch; no code in the file is run.

    Raises:
        StoreError: the pickle asks for anything but an array, or holds something else than a batch.
    """
    try:
        batch = Inert(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        pixels, labels = _array(batch[b"data"]), np.array(batch[b"labels"], dtype=np.int64)
    except Refused as refused:
        raise StoreError(
            f"{path}: expected a CIFAR-10 batch, got a pickle that asks for {refused}",
            hint="such a file can run code when opened elsewhere; get the binary version of CIFAR-10",
        ) from None
    except Exception as error:  # a damaged pickle may raise anything
        raise StoreError(f"{path}: expected a CIFAR-10 batch, got a damaged one ({error!r})") from None
    return _checked(path, pixels, labels)


def _checked(path: Path, pixels: Pixels, labels: Indices) -> tuple[Pixels, Indices]:
    if pixels.shape != (len(labels), WIDTH) or labels.ndim != 1:
        raise StoreError(f"{path}: expected {WIDTH} pixels for each label, got {pixels.shape}, {labels.shape}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(CLASSES):
        raise StoreError(f"{path}: expected labels 0..9, got {int(labels.min())}..{int(labels.max())}")
    return pixels, labels


class Refused(Exception):
    """A pickle named something that is not allowed."""


class Note:
    """Stands for an object that a pickle asked for: remembers the arguments and the state, does nothing."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[object, ...] = ()) -> None:
        self.name, self.arguments = name, arguments
        self.state: tuple[object, ...] = ()

    def __call__(self, *arguments: object) -> Note:
        """What calling the object with `arguments` would have made."""
        return Note(self.name, arguments)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.state = state


class Inert(pickle.Unpickler):
    """An unpickler to which every allowed name is a `Note` and every other name is refused."""

    def find_class(self, module: str, name: str) -> Note:
        """A note in place of the object `module.name`."""
        if (module, name) not in ALLOWED:
            raise Refused(f"{module}.{name}")
        return Note(name)

    def persistent_load(self, pid: object) -> object:
        """No reference to anything outside the file."""
        raise Refused(f"the outside object {pid!r}")


def _array(note: Note) -> Pixels:
    """The array whose making was noted: state is (version, shape, dtype, Fortran order, bytes)."""
    _, shape, dtype, fortran, data = note.state
    if not isinstance(dtype, Note) or dtype.arguments[:1] != (b"u1",) or fortran:
        raise ValueError("pixels are not unsigned bytes in C order")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)  # type: ignore[call-overload, no-any-return]
