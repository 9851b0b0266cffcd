"""What unseen rows look like: values on holdout rows that carry the labels of the forget rows.

A stop rule or a rewind asks "how does the model treat such rows when it was never trained on them?". Rows of
the same classes answer that; a holdout row is therefore weighted so that the classes count as they do among
the forget rows. This uses every fitting holdout row, where a stratified draw would leave some aside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, Rows
from expunge.errors import NeedsError
from expunge.problem import Problem
from expunge.training import Run, predict


def matched(problem: Problem) -> tuple[Indices, Tensor]:
    """Holdout rows with the label distribution of the forget rows.

    Classes that holdout lacks are left out and the others weigh the more; where the task has no classes,
    every holdout row counts alike.

    Returns:
        Positions among `problem.holdout`, int64 `[n]`, and their weights, float32 `[n]`, summing to 1.

    Raises:
        NeedsError: no holdout row has a label of the forget rows.
    """
    if problem.recipe.task.kind != "classification":
        at = np.arange(len(problem.holdout))
        return at, torch.full((len(at),), 1 / max(1, len(at)))
    gone = problem.rows.labels[torch.as_tensor(problem.forget)]
    unseen = problem.holdout.labels
    width = problem.recipe.task.width
    wanted = gone.bincount(minlength=width).double()  # [classes]
    there = unseen.bincount(minlength=width).double()  # [classes]
    share = torch.where(there > 0, wanted, 0) / there.clamp(min=1)  # [classes], of each holdout row
    at = np.flatnonzero((share[unseen] > 0).numpy())
    if len(at) == 0:
        raise NeedsError(
            f"holdout: expected rows of the forget rows' classes {sorted(set(gone.tolist()))}, "
            f"got classes {sorted(set(unseen.tolist()))}",
            hint="add holdout rows of these classes, or use the method without its holdout rule",
        )
    weights = share[unseen[torch.as_tensor(at)]]
    return at, (weights / weights.sum()).float()


def measured(
    measure: Callable[[Tensor, Tensor], Tensor], model: nn.Module, rows: Rows, at: Indices, run: Run, role: str
) -> Tensor:
    """A task's measure on some rows in evaluation mode, counted as forward-only visits.

    Args:
        measure: Such as `task.loss`: outputs and labels to `[n]`.
        model: Its mode is kept.
        rows: Where the rows lie.
        at: `[n]` positions.
        run: Device and meter.
        role: Under which the visits count.

    Returns:
        `[n]` float32 on the CPU.
    """
    run.meter.forward(role, len(at))
    return measure(predict(model, rows, at, device=run.device), rows.labels[torch.as_tensor(at)]).float()
