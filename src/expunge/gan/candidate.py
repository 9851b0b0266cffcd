"""Candidate: one unlearned pair in an audit, and what it and gold cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from expunge.gan.fit import TrainedPair
from expunge.gan.methods.method import UnlearnedPair
from expunge.gan.pair import Pair
from expunge.training import Cost

BASELINES = ("finetune, same visits",)
"""What stands beside the methods in every result."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One unlearned pair in an audit."""

    name: str
    made: UnlearnedPair
    role: str = "method"
    """"method" or "baseline"."""
    steps: Mapping[int, Pair] = field(default_factory=dict)
    """The pair after some of its own steps."""


def median_cost(gold: Sequence[TrainedPair]) -> dict[str, float]:
    """Visits, seconds and threads of one gold's training, medians over golds."""
    return {
        "visits": float(np.median([one.cost.visits for one in gold])),
        "seconds": float(np.median([one.cost.seconds for one in gold])),
        "threads": gold[0].cost.threads,
    }


def by_net(cost: Cost) -> dict[str, float]:
    """Visits of each net: forward+backward ones, plus a third of the forward-only ones.

    Example:
        >>> by_net(Cost({"generator/fake": 3}, {"generator/fake": 2, "discriminator/fake": 5}, 0.0))
        {'generator': 3.0, 'discriminator': 5.0}
    """
    nets = dict.fromkeys(role.partition("/")[0] for role in (*cost.forward, *cost.backward))
    return {
        net: Cost(
            {role: n for role, n in cost.forward.items() if role.startswith(f"{net}/")},
            {role: n for role, n in cost.backward.items() if role.startswith(f"{net}/")},
            0.0,
        ).visits
        for net in nets
    }
