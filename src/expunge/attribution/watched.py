"""What estimators fitted on subset models have in common: they answer for the rows that these models were watched on.

A subclass says, for any numbers that each subset model put out, how much of them the training rows account for. Outputs
and margins are such numbers; they are read in blocks of watched rows, so that no array of training rows x watched rows
x outputs is ever made.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expunge.attribution.estimator import Fitted, Prediction, Removal, Source, forget_positions
from expunge.attribution.subsets import check_left_out, total
from expunge.data import Indices, Rows
from expunge.errors import NeedsError
from expunge.fleet import Fleet, fetch
from expunge.store import Store
from expunge.training import Run, predict

Floats = npt.NDArray[np.float64]

BLOCK = 1 << 24
"""Numbers of subset models that are in memory at once, as float64."""
LEAST = 2
"""Subset models with and without each forget row: with fewer, nothing tells how sure an answer is."""


class Watched(Fitted):
    """A fit on the outputs of subset models.

    Args:
        source: What was fitted on; with subsets.
        run: The meter of the fit.
        notes: What the fit found out.
    """

    def __init__(self, source: Source, run: Run, notes: dict[str, Any]) -> None:
        self.source = source
        self.fleet = subsets(source)
        self.run = run
        share = float(self.fleet.masks.mean())
        self.notes = {"subset_models": len(self.fleet), "share": round(share, 4), **notes}
        self.cost = total([*self.fleet.costs(), run.meter.cost()])

    @abstractmethod
    def lost(self, targets: Floats, forget: Indices) -> tuple[Floats, Floats]:
        """What goes when rows go.

        Args:
            targets: `[models, targets]` what each subset model put out.
            forget: `[forget]` positions of training rows.

        Returns:
            `[targets]` by how much the targets change once these rows are taken away, and its standard error.
        """

    @abstractmethod
    def effects(self, targets: Floats, train: Indices) -> Floats:
        """`[train, targets]` by how much each training row raises each target of `[models, targets]`."""

    def removal(self, forget: Indices, rows: Rows) -> Removal:
        """Outputs on watched rows after retraining without the training rows at `forget` `[forget]`.

        Raises:
            NeedsError: a row was not watched, or a forget row was left out of too few models.
        """
        gone, at = forget_positions(forget, self.source), positions(self.fleet, rows)
        check_left_out(self.fleet.masks, gone, least=LEAST)
        original = predict(self.source.model, rows, device=self.run.device).double().numpy()
        change, error = np.empty_like(original), np.empty_like(original)
        for cut, outputs in blocks(self.fleet, at):
            width = outputs.shape[1:]
            found = self.lost(outputs.reshape(len(outputs), -1).astype(np.float64), gone)
            change[cut], error[cut] = (part.reshape(width) for part in found)
        return Removal(original + change, original, error)

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` by how many nats each training row raises the margins of watched rows.

        Raises:
            NeedsError: a row was not watched.
        """
        at = positions(self.fleet, rows)
        out = np.empty((len(train), len(rows)), dtype=np.float32)
        for cut, outputs in blocks(self.fleet, at):
            labels = rows.labels[cut]
            y = labels.repeat(len(outputs), *[1] * (labels.ndim - 1))
            flat = torch.from_numpy(outputs).flatten(0, 1)
            margins = self.source.recipe.task.margin(flat, y).reshape(outputs.shape[:2])
            out[:, cut] = self.effects(margins.double().numpy(), train)
        return out

    def counterfactual(self, forget: Indices) -> Known:
        """A module that knows the watched inputs and refuses any other; it shares no tensor with the model."""
        parts = watched_rows(self.fleet)
        outputs = [torch.from_numpy(self.removal(forget, part).logits).float() for part in parts]
        inputs = [row for part in parts for row in part.batch(np.arange(len(part)))[0]]
        return Known(inputs, torch.cat(outputs))


class Known(Prediction):
    """Outputs by content of the input.

    Args:
        inputs: `[rows]` inputs.
        outputs: `[rows, outputs]` what to answer to each.
    """

    outputs: Tensor

    def __init__(self, inputs: list[Tensor], outputs: Tensor) -> None:
        super().__init__()
        self.register_buffer("outputs", outputs)
        self.where = {content(row): at for at, row in enumerate(inputs)}

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, outputs]` of known inputs `[batch, ...]`.

        Raises:
            NeedsError: an input is not known.
        """
        keys = [content(row) for row in x]
        strange = sum(key not in self.where for key in keys)
        if strange:
            raise NeedsError(
                f"{strange} of {len(x)} inputs were not watched by the subset models, which answer for no other",
                hint="watch these rows when the subsets are trained, or take an estimator that works by gradients",
            )
        return self.outputs[torch.tensor([self.where[key] for key in keys], device=self.outputs.device)]


def content(row: Tensor) -> bytes:
    """What tells one input from another, whatever device it lies on."""
    return hashlib.blake2b(row.detach().float().contiguous().cpu().numpy().tobytes(), digest_size=16).digest()


def subsets(source: Source) -> Fleet:
    """The source's subset models.

    Raises:
        NeedsError: there are none, or too few of them.
    """
    if source.subsets is None or len(source.subsets) < 2 * LEAST:
        raise NeedsError(
            f"expected at least {2 * LEAST} models on random subsets of the rows, "
            f"got {len(source.subsets) if source.subsets else 0}",
            hint="`train_subsets` trains them",
        )
    return source.subsets


def positions(fleet: Fleet, rows: Rows) -> Indices:
    """`[rows]` where rows stand among the watched ones, by id.

    Raises:
        NeedsError: some were not watched.
    """
    where = {row_id: at for at, row_id in enumerate(fleet.watched)}
    absent = [row_id for row_id in rows.ids if row_id not in where]
    if absent:
        raise NeedsError(
            f"{len(absent)} of {len(rows)} rows were not watched by the subset models, such as {absent[0]!r}",
            hint="watch these rows when the subsets are trained, or take an estimator that works by gradients",
        )
    return np.array([where[row_id] for row_id in rows.ids], dtype=np.int64)


def blocks(fleet: Fleet, at: Indices) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Outputs at watched positions `at` `[rows]`: a slice of them and `[models, block, outputs]`, bounded in size."""
    step = max(1, BLOCK // (len(fleet) * fleet.recipe.task.width))
    for start in range(0, len(at), step):
        cut = slice(start, min(start + step, len(at)))
        yield cut, fleet.logits(at[cut])


def watched_rows(fleet: Fleet) -> list[Rows]:
    """The watched rows themselves, from the store that holds the models."""
    folder = fleet.folders[0]
    store = Store(folder.path.parent.parent)
    return [fetch(store, fingerprint) for fingerprint in folder.facts["task"]["watch"]]
