"""U-LiRA's decisions: log ratios of held-out models between two worlds, never with a shadow of the same original.

Source:     Hayes et al., arXiv:2403.01218; reconstruction.
Objective:  log N(m; mu_u, sd_u) - log N(m; mu_n, sd_n) per row; above 0 says "forgotten".
Deviations: sd have a floor of a thousandth of the never-seen world's median sd: a constant unlearner is told apart
            also where rounding moves it a little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray, IntArray
from expunge.audit.normal_law import Law, log_density, normal_law
from expunge.audit.population_attack import auc
from expunge.audit.roc import tpr_at_fpr
from expunge.audit.worlds import World
from expunge.errors import NeedsError

FLOOR = 1e-3  # smallest sd, as a fraction of the never-seen world's median sd over rows
SHADOWS = 2  # fewest shadows of a row and world


def log_ratios(targets: World, forgot: World, never: World, *, spread: str, strict: bool = True) -> FloatArray:
    """Log ratio of every row of every target: above 0 says that the target forgot the row.

    Args:
        targets: models to decide about; their mask says which rows count.
        forgot: shadows that were trained on the row and forgot it.
        never: shadows that never saw the row.
        spread: per_row or pooled.
        strict: whether a row with fewer than 2 shadows of a world is an error; if not, it gives NaN.

    Returns:
        [targets, rows] nats; NaN outside the targets' mask.

    Raises:
        NeedsError: a target's original stands behind a shadow, too; or see `strict`.

    Example:
        >>> from expunge.audit.worlds import worlds
        >>> both = worlds({"a": np.array([[4.0], [6.0]]), "b": np.array([[-1.0], [1.0]])}, {}, {})
        >>> target = World(np.array([[5.0]]), np.array([[True]]), np.array([9]))
        >>> float(log_ratios(target, both["a"], both["b"], spread="per_row")[0, 0])
        12.5
    """
    for shadows in (forgot, never):
        shared = np.intersect1d(targets.origin, shadows.origin)
        if len(shared):
            raise NeedsError(
                f"U-LiRA needs shadows from other originals than the targets', got original {shared[0]} on both sides"
            )
    counts = np.stack([world.mask.sum(axis=0) for world in (forgot, never)]).min(axis=0)
    enough = counts >= SHADOWS
    if strict and not enough.all():
        row = int(counts.argmin())
        raise NeedsError(f"U-LiRA needs {SHADOWS} shadows of each world for every row, got {counts[row]} for row {row}")
    out = np.full(targets.margins.shape, np.nan)
    if not enough.any():
        return out
    laws = [_law(world, enough, spread) for world in (forgot, never)]
    floor = max(FLOOR * float(np.median(laws[1].sd)), float(np.finfo(np.float32).tiny))
    laws = [law._replace(sd=np.maximum(law.sd, floor)) for law in laws]
    margin = targets.margins[:, enough].astype(np.float64)
    out[:, enough] = log_density(margin, laws[0]) - log_density(margin, laws[1])
    return np.where(targets.mask, out, np.nan)


def _law(world: World, rows: npt.NDArray[np.bool_], spread: str) -> Law:
    kind = "per_row" if spread == "per_row" else "pooled_centered"
    if rows.all():
        return normal_law(world.margins, world.mask, variance=kind, center="mean")
    return normal_law(world.margins[:, rows], world.mask[:, rows], variance=kind, center="mean")


class Told(NamedTuple):
    """Held-out log ratios, [models, rows] for each world; NaN where a model does not belong to it."""

    forgot: FloatArray
    never: FloatArray

    def rows(self) -> FloatArray:
        """[rows] mean of both worlds' shares of right decisions, a tie counting half; NaN without targets."""
        return (_share(self.forgot) + 1 - _share(self.never)) / 2

    def accuracy(self) -> float:
        """Mean over the rows that have targets in both worlds, in [0, 1]."""
        rows = self.rows()
        return float(np.nanmean(rows)) if np.isfinite(rows).any() else np.nan

    def pooled(self, rate: float) -> dict[str, float]:
        """AUC, and TPR at this FPR (NaN with fewer than 10 / rate decisions), of all decisions together."""
        both = [side[~np.isnan(side)][None] for side in self]
        return {"auc": float(auc(*both)[0]), "tpr": float(tpr_at_fpr(*both, rate=rate, strict=False)[0])}


def _share(ratio: FloatArray) -> FloatArray:
    """[rows] share of targets called "forgotten", NaN where there is none."""
    known = ~np.isnan(ratio)
    called = np.where(known, (np.sign(ratio) + 1) / 2, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(called / known.sum(axis=0))


def tell(forgot: World, never: World, turn: IntArray, *, spread: str, strict: bool = True) -> Told:
    """Decide about every model of both worlds once, each time with shadows of the other turns.

    Args:
        forgot: world "trained on the row, forgot it".
        never: world "never saw the row".
        turn: [originals] see `turns`.
        spread: per_row or pooled.
        strict: see `log_ratios`.

    Example:
        >>> from expunge.audit.worlds import turns, worlds
        >>> both = worlds({"a": np.arange(6.0)[:, None], "b": np.arange(6.0)[:, None] + 90}, {}, {})
        >>> tell(both["a"], both["b"], turns(both, 3, seed=0), spread="per_row").accuracy()
        1.0
    """
    sides = forgot, never
    out = Told(*(np.empty(side.margins.shape) for side in sides))
    for now in np.unique(turn):
        held = [turn[side.origin] == now for side in sides]
        shadows = [side.of(~mask) for side, mask in zip(sides, held, strict=True)]
        for side, mask, ratios in zip(sides, held, out, strict=True):
            if mask.any():
                ratios[mask] = log_ratios(side.of(mask), shadows[0], shadows[1], spread=spread, strict=strict)
    return out
