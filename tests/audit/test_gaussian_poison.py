"""Gaussian poison: exact law under fresh noise, overlaps against a loop, dropped rows."""

import json

import numpy as np
import pytest
from scipy.stats import kstest, norm

from expunge.audit.gaussian_poison import gaussian_poison, overlaps
from expunge.errors import ConfigError, NeedsError, ShapeError

RANDOM = np.random.default_rng(0)
GRADIENTS = RANDOM.normal(size=(50, 3, 4)) * 10.0 ** RANDOM.integers(-6, 3, (50, 1, 1))


def test_overlaps_equal_a_loop():
    noise = 0.5 * RANDOM.normal(size=(2, 50, 3, 4))
    slow = [
        [(g * one).sum() / (0.5 * np.sqrt((g**2).sum())) for g, one in zip(GRADIENTS, draw, strict=True)]
        for draw in noise
    ]
    assert overlaps(GRADIENTS, noise, sd=0.5) == pytest.approx(np.array(slow), abs=1e-12)
    assert overlaps(GRADIENTS, noise[0], sd=0.5) == pytest.approx(np.array(slow[0]), abs=1e-12)


def test_false_positives_over_fresh_noise():
    found = overlaps(GRADIENTS, 0.5 * RANDOM.normal(size=(4000, 50, 3, 4)), sd=0.5)
    z = np.sqrt(50) * found.mean(axis=1)
    p = 2 * norm.sf(np.abs(z))
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.01)
    assert kstest(found.ravel()[:20_000], "norm").pvalue > 0.01
    assert (found < norm.ppf(0.01)).mean() == pytest.approx(0.01, abs=0.001)  # the threshold behind tpr


def test_result_by_hand():
    noise = 0.5 * RANDOM.normal(size=(50, 3, 4)) - 0.05 * GRADIENTS / np.abs(GRADIENTS).max(axis=(1, 2), keepdims=True)
    found = gaussian_poison(GRADIENTS, noise, sd=0.5, fpr=0.1)
    overlap = overlaps(GRADIENTS, noise, sd=0.5)
    assert found.value == pytest.approx(overlap.mean())
    assert found.z == pytest.approx(np.sqrt(50) * overlap.mean())
    assert found.p == pytest.approx(2 * norm.cdf(-abs(found.z)))
    assert found.tpr == (overlap < norm.ppf(0.1)).mean()
    assert found.interval[1] - found.interval[0] == pytest.approx(2 * 1.959964 / np.sqrt(50))
    plain = json.loads(json.dumps(found.to_json(rows=True), allow_nan=False))
    assert len(plain["rows"]) == 50
    assert "rows" not in found.to_json()


def test_both_signs_reject():
    for sign in (-1, 1):
        found = gaussian_poison(
            GRADIENTS, sign * GRADIENTS / np.linalg.norm(GRADIENTS, axis=(1, 2), keepdims=True), sd=1
        )
        assert found.p < 1e-10
        assert found.z == pytest.approx(sign * np.sqrt(50))


def test_zero_gradients_are_dropped_and_counted():
    gradients = np.array(GRADIENTS, dtype=np.float32)
    gradients[:7] = 0
    gradients[7] = 1e-42  # subnormal, not zero
    noise = RANDOM.normal(size=gradients.shape)
    found = gaussian_poison(gradients, noise, sd=1)
    assert (found.used, found.dropped) == (43, 7)
    assert np.isnan(found.rows[:7]).all()
    assert found.rows[7] == pytest.approx(noise[7].sum() / np.sqrt(12))
    assert found.value == pytest.approx(gaussian_poison(gradients[7:], noise[7:], sd=1).value)
    with pytest.raises(NeedsError, match="all 50 gradients are zero"):
        gaussian_poison(0 * gradients, noise, sd=1)


def test_refusals():
    with pytest.raises(ShapeError, match="noise: expected the gradients' shape"):
        gaussian_poison(GRADIENTS, GRADIENTS[:, :2], sd=1)
    with pytest.raises(ShapeError, match="finite"):
        gaussian_poison(GRADIENTS, np.full_like(GRADIENTS, np.inf), sd=1)
    with pytest.raises(ConfigError, match="sd: expected > 0, got 0"):
        gaussian_poison(GRADIENTS, GRADIENTS, sd=0)
