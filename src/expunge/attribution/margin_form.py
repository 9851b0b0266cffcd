"""TRAK in the paper's form: features of margins, ranks without a unit; `trak` says what is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expunge.attribution.estimator import CHUNK, Fitted, Source
from expunge.attribution.sketch import Sketch
from expunge.data import Indices, Rows
from expunge.errors import NeedsError
from expunge.training import Run


class MarginFit(Fitted):
    """TRAK as in the paper: ranks of training rows by their effect on margins.

    Args:
        source: What was fitted on.
        run: Device and the meter of the fit.
        sketches: `[checkpoints]`.
        notes: What is known of the fit.
    """

    def __init__(self, source: Source, run: Run, sketches: Sequence[Sketch], notes: dict[str, Any]) -> None:
        self.source, self.run, self.sketches = source, run, sketches
        for index, sketch in enumerate(sketches):
            sketch.measure_margins(f"{run.label}: checkpoint {index + 1} of {len(sketches)}")
        self.notes = notes | {"unit": "ranks only"}
        self.cost = run.meter.cost()

    def removal(self, forget: Indices, rows: Rows) -> NoReturn:
        """There is none.

        Raises:
            NeedsError: always; says why.
        """
        raise margins_only()

    def counterfactual(self, forget: Indices) -> NoReturn:
        """There is none.

        Raises:
            NeedsError: always; says why.
        """
        raise margins_only()

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` tau, by which training rows rank; positive where a row raises the margin."""
        return self._scores(train, self._solved(rows))

    def stream(self, rows: Rows, *, chunk: int = CHUNK) -> Iterator[tuple[Indices, npt.NDArray[np.float32]]]:
        """Scores of all training rows, a chunk at a time; the gradients of the rows are taken once."""
        solved = self._solved(rows)
        for start in range(0, len(self.source.rows), chunk):
            at = np.arange(start, min(start + chunk, len(self.source.rows)))
            yield at, self._scores(at, solved)

    def _solved(self, rows: Rows) -> list[Tensor]:
        """`[dimension, rows]` (Phi' Phi + penalty)^-1 phi of rows, for each checkpoint."""
        return [sketch.solve(sketch.margins(rows).T, own=False, without=0) for sketch in self.sketches]

    def _scores(self, train: Indices, solved: Sequence[Tensor]) -> npt.NDArray[np.float32]:
        part = self.source.rows.take(train)
        products = [sketch.margins(part) @ theirs for sketch, theirs in zip(self.sketches, solved, strict=True)]
        doubts = [doubt(sketch, part) for sketch in self.sketches]
        found = torch.stack(products).mean(0) * torch.stack(doubts).mean(0)[:, None]
        self.cost = replace(self.run.meter.cost(), seconds=self.cost.seconds)
        return found.cpu().numpy().astype(np.float32)


def doubt(sketch: Sketch, rows: Rows) -> Tensor:
    """`[rows]` 1 - p of each row's label, float64."""
    margins = torch.cat([sketch.task.margin(sketch.network.outputs(x), y) for _, x, y in sketch.network.batches(rows)])
    return torch.sigmoid(-margins.double())  # the margin is the log-odds of the label


def margins_only() -> NeedsError:
    """Why the paper's form predicts no output."""
    return NeedsError(
        "trak: the margin form ranks training rows, but leaves out the curvature of the loss: it has no scale in which "
        "outputs could be predicted",
        hint="form=logits",
    )
