"""What lies in a folder of the package: a method or an estimator is found by its file, and registered nowhere."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any


class InFolder:
    """What is found by its file: named after it, and a frozen dataclass of settings."""

    @classmethod
    def name(cls) -> str:
        """The file's stem, which is also the name on the command line."""
        return cls.__module__.rpartition(".")[2]

    def settings(self) -> dict[str, Any]:
        """The hyper-parameters as plain data."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


def classes_in(package: str, path: Iterable[str], base: type) -> Iterator[Any]:
    """Every class that a module of the package defines itself, and that can be made.

    Args:
        package: Its dotted name; it may be in the middle of being imported.
        path: Its `__path__`.
        base: What the classes derive from.
    """
    for info in pkgutil.iter_modules(path):
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, base) and not inspect.isabstract(value):
                yield value
