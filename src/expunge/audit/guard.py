"""Guard: what speaks against the utility of unlearned models; a model that is no use never passes.

Source:     own construction on `utility`.
Objective:  a term speaks against them where their mean is worse than every gold model and more than ALLOWED of them
            lie beyond the band that gold's spread gives: of one model, that one. Of several models it also does where
            their mean is worse than gold's by more than one standard deviation of gold, and surely so.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from expunge.audit.assemble import Pool
from expunge.audit.estimate import Estimate
from expunge.audit.jackknife import FloatArray
from expunge.audit.policy import Policy
from expunge.audit.utility import Utility, flat, utility

ALLOWED = 0.05  # share of a method's models that may lie beyond gold's band


def guard(pool: Pool, logits: FloatArray, policy: Policy) -> list[str]:
    """What speaks against the utility of unlearned models, as sentences; nothing where gold may look so too.

    Args:
        pool: With gold's outputs.
        logits: `[models, rows, classes]` of the unlearned models.
        policy: Whose `utility_alpha` is shared by the four limits.
    """
    found = measured_utility(pool, logits, policy)
    same = found.constant if pool.whole else flat(logits[:, pool.splits["test"]])  # margins tell no class from another
    against = ["The outputs do not depend on the row."] * bool(same.any())
    against += ["Test accuracy is no better than always calling one class."] * bool(found.destroyed.any())
    for name, term in found.terms.items():
        ours, lowest, highest = (term.extra[key] for key in ("unlearned_mean", "gold_min", "gold_max"))
        worst = ours > highest if name == "calibration" else ours < lowest
        on_average = len(logits) > 1 and _mean_is_worse(term, len(logits), len(pool.gold), policy.utility_alpha / 4)
        # the band alone is too narrow where most gold agree exactly
        if (term.extra["beyond"] > ALLOWED and worst) or on_average:
            loss, band = term.extra["loss"], term.extra["band"]
            against.append(f"{name.replace('_', ' ')} is worse than gold's by {loss:.3g}, its band is {band:.3g}.")
    return against


def _mean_is_worse(term: Estimate, ours: int, golds: int, alpha: float) -> bool:
    """Whether the models' mean lies below gold's by more than gold's sd (and the fewest rows that count), surely."""
    extra = term.extra
    error = math.sqrt(extra["unlearned_sd"] ** 2 / ours + extra["gold_sd"] ** 2 / golds)
    surely = float(stdtrit(min(ours, golds) - 1, 1 - alpha)) * error
    return extra["loss"] > max(extra["gold_sd"], extra["least"], surely)


def measured_utility(pool: Pool, logits: FloatArray, policy: Policy) -> Utility:
    """Utility of the models on the pool's retain and test rows."""
    at = np.concatenate([pool.splits["retain"], pool.splits["test"]])
    test = np.arange(len(at)) >= len(pool.splits["retain"])
    sides = logits[:, at], pool.gold[:, at], pool.original[:, at]
    return utility(*sides, labels=pool.labels[at], test=test, alpha=policy.utility_alpha / 4)
