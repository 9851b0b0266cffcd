"""Relearning curves: fine-tune a model on the forget rows and note its accuracy on them after every step."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from expunge.audit.estimate import Estimate
from expunge.audit.relearn import relearn
from expunge.data import Indices, Rows
from expunge.errors import check
from expunge.problem import Problem
from expunge.training import Batch, Recipe, Run, descend, predict

STEPS = 60
"""Gradient steps of relearning: about as many as a model takes that never saw the rows."""
SHARE = 0.1
"""Of the recipe's step size: small enough that gold takes several steps."""


def relearned(
    problem: Problem,
    unlearned: Sequence[nn.Module],
    gold: Sequence[nn.Module],
    originals: Sequence[nn.Module],
    groups: npt.NDArray[np.int64] | None = None,
    *,
    seed: int,
    device: str = "cpu",
) -> Estimate:
    """How soon unlearned models come back to the forget rows, beside gold; see `audit.relearn`.

    Args:
        problem: Whose forget rows; a tenth of its recipe's step size is taken.
        unlearned: Models to relearn.
        gold: At least 2 gold models with weights.
        originals: Whose accuracy on forget is to be come back to.
        groups: `[models]` which original each unlearned model comes from.
        seed: Of the order of rows.
        device: Such as "cpu" or "cuda".
    """

    def curves(models: Sequence[nn.Module]) -> npt.NDArray[np.float64]:
        lr = SHARE * problem.recipe.lr
        taken = [
            relearning_curve(
                model, problem.recipe, problem.rows, problem.forget, steps=STEPS, lr=lr, seed=seed, device=device
            )
            for model in models
        ]
        return np.stack(taken)

    return relearn(curves(unlearned), curves(gold), curves(originals), groups=groups)


def relearning_curve(
    model: nn.Module,
    recipe: Recipe,
    rows: Rows,
    forget: Indices,
    *,
    steps: int,
    lr: float,
    batch_size: int = 32,
    seed: int,
    device: str = "cpu",
) -> npt.NDArray[np.float64]:
    """Accuracy on the forget rows before and after each step of fine-tuning on them alone.

    Unlearned, gold and original models take the same `steps`, `lr`, `batch_size` and `seed`, so that they see the
    same rows in the same order; `audit.relearn` compares the curves.

    Args:
        model: Left as it is.
        recipe: Its task, momentum, weight decay and precision; the optimiser is the recipe's too.
        rows: Training rows.
        forget: `[forget]` positions among them.
        steps: Gradient steps, >= 1.
        lr: Step size, > 0, constant: small enough that gold needs several steps.
        batch_size: Rows a step, >= 1.
        seed: Root seed of the order of rows.
        device: Such as "cpu" or "cuda".

    Returns:
        `[steps + 1]` accuracy in [0, 1], entry 0 before the first step.

    Raises:
        ConfigError: steps or batch_size below 1, or no forget rows. DivergedError: the loss became non-finite.
    """
    check("steps", steps, ">= 1", steps >= 1)
    check("forget", len(forget), "at least 1 row", len(forget) >= 1)
    check("batch_size", batch_size, ">= 1", batch_size >= 1)
    learner, task = deepcopy(model), recipe.task
    run = Run(seed, batch_size, device, recipe.precision, "relearn")
    labels = rows.batch(forget)[1]
    curve: list[float] = []

    def objective(batch: Batch) -> Tensor:
        return task.loss(learner(batch.x), batch.y).mean()

    def note(step: int) -> bool:
        outputs = predict(learner, rows, forget, device=device)
        run.meter.forward("forget", len(forget))
        curve.append(float(task.correct(outputs, labels).mean()))
        return len(curve) > steps

    note(-1)
    passes = -(-steps // -(-len(forget) // batch_size))
    descend(
        learner,
        run.epochs("forget", rows, forget, count=passes),
        objective,
        run=run,
        lr=lr,
        optimizer_name=recipe.optimizer,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        after_step=note,
    )
    return np.array(curve)
