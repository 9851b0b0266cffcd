"""Epsilon: bounds against scipy's exact test, ceilings, false positives, and what half B may not see."""

import numpy as np
import pytest
from scipy.stats import binomtest

from expunge.audit.epsilon import ceiling, epsilon, epsilon_rows
from expunge.errors import ConfigError, NeedsError

CEILINGS = {8: 0.53, 10: 0.81, 16: 1.35, 32: 2.10, 64: 2.82, 100: 3.28, 128: 3.53, 256: 4.23, 512: 4.93, 1000: 5.60}


def normals(models, rows, seed, shift=0.0):
    random = np.random.default_rng(seed)
    return random.normal(shift, 1, (models, rows)), random.normal(size=(models, rows))


def slow_bound(k, n, k0, n0, level, delta):
    """ln((TPR_lo - delta) / FPR_hi) with scipy's exact intervals."""
    low = binomtest(k, n).proportion_ci(1 - level, "exact").low
    high = binomtest(k0, n0).proportion_ci(1 - level, "exact").high
    return np.log((low - delta) / high) if low > delta else -np.inf


def slow_row(u, g, alpha, delta):
    found = [0.0]
    for first, second in ((u, g), (g, u)):
        a, b = first[::2], second[::2]
        values = np.unique(np.concatenate([a, b]))
        cuts = [values[0], *((values[1:] + values[:-1]) / 2)]
        best = (-np.inf, None, None)
        for cut in cuts:
            for upper in (True, False):
                k, k0 = ((side >= cut).sum() if upper else (side < cut).sum() for side in (a, b))
                best = max(best, (slow_bound(k, len(a), k0, len(b), alpha / 2, delta), cut, upper), key=lambda x: x[0])
        _, cut, upper = best
        k, k0 = (((side >= cut) == upper).sum() for side in (first[1::2], second[1::2]))
        found.append(slow_bound(k, len(first) // 2, k0, len(second) // 2, alpha / 2, delta))
    return max(found)


def test_equals_a_loop_with_scipys_exact_intervals():
    u, g = normals(40, 6, seed=0, shift=1.5)
    u[:, 3], g[:, 3] = u[:, 3].round(), g[:, 3].round()
    u[:, 4] += 10
    g = g[:31]
    slow = [slow_row(a, b, 0.05, 1e-5) for a, b in zip(u.T, g.T, strict=True)]
    assert epsilon_rows(u, g) == pytest.approx(slow, abs=1e-9)


@pytest.mark.parametrize(("n", "expected"), CEILINGS.items())
def test_ceiling(n, expected):
    assert ceiling(n, 0.05) == pytest.approx(expected, abs=0.005)


def test_perfect_attack_reaches_the_ceiling_in_either_direction():
    u, g = normals(64, 3, seed=1)
    for shift in (99, -99):
        found = epsilon(u + shift, g, None, delta=0, seed=0)
        assert found.rows == pytest.approx(ceiling(32, 0.025))
        assert found.extra["ceiling"] == pytest.approx(found.value)
    assert epsilon_rows(u + 99, g[:20])[0] <= ceiling(32, 0.025, golds=10)


@pytest.mark.parametrize("models", [16, 64, 512])
def test_false_positives_on_gold_against_gold(models):
    rows = epsilon_rows(*normals(models, 1000, seed=models))
    assert (rows > 0).mean() <= 0.05
    assert rows.mean() < 0.001


def test_bound_holds_where_epsilon_is_known():
    random = np.random.default_rng(2)
    p = np.exp(1) / (1 + np.exp(1))  # randomised response of epsilon 1
    u, g = (random.random((256, 2000)) < p) * 1.0, (random.random((256, 2000)) < 1 - p) * 1.0
    rows = epsilon_rows(u, g, delta=0)
    assert (rows > 1).mean() <= 0.05
    assert rows.mean() > 0.5


def test_monotone_in_shift_and_no_less_than_the_measured_figures():
    means = [epsilon_rows(*normals(512, 300, seed=3, shift=shift)).mean() for shift in (0, 0.5, 1, 2)]
    assert means == sorted(means)
    assert means[0] == 0
    assert means[1] > 0.05
    assert means[2] > 0.37
    assert means[3] == pytest.approx(2.29, abs=0.08)


def test_constant_and_tied_models():
    same = np.zeros((40, 1))
    assert epsilon_rows(same, same).tolist() == [0]
    assert epsilon_rows(same, same + 1)[0] == pytest.approx(ceiling(20, 0.025, delta=1e-5))


def test_estimate_and_groups():
    u, g = normals(64, 30, seed=4, shift=1.5)
    found = epsilon(u, g, u + 1, seed=0)
    assert found.value == pytest.approx(found.rows.mean())
    assert found.null == 0 < found.value < found.start
    assert found.extra["share"] == (found.rows > 0).mean()
    assert found.extra["largest"] < found.rows.max()
    doubled = epsilon(np.repeat(u, 2, axis=0), g, None, seed=0, groups=np.repeat(np.arange(64), 2))
    assert np.array_equal(doubled.rows, found.rows)
    assert doubled.extra["models"] == 64


def test_refusals():
    u, g = normals(16, 2, seed=5)
    with pytest.raises(NeedsError, match="unlearned: needs at least 16 models, got 1"):
        epsilon(u, g, None, seed=0, groups=np.zeros(16))
    with pytest.raises(ConfigError, match="delta"):
        epsilon(u, g, None, delta=1.0, seed=0)
    with pytest.raises(ConfigError, match="alpha"):
        epsilon(u, g, None, alpha=0.7, seed=0)
