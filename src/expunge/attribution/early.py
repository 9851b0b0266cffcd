"""What a training of finite length adds to the curvature: it holds the weights back, as a penalty would.

Source:     Ali, Kolter, Tibshirani, AISTATS 2019, arXiv:1810.10082: gradient flow of length t on least squares keeps
            what ridge regression with the penalty 1 / t keeps. Its use as damping, with momentum, is our extension.
Objective:  t = sum over the steps of lr / (1 - momentum), for the mean loss; over n rows the damping is n / t, nearly
            the same for a training on fewer rows, which takes fewer steps. So it stays when rows go.
"""

from __future__ import annotations

import numpy as np

from expunge.training import Recipe
from expunge.training.optim import rate
from expunge.training.stream import cut


def early_stopping(recipe: Recipe, rows: int) -> float:
    """Curvature of the loss summed over so many rows that the length of the training stands for; 0 for Adam.

    Args:
        recipe: Step sizes and epochs; of an optimiser that scales its steps nothing is known.
        rows: n, >= 1.

    Example:
        >>> from expunge.tasks import Classification
        >>> plain = dict(name="a", task=Classification(2), lr=0.1, momentum=0.5, schedule="constant")
        >>> early_stopping(Recipe(**plain, epochs=10, batch_size=5), rows=20)  # 40 steps of 0.2: t = 8
        2.5
    """
    if recipe.optimizer != "sgd":
        return 0.0
    steps = recipe.epochs * len(cut(np.arange(rows), recipe.batch_size))
    length = sum(rate(recipe.schedule, step, steps) for step in range(steps)) * recipe.lr / (1 - recipe.momentum)
    return rows / length
