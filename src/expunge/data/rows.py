"""Rows: training examples with stable ids and, where known, data subjects.

Rows that fit in memory are tensors and are indexed; no loader, no worker processes. A map-style torch
`Dataset` comes in through `DatasetRows`, which reads it with a `DataLoader`.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from expunge.errors import ProblemError, ShapeError

Indices = npt.NDArray[np.int64]


class Rows(ABC):
    """What the rest of the library asks of rows.

    Attributes:
        ids: `[rows]` one unique text id per row.
        subjects: `[rows]` the data subject of each row, or None where unknown.
        labels: `[rows]` labels as one CPU tensor.
        classes: What people call each label, by which a forget set names them; empty where unknown.
    """

    ids: tuple[str, ...]
    subjects: tuple[str, ...] | None
    labels: Tensor
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def batch(self, indices: Indices, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Inputs and labels of some rows.

        Args:
            indices: `[batch]` int64 positions.
            device: Where the tensors shall lie.

        Returns:
            x `[batch, ...]` float32 and y `[batch]`.
        """

    @abstractmethod
    def take(self, indices: Indices) -> Rows:
        """The rows at `indices` `[rows]`, ids and subjects kept."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, inputs and labels: equal where training would see the same rows."""
        shape = self.batch(np.zeros(min(1, len(self)), dtype=np.int64))[0].shape[1:]
        digest = hashlib.sha256("\n".join([str(tuple(shape)), *self.ids]).encode())
        for start in range(0, len(self), 4096):
            x, y = self.batch(np.arange(start, min(start + 4096, len(self))))
            digest.update(x.contiguous().numpy().tobytes())
            digest.update(y.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def position(self, ids: Iterable[str]) -> Indices:
        """Positions of rows by id, `[ids]`.

        Raises:
            ProblemError: an id is not among these rows.
        """
        where = {row_id: i for i, row_id in enumerate(self.ids)}
        ids = list(ids)
        absent = [row_id for row_id in ids if row_id not in where]
        if absent:
            shown = ", ".join(absent[:3])
            raise ProblemError(f"{len(absent)} of {len(ids)} ids are not among the training rows: {shown}")
        return np.array([where[row_id] for row_id in ids], dtype=np.int64)


class MemoryRows(Rows):
    """Rows held as tensors.

    Args:
        x: `[rows, ...]` inputs; stored as float32.
        y: `[rows]` labels, int64 for classes, float32 for regression.
        ids: `[rows]` unique ids; by default a hash of the content, with `#n` behind the n-th repeat.
        subjects: `[rows]` data subjects.
        classes: Name of each label.

    Raises:
        ShapeError: lengths differ.
        ProblemError: inputs are not finite, or an id comes twice.
    """

    def __init__(
        self,
        x: Tensor | npt.NDArray[Any],
        y: Tensor | npt.NDArray[Any],
        *,
        ids: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.x = torch.as_tensor(x).to(torch.float32)
        labels = torch.as_tensor(y)
        self.labels = labels.float() if labels.is_floating_point() else labels.long()
        if len(self.x) != len(self.labels):
            raise ShapeError(f"rows: {len(self.x)} inputs but {len(self.labels)} labels")
        check_finite(self.x, np.arange(len(self.x)))
        self.ids = tuple(ids) if ids is not None else content_ids(self.x, self.labels)
        self.subjects = tuple(subjects) if subjects is not None else None
        self.classes = tuple(classes)
        check_ids(self.ids, self.subjects, len(self.x))

    def batch(self, indices: Indices, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Inputs and labels of some rows, by indexing."""
        at = torch.as_tensor(indices)
        return self.x[at].to(device), self.labels[at].to(device)

    def take(self, indices: Indices) -> MemoryRows:
        """The rows at `indices` `[rows]`; the tensors are copied."""
        at = torch.as_tensor(indices)
        subjects = [self.subjects[i] for i in indices] if self.subjects else None
        ids = [self.ids[i] for i in indices]
        return MemoryRows(self.x[at], self.labels[at], ids=ids, subjects=subjects, classes=self.classes)


class DatasetRows(Rows):
    """Rows of a map-style torch `Dataset` of (x, y) pairs, read by a `DataLoader` at each batch.

    Args:
        dataset: Answers `len` and `[i]`; must be deterministic (augmentation belongs in the recipe).
        ids: `[rows]` unique ids; by default a hash of the content, for which every row is read once.
        subjects: `[rows]` data subjects.
        classes: Name of each label.
    """

    def __init__(
        self,
        dataset: Dataset[tuple[Any, Any]],
        *,
        ids: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        size = len(dataset)  # type: ignore[arg-type]
        self.dataset, self.classes = dataset, tuple(classes)
        self.ids = tuple(ids) if ids is not None else self._content_ids(size)
        self.subjects = tuple(subjects) if subjects is not None else None
        check_ids(self.ids, self.subjects, size)

    @cached_property
    def labels(self) -> Tensor:  # type: ignore[override]
        """`[rows]` labels, read once in a pass over the data set."""
        return self.batch(np.arange(len(self)))[1]

    def _content_ids(self, size: int) -> tuple[str, ...]:
        """As `content_ids`, 256 rows at a time."""
        cuts = range(0, size, 256)
        batches = (self.batch(np.arange(cut, min(cut + 256, size))) for cut in cuts)
        return byte_ids(
            x.numpy().tobytes() + y.numpy().tobytes() for batch in batches for x, y in zip(*batch, strict=True)
        )

    def batch(self, indices: Indices, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Inputs and labels of some rows, through a loader that keeps the order of `indices`."""
        part = Subset(self.dataset, [int(i) for i in indices])
        own = torch.Generator()  # a loader draws a seed even where it shuffles nothing: never from the global one
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(part, batch_size=256, generator=own)
        pairs = list(loader)
        x = torch.cat([torch.as_tensor(pair[0]) for pair in pairs]).to(torch.float32)
        y = torch.cat([torch.as_tensor(pair[1]) for pair in pairs])
        check_finite(x, indices)
        return x.to(device), (y.float() if y.is_floating_point() else y.long()).to(device)

    def take(self, indices: Indices) -> DatasetRows:
        """The rows at `indices` `[rows]`, as a view on the same data set."""
        return DatasetRows(
            Subset(self.dataset, [int(i) for i in indices]),
            ids=[self.ids[i] for i in indices],
            subjects=[self.subjects[i] for i in indices] if self.subjects else None,
            classes=self.classes,
        )


def joined(*parts: Rows) -> MemoryRows:
    """Several rows laid end to end, in memory.

    Raises:
        ProblemError: an id stands in two of them.
    """
    pairs = [part.batch(np.arange(len(part))) for part in parts]
    known = all(part.subjects is not None for part in parts)
    return MemoryRows(
        torch.cat([x for x, _ in pairs]),
        torch.cat([y for _, y in pairs]),
        ids=[row_id for part in parts for row_id in part.ids],
        subjects=[subject for part in parts for subject in part.subjects or ()] if known else None,
        classes=parts[0].classes,
    )


def content_ids(x: Tensor, y: Tensor) -> tuple[str, ...]:
    """A 16-digit hash of each row's content; the n-th repeat of a content gets `#n` behind it.

    Args:
        x: `[rows, ...]` inputs.
        y: `[rows]` labels.
    """
    flat = x.reshape(len(x), math.prod(x.shape[1:])).contiguous().cpu().numpy()
    labels = y.reshape(len(y), math.prod(y.shape[1:])).contiguous().cpu().numpy()
    return byte_ids(values.tobytes() + label.tobytes() for values, label in zip(flat, labels, strict=True))


def byte_ids(contents: Iterable[bytes]) -> tuple[str, ...]:
    """A 16-digit hash of each content; the n-th repeat gets `#n` behind it.

    Example:
        >>> first, second = byte_ids([b"same", b"same"])
        >>> second == first + "#1"
        True
    """
    seen: Counter[str] = Counter()
    ids = []
    for content in contents:
        key = hashlib.blake2b(content, digest_size=8).hexdigest()
        ids.append(f"{key}#{seen[key]}" if seen[key] else key)
        seen[key] += 1
    return tuple(ids)


def check_finite(x: Tensor, positions: Indices) -> None:
    """No input is NaN or infinite.

    Args:
        x: `[batch, ...]` inputs.
        positions: `[batch]` where they stand, for the error.

    Raises:
        ProblemError: names the first such row.
    """
    if not bool(x.isfinite().all()):
        bad = int((~x.reshape(len(x), -1).isfinite().all(1)).nonzero()[0])
        raise ProblemError(
            f"row {positions[bad]}: expected finite inputs, got NaN or infinity",
            hint="drop or impute such rows before training",
        )


def check_ids(ids: Sequence[str], subjects: Sequence[str] | None, rows: int) -> None:
    """Ids are unique, and as many as rows; so are subjects where given."""
    if len(ids) != rows or (subjects is not None and len(subjects) != rows):
        raise ShapeError(f"rows: {rows} inputs but {len(ids)} ids and {len(subjects or ids)} subjects")
    if len(set(ids)) != rows:
        twice = next(row_id for row_id, count in Counter(ids).items() if count > 1)
        raise ProblemError(f"row ids: expected unique ids, got {twice!r} twice")
