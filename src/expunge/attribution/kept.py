"""Scores in the store: written as they are made, a chunk of training rows at a time, and read back the same way.

A folder of scores is either whole or absent, each chunk is compared with its hash when it is read, and its name is the
hash of all that decides its content: weights, recipe, rows, estimator with its settings and seed, subset models,
targets. Scores of another model or of other rows are therefore never found; where somebody put them there, they are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.attribution.estimator import CHUNK, Estimator, Fitted, Source
from expunge.data import Indices, Rows
from expunge.errors import StoreError
from expunge.store import Contents, Folder, Store, key_of
from expunge.training import Progress, silent, weights_hash

KIND = "scores"
"""Of the store's folders that hold scores."""
NAMES = {"weights": "model", "recipe": "recipe", "rows": "training rows", "targets": "targets"}
"""What people call the parts of a request."""

SIGNS = {"raises": 1, "lowers": -1}
"""Both ends of a ranking."""

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ranked:
    """The training rows at one end of each target, the farthest first; of equal ones the first."""

    at: Indices
    """`[count, targets]` positions among the training rows."""
    scores: Values
    """`[count, targets]` nats."""

    @staticmethod
    def none(targets: int) -> Ranked:
        """Nothing yet, for so many targets."""
        return Ranked(np.empty((0, targets), dtype=np.int64), np.empty((0, targets), dtype=np.float32))

    def with_more(self, at: Indices, scores: Values, count: int, sign: int) -> Ranked:
        """The farthest `count` of these and of the rows at `at` `[chunk]` with scores `[chunk, targets]`."""
        positions = np.concatenate([self.at, np.broadcast_to(at[:, None], scores.shape)])
        values = np.concatenate([self.scores, scores])
        order = np.argsort(-sign * values, axis=0, kind="stable")[:count]
        return Ranked(np.take_along_axis(positions, order, axis=0), np.take_along_axis(values, order, axis=0))


@dataclass(frozen=True)
class Extremes:
    """Who "raises" and who "lowers" the margins most."""

    each: dict[str, Ranked]
    """Of each target by itself."""
    together: dict[str, Ranked]
    """Of the mean over all targets."""


@dataclass(frozen=True)
class Scores:
    """Kept scores `[training rows, targets]`, nats; nothing is in memory but what is being read."""

    folder: Folder
    rows: int
    """Training rows."""
    targets: int
    """Rows that are scored."""

    def at(self, train: Indices) -> Values:
        """`[n, targets]` scores of the training rows at `train` `[n]`; only the chunks that hold them are read.

        Raises:
            StoreError: a chunk is damaged or not there.
        """
        found = np.empty((len(train), self.targets), dtype=np.float32)
        for chunk in np.unique(train // CHUNK):
            here = train // CHUNK == chunk
            found[here] = self._chunk(int(chunk))[train[here] % CHUNK]
        return found

    def stream(self) -> Iterator[tuple[Indices, Values]]:
        """All scores, a chunk at a time: positions `[chunk]` and scores `[chunk, targets]`.

        Raises:
            StoreError: a chunk is damaged or not there.
        """
        for chunk in range(-(-self.rows // CHUNK)):
            values = self._chunk(chunk)
            yield np.arange(chunk * CHUNK, chunk * CHUNK + len(values)), values

    def extremes(self, count: int) -> Extremes:
        """The training rows at both ends of each target, and of all targets together, in one pass.

        Args:
            count: Rows at each end, >= 1; at most all.

        Raises:
            StoreError: a chunk is damaged or not there.
        """
        each, together = ({way: Ranked.none(targets) for way in SIGNS} for targets in (self.targets, 1))
        for at, values in self.stream():
            for way, sign in SIGNS.items():
                each[way] = each[way].with_more(at, values, count, sign)
                mean = values.mean(axis=1, keepdims=True)
                together[way] = together[way].with_more(at, mean, count, sign)
        return Extremes(each, together)

    def _chunk(self, chunk: int) -> Values:
        values = self.folder.array(_stem(chunk))
        shape = (min(CHUNK, self.rows - chunk * CHUNK), self.targets)
        if values.shape != shape:
            raise StoreError(f"{self.folder.path}: expected scores {list(shape)}, got {list(values.shape)}")
        return values.astype(np.float32, copy=False)


def request(source: Source, estimator: Estimator, targets: Rows, *, seed: int = 0) -> dict[str, Any]:
    """All that decides the scores of `targets`, as plain data."""
    models = [folder.path.name for folder in source.subsets.folders] if source.subsets is not None else []
    return {
        "weights": weights_hash(source.model),
        "recipe": source.recipe.fingerprint(),
        "rows": source.rows.fingerprint,
        "targets": targets.fingerprint,
        "estimator": estimator.name(),
        "settings": estimator.settings(),
        "seed": seed,
        "subsets": key_of({"fleet": models}) if models else "",
        "expunge": version("expunge"),
    }


def keep_scores(
    fitted: Fitted, asked: dict[str, Any], targets: Rows, store: Store, *, progress: Progress = silent
) -> Scores:
    """Scores of all training rows on `targets`, from the store or made and kept there.

    Args:
        fitted: What makes them; not asked where they are there already.
        asked: What `request` says of it.
        targets: Rows that are scored.
        store: Where they lie.
        progress: Called with (what, done, total) in training rows.

    Raises:
        StoreError: what lies there is damaged or of something else, or the disk is full.
    """
    key, rows = key_of(asked), len(fitted.source.rows)
    if not store.has(KIND, key):

        def chunks() -> Iterator[tuple[str, Values]]:
            for at, values in fitted.stream(targets, chunk=CHUNK):
                yield _stem(int(at[0]) // CHUNK), values
                progress("score training rows", int(at[-1]) + 1, rows)

        facts = {"request": asked, "rows": rows, "targets": len(targets)}
        store.put(key, Contents(KIND, facts, streamed=chunks()))
    return open_scores(asked, store)


def open_scores(asked: dict[str, Any], store: Store) -> Scores:
    """The scores that `keep_scores` kept.

    Raises:
        StoreError: absent, damaged, or of another model, recipe, rows or targets.
    """
    folder = store.get(KIND, key_of(asked))
    found = folder.facts.get("request", {})
    other = [name for name, value in asked.items() if found.get(name) != value]
    if other:
        raise StoreError(
            f"{folder.path}: holds scores of another {NAMES.get(other[0], other[0])} than its name says",
            hint="delete it: scores are made again",
        )
    return Scores(folder, folder.facts["rows"], folder.facts["targets"])


def _stem(chunk: int) -> str:
    """File stem of a chunk of training rows."""
    return f"scores-{chunk:05d}"
