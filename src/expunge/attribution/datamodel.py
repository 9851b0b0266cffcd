"""Datamodel: ridge regression of what models put out on which rows they were trained on, solved in the dual.

Source:     Ilyas et al., arXiv:2202.00622 (LASSO there; see `lasso`). Ridge in the dual, the mean effect left free of
            the penalty, and the error are ours.
Objective:  min over b, m of |Y - Z (m + b)|^2 + ridge |b|^2 for each target; Z the masks and Y the outputs, both less
            their mean over models; m is the effect that rows have on average.
            With w = ridge / (e + ridge), e the eigenvalues of Z Z' (those of Z' Z, and zeros), and s = Z 1, z = Z 1_F,
            Y in the eigenvectors' coordinates, the effects of the rows F add up to
                |F| m + z' w (Y - s m) / ridge,        m = s' w Y / s' w s
            so that no array of rows x targets x outputs is ever made; without F the outputs change by minus that.
            Error: its standard deviation under the normal law that this is the posterior mean of, with noise s^2 and
            effects of variance s^2 / ridge about a mean that nothing is known of:
                s^2 ((|F| - z' w z / ridge) / ridge + (|F| - s' w z / ridge)^2 / s' w s)
            s^2 = residual sum of squares over its degrees of freedom, for each target.
Penalty:    one for all, by generalised cross-validation (Golub, Heath & Wahba 1979) on all outputs of up to 500 watched
            rows: it needs no models to validate on, and one eigendecomposition serves every candidate.
Deviations: the error says how well the regression is known at the share of rows that the subsets have. That effects
            are larger there than near the full set, and that effects need not add up, is not in it: `calibrate`.
Cost:       the subset models; then models^2 (rows + targets) products and models^3, rows in place of models where
            these are fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from expunge.attribution.estimator import Estimator, Fitted, Source
from expunge.attribution.watched import Floats, Watched, blocks, subsets
from expunge.data import Indices
from expunge.errors import check
from expunge.fleet.task import Mask
from expunge.training import Run

CANDIDATES = np.geomspace(1e-3, 1e4, 71)
"""Penalties that are tried, as multiples of the mean eigenvalue of Z Z'."""
ASKED = 500
"""Watched rows that choose the penalty, or all where there are fewer."""
TINY = 1e-9
"""Eigenvalues below this, as a share of the largest, are rounding; and subsets whose sizes vary less than this, as a
share of the rows' own variation, have one size."""


@dataclass(frozen=True, kw_only=True)
class Datamodel(Estimator):
    """Ridge regression on subset models."""

    paper: ClassVar[str] = "arXiv:2202.00622"
    needs: ClassVar[frozenset[str]] = frozenset({"subsets"})
    any_rows: ClassVar[bool] = False

    ridge: float = 0.0
    """Penalty on squared effects, > 0; 0 chooses it by generalised cross-validation."""
    common: bool = True
    """Whether the effect that rows have on average is free of the penalty; it takes subsets of several sizes."""

    def __post_init__(self) -> None:
        check("ridge", self.ridge, ">= 0", self.ridge >= 0)
        check("common", self.common, "true or false", isinstance(self.common, bool))

    def attribute(self, source: Source, run: Run) -> Fitted:
        """Decompose the masks, choose the penalty."""
        fleet = subsets(source)
        dual = Dual(fleet.masks, common=self.common)
        moments = np.zeros((len(dual.values), len(dual.values)))
        for _, outputs in blocks(fleet, spread(len(fleet.watched), ASKED)):
            moments += dual.moments(outputs.reshape(len(outputs), -1).astype(np.float64))
        ridge = self.ridge or dual.choose(moments)
        return DualFit(source, run, dual, ridge, moments)


class Dual:
    """Masks as ridge regression in the dual sees them.

    Args:
        masks: `[models, rows]` which rows each model was trained on.
        common: Whether the mean effect is free of the penalty, where the subsets' sizes tell it.
    """

    def __init__(self, masks: Mask, *, common: bool = True) -> None:
        self.masks, self.models = masks, len(masks)
        plain, mean = masks.astype(np.float32), masks.mean(axis=0)
        wide = masks.shape[0] <= masks.shape[1]  # the smaller of Z Z' and Z' Z has all the eigenvalues there are
        gram = (plain @ plain.T if wide else plain.T @ plain).astype(np.float64)  # counts: exact in float32 up to 2^24
        if wide:
            gram -= gram.mean(axis=0)
            gram -= gram.mean(axis=1, keepdims=True)
        else:
            gram -= self.models * np.outer(mean, mean)
        values, vectors = np.linalg.eigh(gram)
        kept = values > TINY * values[-1]
        values, self.vectors = values[kept], vectors[:, kept]  # [models, coordinates] of length 1
        if not wide:
            self.vectors = (plain @ self.vectors - mean @ self.vectors) / np.sqrt(values)
        self.values: Floats = np.append(values, 0.0)  # the last stands for all directions that no mask has
        self.count: Floats = np.append(np.ones(len(values)), self.models - len(values))
        sizes = self.total(np.arange(masks.shape[1]))
        several = common and sizes @ sizes > TINY * self.values.sum()
        self.sizes: Floats = sizes if several else np.zeros_like(sizes)  # s

    @property
    def mean_value(self) -> float:
        """Mean eigenvalue of Z Z'."""
        return float(self.values.sum()) / self.models

    def rotated(self, targets: Floats) -> Floats:
        """`[coordinates + 1, targets]` of `[models, targets]` less their mean, in the eigenvectors' coordinates.

        The last is the length of what is left: where there are more models than rows, that is most of the directions.
        """
        centred = targets - targets.mean(axis=0)
        turned = self.vectors.T @ centred
        left = np.einsum("mt,mt->t", centred, centred) - np.einsum("ct,ct->t", turned, turned)
        return np.vstack([turned, np.sqrt(np.maximum(left, 0.0))])

    def moments(self, targets: Floats) -> Floats:
        """`[coordinates + 1] * 2` second moments of the rotated `[models, targets]`: all the penalty needs of them."""
        turned = self.rotated(targets)
        return np.asarray(turned @ turned.T)

    def total(self, rows: Indices) -> Floats:
        """How many of the rows each model saw, less the mean, rotated: z `[coordinates + 1]`."""
        seen = self.masks[:, rows].sum(axis=1, dtype=np.float64)
        return np.append(self.vectors.T @ (seen - seen.mean()), 0.0)  # a sum of masks leaves nothing over

    def trend(self, ridge: float) -> tuple[Floats, Floats]:
        """The weights w, and s w / s' w s by which outputs are summed up to m; `[coordinates + 1]` each."""
        weights = ridge / (self.values + ridge)
        power = self.sizes @ (weights * self.sizes)
        return weights, weights * self.sizes / (power or 1.0)

    def freedom(self, ridge: float) -> float:
        """Degrees of freedom that are left to the residuals."""
        weights, mean = self.trend(ridge)
        return float(self.count @ weights - 1 - mean @ (weights * self.sizes))  # one direction is that of the mean

    def validated(self, moments: Floats, ridge: float) -> float:
        """Generalised cross-validation: mean squared error of a left-out model, summed over the targets.

        Args:
            moments: `[coordinates + 1, coordinates + 1]` of the targets.
            ridge: Penalty, > 0.
        """
        weights, mean = self.trend(ridge)
        lost = weights * self.sizes  # the residuals are w Y - lost (mean' Y)
        squares = weights**2 @ np.diag(moments) - 2 * (weights * lost) @ moments @ mean
        squares += (lost @ lost) * (mean @ moments @ mean)
        return float(self.models * squares / self.freedom(ridge) ** 2)

    def choose(self, moments: Floats) -> float:
        """The penalty with the smallest generalised cross-validation."""
        tried = CANDIDATES * self.mean_value
        return float(tried[np.argmin([self.validated(moments, ridge) for ridge in tried])])

    def effects(self, targets: Floats, ridge: float, rows: Indices) -> Floats:
        """`[rows, targets]` effects m + b of some rows on `[models, targets]`."""
        turned = self.rotated(targets)
        weights, trend = self.trend(ridge)
        mean = trend @ turned  # [targets]
        left = weights[:, None] * (turned - np.outer(self.sizes, mean)) / ridge
        dual = self.vectors @ left[:-1]  # [models, targets]
        chosen = self.masks[:, rows].astype(np.float64)
        return np.asarray(mean + (chosen - chosen.mean(axis=0)).T @ dual)

    def summed(self, targets: Floats, ridge: float, rows: Indices) -> tuple[Floats, Floats]:
        """Sum of the effects of some rows on `[models, targets]`, and its standard error; `[targets]` each."""
        turned, z = self.rotated(targets), self.total(rows)
        weights, trend = self.trend(ridge)
        mean = trend @ turned  # [targets]
        left = weights[:, None] * (turned - np.outer(self.sizes, mean))
        noise = (left**2).sum(axis=0) / self.freedom(ridge)
        unknown = max(len(rows) - float(z @ (weights * z)) / ridge, 0.0) / ridge
        if self.sizes.any():
            away = len(rows) - float(self.sizes @ (weights * z)) / ridge
            unknown += away**2 / float(self.sizes @ (weights * self.sizes))
        return len(rows) * mean + z @ left / ridge, np.sqrt(noise * unknown)


def spread(rows: int, most: int) -> Indices:
    """Positions of at most so many of the rows, evenly over all.

    Example:
        >>> spread(7, 3).tolist()
        [0, 3, 6]
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64))


class DualFit(Watched):
    """A ridge datamodel; `notes` hold the penalty and how much of the variance it foretells on models left out."""

    def __init__(self, source: Source, run: Run, dual: Dual, ridge: float, moments: Floats) -> None:
        models, variance = dual.models, float(np.trace(moments))
        error = dual.validated(moments, ridge)
        alone = variance * models / (models - 1) ** 2  # the same of the mean over models
        super().__init__(
            source,
            run,
            {"ridge": ridge, "r2_left_out": 1 - error / alone if variance > 0 else 0.0},
        )
        self.dual, self.ridge = dual, ridge
        if ridge >= CANDIDATES[-1] * dual.mean_value:
            self.notes["warning"] = "the subset models tell no row from another: train more of them"

    def lost(self, targets: Floats, forget: Indices) -> tuple[Floats, Floats]:
        """Minus the sum of the forget rows' effects, and the posterior's standard deviation."""
        sums, error = self.dual.summed(targets, self.ridge, forget)
        return -sums, error

    def effects(self, targets: Floats, train: Indices) -> Floats:
        """The rows' effects."""
        return self.dual.effects(targets, self.ridge, train)
