"""Which rows have to go: a small value with a text form, used by the command line and every manifest.

random:50            50 rows drawn at random
class:cat            every row of a class, by the name that the data set gives it
class:cat:100        100 rows of that class, drawn at random
ids:FILE             the row ids in FILE, one a line
subject:ID           every row of one data subject
indices:FILE.npy     positions, an int array
influential:50       50 rows that matter most to a model of the data; a suite of `expunge bench` chooses them
coherent:50          50 rows that look alike to such a model; likewise

A class may also be given by its number, 0 for the first, unless the classes are named by numbers themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.data.rows import Indices, Rows
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.seeds import numpy_generator

FORMS = ("random:N", "class:C", "class:C:N", "ids:FILE", "subject:ID", "indices:FILE.npy")
CHOSEN = ("influential", "coherent")
"""Forget sets that take a trained model to choose."""
MOST_NAMES = 100
"""Class names listed in an error."""


@dataclass(frozen=True)
class ForgetSet:
    """A forget set in text form, with the seed of its draw.

    `kind` is what methods declare to support: "random", "class" or "subject" (ids and indices count as
    random: nothing is known of what they have in common).
    """

    text: str
    """One of the forms above."""
    seed: int = 0
    """Of the random draw; unused where nothing is drawn."""

    def __post_init__(self) -> None:
        head, _, rest = self.text.partition(":")
        counts = rest.split(":")[1:] if head == "class" else [rest] if head in ("random", *CHOSEN) else []
        known = head in ("random", "class", "ids", "subject", "indices", *CHOSEN)
        nothing = not rest or (head == "class" and rest.startswith(":"))
        if not known or nothing or len(counts) > 1 or not all(n.isdecimal() for n in counts):
            raise ConfigError(f"forget set: expected one of {', '.join(FORMS)}, got {self.text!r}")
        if any(int(count) == 0 for count in counts):
            raise ConfigError(f"forget set: expected at least 1 row, got {self.text!r}")

    def __str__(self) -> str:
        return self.text

    @property
    def random(self) -> bool:
        """Whether the seed decides which rows they are."""
        head, _, rest = self.text.partition(":")
        return head == "random" or (head == "class" and ":" in rest)

    @property
    def kind(self) -> str:
        """What the rows have in common: "random", "class" or "subject"."""
        head = self.text.partition(":")[0]
        return head if head in ("class", "subject") else "random"

    def indices(self, rows: Rows) -> Indices:
        """Positions of the forget rows among `rows`, sorted, int64 `[forget]`.

        Raises:
            ProblemError: nothing matches, fewer rows exist than are asked for, a row is listed twice or is not
                among `rows`, no class is called that, or labels are real numbers and have no classes.
            NeedsError: the file that is named does not exist.
        """
        head, _, rest = self.text.partition(":")
        if head in CHOSEN:
            raise NeedsError(
                f"forget set {self}: it takes a trained model to choose such rows",
                hint="a suite of `expunge bench` may name it; elsewhere `expunge attribute` ranks rows, "
                "and ids:FILE takes them",
            )
        if head == "ids":
            return _listed(rows.position(_lines(Path(rest))), len(rows), self)
        if head == "indices":
            return _listed(_positions(Path(rest)), len(rows), self)
        if head == "subject":
            if rows.subjects is None:
                raise NeedsError("subject: these rows carry no data subjects", hint="use ids:FILE instead")
            return _some(np.flatnonzero(np.array(rows.subjects) == rest), self, None)
        if head == "class":
            name, _, count = rest.partition(":")
            if rows.labels.is_floating_point():
                raise ProblemError(f"forget set {self}: these rows have targets, not classes")
            found = np.flatnonzero(rows.labels.numpy() == _label(name, rows.classes, self))
            return _some(found, self, int(count) if count else None)
        return _some(np.arange(len(rows)), self, int(rest))


def forget(text: str, *, seed: int = 0) -> ForgetSet:
    """A forget set from its text form, such as `forget("class:3:100", seed=0)`."""
    return ForgetSet(text, seed)


def _label(name: str, classes: tuple[str, ...], which: ForgetSet) -> int:
    """The label of a class by its name; by its number where no class is named by a number.

    Raises:
        ProblemError: no class is called that.
    """
    if name in classes:
        return classes.index(name)
    numbered = not any(known.lstrip("-").isdecimal() for known in classes)
    if name.isdecimal() and numbered and (not classes or int(name) < len(classes)):
        return int(name)
    names = ", ".join(classes[:MOST_NAMES]) + (", ..." if len(classes) > MOST_NAMES else "")
    raise ProblemError(
        f"forget set {which}: no class is called {name!r}",
        hint=f"classes: {names}" if classes else "these rows have no class names: give the label's number",
    )


def _some(found: Indices, which: ForgetSet, count: int | None) -> Indices:
    """All of `found`, or `count` of them drawn without replacement."""
    if len(found) == 0:
        raise ProblemError(f"forget set {which}: no training row matches")
    if count is None:
        return found.astype(np.int64)
    if count > len(found):
        raise ProblemError(f"forget set {which}: expected at least {count} such rows, got {len(found)}")
    drawn = numpy_generator(which.seed, "forget").choice(found, size=count, replace=False)
    return np.sort(drawn).astype(np.int64)


def _listed(found: Indices, rows: int, which: ForgetSet) -> Indices:
    """`found` in order, once it is known to be distinct positions of rows."""
    found = np.sort(found)
    if len(found) == 0:
        raise ProblemError(f"forget set {which}: the file lists no row")
    if found[0] < 0 or found[-1] >= rows:
        beyond = found[-1] if found[-1] >= rows else found[0]
        raise ProblemError(f"forget set {which}: expected positions 0..{rows - 1}, got {beyond}")
    if len(np.unique(found)) < len(found):
        twice = found[:-1][np.diff(found) == 0][0]
        raise ProblemError(f"forget set {which}: expected each row once, got row {twice} twice")
    return found


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise NeedsError(f"ids: no file {path}", hint="one row id a line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ProblemError(f"ids: {path} is not a text file ({error})") from None
    return [line.strip() for line in lines if line.strip()]


def _positions(path: Path) -> Indices:
    if not path.is_file():
        raise NeedsError(f"indices: no file {path}", hint="write one with numpy.save")
    try:
        values = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise ProblemError(f"indices: {path} is not a .npy array of integers ({error})") from None
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ProblemError(f"indices: expected integers [forget], got {values.dtype} {list(values.shape)}")
    return np.array(values, dtype=np.int64)
