"""Small real files in the formats of the named data sets, written by the tests."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

IDX = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes(), mtime=0))


def write_mnist(folder: Path, train: int = 60, test: int = 12) -> None:
    folder.mkdir(parents=True)
    for i, rows in ((0, train), (2, test)):
        write_idx(folder / IDX[i], pixels(i, rows, 28, 28))
        write_idx(folder / IDX[i + 1], (np.arange(rows) % 10).astype(np.uint8))


def write_cifar(root: Path, kind: str, rows: int = 10) -> Path:
    folder = root / f"cifar-10-batches-{kind}"
    folder.mkdir(parents=True)
    for i, name in enumerate(BATCHES):
        x, y = pixels(i, rows, 3072), (np.arange(rows) % 10).astype(np.uint8)
        if kind == "bin":
            (folder / f"{name}.bin").write_bytes(np.hstack([y[:, None], x]).tobytes())
        else:
            (folder / name).write_bytes(python2_batch(x, y.tolist()))
    return folder


def text(value: bytes) -> bytes:
    """A byte string as Python 2 pickled it."""
    return b"U" + bytes([len(value)]) + value


def python2_batch(x: np.ndarray, y: list[int]) -> bytes:
    """{"data": uint8 array, "labels": list} in the words of a protocol 2 pickle of Python 2."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", x.shape[0]) + b"M" + struct.pack("<H", x.shape[1]) + b"\x86"
    state = b"(K\x01" + shape + dtype + b"\x89" + b"T" + struct.pack("<I", x.size) + x.tobytes() + b"tb"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in y) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + labels + b"u."


def encoded(picture: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=kind)
    return buffer.getvalue()


def jpeg_arrays(rows: int = 20, test: int = 6, side: int = 32) -> dict[str, np.ndarray]:
    arrays = {"class_names": np.array([f"class {i}" for i in range(10)])}
    for part, count in (("train", rows), ("test", test)):
        files = [encoded(picture, "JPEG") for picture in pixels(count, count, side, side, 3)]
        arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(files), dtype=np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, files)])
        arrays[f"{part}_labels"] = np.sort(np.arange(count) % 10).astype(np.uint8)
    return arrays


def write_jpegs(root: Path, arrays: dict[str, np.ndarray]) -> Path:
    path = root / "cifar10-jpeg" / "cifar10_jpeg.npz"
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **arrays)
    return path


def write_folder(path: Path, classes: dict[str, int], *, grey: bool = False, seed: int = 0) -> None:
    for c, (name, count) in enumerate(classes.items()):
        (path / name).mkdir(parents=True)
        for i in range(count):
            kind = "png" if i % 2 else "jpg"
            picture = pixels(seed + 100 * c + i, 8, 8) if grey else pixels(seed + 100 * c + i, 8, 8, 3)
            data = encoded(picture, "PNG" if i % 2 else "JPEG")
            (path / name / f"{i:03d}.{kind}").write_bytes(data)
