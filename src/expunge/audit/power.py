"""Power: what an audit can see, before it runs, from its numbers of models and rows.

Source:     the formulas of `floors`, `detectable` and `epsilon.ceiling`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from expunge.audit.detectable import detectable_row, detectable_shift, gold_needed, independent_spread, resolution
from expunge.audit.epsilon import DIRECTIONS, ceiling
from expunge.audit.floors import METHOD_FLOORS, auc_half_width, model_floors
from expunge.errors import NeedsError, check


@dataclass(frozen=True)
class Power:
    """Result of `power`.

    Args:
        golds: gold models.
        forget: forget rows.
        test: test rows.
        alpha: level of every test.
        spread: sd over gold of the mean shift, gold sd.
        detectable_shift: smallest mean shift of all forget rows that the exact test sees with probability 0.8, gold
            sd; infinite where N is too small to reject at all.
        detectable_row: smallest shift of one row that a rank test of golds unlearned against golds gold models
            sees with probability 0.8, gold sd.
        resolution: mean shift that a gold model itself exceeds with probability alpha, gold sd.
        gold_needed: smallest N at which a gold model passes the policy's margin with probability 1 - alpha; None
            where no N is enough and more forget or test rows are needed.
        auc_half_width: 95% half width of an attack's AUC near 0.5, forget against as many holdout rows.
        epsilon_ceiling: largest epsilon that `epsilon` could show with golds models a side.
        floors: claim -> smallest number of models.
        reached: claim -> whether golds is enough.
    """

    golds: int
    forget: int
    test: int
    alpha: float
    spread: float
    detectable_shift: float
    detectable_row: float
    resolution: float
    gold_needed: int | None
    auc_half_width: float
    epsilon_ceiling: float
    floors: dict[str, int]
    reached: dict[str, bool]

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`: an infinite shift as None."""
        plain = asdict(self)
        plain["detectable_shift"] = self.detectable_shift if math.isfinite(self.detectable_shift) else None
        return plain


def power(
    golds: int,
    forget: int,
    *,
    test: int = 400,
    alpha: float = 0.05,
    margin: float = 0.25,
    spread: float | None = None,
) -> Power:
    """What an audit with these numbers of models and rows can see.

    Args:
        golds: gold models, >= 2.
        forget: forget rows, >= 1.
        test: test rows on which the drift is taken out, >= 1; 400 is the audit's advice.
        alpha: level, in (0, 0.5).
        margin: the policy's margin for the mean shift, gold sd, > 0.
        spread: sd over gold of the mean shift, gold sd, as measured by `spread_of_shift`; None takes rows as
            independent, which real rows are not quite.

    Returns:
        Power.

    Raises:
        ConfigError: a number out of range.

    Example:
        >>> found = power(64, 200)
        >>> round(found.detectable_shift, 2), found.floors["one_row"], found.reached["joint"]
        (0.25, 40, True)
    """
    check("golds", golds, ">= 2", golds >= 2)
    spread = independent_spread(forget, test) if spread is None else spread
    floors = model_floors(alpha) | METHOD_FLOORS
    try:
        needed: int | None = gold_needed(margin, spread=spread, alpha=alpha)
    except NeedsError:
        needed = None
    return Power(
        golds=golds,
        forget=forget,
        test=test,
        alpha=alpha,
        spread=spread,
        detectable_shift=detectable_shift(golds, spread=spread, alpha=alpha),
        detectable_row=detectable_row(golds, golds, alpha=alpha),
        resolution=resolution(golds, spread=spread, alpha=alpha),
        gold_needed=needed,
        auc_half_width=auc_half_width(forget),
        epsilon_ceiling=ceiling(max(1, golds // 2), alpha / DIRECTIONS),
        floors=floors,
        reached={claim: golds >= floor for claim, floor in floors.items()},
    )
