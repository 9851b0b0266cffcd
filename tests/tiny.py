"""Small real problems for tests: two-layer nets on synthetic rows, no files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from expunge.data import MemoryRows
from expunge.problem import Problem
from expunge.store.folder import MANIFEST, seal
from expunge.tasks import Classification
from expunge.training import Recipe, fit


def tiny_rows(count: int, *, seed: int, classes: int = 3, shape: tuple[int, ...] = (6,)) -> MemoryRows:
    """Gaussian blobs, one a class, wide enough to overlap."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    centres = torch.randn(classes, *shape, generator=torch.Generator().manual_seed(7))
    x = centres[y] + 0.8 * torch.randn(count, *shape, generator=draw)
    return MemoryRows(x, y)


def tiny_recipe(*, epochs: int = 8, batch_size: int = 32, model: str = "mlp", **arguments: object) -> Recipe:
    settings = {"hidden": (16,)} if model == "mlp" else {}
    return Recipe(
        name=f"tiny-{model}",
        model=model,
        arguments={**settings, **arguments},
        task=Classification(3),
        epochs=epochs,
        batch_size=batch_size,
        lr=0.1,
    )


def tiny_problem(
    *,
    seed: int,
    forget: int = 12,
    batch_size: int = 32,
    rows: int = 120,
    kind: str = "random",
    recipe: Recipe | None = None,
    shape: tuple[int, ...] = (6,),
) -> Problem:
    """`forget` rows of class 0 are to go from a net trained on `rows`."""
    recipe = recipe or tiny_recipe(batch_size=batch_size)
    train = tiny_rows(rows, seed=seed, shape=shape)
    original = fit(recipe, train, np.arange(rows), seed=seed).model
    return Problem(
        recipe=recipe,
        rows=train,
        forget=np.arange(0, 3 * forget, 3),
        holdout=tiny_rows(60, seed=seed + 1000, shape=shape),
        test=tiny_rows(60, seed=seed + 2000, shape=shape),
        original=original,
        kind=kind,
    )


def edit_facts(folder: Path, **facts: object) -> None:
    """Change facts in a stored folder's manifest and seal it again, as somebody who knows how would."""
    manifest = folder / MANIFEST
    data = json.loads(manifest.read_text())
    data["facts"] |= facts
    manifest.write_text(json.dumps({**data, "seal": seal(data)}))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Bit-identical parameters and buffers."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
