"""Search spaces as Optuna knows them, and its picks as settings of a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expunge.errors import NeedsError
from expunge.methods import Method
from expunge.methods.search import Choice, Log, NearOne, Search, Space, Whole

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def optuna() -> Any:  # noqa: ANN401  (a module)
    """The optimiser library, quiet.

    Raises:
        NeedsError: it is not installed.
    """
    try:
        import optuna as library
    except ImportError:
        raise NeedsError(
            "tuning needs the library Optuna, which is not installed", hint='pip install "expunge[tune]"'
        ) from None
    library.logging.set_verbosity(library.logging.ERROR)
    return library


def distributions(search: Search) -> dict[str, BaseDistribution]:
    """What Optuna draws from for each setting; one of several values is drawn by its place."""
    return {name: _distribution(space) for name, space in search.items()}


def _distribution(space: Space) -> BaseDistribution:
    kinds = optuna().distributions
    made: BaseDistribution
    match space:
        case Log(low, high) | NearOne(low, high):
            made = kinds.FloatDistribution(low, high, log=True)
        case Whole(low, high):
            made = kinds.IntDistribution(low, high)
        case Choice(values):
            made = kinds.CategoricalDistribution(list(range(len(values))))
    return made


def settings(search: Search, drawn: dict[str, Any]) -> dict[str, Any]:
    """Settings of the method from what Optuna drew.

    Example:
        >>> settings({"a": NearOne(0.01, 0.1), "b": Choice(((), (3,)))}, {"a": 0.25, "b": 1})
        {'a': 0.75, 'b': (3,)}
    """
    return {name: _setting(space, drawn[name]) for name, space in search.items()}


def _setting(space: Space, drawn: Any) -> Any:  # noqa: ANN401  (whatever the setting is)
    match space:
        case NearOne():
            return 1 - drawn
        case Choice(values):
            return values[drawn]
        case _:
            return drawn


def usual(method: type[Method]) -> dict[str, Any]:
    """The method's defaults for what is searched; a setting that has but one value while tuning has that."""
    spaces = method.search.items()
    fixed = {name: one.values[0] for name, one in spaces if isinstance(one, Choice) and len(one.values) == 1}
    made = method(**fixed)
    return {name: getattr(made, name) for name in method.search}
