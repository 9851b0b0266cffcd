"""Estimators in text form, `NAME` or `NAME:SETTING=VALUE,...`, as methods, suites and the command line write them."""

from __future__ import annotations

from dataclasses import fields

from expunge import attribution
from expunge.attribution.estimator import Estimator
from expunge.errors import ConfigError


def configured(text: str) -> Estimator:
    """The estimator that a text names, with its settings.

    Args:
        text: Such as "trak" or "influence:damping=0.1,solver=cg".

    Raises:
        ConfigError: no such estimator or setting, or a value that is not of the setting's type or range.
    """
    name, _, rest = text.partition(":")
    kind = attribution.estimator(name)
    known = {one.name: one.default for one in fields(kind)}
    given: dict[str, object] = {}
    for pair in filter(None, rest.split(",")):
        setting, equals, value = pair.partition("=")
        if setting not in known or not equals:
            raise ConfigError(
                f"estimator {text}: expected SETTING=VALUE with one of {', '.join(known)}, got {pair!r}",
                hint=f"expunge estimators {name}",
            )
        given[setting] = _value(text, setting, value, known[setting])
    return kind(**given)


def _value(text: str, setting: str, value: str, default: object) -> object:
    """A setting's value, of the type of its default."""
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise ConfigError(f"estimator {text}: {setting}: expected true or false, got {value!r}")
        return value == "true"
    if isinstance(default, int | float):
        try:
            return type(default)(value)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise ConfigError(f"estimator {text}: {setting}: expected {kind}, got {value!r}") from None
    return value
