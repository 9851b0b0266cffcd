"""An estimator whose answers are known beforehand: a fake for tests of what is built on estimators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from expunge.attribution.estimator import Estimator, Fitted, Removal
from expunge.training import Cost, predict

LOST = 0.8
"""Logits of a row's own label that go, whatever rows are taken away."""


class KnownFit(Fitted):
    """Takes LOST off each row's own output, and scores by a formula; `asked` counts the training rows scored."""

    def __init__(self, source):
        self.source, self.notes, self.asked = source, {"damping": 0.25, "grid": [1, 2]}, 0
        self.seen = 0

    @property
    def cost(self):
        return Cost({"attribution": 30 * self.seen}, {"attribution": 100}, 0.5)

    def removal(self, forget, rows):
        self.seen += 1
        original = predict(self.source.model, rows).double().numpy()
        change = np.zeros_like(original)
        labels = rows.labels.numpy()
        if rows.labels.is_floating_point():
            change -= LOST
        else:
            change[np.arange(len(rows)), labels] = -LOST
        return Removal(original + change, original, np.full_like(original, np.nan))

    def scores(self, rows, train):
        self.asked += len(train)
        return expected_scores(rows, train)

    def counterfactual(self, forget):
        raise AssertionError("not asked for here")


class RankFit(KnownFit):
    """As KnownFit, but it predicts nothing."""

    def removal(self, forget, rows):
        raise AssertionError("it only ranks")


def expected_scores(rows, train):
    """`[train, rows]`."""
    sums = rows.batch(np.arange(len(rows)))[0].flatten(1).sum(1).numpy()
    return np.cos(1.3 * train[:, None] + sums[None]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Known(Estimator):
    """Answers that are known."""

    paper: ClassVar[str] = "folklore"

    strength: float = 1.0
    """A setting, > 0."""

    @classmethod
    def name(cls):
        return "known"

    def attribute(self, source, run):
        return KnownFit(source)


@dataclass(frozen=True, kw_only=True)
class Ranking(Known):
    """Ranks that are known, and no prediction."""

    predicts: ClassVar[bool] = False

    @classmethod
    def name(cls):
        return "ranking"

    def attribute(self, source, run):
        return RankFit(source)
