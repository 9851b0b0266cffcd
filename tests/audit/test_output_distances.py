"""Activation distance and Jensen-Shannon against plain loops and closed forms."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from expunge.audit import pairs
from expunge.audit.activation_distance import activation_distance, activation_distance_rows
from expunge.audit.jensen_shannon import jensen_shannon, jensen_shannon_rows
from expunge.audit.margins import probabilities


def shares(models, seed, rows=6, classes=4):
    return probabilities(2 * np.random.default_rng(seed).normal(size=(models, rows, classes)))


def test_equal_a_loop_over_pairs_in_any_block(monkeypatch):
    u, g = shares(3, 0), shares(5, 1)
    loop = np.mean([[np.linalg.norm(a - b, axis=1) for b in g] for a in u], axis=(0, 1))
    bits = np.mean([[jensenshannon(a, b, 2, axis=1) ** 2 for b in g] for a in u], axis=(0, 1))
    for block in (1, 1 << 17):
        monkeypatch.setattr(pairs, "BLOCK", block)
        assert activation_distance_rows(u, g) == pytest.approx(loop, abs=1e-12)
        assert jensen_shannon_rows(u, g) == pytest.approx(bits, abs=1e-12)


def test_jensen_shannon_closed_forms():
    left, right = np.array([[[1.0, 0.0], [0.5, 0.5]]]), np.array([[[0.0, 1.0], [1.0, 0.0]]])
    found = jensen_shannon_rows(left, right)
    assert found[0] == 1.0
    assert found[1] == pytest.approx(1.5 - 0.75 * np.log2(3))
    assert np.array_equal(found, jensen_shannon_rows(right, left))
    assert jensen_shannon_rows(left, left).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("measure", [activation_distance, jensen_shannon])
def test_ratio_is_one_for_gold_and_large_for_the_original(measure):
    random = np.random.default_rng(0)
    centre = random.normal(size=(1, 80, 4))
    unlearned, gold = (centre + 0.5 * random.normal(size=(models, 80, 4)) for models in (8, 16))
    found = measure(unlearned, gold, 5 * random.normal(size=(8, 80, 4)), seed=0)
    assert found.extra["ratio"] == pytest.approx(1.0, abs=0.1)
    assert found.start > 2 * found.null > 0
    assert found.interval[0] < found.value < found.interval[1]


def test_one_unlearned_model_is_enough():
    random = np.random.default_rng(1)
    found = activation_distance(random.normal(size=(1, 5, 3)), random.normal(size=(6, 5, 3)), None, seed=0)
    assert found.extra["null_unlearned"] == 1
    assert found.interval is not None
