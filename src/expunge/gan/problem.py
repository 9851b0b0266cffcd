"""GanProblem: the one object that a GAN method receives."""

from __future__ import annotations

import hashlib
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import ForgetSet, Indices, Rows
from expunge.errors import ConfigError, NeedsError, ProblemError, ShapeError
from expunge.gan.fit import check_labels
from expunge.gan.pair import Pair, drawn, latents
from expunge.gan.recipe import GanRecipe
from expunge.problem import check_disjoint, checked_forget
from expunge.training import Cost, input_shape, predict


@dataclass(frozen=True, kw_only=True)
class GanProblem:
    """A trained pair, the rows that it was trained on, and those of them that have to go.

    Raises:
        ProblemError: the forget set is empty, everything, out of range or repeated; two sets of rows share an id; the
            holdout is too small to be halved.
        ShapeError: the pair draws rows of another shape, or the classifier knows other labels than the rows have.
    """

    recipe: GanRecipe
    rows: Rows
    """Training rows: retain + forget."""
    forget: Indices
    """`[forget]` positions among `rows`, sorted; a ForgetSet is resolved on construction."""
    holdout: Rows
    """Never trained on, same distribution; halved by row id into `for_label` and `for_audit`."""
    test: Rows
    """Never trained on: utility only."""
    original: Pair
    """Trained on all of `rows`; no method ever changes it."""
    classifier: nn.Module | None = None
    """Maps rows to logits over their labels; it finds the latents of a forgotten class. It may have seen forget rows:
    never hand it out with an unlearned pair, and never judge by it."""
    classifier_cost: Cost | None = None
    """What training the classifier took, where that is known; it serves every request about these rows."""
    forget_set: ForgetSet | None = None
    """The text form of `forget`, where there is one; set where `forget` was given as one."""

    def __post_init__(self) -> None:
        if isinstance(self.forget, ForgetSet):
            object.__setattr__(self, "forget_set", self.forget)
            object.__setattr__(self, "forget", self.forget.indices(self.rows))
        object.__setattr__(self, "forget", checked_forget(self.forget, len(self.rows)))
        named = {"training": self.rows, "holdout": self.holdout, "test": self.test}
        check_disjoint(named)
        for name, rows in named.items():
            if len(rows) == 0:
                raise ProblemError(f"{name} rows: expected at least one, got none")
            check_labels(self.recipe, rows)
        if not len(self.for_label) or not len(self.for_audit):
            raise ProblemError(
                f"holdout: expected rows for two halves, got {len(self.holdout)} rows that fall into one",
                hint="the label of a method and the judge of an audit must not share rows: hold more rows out",
            )
        self._check_pair()
        if self.classifier is not None:
            check_labels_known(self, self.classifier)

    def _check_pair(self) -> None:
        shape = input_shape(self.rows)
        z, y = latents(self.original.generator, 1, seed=0, role="check")
        made = tuple(drawn(self.original.generator, z, y).shape[1:])
        if made != shape:
            raise ShapeError(f"original: expected a generator of rows {list(shape)}, got {list(made)}")

    @cached_property
    def labels_known(self) -> int:
        """How many labels the rows have, or can have."""
        highest = max(int(rows.labels.max()) for rows in (self.rows, self.holdout, self.test))
        return max(len(self.rows.classes), highest + 1, self.recipe.classes)

    @cached_property
    def retain(self) -> Indices:
        """`[retain]` positions of the rows that stay, sorted."""
        return np.setdiff1d(np.arange(len(self.rows)), self.forget)

    @cached_property
    def forgotten(self) -> tuple[int, ...]:
        """Labels of which no row stays, where the forget rows are whole classes; empty for single items."""
        if self.rows.labels.is_floating_point():
            return ()  # targets, not classes
        gone, kept = (set(self.rows.labels[torch.as_tensor(at)].tolist()) for at in (self.forget, self.retain))
        return tuple(sorted(gone)) if not gone & kept else ()

    @property
    def kind(self) -> str:
        """Whether whole classes have to go, "class", or single rows, "item"."""
        return "class" if self.forgotten else "item"

    @cached_property
    def for_label(self) -> Indices:
        """`[n]` positions in the holdout that a method may look at."""
        return np.flatnonzero([half(row_id) == 0 for row_id in self.holdout.ids])

    @cached_property
    def for_audit(self) -> Indices:
        """`[n]` positions in the holdout that only the audit looks at."""
        return np.flatnonzero([half(row_id) == 1 for row_id in self.holdout.ids])

    def need_classifier(self, who: str) -> nn.Module:
        """The classifier.

        Raises:
            NeedsError: there is none.
        """
        if self.classifier is None:
            raise NeedsError(
                f"{who} needs a classifier to know the forgotten class by, got none",
                hint="GanProblem(..., classifier=model), or a recipe that names one",
            )
        return self.classifier


def check_labels_known(problem: GanProblem, classifier: nn.Module) -> None:
    """A classifier has one output for each label of the rows.

    Raises:
        ShapeError: it has another number.
    """
    width = predict(classifier, problem.rows, np.arange(1)).shape[-1]
    if width != problem.labels_known:
        raise ShapeError(
            f"classifier: expected {problem.labels_known} outputs, one for each label of the rows, got {width}",
            hint="train it on rows with the same labels as the pair's",
        )


def private(problem: GanProblem) -> GanProblem:
    """The same problem with nets of its own, which a method may move to a device and set to any mode."""
    own = copy(problem)  # checked already
    object.__setattr__(own, "original", problem.original.copy().eval())
    object.__setattr__(own, "classifier", deepcopy(problem.classifier))
    return own


def half(row_id: str) -> int:
    """0 or 1 by the row's id alone: a row stays in its half whatever rows stand beside it.

    Example:
        >>> sorted({half(name) for name in "abcdef"})
        [0, 1]
    """
    return hashlib.sha256(row_id.encode()).digest()[0] & 1


def called(classifier: nn.Module, x: Tensor, device: str | torch.device = "cpu", *, batch: int = 1024) -> Tensor:
    """A classifier's probabilities of pictures, in evaluation mode, on the CPU.

    Args:
        classifier: Maps `[n, *shape]` to logits `[n, classes]`.
        x: `[n, *shape]`.
        device: Where to compute.
        batch: Pictures at once; does not change the result.

    Returns:
        `[n, classes]` float32, each row summing to 1.
    """
    classifier.to(device).eval()
    with torch.no_grad():
        parts = [classifier(x[at : at + batch].to(device)).softmax(1).cpu() for at in range(0, len(x), batch)]
    return torch.cat(parts)


def hidden(classifier: nn.Module, x: Tensor) -> Tensor:
    """What a classifier's last dense layer receives, `[n, d]`, for pictures `[n, *shape]`; gradients pass.

    Raises:
        ConfigError: it has no dense layer.
    """
    dense = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise ConfigError("classifier: expected one that ends in a dense layer, whose input are the features")
    caught: list[Tensor] = []
    hook = dense[-1].register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].flatten(1)))
    try:
        classifier(x)
    finally:
        hook.remove()
    return caught[0]
