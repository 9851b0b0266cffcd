"""A method's own flags, made from its dataclass."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args

from cyclopts import App, CycloptsError, Parameter, Token, convert

from expunge.attribution import Estimator
from expunge.errors import ConfigError
from expunge.gan.methods import GanMethod
from expunge.methods import Method

Settings = TypeVar("Settings", Method, GanMethod)


def strict(kind: Any, tokens: Sequence[Token]) -> Any:  # noqa: ANN401  (whatever a parameter is annotated with)
    """As cyclopts reads a value, but 2.5 is no whole number: cyclopts makes it 2.

    Raises:
        ValueError: a value has a point where only whole numbers are taken.
    """
    parts = set(get_args(kind) or (kind,))
    if int in parts and parts <= {int, NoneType, ...}:
        for token in tokens:
            if "." in token.value:
                raise ValueError(f"expected a whole number, got {token.value}")
    return convert(kind, tokens)


def configured(kind: type[Settings], flags: Sequence[str]) -> Settings:
    """The method with what its flags say, such as `--epochs 3 --lr 0.01`.

    Raises:
        ConfigError: a flag is unknown (with close matches) or its value is not of the right type or range.
    """

    def make(settings: Settings | None = None) -> Settings:
        return settings if settings is not None else kind()

    make.__annotations__["settings"] = Annotated[kind, Parameter(name="*")]  # known only now
    app = App(name=kind.name(), help_flags=[], version_flags=[], default_parameter=Parameter(converter=strict))
    app.default(make)
    try:
        made = app(list(flags), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise ConfigError(f"{kind.name()}: {error}", hint=f"`expunge methods {kind.name()}` lists its flags") from None
    if not isinstance(made, kind):
        raise ConfigError(f"{kind.name()}: could not read the flags {' '.join(flags)}")
    return made


def described(kind: type[Method] | type[GanMethod] | type[Estimator]) -> list[tuple[str, object, str]]:
    """(flag, default, help) of every hyper-parameter; the help is the string below the field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        named = isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[line.target.id] = " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return [(f"--{f.name.replace('_', '-')}", f.default, texts.get(f.name, "")) for f in fields(kind)]
