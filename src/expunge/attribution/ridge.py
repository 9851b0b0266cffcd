"""Ridge regression without some rows, in closed form: the prediction that every other estimator can be held against.

Source:     the leave-group-out (Woodbury) identity.
Objective:  min over theta of sum of |y - X theta|^2 / targets + n weight_decay |theta|^2 / 2, the bias a column of ones
            that is penalised as any other, as training by a recipe does it. With A = 2 X'X / targets + n weight_decay

                step = A_F^-1 X_F' (1 - K_FF)^-1 r_F        K_FF = 2 X_F A_F^-1 X_F' / targets

            up to the part of the penalty that goes with the rows (see `linearised`): exact for any forget set. One
            eigendecomposition of X'X serves all of them.
Deviations: the answer is the difference between two closed forms, put onto the model as it is; how far training ended
            from the closed form is noted.
Cost:       one look at each row, and (inputs + 1)^3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from expunge.attribution.estimator import Estimator, Source
from expunge.attribution.gradients import Network
from expunge.attribution.group import CORRECTIONS, WORST
from expunge.attribution.linearised import Linearised
from expunge.errors import NeedsError, check
from expunge.tasks import Regression
from expunge.training import Run

FAR = 0.05
"""Distance of the model from the closed form, as a share of the latter's length, beyond which a warning is due."""


@dataclass(frozen=True, kw_only=True)
class Ridge(Estimator):
    """Exact for linear models with squared loss."""

    paper: ClassVar[str] = "folklore"

    correction: str = "group"
    """"group" (exact), "single" (sum of exact leave-one-out) or "none" (first order)."""

    def __post_init__(self) -> None:
        check("correction", self.correction, f"one of {', '.join(CORRECTIONS)}", self.correction in CORRECTIONS)

    def attribute(self, source: Source, run: Run) -> Linearised:
        """Solve for all rows.

        Raises:
            NeedsError: the model is not linear, the task no regression, or the rows leave the weights undetermined.
        """
        network = Network(source.model, device=run.device, dtype=torch.float64)
        layer = only_layer(source, network)
        return RidgeFit(source, run, network, *sums(source, run, network, layer), correction=self.correction)


class RidgeFit(Linearised):
    """Ridge regression at its optimum.

    Args:
        source: What was fitted on.
        run: Device and meter.
        network: The model, of one dense layer; a copy is moved to the optimum.
        gram: `[columns, columns]` X'X float64, columns the inputs and, where the layer has one, the bias.
        products: `[columns, targets]` X'Y float64.
        correction: One of `group.CORRECTIONS`.
    """

    def __init__(
        self, source: Source, run: Run, network: Network, gram: Tensor, products: Tensor, *, correction: str
    ) -> None:
        scale = 2 / products.shape[1]
        values, self.vectors = torch.linalg.eigh(gram)
        self.values = scale * values.clamp(min=0) + len(source.rows) * source.recipe.weight_decay
        condition = float(self.values[-1] / self.values[0])
        if not condition <= WORST:
            raise NeedsError(
                f"ridge: the rows leave the weights undetermined, condition {condition:.1g}",
                hint="a recipe with weight_decay > 0 has one solution",
            )
        self.inputs = next(iter(network.parameters.values())).shape[1]
        optimum = flat(self._solved(scale * products.T[..., None]), self.inputs)[:, 0]
        away = float((network.weights - optimum).norm() / optimum.norm())
        notes = {"condition": condition, "distance_to_optimum": away}
        super().__init__(source, run, network.at(optimum), correction=correction, notes=notes)
        self.start = network
        if away > FAR:
            self.notes["warning"] = (
                f"training ended {away:.0%} away from the ridge solution; gold would too, but not just as far"
            )

    def inverse(self, columns: Tensor, less: float = 0.0) -> Tensor:
        """Target by target in the eigenvectors' coordinates, `[p, k]` for columns `[p, k]`."""
        return flat(self._solved(by_target(columns, self.outputs, self.inputs), less), self.inputs)

    def _solved(self, right: Tensor, less: float = 0.0) -> Tensor:
        """(A - less)^-1 of `[targets, columns, k]`."""
        found: Tensor = self.vectors @ ((self.vectors.T @ right) / (self.values - less)[:, None])
        return found


def by_target(columns: Tensor, targets: int, inputs: int) -> Tensor:
    """`[p, k]` in the layer's order, all weights and then the biases, as `[targets, inputs (+ 1), k]`."""
    weights, biases = columns[: targets * inputs], columns[targets * inputs :]
    width = columns.shape[1]
    return torch.cat(
        [weights.reshape(targets, inputs, width), biases.reshape(targets, len(biases) // targets, width)], 1
    )


def flat(parts: Tensor, inputs: int) -> Tensor:
    """The way back of `by_target`."""
    return torch.cat([parts[:, :inputs].flatten(0, 1), parts[:, inputs:].flatten(0, 1)])


def only_layer(source: Source, network: Network) -> nn.Linear:
    """The one dense layer that the model is.

    Raises:
        NeedsError: it is something else, or the task is no regression.
    """
    holders = [m for m in network.model.modules() if any(True for _ in m.parameters(recurse=False))]
    x, _ = source.rows.batch(np.arange(min(2, len(source.rows))), network.device)
    layer = holders[0]
    if len(holders) == 1 and isinstance(layer, nn.Linear) and isinstance(source.recipe.task, Regression):
        columns = x.flatten(1).to(network.dtype)
        if layer.in_features == columns.shape[1] and torch.allclose(network.outputs(x), layer(columns)):
            return layer
    raise NeedsError(
        f"ridge: expected a regression by one dense layer, got {source.recipe.task.kind} by "
        f"{type(network.model).__name__} with {len(holders)} layers",
        hint="`influence` takes any model, `last_layer` the last layer of one",
    )


def sums(source: Source, run: Run, network: Network, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """X'X `[columns, columns]` and X'Y `[columns, targets]` over all rows, float64."""
    gram: Tensor | float = 0.0
    products: Tensor | float = 0.0
    for part, x, y in network.batches(source.rows, gradients=0):
        run.meter.forward("attribution", len(part))
        columns = x.flatten(1)
        if layer.bias is not None:
            columns = torch.cat([columns, torch.ones_like(columns[:, :1])], 1)
        gram = gram + columns.T @ columns
        products = products + columns.T @ y.reshape(len(part), -1).to(columns)
    return torch.as_tensor(gram), torch.as_tensor(products)
