"""Brittleness by hand; the area under the curve of planted label noise against scikit-learn."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from expunge.audit.brittleness import brittleness, clopper_pearson
from expunge.audit.noise_auc import noise_auc
from expunge.errors import NeedsError, ShapeError

LABELS = np.array([0, 1, 2, 0])
BEFORE = np.array([[0, 1, 2, 1], [0, 1, 2, 1], [0, 1, 0, 0]])
"""Target 3 is wrong by two of three models."""


def test_by_hand():
    after = np.array([[[0, 1, 2, 0], [1, 0, 2, 0]]] * 3)  # sizes 1 and 9: nothing, then targets 0 and 1, flips
    after[0, 0, 0] = 2  # one model of three is no majority
    random = np.array([[[0, 1, 2, 0], [0, 1, 1, 0]]])
    found = brittleness(LABELS, BEFORE, after, random, np.array([1, 9]))
    assert found.flipped.tolist() == [0, 2 / 3]
    assert found.null.tolist() == [0, 1 / 3]
    assert (found.right, found.targets) == (3, 4)
    assert found.intervals[1].tolist() == pytest.approx(binomtest(2, 3).proportion_ci(method="exact"))
    assert json.loads(json.dumps(found.to_json()))["removed"] == [1, 9]


def test_targets_wrong_before_play_no_part():
    after = np.tile(LABELS, (1, 1, 1))
    turned = after.copy()
    turned[..., 3] = 1
    one, other = (brittleness(LABELS, BEFORE, side, after, np.array([4])) for side in (after, turned))
    assert one.flipped.tolist() == other.flipped.tolist() == [0]


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (3, 11), (1, 500)])
def test_interval_is_that_of_scipy(count, total):
    assert clopper_pearson(count, total) == pytest.approx(binomtest(count, total).proportion_ci(method="exact"))


def test_noise_auc_is_that_of_scikit_learn_with_ties():
    draw = np.random.default_rng(0)
    noisy = draw.random(200) < 0.3
    values = draw.integers(0, 8, size=200) - 2.0 * noisy
    assert noise_auc(values, noisy)[0] == pytest.approx(roc_auc_score(noisy, -values))


def test_interval_of_noise_auc_covers():
    """200 draws of 30 + 60 rows: 95% intervals hold the true AUC in 90% to 99%."""
    draw, hits = np.random.default_rng(0), 0
    noisy = np.arange(90) < 30
    for _ in range(200):
        low, high = noise_auc(draw.normal(size=90) - 1.0 * noisy, noisy)[1]
        hits += low <= 0.7602 <= high  # Phi(1 / sqrt(2))
    assert 0.9 <= hits / 200 <= 0.99


def test_arrays_that_do_not_fit_are_refused():
    after = np.tile(LABELS, (1, 2, 1))
    with pytest.raises(ShapeError, match=r"random: expected \[models, 2, 4\], got \(1, 1, 4\)"):
        brittleness(LABELS, BEFORE, after, after[:, :1], np.array([1, 9]))
    with pytest.raises(NeedsError, match="no target is right before"):
        brittleness(LABELS, BEFORE + 1, after, after, np.array([1, 9]))
    with pytest.raises(ShapeError, match="noisy"):
        noise_auc(np.zeros(3), np.zeros(3))
    with pytest.raises(NeedsError, match="got 0 and 3"):
        noise_auc(np.zeros(3), np.zeros(3, dtype=bool))
