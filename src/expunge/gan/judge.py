"""Judge: what the audit of generators looks through: a classifier of its own, and the features that it measures on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from expunge.data import Indices, MemoryRows, Rows
from expunge.errors import ConfigError, NeedsError, ShapeError
from expunge.gan.problem import called, hidden
from expunge.models.foreign import executed
from expunge.training import Recipe, fit

CUT = 1024
"""Pictures at once."""
Extractor = Callable[[Tensor], Tensor]
"""Pictures `[n, *shape]` to features `[n, d]`."""


@dataclass(frozen=True)
class Judge:
    """A classifier that no method has seen, and a feature extractor with a name."""

    classifier: nn.Module
    recipe: Recipe
    """Of the classifier, and of the downstream classifiers."""
    extractor: Extractor | None = None
    """Of a person's own, such as Inception; None takes the classifier's last hidden layer."""
    extractor_name: str = ""

    def features(self, x: Tensor) -> npt.NDArray[np.float64]:
        """`[n, d]` float64 features of pictures `[n, *shape]`.

        Raises:
            ShapeError: a person's own extractor gives no `[n, d]`.
        """
        extract = self.extractor or partial(hidden, self.classifier.eval())
        with torch.no_grad():
            parts = [extract(x[at : at + CUT]) for at in range(0, len(x), CUT)]
        for part in parts:
            if not isinstance(part, Tensor) or part.ndim != 2:
                shape = list(part.shape) if isinstance(part, Tensor) else type(part).__name__
                raise ShapeError(f"features {self.extractor_name}: expected [n, d], got {shape}")
        return torch.cat(parts).double().cpu().numpy()

    def words(self, width: int) -> str:
        """What the features are, for people."""
        own = f"{self.recipe.name}, trained here, input of its last layer"
        return f"{self.extractor_name or own}; {width} numbers a picture"

    def probabilities(self, x: Tensor) -> Tensor:
        """`[n, classes]` of pictures `[n, *shape]`."""
        return called(self.classifier, x)


def downstream(
    judge: Judge, made: Tensor, labels: Tensor, rows: Rows, retain: Indices, *, seed: int, device: str = "cpu"
) -> nn.Module:
    """A classifier trained on drawn pictures beside retain rows.

    Args:
        judge: Whose recipe trains it.
        made: `[n, *shape]` drawn pictures.
        labels: `[n]` their labels: those asked for, or those that the judge calls them by.
        rows: Where retain rows lie.
        retain: `[m]` positions.
        seed: Of the training.
        device: Where to train.
    """
    x, y = rows.batch(retain)
    ids = [f"drawn-{i}" for i in range(len(made))] + [f"row-{rows.ids[i]}" for i in retain]
    both = MemoryRows(torch.cat([made, x]), torch.cat([labels, y]), ids=ids, classes=rows.classes)
    return fit(judge.recipe, both, seed=seed, device=device).model


def extractor_of(spec: str) -> Extractor:
    """A person's own `path/file.py:NAME`, a function from pictures to features; the file is executed.

    Raises:
        ConfigError: there is no such function. NeedsError: no such file.
    """
    path, _, wanted = spec.rpartition(":")
    if not path.endswith(".py"):
        raise ConfigError(f"features: expected path/file.py:NAME, got {spec!r}")
    if not Path(path).is_file():
        raise NeedsError(f"features: no file {path}", hint="a file with a function from [n, c, h, w] to [n, d]")
    found = vars(executed(Path(path), "features")).get(wanted)
    if not callable(found):
        raise ConfigError(f"features: expected a function called {wanted!r} in {path}, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]
