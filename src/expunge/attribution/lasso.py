"""LASSO: sparse regression of what models put out on which rows they were trained on, one for each target.

Source:     Ilyas et al., arXiv:2202.00622; path and choice of the penalty after MadryLab/datamodels.
Objective:  min over w, c of |y - Z w - c|^2 / (2 models) + penalty |w|_1 for each watched row and output (or margin)
            penalties from the smallest that leaves no row down to `least` of it, log-spaced; the best on models held
            back for validation; then a fit on all models with it.
            Error: delete-a-group jackknife over models at that penalty. What the penalty takes from every coefficient
            (soft threshold) is not in it: sums under-predict a removal, and `calibrate` says by how much.
Deviations: scikit-learn's coordinate descent in place of a solver for graphics cards; 10 penalties, not 100.
            Only the targets that are asked for are fitted, when they are asked for.
Cost:       the subset models; then one path and 11 fits for each target of a removal: take `datamodel` for many.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array, vstack

from expunge.attribution.estimator import Estimator, Fitted, Source
from expunge.attribution.watched import Floats, Watched, subsets
from expunge.data import Indices
from expunge.errors import NeedsError, check
from expunge.seeds import numpy_generator
from expunge.training import Run

GROUPS = 10
"""Groups of models that the jackknife leaves out in turn."""
FEWEST = 20
"""Subset models: with fewer there is no validation worth the name."""
SWEEPS = 10_000
"""Most passes of coordinate descent."""
TINY = 1e-9
"""Outputs that covary less than this with every mask are constant."""


@dataclass(frozen=True, kw_only=True)
class Lasso(Estimator):
    """LASSO on subset models."""

    paper: ClassVar[str] = "arXiv:2202.00622"
    needs: ClassVar[frozenset[str]] = frozenset({"subsets"})
    any_rows: ClassVar[bool] = False

    penalties: int = 10
    """How many are tried, >= 2. (code: MadryLab/datamodels, the example on CIFAR-10)"""
    least: float = 0.01
    """The smallest, as a share of the one that leaves no row, in (0, 1). (code: MadryLab/datamodels, as before)"""
    validation: float = 0.2
    """Share of the subset models held back to choose the penalty, in (0, 1)."""

    def __post_init__(self) -> None:
        check("penalties", self.penalties, ">= 2", self.penalties >= 2)
        check("least", self.least, "in (0, 1)", 0 < self.least < 1)
        check("validation", self.validation, "in (0, 1)", 0 < self.validation < 1)

    def attribute(self, source: Source, run: Run) -> Fitted:
        """Draw the models to validate on; the targets come later."""
        models = len(subsets(source))
        if models < FEWEST:
            raise NeedsError(f"lasso: expected at least {FEWEST} subset models, got {models}", hint="train more")
        drawn = numpy_generator(run.seed, "lasso").permutation(models)
        return LassoFit(source, run, self, drawn)


class LassoFit(Watched):
    """LASSO datamodels, fitted target by target when they are asked for."""

    def __init__(self, source: Source, run: Run, settings: Lasso, drawn: Indices) -> None:
        super().__init__(source, run, {})
        self.settings, self.drawn = settings, drawn
        self.masks: Floats = self.fleet.masks.astype(np.float64)
        self._last: tuple[bytes, csr_array, Floats] = (b"", csr_array((0, 0)), np.zeros(0))

    def lost(self, targets: Floats, forget: Indices) -> tuple[Floats, Floats]:
        """Minus the sum of the forget rows' coefficients, and its jackknife standard error."""
        found, penalties = self._coefficients(targets)
        without = np.empty((GROUPS, targets.shape[1]))
        for group, out in enumerate(np.array_split(self.drawn, GROUPS)):
            kept = np.setdiff1d(np.arange(len(targets)), out)
            for at, penalty in enumerate(penalties):
                start = found[[at]].toarray()[0]
                without[group, at] = fitted(self.masks[kept], targets[kept, at], penalty, start)[forget].sum()
        spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0) * (GROUPS - 1) / GROUPS
        return -np.asarray(found[:, forget].sum(axis=1)), np.sqrt(spread)

    def effects(self, targets: Floats, train: Indices) -> Floats:
        """The coefficients of the rows."""
        return np.asarray(self._coefficients(targets)[0][:, train].toarray().T)

    def _coefficients(self, targets: Floats) -> tuple[csr_array, Floats]:
        """`[targets, rows]` sparse and the penalties `[targets]`; the last targets asked for are kept."""
        key = hashlib.blake2b(np.ascontiguousarray(targets).tobytes()).digest()
        if self._last[0] != key:
            penalties = np.array([self.penalty(target) for target in targets.T])
            rows = [csr_array(fitted(self.masks, *pair)[None]) for pair in zip(targets.T, penalties, strict=True)]
            self._last = key, csr_array(vstack(rows)), penalties
        return self._last[1], self._last[2]

    def penalty(self, target: Floats) -> float:
        """The penalty for one target `[models]` that serves the models held back best."""
        from sklearn.linear_model import lasso_path  # takes a second to import

        held = self.drawn[: max(1, round(self.settings.validation * len(self.drawn)))]
        seen = np.setdiff1d(self.drawn, held)
        x, y = self.masks[seen], target[seen]
        x_mean, y_mean = x.mean(axis=0), y.mean()
        x -= x_mean
        largest = float(np.abs(x.T @ (y - y_mean)).max()) / len(seen)  # leaves no row
        if largest <= TINY:
            return 1.0  # nothing to explain: any penalty leaves no row
        tried = np.geomspace(largest, largest * self.settings.least, self.settings.penalties)
        _, paths, _ = lasso_path(np.asfortranarray(x), y - y_mean, alphas=tried, max_iter=SWEEPS)
        foretold = (self.masks[held] - x_mean) @ paths + y_mean  # [held, penalties]
        return float(tried[((foretold - target[held, None]) ** 2).mean(axis=0).argmin()])


def fitted(masks: Floats, target: Floats, penalty: float, start: Floats | None = None) -> Floats:
    """LASSO coefficients `[rows]`.

    Args:
        masks: `[models, rows]` 0 or 1.
        target: `[models]`.
        penalty: > 0.
        start: `[rows]` coefficients to begin with.
    """
    from sklearn.linear_model import lasso_path

    _, found, _ = lasso_path(
        np.asfortranarray(masks - masks.mean(axis=0)),
        target - target.mean(),
        alphas=[penalty],
        coef_init=start,
        max_iter=SWEEPS,
    )
    return np.asarray(found[:, 0])
