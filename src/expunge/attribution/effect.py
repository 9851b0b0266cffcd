"""What taking rows away does to some rows: the output of their own label, their margin, and whether they stay right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expunge.attribution.estimator import Removal
from expunge.errors import ShapeError
from expunge.tasks import Task

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """The predicted effect on some rows, `[rows]` each.

    The output that is spoken of is the logit of a row's own label; for regression the mean over its targets.
    """

    before: Floats
    """The output as it is, logits (units of the target for regression)."""
    after: Floats
    """The predicted output, in the same unit."""
    error: Floats
    """Standard error of `after`; NaN where nothing tells it."""
    margin_before: Floats
    """The margin as it is, nats (minus the squared error for regression)."""
    margin_after: Floats
    """The predicted margin, in the same unit."""
    margin_error: Floats
    """Standard error of `margin_after`, an upper bound; NaN where nothing tells it."""
    right_before: npt.NDArray[np.bool_]
    """Whether the row is answered rightly as it is."""
    right_after: npt.NDArray[np.bool_]
    """Whether it is predicted to be."""

    def __len__(self) -> int:
        return len(self.before)

    @property
    def change(self) -> Floats:
        """Predicted change of the output: negative where the rows that go had raised it."""
        return self.after - self.before

    @property
    def margin_change(self) -> Floats:
        """Predicted change of the margin."""
        return self.margin_after - self.margin_before

    @property
    def mean_errors(self) -> tuple[float, float]:
        """Standard errors of the mean changes of output and margin, upper bounds: as if all rows erred together."""
        return float(self.error.mean()), float(self.margin_error.mean())

    def most(self, count: int) -> npt.NDArray[np.int64]:
        """Positions of the `count` rows whose margin changes most, in either direction, the most changed first."""
        return np.argsort(-np.abs(self.margin_change), kind="stable")[:count].astype(np.int64)


def effect(removal: Removal, labels: Tensor, task: Task) -> Effect:
    """The effect of a removal on rows with these labels.

    The error of a margin is first order, |d margin / d output| times the errors of the outputs, summed: whatever the
    outputs' errors have to do with each other, it is no larger.

    Args:
        removal: Of outputs `[rows, outputs]`.
        labels: `[rows]`, or `[rows, targets]` for regression.
        task: What the outputs mean.

    Raises:
        ShapeError: as many labels as rows are needed.

    Example:
        >>> from expunge.tasks import Classification
        >>> found = Removal(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]), np.array([[0.5, 0.5]]))
        >>> one = effect(found, torch.tensor([0]), Classification(2))
        >>> one.change.tolist(), one.error.tolist(), one.margin_error.tolist()
        ([-2.0], [0.5], [1.0])
    """
    if len(labels) != len(removal.logits):
        raise ShapeError(f"effect: {len(removal.logits)} predicted rows, {len(labels)} labels")
    before, after = (torch.as_tensor(np.asarray(side)).double() for side in (removal.original, removal.logits))
    error = torch.as_tensor(np.asarray(removal.error)).double()
    moved = after.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(task.margin(moved, labels).sum(), moved)
    return Effect(
        before=own_output(before, labels),
        after=own_output(after, labels),
        error=own_output(error, labels),
        margin_before=task.margin(before, labels).double().numpy(),
        margin_after=task.margin(after, labels).double().numpy(),
        margin_error=(slope.abs() * error).sum(-1).numpy(),
        right_before=task.correct(before, labels).bool().numpy(),
        right_after=task.correct(after, labels).bool().numpy(),
    )


def own_output(outputs: Tensor, labels: Tensor) -> Floats:
    """`[rows]` the output of each row's own label; the mean over outputs where labels are real numbers."""
    if labels.is_floating_point():
        return outputs.mean(-1).numpy()
    return outputs.gather(-1, labels[:, None])[:, 0].numpy()
