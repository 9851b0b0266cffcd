"""Calibration: how large predicted changes of the outputs should have been, learnt on a few held-out models.

Objective:  least squares of actual on predicted changes, over sets of rows taken away, watched rows and outputs:

                actual = intercept + slope * predicted, one slope and one intercept for all outputs

            actual -> outputs of a model trained without the set, less those of the model that the estimator was fitted
            on; the mean over models where a set was left out several times. No multiplier is ever set by hand.
Error:      the spread of the residuals: it holds what the estimator does not see, and the noise of the seeds, both of
            the one model that everything is compared with and of those trained again. Models that share a set tell
            how large the latter is (`seed_sd`); no estimator gets below it.
Cost:       at most 20 trained models, kept apart from those that anything was fitted on.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from expunge.attribution.estimator import Fitted, Prediction, Removal, Source, check_same
from expunge.attribution.subsets import MOST, by_mask, total
from expunge.attribution.watched import Floats, positions
from expunge.data import Indices, Rows
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.fleet import Fleet
from expunge.training import Cost

FEWEST = 3
"""Sets of rows left out: with fewer, nothing tells how far the slope can be trusted."""


@dataclass(frozen=True)
class Line:
    """What calibration found."""

    slope: float
    """Actual logits per predicted logit; 1 = the estimator's own scale was right, 0 = it foretells nothing."""
    slope_error: float
    """Standard error of the slope: jackknife over the sets."""
    intercept: float
    """Logits by which outputs move, whatever is predicted."""
    r2: float
    """Share of the variance of the actual changes that the line explains, <= 1; with noise of seeds never 1."""
    residual_sd: float
    """Spread of the actual changes about the line, logits."""
    seed_sd: float | None
    """Spread of one model's outputs over seeds, logits; None where no set was left out twice."""
    models: int
    """Held-out models."""
    sets: int
    """Different sets of rows that they were trained without."""
    sizes: tuple[int, int]
    """Rows in the smallest and in the largest of these sets; the line is known for such requests."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"sizes": list(self.sizes)}


class Calibrated(Fitted):
    """A fitted estimator whose changes are scaled as held-out models ask for.

    Args:
        plain: The estimator as it was.
        line: How to scale.
        cost: Of fitting and of the held-out models.
    """

    def __init__(self, plain: Fitted, line: Line, cost: Cost) -> None:
        self.plain, self.line, self.cost = plain, line, cost
        self.source: Source = plain.source
        self.notes = plain.notes | {"calibration": line.to_dict()}

    def removal(self, forget: Indices, rows: Rows) -> Removal:
        """As the estimator's, its change put on the line; `error` is the spread about it."""
        found = self.plain.removal(forget, rows)
        change = self.line.intercept + self.line.slope * found.change
        return Removal(found.original + change, found.original, np.full_like(change, self.line.residual_sd))

    def scores(self, rows: Rows, train: Indices) -> npt.NDArray[np.float32]:
        """`[train, rows]` as the estimator's, times the slope."""
        return np.asarray(self.plain.scores(rows, train) * np.float32(self.line.slope))

    def counterfactual(self, forget: Indices) -> Scaled:
        """As the estimator's, its change put on the line."""
        return Scaled(self.source.model, self.plain.counterfactual(forget), self.line)


class Scaled(Prediction):
    """Outputs of a model, moved along the line towards predicted ones.

    Args:
        original: Is copied.
        predicted: Maps inputs to predicted outputs.
        line: How far to go.
    """

    def __init__(self, original: nn.Module, predicted: nn.Module, line: Line) -> None:
        super().__init__()
        self.original, self.predicted, self.line = deepcopy(original).eval(), predicted, line

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, outputs]`."""
        before: Tensor = self.original(x)
        after: Tensor = self.predicted(x)
        return before + self.line.intercept + self.line.slope * (after - before)


def calibrate(fitted: Fitted, fleet: Fleet, rows: Rows) -> Calibrated:
    """Compare predictions with held-out models, and scale them accordingly.

    Args:
        fitted: What to calibrate.
        fleet: At most 20 models of the same recipe, each trained without some of the same rows, none of which the
            estimator was fitted on: `held_out_removals` trains them.
        rows: Rows that the fleet was watched on; best the kind of rows that will be asked about.

    Raises:
        ConfigError: more than 20 models.
        NeedsError: fewer than 3 different sets are left out, or a row was not watched.
        ProblemError: another recipe, other training rows, or models that the estimator was fitted on.
    """
    groups = held_out_sets(fitted.source, fleet, hint="`held_out_removals` trains them")
    outputs = fleet.logits(positions(fleet, rows)).astype(np.float64)  # [models, rows, outputs]
    predicted, actual = np.empty((2, len(groups), *outputs.shape[1:]))
    for index, at in enumerate(groups):
        found = fitted.removal(np.flatnonzero(~fleet.masks[at[0]]), rows)
        predicted[index] = found.change
        actual[index] = outputs[at].mean(axis=0) - found.original
    sizes = (~fleet.masks).sum(axis=1)
    line = fit_line(
        predicted.reshape(len(groups), -1),
        actual.reshape(len(groups), -1),
        seed_sd=spread_of_seeds(outputs, groups),
        models=len(fleet),
        sizes=(int(sizes.min()), int(sizes.max())),
    )
    return Calibrated(fitted, line, total([fitted.cost, *fleet.costs()]))


def fit_line(predicted: Floats, actual: Floats, *, seed_sd: float | None, models: int, sizes: tuple[int, int]) -> Line:
    """Least squares of actual on predicted changes.

    Args:
        predicted: `[sets, targets]` logits.
        actual: `[sets, targets]` logits.
        seed_sd: Passed on, as are the rest.
        models: How many are behind it.
        sizes: Of the sets.
    """
    slope, intercept = least_squares(predicted, actual)
    residual = actual - intercept - slope * predicted
    variance = float(((actual - actual.mean()) ** 2).sum())
    kept = [np.arange(len(actual)) != out for out in range(len(actual))]
    without = np.array([least_squares(predicted[keep], actual[keep])[0] for keep in kept])
    return Line(
        slope=slope,
        slope_error=float(np.sqrt(((without - without.mean()) ** 2).sum() * (len(kept) - 1) / len(kept))),
        intercept=intercept,
        r2=1 - float((residual**2).sum()) / variance if variance > 0 else 0.0,
        residual_sd=float(np.sqrt((residual**2).sum() / max(residual.size - 2, 1))),
        seed_sd=seed_sd,
        models=models,
        sets=len(actual),
        sizes=sizes,
    )


def least_squares(predicted: Floats, actual: Floats) -> tuple[float, float]:
    """Slope and intercept; a prediction that never varies has the slope 0."""
    away = predicted - predicted.mean()
    power = float((away**2).sum())
    slope = float((away * actual).sum()) / power if power > 0 else 0.0
    return slope, float(actual.mean() - slope * predicted.mean())


def spread_of_seeds(outputs: Floats, groups: list[Indices]) -> float | None:
    """Standard deviation of one model's outputs over seeds, pooled; None where every set was left out once.

    Args:
        outputs: `[models, rows, outputs]` logits.
        groups: Positions of the models that share a set.
    """
    shared = [outputs[at] for at in groups if len(at) > 1]
    if not shared:
        return None
    squares = sum(float(((some - some.mean(axis=0)) ** 2).sum()) for some in shared)
    return float(np.sqrt(squares / (sum(len(some) - 1 for some in shared) * outputs[0].size)))


def held_out_sets(source: Source, fleet: Fleet, *, hint: str) -> list[Indices]:
    """Positions of the models without each set, once the fleet may judge an estimator fitted on the source.

    Args:
        source: What the estimator was fitted on.
        fleet: The held-out models.
        hint: What mends it where they are too few.

    Raises:
        ConfigError: more than 20 models.
        NeedsError: fewer than 3 different sets are left out.
        ProblemError: another recipe, other training rows, or models that the estimator was fitted on.
    """
    if len(fleet) > MOST:
        raise ConfigError(
            f"calibration: expected at most {MOST} models, got {len(fleet)}",
            hint=f"`part(fleet, np.arange({MOST}))` takes so many of them",
        )
    check_same(fleet.recipe, source.recipe, "held-out models")
    if fleet.rows != source.rows.fingerprint:
        raise ProblemError("held-out models: expected models of the training rows, got a fleet of other rows")
    used = {folder.path.name for folder in source.subsets.folders} if source.subsets else set()
    shared = sum(folder.path.name in used for folder in fleet.folders)
    if shared:
        raise ProblemError(
            f"{shared} of {len(fleet)} models are among those that the estimator was fitted on",
            hint="calibrate on models held out from the fit: `held_out_removals` trains them",
        )
    groups = by_mask(fleet.masks)
    if len(groups) < FEWEST:
        raise NeedsError(
            f"calibration: expected models without at least {FEWEST} different sets of rows, got {len(groups)}", hint
        )
    return groups
