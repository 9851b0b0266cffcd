"""Linear models with known answers: ridge regression, trained by a recipe's objective, solved with NumPy."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch

from expunge.attribution import Source
from expunge.data import MemoryRows
from expunge.tasks import Regression
from expunge.training import Recipe


def ridge_recipe(*, weight_decay: float, targets: int = 1) -> Recipe:
    return Recipe(name="ridge", model="linear", task=Regression(targets), weight_decay=weight_decay)


def regression_rows(count: int, inputs: int, *, seed: int, targets: int = 1, noise: float = 1.0) -> MemoryRows:
    draw = np.random.default_rng(seed)
    truth = np.random.default_rng(99).normal(size=(inputs, targets)) / inputs**0.5
    x = draw.normal(size=(count, inputs))
    return MemoryRows(x, x @ truth + noise * draw.normal(size=(count, targets)))


def columns(rows: MemoryRows) -> np.ndarray:
    """Inputs and the bias's column of ones, float64."""
    return np.hstack([rows.x.double().numpy(), np.ones((len(rows), 1))])


def solved(rows: MemoryRows, weight_decay: float, kept: np.ndarray | None = None) -> np.ndarray:
    """`[inputs + 1, targets]` where the mean loss of the kept rows, and the penalty, are least."""
    at = np.arange(len(rows)) if kept is None else kept
    x, y = columns(rows)[at], rows.labels.double().numpy()[at].reshape(len(at), -1)
    matrix = 2 / y.shape[1] * x.T @ x + len(at) * weight_decay * np.eye(x.shape[1])
    return np.linalg.solve(matrix, 2 / y.shape[1] * x.T @ y)


def as_vector(weights: np.ndarray) -> np.ndarray:
    """Such weights in the order of a layer's parameters: weight, then bias."""
    return np.concatenate([weights[:-1].T.ravel(), weights[-1]])


def ridge_source(
    count: int, inputs: int, *, penalty: float, seed: int, targets: int = 1, double: bool = True
) -> Source:
    """A linear model at its optimum; `penalty` is lambda of |y - X theta|^2 + lambda |theta|^2 for all rows."""
    recipe = ridge_recipe(weight_decay=2 * penalty / count / targets, targets=targets)
    rows = regression_rows(count, inputs, seed=seed, targets=targets)
    model = recipe.fresh((inputs,), seed=0)
    model = model.double() if double else model
    vector = torch.from_numpy(as_vector(solved(rows, recipe.weight_decay)))
    torch.nn.utils.vector_to_parameters(vector.to(next(model.parameters())), model.parameters())
    return Source(recipe=recipe, rows=rows, model=model)


def gold_step(source: Source, forget: np.ndarray) -> np.ndarray:
    """Where the weights move when the forget rows go: two closed forms, one less the other."""
    kept = np.setdiff1d(np.arange(len(source.rows)), forget)
    decay = source.recipe.weight_decay
    return as_vector(solved(source.rows, decay, kept)) - as_vector(solved(source.rows, decay))


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    """|found - exact| / |exact|."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def converged(
    recipe: Recipe, rows: MemoryRows, kept: np.ndarray | None = None, *, start: torch.nn.Module | None = None
) -> torch.nn.Module:
    """A model at a minimum of the recipe's mean loss and penalty: full-batch L-BFGS in float64, to the last digit."""
    at = np.arange(len(rows)) if kept is None else kept
    x, y = rows.batch(at)
    model = deepcopy(start) if start is not None else recipe.fresh(tuple(x.shape[1:]), seed=0)
    model = model.double()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = sum(p.square().sum() for p in model.parameters()) * recipe.weight_decay / 2
        loss = recipe.task.loss(model(x.double()), y).mean() + penalty
        loss.backward()
        return loss

    optimizer.step(objective)
    return model
