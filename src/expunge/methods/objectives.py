"""What a student is asked for beside a teacher's outputs: per-row losses `[batch]` by name.

Each takes (task, outputs `[batch, width]`, labels `[batch]`, the teacher's outputs, temperature).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import log_softmax

from expunge.tasks import Task

Objective = Callable[[Task, Tensor, Tensor, Tensor, float], Tensor]


def loss(task: Task, outputs: Tensor, y: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The task's loss; the teacher is not heard."""
    return task.loss(outputs, y)


def distil(task: Task, outputs: Tensor, y: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The task's loss, plus twice the softened divergence from the teacher."""
    return task.loss(outputs, y) + 2 * softened(task, outputs, teacher, temperature)


def mimic(task: Task, outputs: Tensor, y: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean squared difference of the outputs; labels are not looked at."""
    return (outputs - teacher).square().mean(-1)


def match_entropy(task: Task, outputs: Tensor, y: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The task's loss, plus the squared difference of the predictions' entropies in nats."""
    return task.loss(outputs, y) + (entropy(outputs) - entropy(teacher)).square()


def softened(task: Task, outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence at a temperature, times its square so that gradients keep their size, `[batch]`."""
    return temperature**2 * task.divergence(outputs, teacher, temperature)


def entropy(outputs: Tensor) -> Tensor:
    """Of the softmax of logits `[batch, classes]`, nats, `[batch]`."""
    logs = log_softmax(outputs, -1)
    return -(logs.exp() * logs).sum(-1)


OBJECTIVES: dict[str, Objective] = {kind.__name__: kind for kind in (loss, distil, mimic, match_entropy)}
