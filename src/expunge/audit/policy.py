"""Policies: what a verdict demands, fixed and hashed before any number is seen.

A policy is a TOML file. Three ship (`screen`, `standard`, `strict`); each says why its numbers are what they are.
None of them has a published origin, and none is a legal standard: a verdict is evidence under the named policy.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from dataclasses import asdict, dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError, NeedsError, check, unknown

SPREAD = 0.13
"""Nats; what seven tenths of gold's spread at gold's mean shows."""
DERIVED = "gold"
"""In a policy's file, the margin that gold's own spread gives."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What an audit demands: of one model, or of a method by many of its models.

    Raises:
        ConfigError: a value is outside its range.
    """

    name: str
    alpha: float = 0.05
    """Level of the exact test, of the intervals and of the false discovery rate, in (0, 0.5)."""
    gold: int = 19
    """Fewest gold models, >= 19: with fewer no rank can reach 0.05."""
    unlearned: int = 20
    """Fewest unlearned models of a method audit, each from an original of its own, >= 10."""
    shift_margin: float | None = None
    """Largest mean shift of the forget rows, in gold standard deviations, > 0; None (in a file "gold"): what a gold
    model shows itself. A method's distance is in nats: a shift of s standard deviations is s^2 / 2 of them; where
    that is more than seven tenths of gold's spread show, what gold shows itself."""
    excess_margin: float | None = None
    """Largest excess of squared deviations over gold's, in gold variances, > 0; None as above. Of one model only: a
    method's distance holds its spread."""
    utility_alpha: float = 0.002
    """Chance, in (0, 0.5), that a gold model fails one of the four utility limits; each gets a quarter of it."""

    def __post_init__(self) -> None:
        check("alpha", self.alpha, "in (0, 0.5)", 0 < self.alpha < 0.5)
        check("gold", self.gold, "a whole number >= 19", isinstance(self.gold, int) and self.gold >= 19)
        check(
            "unlearned",
            self.unlearned,
            "a whole number >= 10",
            isinstance(self.unlearned, int) and self.unlearned >= 10,
        )
        for name in ("shift_margin", "excess_margin"):
            value = getattr(self, name)
            check(name, value, '> 0 or "gold"', value is None or (isinstance(value, int | float) and value > 0))
        check("utility_alpha", self.utility_alpha, "in (0, 0.5)", 0 < self.utility_alpha < 0.5)

    @property
    def method_margin(self) -> float | None:
        """Largest distance of a method on forget rows, nats; None where gold's own spread gives it.

        It also does where the shift allowed is so large that gold's mean without its spread would pass.
        """
        if self.shift_margin is None or self.shift_margin**2 / 2 > SPREAD:
            return None
        return self.shift_margin**2 / 2

    def fingerprint(self) -> str:
        """SHA-256 of every demand; the name does not matter."""
        demands = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(demands, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`, with the fingerprint."""
        return {**asdict(self), "sha256": self.fingerprint()}


def policies() -> dict[str, str]:
    """The policies that ship: name -> first line of the file."""
    return first_lines(resources.files("expunge.audit") / "policies")


def first_lines(folder: Traversable) -> dict[str, str]:
    """The TOML files of a folder: name -> first line, which says what it is for."""
    return {
        file.name.removesuffix(".toml"): file.read_text().splitlines()[0].lstrip("# ")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


def policy(name: str) -> Policy:
    """A policy by name, or from the path of a TOML file.

    Raises:
        ConfigError: no policy of that name, not TOML, an unknown key, a value outside its range.
        NeedsError: there is no such file.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise NeedsError(f"policy: no file {path}", hint=f"those that ship: {', '.join(policies())}")
        try:
            return parse_policy(path.stem, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"policy {path}: cannot be read ({error})") from None
    if name not in policies():
        raise unknown("policy", name, policies(), "expunge audit --help")
    return parse_policy(name, (resources.files("expunge.audit") / "policies" / f"{name}.toml").read_text())


def parse_policy(name: str, text: str) -> Policy:
    """A policy from the text of its file.

    Example:
        >>> parse_policy("mine", 'shift_margin = "gold"').shift_margin is None
        True
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"policy {name}: not TOML ({error})") from None
    known = {f.name for f in fields(Policy)} - {"name"}
    for key, value in data.items():
        if key not in known:
            raise ConfigError(f"policy {name}: unknown key {key!r}", hint=f"known are {', '.join(sorted(known))}")
        derived = value == DERIVED and key.endswith("_margin")
        if not derived and (isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)):
            raise ConfigError(f"policy {name}: {key}: expected a number, got {value!r}")
    demands: dict[str, Any] = {key: None if value == DERIVED else value for key, value in data.items()}
    return Policy(name=name, **demands)
