"""Leave-one-out statistics against naive loops, and their exactness under exchangeability."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from expunge.audit.loo import centred, exact_p, flag, joint_statistics, loo_z, omnibus_p, pooled_p
from expunge.errors import ConfigError, NeedsError


def test_equals_the_naive_loop():
    models = np.random.default_rng(0).normal(size=(9, 30)) * 3 + 50
    for k, z in enumerate(loo_z(models)):
        others = np.delete(models, k, axis=0)
        naive = (models[k] - others.mean(0)) / (others.std(0, ddof=1) * np.sqrt(1 + 1 / 8))
        assert z == pytest.approx(naive, abs=1e-10)


def test_constants_and_order_of_gold_change_nothing():
    random = np.random.default_rng(1)
    models = random.normal(size=(8, 20))
    order = np.concatenate([[0], 1 + random.permutation(7)])
    assert loo_z(models + random.normal(size=20)) == pytest.approx(loo_z(models), abs=1e-10)
    assert loo_z(models[order])[0] == pytest.approx(loo_z(models)[0], abs=1e-12)
    assert omnibus_p(joint_statistics(loo_z(models[order])))[0] == omnibus_p(joint_statistics(loo_z(models)))[0]


def test_rows_where_all_agree():
    models = np.random.default_rng(2).normal(size=(8, 5))
    models[:, 0] = 2.0
    models[1:, 1], models[0, 1] = 2.0, 2.5
    z = loo_z(models)
    assert np.isfinite(z).all()
    assert z[0, 0] == 0
    assert z[0, 1] > 100
    assert loo_z(np.zeros((4, 2))).tolist() == np.zeros((4, 2)).tolist()
    with pytest.raises(NeedsError, match="got 2"):
        loo_z(models[:2])


def draws(random, kind, models, rows):
    common = random.normal(size=(models, 1))
    if kind == "t4":
        return random.standard_t(4, (models, rows)) + common
    return random.gumbel(size=(models, rows)) + common


@pytest.mark.parametrize("kind", ["gumbel", "t4"])
def test_joint_p_is_uniform_under_exchangeability(kind):
    random = np.random.default_rng(3)
    test = np.arange(60) < 30
    found = []
    for _ in range(400):
        z = centred(loo_z(draws(random, kind, 20, 60)), test)[0][:, ~test]
        found.append(omnibus_p(joint_statistics(z))[0])
    found = np.array(found)
    for level in (0.05, 0.25, 0.5):
        assert (found <= level + 1e-9).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 400))


def test_exact_p_counts_ties_against_the_model():
    assert exact_p(np.array([1.0, 1.0, 0.0])).tolist() == pytest.approx([2 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("tails", ["signed", "abs"])
def test_pooled_p_equals_counting(tails):
    random = np.random.default_rng(4)
    z, gold = random.normal(size=12).round(1), random.normal(size=(5, 12)).round(1)
    pool, ask = (gold.ravel(), z) if tails == "signed" else (np.abs(gold).ravel(), np.abs(z))
    up = np.array([(1 + (pool >= one).sum()) / 61 for one in ask])
    down = np.array([(1 + (pool <= one).sum()) / 61 for one in ask])
    expected = up if tails == "abs" else np.minimum(1, 2 * np.minimum(up, down))
    assert pooled_p(z, gold, tails=tails) == pytest.approx(expected)
    with pytest.raises(ConfigError, match="tails"):
        pooled_p(z, gold, tails="left")


def test_flags_equal_scipys_benjamini_hochberg():
    p = np.random.default_rng(5).random((20, 40)) ** 3
    for one, found in zip(p, flag(p, 0.1), strict=True):
        assert np.array_equal(found, false_discovery_control(one) <= 0.1)
