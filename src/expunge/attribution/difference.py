"""Difference of means: what subset models with a row put out on average, less what those without it do.

Source:     Feldman & Zhang, NeurIPS 2020 (subset estimator); shrinkage by the empirical Bayes of normal means (Robbins;
            Efron & Morris 1973). Their use for outputs to be subtracted is ours.
Objective:  D_j = mean of Y over models with row j - mean over those without. Its variance is V_j = s^2 (1 / with +
            1 / without), s^2 the variance of Y over models: to a row, what all the others do is noise.
            Shrinkage, for each target: the effects are drawn from a normal law with the mean m and the variance
            t^2 = max(0, variance of D over rows - mean V); each row's answer is its posterior mean m + w_j (D_j - m),
            w_j = t^2 / (t^2 + V_j), with variance w_j V_j, and that of m where m is what is answered.
            Without the rows F the outputs change by the negative sum over F; rows count as independent.
Deviations: unbiased without shrinkage, and only where rows are drawn on their own: subsets of one size hide the mean
            effect, so that D_j is what row j does beyond a row in place of it.
            As of a datamodel, the error is that of the fit at the subsets' share: `calibrate`.
Cost:       the subset models; then models^2 (rows + targets) products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from expunge.attribution.estimator import CHUNK, Estimator, Fitted, Source
from expunge.attribution.watched import Floats, Watched, subsets
from expunge.data import Indices
from expunge.errors import check
from expunge.fleet.task import Mask
from expunge.training import Run


@dataclass(frozen=True, kw_only=True)
class Difference(Estimator):
    """Difference of means over subset models, shrunk."""

    paper: ClassVar[str] = "Feldman & Zhang, NeurIPS 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"subsets"})
    any_rows: ClassVar[bool] = False

    shrink: bool = True
    """Whether to shrink each row's effect towards the mean of all by as much as its noise calls for."""

    def __post_init__(self) -> None:
        check("shrink", self.shrink, "true or false", isinstance(self.shrink, bool))

    def attribute(self, source: Source, run: Run) -> Fitted:
        """Nothing but sums over masks."""
        return DifferenceFit(source, run, Contrasts(subsets(source).masks), self.shrink)


class Contrasts:
    """Weights of the models in the difference of every row.

    Args:
        masks: `[models, rows]` which rows each model was trained on.
    """

    def __init__(self, masks: Mask) -> None:
        self.masks = masks
        self.inside = masks.sum(axis=0).astype(np.float64)
        outside = len(masks) - self.inside
        told = (self.inside > 0) & (outside > 0)  # rows that some models saw and some did not
        self.rows = int(told.sum())
        with np.errstate(divide="ignore"):
            self.unit = np.where(told, 1 / self.inside + 1 / outside, np.nan)  # [rows], V_j / s^2
        self.mean_unit = float(self.unit[told].mean()) if self.rows else np.nan
        self.gram, self.mean = np.zeros((len(masks), len(masks))), np.zeros(len(masks))
        for start in range(0, masks.shape[1], CHUNK):  # bounded: never models x rows in float64
            weights = self.weights(np.arange(start, min(start + CHUNK, masks.shape[1])))
            weights = np.nan_to_num(weights, nan=0.0)
            self.gram += weights @ weights.T
            self.mean += weights.sum(axis=1) / max(self.rows, 1)

    def weights(self, rows: Indices) -> Floats:
        """`[models, rows]`: D_j is the weighted sum of the outputs; NaN for a row that all or no models saw."""
        inside = self.inside[rows]
        outside = len(self.masks) - inside
        with np.errstate(divide="ignore"):
            weights = np.where(self.masks[:, rows], 1 / inside, -1 / outside)
        return np.where(np.isnan(self.unit[rows]), np.nan, weights)

    def prior(self, targets: Floats) -> tuple[Floats, Floats, Floats]:
        """m, t^2 and s^2 of each of `[models, targets]`: mean and variance of the effects, variance of a model."""
        noise = targets.var(axis=0, ddof=1)
        mean = self.mean @ targets
        spread = np.einsum("mt,mt->t", targets, self.gram @ targets) / max(self.rows, 1) - mean**2
        return mean, np.maximum(spread - noise * self.mean_unit, 0), noise


class DifferenceFit(Watched):
    """Differences of means."""

    def __init__(self, source: Source, run: Run, contrasts: Contrasts, shrink: bool) -> None:
        super().__init__(source, run, {"shrink": shrink})
        self.contrasts, self.shrink = contrasts, shrink

    def lost(self, targets: Floats, forget: Indices) -> tuple[Floats, Floats]:
        """Minus the sum of the forget rows' effects, and its standard error."""
        targets = targets - targets.mean(axis=0)
        if not self.shrink:
            weights = self.contrasts.weights(forget).sum(axis=1)  # [models]
            return -(weights @ targets), targets.std(axis=0, ddof=1) * np.linalg.norm(weights)
        effects, share, prior = self._shrunk(targets, forget)
        own = (share * prior[2] * self.contrasts.unit[forget, None]).sum(axis=0)
        common = ((1 - share).sum(axis=0) * np.linalg.norm(self.contrasts.mean)) ** 2 * prior[2]
        return -effects.sum(axis=0), np.sqrt(own + common)

    def effects(self, targets: Floats, train: Indices) -> Floats:
        """Each row's difference, shrunk or not; NaN for a row that all or no models saw."""
        targets = targets - targets.mean(axis=0)
        return self._shrunk(targets, train)[0] if self.shrink else self.contrasts.weights(train).T @ targets

    def _shrunk(self, targets: Floats, rows: Indices) -> tuple[Floats, Floats, tuple[Floats, Floats, Floats]]:
        """Effects and w `[rows, targets]`, and the prior."""
        found = self.contrasts.weights(rows).T @ targets
        mean, spread, noise = prior = self.contrasts.prior(targets)
        variance = noise * self.contrasts.unit[rows, None]  # [rows, targets]
        share = np.divide(spread, spread + variance, out=np.zeros_like(variance), where=spread + variance > 0)
        return mean + share * (found - mean), share, prior
