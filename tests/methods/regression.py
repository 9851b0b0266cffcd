"""A small regression problem, for methods that serve every task."""

from __future__ import annotations

import numpy as np
import torch

from expunge.data import MemoryRows
from expunge.problem import Problem
from expunge.tasks import Regression
from expunge.training import Recipe, fit


def regression_rows(count: int, *, seed: int) -> MemoryRows:
    """y is a noisy linear function of six inputs."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=draw)
    y = x @ torch.linspace(-1, 1, 6)[:, None] + 0.3 * torch.randn(count, 1, generator=draw)
    return MemoryRows(x, y)


def regression_problem() -> Problem:
    """12 of 60 rows are to go from a two-layer net."""
    recipe = Recipe(name="line", arguments={"hidden": (8,)}, task=Regression(), epochs=10, batch_size=32, lr=0.05)
    rows = regression_rows(60, seed=0)
    return Problem(
        recipe=recipe,
        rows=rows,
        forget=np.arange(12),
        holdout=regression_rows(40, seed=1),
        test=regression_rows(40, seed=2),
        original=fit(recipe, rows, np.arange(60), seed=0).model,
    )
