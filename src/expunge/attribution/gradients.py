"""Gradients of single rows: a model seen as a function of one vector, its parameters.

Objective:  J_x = df(x) / d theta, `[outputs, p]` for each row; pulled back by a vector of the outputs' space it is the
            gradient of a row's loss or margin.
Rows:       `vmap` takes many rows through the model together, each as a batch of its own; networks of dense and
            convolutional layers alone go a faster way, see `layerwise`. Rows must not see each other, as they do where
            batch normalisation uses the statistics of the batch; in evaluation mode it does not. Results do not depend
            on how many rows go together.
Cost:       one forward+backward visit a row for a gradient, `outputs` of them for a Jacobian.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.attribution.layerwise import layerwise
from expunge.data import Indices, Rows
from expunge.errors import NeedsError, ShapeError, check, unknown
from expunge.models.layout import channels_last
from expunge.tasks import Task

HELD = 2**22
"""Numbers that the gradients of the rows in hand shall fill: 16 MB in float32, which caches still help with."""
MOST = 2**26
"""Numbers that they may fill where that would be fewer than FEW rows."""
FEW = 3
"""Rows on which the fast way is compared with the one that always holds."""
AT_ONCE = 256
"""Rows in hand at most, for what their activations fill."""
KINDS = ("loss", "margin")
MIXED = 1e-3
"""Relative change of a row's outputs, beside other rows, that rounding does not explain."""
REMEDY = (
    "each row must pass alone and deterministically: batch normalisation with track_running_stats=True, or group or "
    "layer normalisation; no dropout outside nn.Dropout; no step that depends on values in Python"
)

Named = dict[str, Tensor]
"""Parameter name -> tensor of the parameter's shape."""
Score = Callable[[Tensor, Tensor], Tensor]
"""(outputs `[rows, outputs]`, what goes with each row `[rows, ...]`) -> one number per row, `[rows]`."""


class Network:
    """A frozen copy of a model in evaluation mode, its parameters in one vector.

    Args:
        model: Copied; its dropout is off in the copy, and normalisation uses its running statistics.
        device: Where to compute.
        dtype: To compute in.
        only: Names of the parameters that count; the others are constants. Empty: all of them.

    Raises:
        ConfigError: no parameter has that name.
        NeedsError: the model has no parameters.

    Example:
        >>> network = Network(nn.Linear(3, 2))
        >>> network.size, network.jacobian(torch.ones(5, 3)).shape
        (8, torch.Size([5, 2, 8]))
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        only: Sequence[str] = (),
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.model = deepcopy(model).to(self.device, dtype).eval().requires_grad_(False)
        if dtype == torch.float32:  # the layout in which convolutions are fastest
            channels_last(self.model)
        every = dict(self.model.named_parameters())
        for name in only:
            if name not in every:
                raise unknown("parameter", name, every, "model.named_parameters()")
        self.parameters: Named = {name: value for name, value in every.items() if not only or name in only}
        self.size = sum(value.numel() for value in self.parameters.values())
        """p, how many numbers the parameters are."""
        if self.size == 0:
            raise NeedsError(f"gradients: expected a model with parameters, {type(model).__name__} has none")
        self.weights = self.flat(self.parameters)
        """`[p]` where the model is."""
        self._checked = self._trusted = False
        self._layers = layerwise(self.model, self.parameters)

    def flat(self, named: Named) -> Tensor:
        """`[..., p]` of tensors by name, each with the same axes in front of the parameter's own shape."""
        ahead = {name: named[name].shape[: named[name].ndim - value.ndim] for name, value in self.parameters.items()}
        return torch.cat([named[name].reshape(*front, -1) for name, front in ahead.items()], -1)

    def named(self, vector: Tensor) -> Named:
        """A vector `[..., p]` as tensors by name, which share its memory where they can.

        Raises:
            ShapeError: the vector has another size.
        """
        if vector.shape[-1] != self.size:
            raise ShapeError(f"parameters: expected {self.size} numbers on the last axis, got {list(vector.shape)}")
        parts = torch.split(vector, [value.numel() for value in self.parameters.values()], -1)
        shapes = [(*vector.shape[:-1], *value.shape) for value in self.parameters.values()]
        return {name: part.reshape(shape) for name, part, shape in zip(self.parameters, parts, shapes, strict=True)}

    @torch.no_grad()
    def at(self, weights: Tensor) -> Network:
        """The same network with its parameters at `weights` `[p]`."""
        other = Network(self.model, device=self.device, dtype=self.dtype, only=tuple(self.parameters))
        for name, value in other.named(weights.to(self.weights)).items():
            other.parameters[name].copy_(value)
        other.weights = other.flat(other.parameters)
        return other

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """`[rows, outputs]` of the model as it is."""
        return self.call(self.parameters, self._moved(x))

    def call(self, weights: Named, x: Tensor) -> Tensor:
        """`[rows, outputs]` with other parameters by name, to be differentiated."""
        found: Tensor = functional_call(self.model, weights, (x,))
        return found

    def jacobian(self, x: Tensor) -> Tensor:
        """`[rows, outputs, p]` derivative of each output of rows x `[rows, ...]` by each parameter.

        Raises:
            NeedsError: the rows see each other, or the model has no derivative for a row alone.
        """

        def of_row(row: Tensor) -> Named:
            found: Named = jacrev(lambda weights: self.call(weights, row[None])[0])(self.parameters)
            return found

        x = self._moved(x)
        self._check(x)
        at_once = self.at_once(int(self._width(x)))
        parts = [self.flat(self._each(of_row, x[cut : cut + at_once])) for cut in range(0, len(x), at_once)]
        return torch.cat(parts)

    def gradients(self, x: Tensor, y: Tensor, task: Task, of: str = "loss") -> Tensor:
        """`[rows, p]` gradient of the loss, or of the margin, of each row.

        Args:
            x: `[rows, ...]` inputs.
            y: `[rows]` labels.
            task: Whose loss and margin.
            of: One of KINDS.

        Raises:
            NeedsError: the rows see each other, or the model has no derivative for a row alone.
        """
        check("of", of, f"one of {', '.join(KINDS)}", of in KINDS)
        return self._slopes(task.loss if of == "loss" else task.margin, x, y.to(self.device))

    def pulled(self, x: Tensor, cotangent: Tensor) -> Tensor:
        """`[rows, p]` J_i' c_i of each row.

        Args:
            x: `[rows, ...]` inputs.
            cotangent: `[rows, outputs]` c.

        Raises:
            NeedsError: the rows see each other, or the model has no derivative for a row alone.
        """
        return self._slopes(lambda outputs, c: (outputs * c).sum(-1), x, self._moved(cotangent))

    def jvp(self, x: Tensor, direction: Tensor) -> Tensor:
        """`[rows, outputs]` J_i d: by how much the outputs change to first order when the weights move by d `[p]`.

        Raises:
            NeedsError: the model has no forward derivative.
        """
        x, moves = self._moved(x), self.named(self._moved(direction))
        with explained(self.model):
            found: Tensor = jvp(lambda weights: self.call(weights, x), (self.parameters,), (moves,))[1]
        return found

    def vjp(self, x: Tensor, cotangent: Tensor) -> Tensor:
        """`[p]` sum over the rows of J_i' c_i, for c `[rows, outputs]`."""
        x = self._moved(x)
        with explained(self.model):
            pull = vjp(lambda weights: self.call(weights, x), self.parameters)[1]
            found: Named = pull(self._moved(cotangent))[0]
        return self.flat(found)

    def at_once(self, gradients: int = 1) -> int:
        """How many rows may be in hand when each takes so many gradients; 0 where these are summed at once."""
        if gradients == 0:
            return AT_ONCE
        numbers = self.size * gradients
        return max(1, min(AT_ONCE, max(HELD // numbers, min(FEW, MOST // numbers))))

    def batches(
        self, rows: Rows, at: Indices | None = None, *, gradients: int = 1
    ) -> Iterator[tuple[Indices, Tensor, Tensor]]:
        """Positions `[batch]`, inputs and labels of as many rows as may be in hand; by default of every row.

        Args:
            rows: Where they lie.
            at: `[n]` positions, in the order in which they come.
            gradients: That each row takes, such as `outputs` for a Jacobian; 0 for `jvp` and `vjp`.
        """
        where = np.arange(len(rows)) if at is None else at
        at_once = self.at_once(gradients)
        for start in range(0, len(where), at_once):
            part = where[start : start + at_once]
            x, y = rows.batch(part, self.device)
            yield part, self._moved(x), y

    def _slopes(self, score: Score, x: Tensor, extra: Tensor) -> Tensor:
        """`[rows, p]` gradient of each row's score."""
        x = self._moved(x)
        self._check(x)
        found = self._by_layer(score, x, extra)
        return self._by_row(score, x, extra) if found is None else found

    def _by_layer(self, score: Score, x: Tensor, extra: Tensor) -> Tensor | None:
        """The same, the fast way, where that is known to be right; None where it is not."""
        if self._layers is None or len(x) < FEW:
            return None
        try:
            found = self._layers.gradients(x, lambda outputs, cut: score(outputs, extra[cut]))
        except torch.OutOfMemoryError:
            raise
        except (NeedsError, RuntimeError):  # if it is the model's fault, the other way says so
            self._layers = None
            return None
        if not self._trusted:  # a layer may see rows in another order, or twice, and nobody says so
            exact = self._by_row(score, x[:FEW], extra[:FEW])
            self._trusted = bool((found[:FEW] - exact).abs().max() <= MIXED * exact.abs().max())
            self._layers = self._layers if self._trusted else None
        return found if self._trusted else None

    def _by_row(self, score: Score, x: Tensor, extra: Tensor) -> Tensor:
        """The same, as any model allows it."""

        def of_row(row: Tensor, own: Tensor) -> Named:
            found: Named = grad(lambda weights: score(self.call(weights, row[None]), own[None]).sum())(self.parameters)
            return found

        found = torch.empty(len(x), self.size, dtype=self.dtype, device=self.device)
        for start in range(0, len(x), self.at_once()):
            part = slice(start, start + self.at_once())
            found[part] = self.flat(self._each(of_row, x[part], extra[part]))
        return found

    def _each(self, of_row: Callable[..., Named], *rows: Tensor) -> Named:
        """A function of one row on each of several."""
        with explained(self.model):
            found: Named = vmap(of_row)(*rows)
        return found

    def _moved(self, x: Tensor) -> Tensor:
        """On the device and, unless its numbers are whole ones, in the dtype."""
        return x.to(self.device, self.dtype) if x.is_floating_point() else x.to(self.device)

    def _width(self, x: Tensor) -> int:
        return self.outputs(x[:1]).shape[-1]

    def _check(self, x: Tensor) -> None:
        """Once: a row among others has the outputs that it has alone."""
        if self._checked or len(x) == 0:
            return
        with explained(self.model):
            together = self.outputs(torch.cat([x[:2], torch.zeros_like(x[:1])]))[0]
            alone = self.outputs(x[:1])[0]
        if float((together - alone).abs().max()) > MIXED * max(1.0, float(alone.abs().max())):
            raise NeedsError(
                f"gradients: expected rows that do not see each other, but what {type(self.model).__name__} puts out "
                "for a row changes with the rows beside it",
                hint=REMEDY,
            )
        self._checked = True


@contextmanager
def explained(model: nn.Module) -> Iterator[None]:
    """While the context lasts, attention has all derivatives, and what torch cannot differentiate is explained.

    Raises:
        NeedsError: torch cannot; says why.
    """
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.filterwarnings("ignore", "There is a performance drop")  # a layer that goes row by row: slower
            yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NeedsError(
            f"gradients: {type(model).__name__} has no derivative for a row alone: {reason}", hint=REMEDY
        ) from error
