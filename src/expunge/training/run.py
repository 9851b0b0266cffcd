"""A run: the seed, device, meter and progress that one training or unlearning goes through."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, Rows
from expunge.errors import NeedsError
from expunge.seeds import generator
from expunge.training import stream as streams
from expunge.training.cost import Meter
from expunge.training.stream import Batch, Stream

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total); must be cheap."""


def silent(what: str, done: int, total: int) -> None:
    """Progress that says nothing."""


def check_device(device: str) -> None:
    """Raise NeedsError where torch cannot use the device."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise NeedsError(
            f"device: torch cannot use {device!r} ({str(error).splitlines()[0]})", hint="cpu always works"
        ) from None


@dataclass
class Run:
    """Made once per training or unlearning; passes through every call that draws, counts or reports."""

    seed: int
    batch_size: int = 128
    device: str = "cpu"
    precision: str = "float32"
    """"float32" or "bf16" (autocast; weights stay float32)."""
    label: str = "run"
    """What progress calls it."""
    progress: Progress = silent
    meter: Meter = field(default_factory=Meter)
    history: list[float] = field(default_factory=list)
    """The loss of every step."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What a method found out on the way, such as the share of weights that it selected; plain data.
    "warning" is a sentence for people; "holdout_rows_trained_on" bars those rows from attacks."""

    def __post_init__(self) -> None:
        check_device(self.device)
        # one stream for the whole run: a second `descend` goes on where the first ended
        self.dropout = generator(self.seed, "dropout")

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of forward passes."""
        if self.precision == "bf16":
            return torch.autocast(self.device.split(":")[0], torch.bfloat16)
        return nullcontext()

    def note(self, step: int, steps: int, loss: float) -> None:
        """Record a finished step."""
        self.history.append(loss)
        self.progress(self.label, step + 1, steps)

    def epochs(
        self,
        role: str,
        rows: Rows,
        indices: Indices,
        *,
        count: int,
        first: int = 0,
        batch_size: int = 0,
    ) -> Stream:
        """`count` shuffled passes over `indices` `[n]`; 0 for `batch_size` means the run's own."""
        size = batch_size or self.batch_size
        return streams.epochs(role, rows, indices, seed=self.seed, count=count, batch_size=size, first=first)

    def pairs(self, rows: Rows, retain: Indices, forget: Indices, *, epochs: int) -> Stream:
        """Passes over `retain` `[n]`, each batch beside a forget batch of its size, with replacement."""
        passes = self.epochs("retain", rows, retain, count=epochs)
        return streams.beside(passes, "forget", rows, forget, seed=self.seed)

    def mixed(self, rows: Rows, retain: Indices, forget: Indices, *, epochs: int) -> Stream:
        """Passes over the shuffled mixture of `retain` `[n]` and `forget` `[m]`, in role "mixed"."""
        return self.epochs("mixed", rows, np.concatenate([retain, forget]), count=epochs)

    @torch.no_grad()
    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """A frozen model's outputs on a batch, counted as forward-only visits, `[batch, width]`."""
        self.meter.forward(batch.role, len(batch))
        with self.autocast():
            return model(batch.x).float()  # type: ignore[no-any-return]


@torch.no_grad()
def predict(
    model: nn.Module,
    rows: Rows,
    indices: Indices | None = None,
    *,
    device: str | torch.device | None = None,
    batch_size: int = 1024,
) -> Tensor:
    """Outputs in evaluation mode and float32, whatever mode the model is in; that mode is kept.

    Args:
        model: Any module that maps x to outputs.
        rows: Where the inputs lie.
        indices: `[n]` positions, by default every row.
        device: Where to compute, and where the model then is; by default where it is.
        batch_size: Rows at once; does not change the result.

    Returns:
        `[n, width]` float32 on the CPU.
    """
    at = np.arange(len(rows)) if indices is None else indices
    modes = [(module, module.training) for module in model.modules()]
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.to(device).eval()
    try:
        parts = [
            model(rows.batch(at[cut : cut + batch_size], device)[0]).float().cpu()
            for cut in range(0, len(at), batch_size)
        ]
    finally:
        for module, training in modes:
            module.training = training
    return torch.cat(parts)
