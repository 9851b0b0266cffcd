"""What can go wrong, and how it is said: what was expected, what came, and a hint that mends it.

ExpungeError
├── ConfigError      a value that a person gave is outside its range, or a name is unknown      exit 2
├── ProblemError     the rows of a problem contradict each other (empty, overlapping, NaN)      exit 2
├── ShapeError       arrays or tensors that do not fit together                                 exit 2
├── DivergedError    a training or an unlearning run became non-finite                          exit 2
├── NeedsError       something is absent: gold models, a data file, an extra package            exit 4
└── StoreError       an artefact is missing, damaged, stale or of a newer schema                exit 4
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ExpungeError(Exception):
    """Base of every error that expunge raises on purpose.

    Args:
        message: What was expected and what came, in one sentence.
        hint: The command or change that mends it; empty where there is none.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConfigError(ExpungeError):
    """A value is outside its range, or a name is unknown."""


class ProblemError(ExpungeError):
    """The rows of a problem contradict each other."""


class ShapeError(ExpungeError):
    """Arrays or tensors do not fit together."""


class DivergedError(ExpungeError):
    """A run became non-finite; whatever it started from is untouched."""


class NeedsError(ExpungeError):
    """Something that the work depends on is absent."""

    exit_code = 4


class StoreError(ExpungeError):
    """An artefact on disk is missing, damaged, stale or of a newer schema."""

    exit_code = 4


def check(name: str, value: object, expected: str, ok: bool) -> None:
    """Raise ConfigError unless `ok`: `check("lr", lr, "> 0", lr > 0)`.

    Raises:
        ConfigError: `ok` is false; the text names the argument, the range and the value.
    """
    if not ok:
        raise ConfigError(f"{name}: expected {expected}, got {value!r}")


def unknown(kind: str, name: str, known: Iterable[str], listing: str) -> ConfigError:
    """The error for a name that nobody registered, with close matches and the command that lists all."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return ConfigError(f"unknown {kind} {name!r}", hint=f"{guess}`{listing}` lists every {kind}")
