"""What every named data set has in common: the request for it, how its rows are divided, and what comes back.

Each part stands in a fixed random order, so that any first N rows are a fair sample of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.data.rows import Indices, Rows
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.seeds import numpy_generator

SEED = 0
"""Of every split; a constant, because another split would be another data set."""
SHARE = 15
"""Per cent of the rows that become holdout, and again test, where a data set has no split of its own."""


@dataclass(frozen=True)
class Splits:
    """A data set in three parts that share no row and no id."""

    name: str
    """The spec it was loaded by."""
    train: Rows
    """Rows to train on."""
    holdout: Rows
    """Never trained on, same distribution: non-members for attacks."""
    test: Rows
    """Never trained on: utility only."""
    classes: tuple[str, ...]
    """Name of each label; empty where the labels are real numbers."""


@dataclass(frozen=True)
class Parts:
    """Positions of the three parts among all rows of a data set."""

    train: Indices
    holdout: Indices
    test: Indices

    def first(self, count: int | None) -> Parts:
        """The first `count` training rows, at most as many of holdout, and the whole of test.

        Raises:
            ConfigError: `count` is not between 1 and the number of training rows.
        """
        if count is None:
            return self
        if not 1 <= count <= len(self.train):
            raise ConfigError(f"@N: expected 1 to {len(self.train)} training rows, got {count}")
        return Parts(self.train[:count], self.holdout[:count], self.test)


@dataclass(frozen=True)
class Request:
    """A spec taken apart: `csv:table.csv?label=y@500` is name `csv`, rest `table.csv?label=y`, first 500."""

    spec: str
    name: str
    rest: str
    first: int | None
    root: Path | None

    def files(self, choices: Sequence[Sequence[str]], obtain: str) -> list[Path]:
        """The first choice of files that is complete below the root.

        Args:
            choices: Each a list of files that belong together, relative to the root, in order of preference.
            obtain: Where the files come from, for the hint.

        Raises:
            NeedsError: no choice is complete; the text names every missing file, or its missing folder.
        """
        absent: list[Path] = []
        for choice in choices if self.root else ():
            paths = [Path(self.root or "", file) for file in choice]
            missing = [path for path in paths if not path.is_file()]
            if not missing:
                return paths
            absent += [path if path.parent.is_dir() else path.parent for path in missing]
        raise self._absent(absent, obtain)

    def given(self, path: str) -> Path:
        """A path that a person wrote: as it stands, or below the root.

        Raises:
            NeedsError: neither exists.
        """
        looked = [Path(path), *([self.root / path] if self.root else [])]
        for candidate in looked:
            if candidate.exists():
                return candidate
        raise self._absent(looked, "check the path")

    def _absent(self, looked: Sequence[Path], obtain: str) -> NeedsError:
        distinct = ", ".join(map(str, dict.fromkeys(looked)))
        found = f"nothing at {distinct}" if looked else "no data folder is set"
        hint = f"{obtain}; set EXPUNGE_DATA or give --data DIR (nothing is downloaded)"
        return NeedsError(f"data set {self.name}: {found}", hint)


def official(train: int, test: int, *, holdout: int) -> Parts:
    """Parts of a data set that comes with a test set: holdout is taken out of its training rows.

    Args:
        train: Rows of the official training set, at positions 0 .. train - 1.
        test: Rows of the official test set, at the positions behind.
        holdout: How many training rows become holdout.

    Example:
        >>> parts = official(6, 2, holdout=1)
        >>> len(parts.train), len(parts.holdout), sorted(parts.test.tolist())
        (5, 1, [6, 7])
    """
    order = numpy_generator(SEED, "split").permutation(train)
    last = train + numpy_generator(SEED, "split-test").permutation(test)
    return _filled(Parts(order[holdout:], order[:holdout], last))


def drawn(rows: int, *, holdout: int | None = None, test: int | None = None) -> Parts:
    """Parts of a data set without a test set: by default 70 : 15 : 15 of all rows.

    Raises:
        ProblemError: a part would be empty.
    """
    share = rows * SHARE // 100
    holdout, test = share if holdout is None else holdout, share if test is None else test
    order = numpy_generator(SEED, "split").permutation(rows)
    return _filled(Parts(order[holdout + test :], order[:holdout], order[holdout : holdout + test]))


def _filled(parts: Parts) -> Parts:
    sizes = [len(part) for part in (parts.train, parts.holdout, parts.test)]
    if not all(sizes):
        raise ProblemError(
            f"split: expected rows for train, holdout and test, got {sizes[0]}, {sizes[1]} and {sizes[2]}",
            hint="a data set without a test set needs at least 7 rows",
        )
    return Parts(*(part.astype(np.int64) for part in (parts.train, parts.holdout, parts.test)))
