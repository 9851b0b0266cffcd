"""Gaussian KL against its closed form and its measured null."""

import numpy as np
import pytest

from expunge.audit.gaussian_kl import gaussian_kl, gaussian_kl_rows
from expunge.errors import NeedsError


@pytest.mark.parametrize(("models", "null"), [(50, 0.042), (100, 0.020)])
def test_null_mean(models, null):
    random = np.random.default_rng(models)
    rows = gaussian_kl_rows(random.normal(size=(models, 20_000)), random.normal(size=(models, 20_000)))
    assert rows.mean() == pytest.approx(null, abs=0.0015)


def test_one_sd_shift():
    random = np.random.default_rng(0)
    rows = gaussian_kl_rows(random.normal(1, 1, (100, 20_000)), random.normal(size=(100, 20_000)))
    assert rows.mean() == pytest.approx(0.53, abs=0.01)


def test_power_at_twenty_models():
    random = np.random.default_rng(1)
    gold, same, far = (random.normal(size=(20, 4_000)) for _ in range(3))
    cut = np.percentile(gaussian_kl_rows(same, gold), 95)
    assert (gaussian_kl_rows(far + 1, gold) > cut).mean() >= 0.7


def test_directions_and_variance_ratio():
    random = np.random.default_rng(2)
    gold, unlearned = random.normal(size=(40, 9)), 2 * random.normal(size=(30, 9))
    found = gaussian_kl(unlearned, gold, gold, seed=0)
    assert found.extra["reverse"] == pytest.approx(np.percentile(gaussian_kl_rows(gold, unlearned), 95))
    ratio = unlearned.var(axis=0, ddof=1) / gold.var(axis=0, ddof=1)
    assert found.extra["variance_ratio"] == pytest.approx(np.median(ratio))
    assert found.extra["missing_rows"] == 0


@pytest.mark.parametrize("side", ["unlearned", "gold", "both"])
def test_constant_side_is_finite_and_never_raises(side):
    vary = np.random.default_rng(3).normal(size=(20, 5))
    unlearned = vary if side == "gold" else np.ones((20, 5))
    gold = vary if side == "unlearned" else np.zeros((20, 5))
    rows = gaussian_kl_rows(unlearned, gold)
    assert np.isfinite(rows).all()
    assert rows.min() > 10


def test_scale_and_shift_change_nothing():
    random = np.random.default_rng(4)
    a, b = random.normal(size=(10, 6)), random.normal(size=(12, 6))
    assert gaussian_kl_rows(7 * a - 3, 7 * b - 3) == pytest.approx(gaussian_kl_rows(a, b))


def test_one_model_is_too_few():
    with pytest.raises(NeedsError, match="unlearned: needs at least 2 models, got 1"):
        gaussian_kl(np.zeros((1, 3)), np.zeros((4, 3)), None, seed=0)
