"""How sure an answer is: calibration of what is said, on the rows of which it is said, and the error of their mean.

Objective:  the sets of rows that held-out models were trained without stand in for the request. For each set the change
            that the estimator predicts is set against the change that came, on each kind of rows by itself:

                forget      the rows of the set itself, which move most
                given rows  such as test rows, the same for every set

            A line (see `calibration`) is put through both for each thing that an answer says: the output of a row's own
            label, its margin, and all outputs, which tell whether a row stays right. Its intercept holds what the
            original owes to its own seed: a model trained again has another one. The error is how far each set lies
            from the line through the others, for single rows and for their mean: a few sets with large changes draw
            the line to themselves. A mean's error cannot be had from those of single rows, which are neither
            independent nor all alike; and margins are surer than outputs, because to add a constant to all outputs of a
            row changes nothing.
Cost:       one prediction a set, beside the held-out models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.attribution.calibration import FEWEST, Line, fit_line, held_out_sets, least_squares
from expunge.attribution.effect import Effect, effect
from expunge.attribution.estimator import Fitted, FloatArray, Removal
from expunge.attribution.subsets import part
from expunge.attribution.watched import positions
from expunge.data import Indices, Rows, joined
from expunge.errors import check
from expunge.fleet import Fleet
from expunge.tasks import Task


@dataclass(frozen=True)
class Scale:
    """How predicted changes of one thing have to be scaled, and how sure they are then."""

    line: Line
    error: float
    """Standard error for a single row."""
    mean_error: float
    """Standard error of the mean over the rows of a request."""

    def __call__(self, change: FloatArray) -> FloatArray:
        """The change once it is put on the line."""
        return self.line.intercept + self.line.slope * change


@dataclass(frozen=True)
class Sure:
    """Calibrations for one kind of rows."""

    output: Scale
    """Of the output of a row's own label."""
    margin: Scale
    """Of its margin."""
    outputs: Scale
    """Of all outputs: they tell whether a row stays right."""

    def effect(self, found: Removal, rows: Rows, task: Task) -> Effect:
        """The effect on rows of a predicted removal, calibrated, with its errors."""
        plain = effect(found, rows.labels, task)
        moved = Removal(found.original + self.outputs(found.change), found.original, found.error)
        output, margin = (np.full(len(rows), one.error) for one in (self.output, self.margin))
        return replace(
            plain,
            after=np.asarray(plain.before + self.output(plain.change), dtype=np.float64),
            error=output,
            margin_after=np.asarray(plain.margin_before + self.margin(plain.margin_change), dtype=np.float64),
            margin_error=margin,
            right_after=effect(moved, rows.labels, task).right_after,
        )


def calibrated_for(fitted: Fitted, fleet: Fleet, parts: Mapping[str, Rows | None]) -> dict[str, Sure]:
    """Calibrate on several kinds of rows.

    Args:
        fitted: What to calibrate.
        fleet: Models trained without sets of one size, see `held_out_removals`; watched on the rows.
        parts: Name -> the rows that will be asked about; None for the rows that go.

    Raises:
        ConfigError: sets of several sizes, or more than 20 models.
        NeedsError: fewer than 3 different sets, or a row was not watched.
        ProblemError: another recipe, other training rows, or models that the estimator was fitted on.
    """
    groups = held_out_sets(fitted.source, fleet, hint=f"--calibrate {FEWEST} or more")
    sizes = (~fleet.masks).sum(axis=1)
    check("held-out models", [int(sizes.min()), int(sizes.max())], "sets of one size", bool(np.ptp(sizes) == 0))
    task = fitted.source.recipe.task
    seen: dict[str, list[tuple[Effect, Effect]]] = {name: [] for name in parts}
    every: dict[str, list[tuple[FloatArray, FloatArray]]] = {name: [] for name in parts}
    for at in groups:
        gone = np.flatnonzero(~fleet.masks[at[0]])
        asked = {name: fitted.source.rows.take(gone) if rows is None else rows for name, rows in parts.items()}
        for name, said in removals(fitted, gone, asked).items():
            outputs = part(fleet, at).logits(positions(fleet, asked[name])).astype(np.float64).mean(axis=0)
            came = Removal(outputs, said.original, said.error)
            labels = asked[name].labels
            seen[name].append((effect(said, labels, task), effect(came, labels, task)))
            every[name].append((said.change, came.change))
    count = len(fleet), (int(sizes[0]), int(sizes[0]))
    return {
        name: Sure(
            output=_scale([(said.change, came.change) for said, came in sets], *count),
            margin=_scale([(said.margin_change, came.margin_change) for said, came in sets], *count),
            outputs=_scale(every[name], *count),
        )
        for name, sets in seen.items()
    }


def _scale(sets: Sequence[tuple[FloatArray, FloatArray]], models: int, sizes: tuple[int, int]) -> Scale:
    """A line through predicted and actual changes, and how far each set lies from the line through the others."""
    said, came = (np.array([one[side].reshape(-1) for one in sets], dtype=np.float64) for side in (0, 1))
    away = np.empty_like(came)
    for out in range(len(sets)):
        others = np.arange(len(sets)) != out
        slope, intercept = least_squares(said[others], came[others])
        away[out] = came[out] - intercept - slope * said[out]
    line = fit_line(said, came, seed_sd=None, models=models, sizes=sizes)
    return Scale(line, float(np.sqrt((away**2).mean())), float(np.sqrt((away.mean(axis=1) ** 2).mean())))


def removals(fitted: Fitted, forget: Indices, parts: Mapping[str, Rows]) -> dict[str, Removal]:
    """What taking the training rows at `forget` `[forget]` away does to several kinds of rows, in one prediction.

    To solve for the rows that go may cost much more than any row that is asked about, so all are asked together; a row
    that stands in several parts is asked once.
    """
    where: dict[str, int] = {}
    pieces = []
    for rows in parts.values():
        new = [at for at, row_id in enumerate(rows.ids) if row_id not in where]
        where |= {rows.ids[at]: len(where) + count for count, at in enumerate(new)}
        if new:
            pieces.append(rows.take(np.array(new, dtype=np.int64)))
    found = fitted.removal(forget, joined(*pieces))
    split = {}
    for name, rows in parts.items():
        at = [where[row_id] for row_id in rows.ids]
        split[name] = Removal(found.logits[at], found.original[at], found.error[at])
    return split
