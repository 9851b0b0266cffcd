"""What an output means: per-row loss, margin, correctness and divergence, all `[batch]`.

Methods call the task and never a loss function directly, so that one fine-tuning method serves
classification and regression alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from expunge.errors import ProblemError, check, unknown


class Task(Protocol):
    """What a method, the training loop and the audit may ask of an output."""

    @property
    def kind(self) -> str:
        """Name in a recipe: "classification" or "regression"."""

    @property
    def width(self) -> int:
        """Outputs per row."""

    def check_labels(self, y: Tensor) -> None:
        """Raise ProblemError where a label cannot be an answer to this task."""

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Training loss of each row, nats or squared units, `[batch]`."""

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """How firmly the right answer is given, higher is firmer, float32 `[batch]`."""

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """1.0 where the answer is right, else 0.0, `[batch]`."""

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Distance of the outputs from reference outputs, 0 where equal, `[batch]`."""


@dataclass(frozen=True)
class Classification:
    """One of several classes; outputs are logits `[batch, classes]`, labels int64 `[batch]`."""

    classes: int
    """Number of classes, >= 2."""

    kind: ClassVar[str] = "classification"

    def __post_init__(self) -> None:
        check("classes", self.classes, ">= 2", self.classes >= 2)

    @property
    def width(self) -> int:
        """Logits per row: the number of classes."""
        return self.classes

    def check_labels(self, y: Tensor) -> None:
        """Labels must be whole numbers in [0, classes).

        Raises:
            ProblemError: a label is not an integer, or outside the model's outputs.
        """
        if y.is_floating_point() or y.ndim != 1:
            raise ProblemError(f"labels: expected int64 [rows], got {y.dtype} {list(y.shape)}")
        if len(y) and (int(y.min()) < 0 or int(y.max()) >= self.classes):
            raise ProblemError(
                f"labels: expected 0..{self.classes - 1} for {self.classes} outputs, "
                f"got {int(y.min())}..{int(y.max())}",
                hint="number the classes from 0, or give the recipe as many classes as there are labels",
            )

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy in nats, `[batch]`."""
        return functional.cross_entropy(outputs, y, reduction="none")

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """`logit_y - logsumexp(other logits)` in nats, float32 `[batch]`: the log-odds of the label."""
        logits = outputs.float()
        right = logits.gather(-1, y[:, None])
        others = logits.scatter(-1, y[:, None], -torch.inf)
        return right.squeeze(-1) - others.logsumexp(-1)

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """1.0 where the largest logit is the label's, `[batch]`."""
        return (outputs.argmax(-1) == y).float()

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """KL(reference || outputs) of the softened predictions, nats, summed over classes, `[batch]`."""
        ours = functional.log_softmax(outputs / temperature, -1)
        theirs = functional.log_softmax(reference / temperature, -1)
        return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)


@dataclass(frozen=True)
class Regression:
    """Real targets; outputs and labels are `[batch, targets]` (labels may be `[batch]` for one target)."""

    targets: int = 1
    """Numbers predicted per row, >= 1."""
    tolerance: float = 0.5
    """An answer within this distance of the truth counts as correct, in units of the target."""

    kind: ClassVar[str] = "regression"

    def __post_init__(self) -> None:
        check("targets", self.targets, ">= 1", self.targets >= 1)
        check("tolerance", self.tolerance, "> 0", self.tolerance > 0)

    @property
    def width(self) -> int:
        """Outputs per row: the number of targets."""
        return self.targets

    def check_labels(self, y: Tensor) -> None:
        """Labels must be finite real numbers.

        Raises:
            ProblemError: a label is not a float, is not finite, or has the wrong width.
        """
        if not y.is_floating_point() or y[:1].numel() not in (0, self.targets):
            raise ProblemError(f"labels: expected floats [rows, {self.targets}], got {y.dtype} {list(y.shape)}")
        if not bool(y.isfinite().all()):
            raise ProblemError("labels: expected finite numbers, got NaN or infinity")

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean squared error over the targets, squared units, `[batch]`."""
        return (outputs - y.reshape(outputs.shape)).square().mean(-1)

    def margin(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Minus the loss, float32 `[batch]`."""
        return -self.loss(outputs.float(), y.float())

    def correct(self, outputs: Tensor, y: Tensor) -> Tensor:
        """1.0 where every target is within the tolerance, `[batch]`."""
        return ((outputs - y.reshape(outputs.shape)).abs().amax(-1) <= self.tolerance).float()

    def divergence(self, outputs: Tensor, reference: Tensor, temperature: float = 1.0) -> Tensor:
        """Mean squared difference divided by the squared temperature, `[batch]`."""
        return ((outputs - reference) / temperature).square().mean(-1)


KINDS: dict[str, type[Classification] | type[Regression]] = {
    "classification": Classification,
    "regression": Regression,
}


def task_to_dict(task: Task) -> dict[str, Any]:
    """The task as plain data, for a manifest."""
    return {"kind": task.kind, **asdict(task)}  # type: ignore[call-overload]


def task_from_dict(data: dict[str, Any]) -> Task:
    """The task that `task_to_dict` wrote down.

    Raises:
        ConfigError: the kind is unknown.
    """
    kind = data["kind"]
    if kind not in KINDS:
        raise unknown("task", kind, KINDS, "expunge recipes")
    return KINDS[kind](**{key: value for key, value in data.items() if key != "kind"})
