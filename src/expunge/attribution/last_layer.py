"""The last dense layer retrained without some rows, on the features that the rest of the model has learnt.

Source:     influence restricted to the last layer, as in Koh and Liang, arXiv:1703.04730; with the group solve of
            `group`. For squared loss it is ridge regression on the penultimate features, and exact for it.
Objective:  see `linearised`, with the last layer's weights and bias as the only parameters.
Cost:       a forward visit of every row and `outputs` derivatives of the last layer; (features x outputs)^3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from expunge.attribution.curvature import Curvature
from expunge.attribution.dense import MOST
from expunge.attribution.estimator import Estimator, Source
from expunge.attribution.gradients import Network
from expunge.attribution.group import CORRECTIONS
from expunge.attribution.influence import Explicit
from expunge.attribution.linearised import Linearised
from expunge.errors import NeedsError, check, unknown
from expunge.training import Run


@dataclass(frozen=True, kw_only=True)
class LastLayer(Estimator):
    """Influence of the last dense layer, with whole groups of rows solved for."""

    paper: ClassVar[str] = "arXiv:1703.04730"

    damping: float = 0.0
    """Curvature added to that of each row beside weight decay, >= 0; 0 as for `influence`."""
    correction: str = "group"
    """"group", "single" (each row as if alone) or "none" (first order)."""
    layer: str = ""
    """Name of an `nn.Linear`; empty for the last one that runs."""

    def __post_init__(self) -> None:
        check("damping", self.damping, ">= 0", self.damping >= 0)
        check("correction", self.correction, f"one of {', '.join(CORRECTIONS)}", self.correction in CORRECTIONS)

    def attribute(self, source: Source, run: Run) -> Linearised:
        """Form the curvature of the last layer.

        Raises:
            ConfigError: no dense layer has that name.
            NeedsError: no dense layer runs, or the last one is too large.
        """
        network = last_layer(source, run, self.layer)
        if network.size > MOST:
            raise NeedsError(
                f"last_layer: expected at most {MOST} parameters, got {network.size}",
                hint="`influence` with solver=cg takes any number",
            )
        curvature = Curvature(network, source.rows, source.recipe.task, run)
        return Explicit(source, run, curvature, correction=self.correction, damping=self.damping)


def last_layer(source: Source, run: Run, name: str = "") -> Network:
    """The model with only the parameters of one dense layer free.

    Args:
        source: Whose model.
        run: Device and meter.
        name: Of the layer; empty for the last one that runs.

    Raises:
        ConfigError: no dense layer has that name.
        NeedsError: no dense layer runs.
    """
    whole = Network(source.model, device=run.device)
    dense = {known: module for known, module in whole.model.named_modules() if isinstance(module, nn.Linear)}
    if name and name not in dense:
        raise unknown("dense layer", name, dense, "model.named_modules()")
    chosen = name or last_to_run(whole, dense, source, run)
    only = [f"{chosen}.{own}".lstrip(".") for own, _ in dense[chosen].named_parameters()]
    return Network(source.model, device=run.device, dtype=torch.float64, only=only)


def last_to_run(network: Network, dense: dict[str, nn.Linear], source: Source, run: Run) -> str:
    """Name of the dense layer that runs last; the network's own model is watched.

    Raises:
        NeedsError: none runs.
    """
    ran: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            ran.append(name)

        return note

    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in dense.items()]
    network.outputs(source.rows.batch(np.arange(1), network.device)[0])
    run.meter.forward("attribution", 1)
    for hook in hooks:
        hook.remove()
    if not ran:
        raise NeedsError(
            f"last_layer: expected an nn.Linear to run in {type(network.model).__name__}, but none did",
            hint="`influence` takes any model",
        )
    return ran[-1]
