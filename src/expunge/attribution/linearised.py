"""A model taken as linear in its parameters around where it stands: every answer is one step of the parameters.

Objective:  f(x) = f_0(x) + J_x (theta - theta_0). The training loss, summed over the n rows, has the curvature
            H = sum of J_i' W_i J_i + n weight_decay at theta_0, and no slope there: training has ended. Without F

                (H - |F| weight_decay - J_F' W_F J_F) step = J_F' r_F + |F| weight_decay theta_0

            because a recipe decays weights beside the mean loss: a share of the penalty goes with every row. That is
            exact for ridge regression and one Newton step otherwise. It is solved through `group` in the outputs of
            F, with the curvature of all rows factorised once; see there for r, W and K.
Deviations: AdamW's decay is not a penalty; it is taken as one. What is left of the slope where training ended early is
            taken as zero: gold would have stopped as early.
Cost:       |F| Jacobians, and two times as many products by H^-1; one forward derivative for a row that is asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call, jvp

from expunge.attribution.curvature import derivatives, weighted
from expunge.attribution.estimator import CHUNK, Fitted, Prediction, Removal, Source, forget_positions
from expunge.attribution.gradients import Network, explained
from expunge.attribution.group import WORST, Group, corrected
from expunge.data import Indices, Rows
from expunge.training import Cost, Run, predict

COLUMNS = 2**25
"""Numbers that columns of parameters may fill at once: 256 MB in float64."""


class Linearised(Fitted):
    """A fit that answers by a step of the parameters; a subclass supplies the inverse of the curvature.

    Args:
        source: What was fitted on.
        run: Device and the meter of the fit.
        network: The model, and which of its parameters move.
        correction: One of `group.CORRECTIONS`: the rows together, each as if alone, or to first order.
        notes: What the fit found out.
    """

    def __init__(
        self, source: Source, run: Run, network: Network, *, correction: str, notes: dict[str, Any] | None = None
    ) -> None:
        self.source, self.run, self.network, self.correction = source, run, network, correction
        self.start = network
        """What the predicted changes are added to: the model as it is."""
        self.notes = {"parameters": network.size, "correction": correction, **(notes or {})}
        self.decay = source.recipe.weight_decay
        """L2 coefficient beside the mean loss: what each row contributes to the penalty."""
        self.outputs = source.recipe.task.width
        self.leverage = correction != "none"
        """Whether scores of single rows account for the pull that each row has on its own outputs."""
        self.cost: Cost = run.meter.cost()
        self._kept: tuple[bytes, Tensor] | None = None

    @abstractmethod
    def inverse(self, columns: Tensor, less: float = 0.0) -> Tensor:
        """(H - less)^-1 c of each column.

        Args:
            columns: `[p, k]` float64 on the network's device.
            less: How much of the penalty goes with the rows, |F| weight_decay; it comes off the diagonal of H.

        Returns:
            `[p, k]` float64.
        """

    def step(self, forget: Indices) -> Tensor:
        """`[p]` float64: where the parameters move when the rows at `forget` `[forget]` go.

        Raises:
            ProblemError: the forget set is empty, everything, repeated or out of range.
        """
        at = forget_positions(forget, self.source)
        less = {"group": len(at) * self.decay, "single": self.decay, "none": 0.0}[self.correction]
        return self.inverse(self._pulled(at, self._pulls(at, less))[:, None], less)[:, 0]

    def removal(self, forget: Indices, rows: Rows) -> Removal:
        """Outputs on any rows after retraining without the training rows at `forget` `[forget]`; error unknown."""
        step = self._step(forget)
        original = predict(self.source.model, rows, device=self.run.device).double().numpy()
        change = self._moved(rows, np.arange(len(rows)), step).cpu().numpy()
        self._count(forward=len(rows))
        return Removal(original + change, original, np.full_like(original, np.nan))

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` by how many nats each training row raises the margins of any rows."""
        alone = self._alone(train)
        out = np.empty((len(train), len(rows)), dtype=np.float32)
        at_once = max(1, COLUMNS // self.network.size)
        for start in range(0, len(rows), at_once):
            cut = np.arange(start, min(start + at_once, len(rows)))
            out[:, cut] = self._effects(train, alone, self._sensitivity(rows, cut))
        return out

    def stream(self, rows: Rows, *, chunk: int = CHUNK) -> Iterator[tuple[Indices, npt.NDArray[np.float32]]]:
        """Scores of all training rows, a chunk at a time; `[p, rows]` numbers are held, to solve for the rows once."""
        sensitivity = self._sensitivity(rows, np.arange(len(rows)))
        for start in range(0, len(self.source.rows), chunk):
            at = np.arange(start, min(start + chunk, len(self.source.rows)))
            yield at, self._effects(at, self._alone(at), sensitivity)

    def counterfactual(self, forget: Indices) -> Prediction:
        """A module that maps x to f_0(x) + J_x step."""
        return Moved(self.start, self._step(forget))

    def _step(self, forget: Indices) -> Tensor:
        """`step`, of which the last is kept: several sets of rows are often asked about one forget set."""
        key = np.asarray(forget).tobytes()
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self.step(forget)
        return self._kept[1]

    def _pulls(self, at: Indices, less: float) -> Tensor:
        """`[forget, outputs]` what each row's residual comes to once none of them is trained on."""
        if self.correction == "single":
            return self._alone(at)
        residual, curvature = self._derivatives(at)
        if self.correction == "none":
            return residual
        drift = self._drift(at, less, len(at))
        group = Group(self._kernel(at, less).cpu(), curvature.cpu(), (residual + weighted(curvature, drift)).cpu())
        found, self.notes["group_condition"] = corrected(group)
        if self.notes["group_condition"] > WORST:
            self.notes["warning"] = (
                f"the rows to forget leave the model nearly undetermined: condition {self.notes['group_condition']:.1g}"
            )
        return found.to(residual.device)

    def _alone(self, at: Indices) -> Tensor:
        """`[n, outputs]` what each row's residual comes to when it alone is not trained on."""
        residual, curvature = self._derivatives(at)
        if not self.leverage:
            return residual
        own = torch.empty_like(curvature)  # [n, outputs, outputs] J_i H^-1 J_i'
        for cut, columns in self._columns(at):
            pair = (each.reshape(len(each), -1, self.outputs) for each in (columns, self.inverse(columns, self.decay)))
            own[cut] = torch.einsum("pia,pib->iab", *pair)
        matrix = torch.eye(self.outputs, dtype=own.dtype, device=own.device) - curvature @ own
        pulls = residual + weighted(curvature, self._drift(at, self.decay, 1))
        found: Tensor = torch.linalg.solve(matrix, pulls[..., None])[..., 0]
        return found

    def _drift(self, at: Indices, less: float, rows: int) -> Tensor:
        """`[n, outputs]` by how much the outputs move because the penalty of so many rows goes."""
        lost = rows * self.decay * self.network.weights.double()
        return self._moved(self.source.rows, at, self.inverse(lost[:, None], less)[:, 0])

    def _kernel(self, at: Indices, less: float) -> Tensor:
        """`[n, outputs, n, outputs]` K = J H^-1 J', a few columns at a time."""
        size = (len(at), self.outputs)
        kernel = torch.empty(*size, *size, dtype=torch.float64, device=self.network.device)
        for cut, columns in self._columns(at):
            solved = self.inverse(columns, less)
            whole = cut == slice(0, len(at))
            for across, others in [(cut, columns)] if whole else self._columns(at):
                kernel[across, :, cut] = (others.T @ solved).reshape(
                    -1, self.outputs, columns.shape[1] // self.outputs, self.outputs
                )
        return kernel

    def _columns(self, at: Indices) -> Iterator[tuple[slice, Tensor]]:
        """J' of some of the rows at a time, `[p, rows * outputs]`, and where they stand among `at`."""
        step = max(1, COLUMNS // (self.network.size * self.outputs))
        for start in range(0, len(at), step):
            part = at[start : start + step]
            self._count(backward=self.outputs * len(part))
            x, _ = self.source.rows.batch(part, self.network.device)
            jacobian = self.network.jacobian(x)  # [rows, outputs, p]
            yield slice(start, start + len(part)), jacobian.reshape(-1, self.network.size).T.double()

    def _pulled(self, at: Indices, pulls: Tensor) -> Tensor:
        """`[p]` sum over the rows of J_i' pull_i, and their share of the penalty."""
        total = len(at) * self.decay * self.network.weights.double()
        self._count(backward=len(at))
        for cut, x in self._inputs(self.source.rows, at):
            total += self.network.vjp(x, pulls[cut]).double()
        return total

    def _moved(self, rows: Rows, at: Indices, step: Tensor) -> Tensor:
        """`[n, outputs]` J_i step of each row."""
        self._count(forward=len(at))
        return torch.cat([self.network.jvp(x, step).double() for _, x in self._inputs(rows, at)])

    def _sensitivity(self, rows: Rows, at: Indices) -> Tensor:
        """`[p, n]` H^-1 times the gradients of the margins."""
        task = self.source.recipe.task
        parts = [self.network.gradients(x, y, task, "margin") for _, x, y in self.network.batches(rows, at)]
        self._count(backward=len(at))
        less = self.decay if self.leverage else 0.0
        return self.inverse(torch.cat(parts).T.double(), less).to(self.network.dtype)

    def _effects(self, at: Indices, pulls: Tensor, sensitivity: Tensor) -> npt.NDArray[np.float32]:
        """`[n, rows]` scores of training rows, from what each pulls with when it goes alone."""
        share = self.decay * self.network.weights
        found = np.empty((len(at), sensitivity.shape[1]), dtype=np.float32)
        self._count(backward=len(at))
        for cut, x in self._inputs(self.source.rows, at, gradients=1):
            found[cut] = -((self.network.pulled(x, pulls[cut]) + share) @ sensitivity).float().cpu().numpy()
        return found

    def _derivatives(self, at: Indices) -> tuple[Tensor, Tensor]:
        """Residuals `[n, outputs]` and curvatures `[n, outputs, outputs]` of training rows."""
        self._count(forward=len(at))
        pairs = [
            derivatives(self.source.recipe.task, self.network.outputs(x), y)
            for _, x, y in self.network.batches(self.source.rows, at, gradients=0)
        ]
        residuals, curvatures = zip(*pairs, strict=True)
        return torch.cat(residuals), torch.cat(curvatures)

    def _count(self, *, forward: int = 0, backward: int = 0) -> None:
        """Charge visits that answers take; their seconds are those of whoever asks."""
        self.run.meter.forward("attribution", forward)
        self.run.meter.backward("attribution", backward)
        self.cost = replace(self.run.meter.cost(), seconds=self.cost.seconds)

    def _inputs(self, rows: Rows, at: Indices, *, gradients: int = 0) -> Iterator[tuple[slice, Tensor]]:
        """Inputs of some rows at a time, and where they stand among `at`."""
        start = 0
        for part, x, _ in self.network.batches(rows, at, gradients=gradients):
            yield slice(start, start + len(part)), x
            start += len(part)


class Moved(Prediction):
    """f_0(x) + J_x step, in evaluation mode always.

    Args:
        network: The model; copied.
        step: `[p]` by how much its parameters move.
    """

    def __init__(self, network: Network, step: Tensor) -> None:
        super().__init__()
        self.base = deepcopy(network.model)
        self.names = list(network.parameters)
        for index, value in enumerate(network.named(step.to(network.dtype)).values()):
            self.register_buffer(f"move{index}", value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, outputs]` predicted outputs of any rows x `[batch, ...]`."""
        parameters = dict(self.base.named_parameters())
        at = {name: parameters[name] for name in self.names}
        moves = {name: self.get_buffer(f"move{index}") for index, name in enumerate(self.names)}
        like = next(iter(at.values())).dtype
        x = x.to(like) if x.is_floating_point() else x
        with explained(self.base):
            found = jvp(lambda weights: functional_call(self.base, weights, (x,)), (at,), (moves,))
        outputs: Tensor = found[0] + found[1]
        return outputs.float()

    def train(self, mode: bool = True) -> Moved:
        """Nothing here is trained: dropout stays off whatever mode is asked for."""
        return super().train(False)
