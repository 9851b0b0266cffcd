"""One-run audit: the published p written out with scipy, check values, and p under random guessing."""

import json
import time

import numpy as np
import pytest
from scipy.stats import binom

from expunge.audit.one_run import lower_bound, one_run, p_value
from expunge.errors import ConfigError, NeedsError, ShapeError

RUNS = 500


def slow_p(epsilon, m, r, v, delta):
    q = 1 / (1 + np.exp(-epsilon))
    beta = binom.sf(v - 1, r, q)
    worst = max([sum(binom.pmf(range(v - i, v), r, q)) / i for i in range(1, v + 1)], default=0.0)
    return min(1.0, beta + 2 * m * delta * worst)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 2.0, 8.0])
@pytest.mark.parametrize(("r", "v"), [(1, 1), (40, 0), (40, 27), (90, 90)])
def test_p_equals_its_definition(epsilon, r, v):
    assert p_value(epsilon, 200, r, v, delta=1e-3) == pytest.approx(slow_p(epsilon, 200, r, v, 1e-3), rel=1e-9)


def test_check_values():
    assert lower_bound(1000, 1000, 620) == pytest.approx(0.3803, abs=1e-4)
    assert lower_bound(1000, 200, 195) == pytest.approx(2.8994, abs=1e-4)
    for m, r, v in ((1000, 1000, 620), (1000, 200, 195)):
        assert slow_p(lower_bound(m, r, v), m, r, v, 1e-5) == pytest.approx(0.05, abs=1e-9)


def test_edges_and_ceiling():
    assert lower_bound(100, 100, 0) == lower_bound(100, 100, 50) == 0
    assert lower_bound(300, 300, 300, delta=0) == pytest.approx(np.log(300 / 3), abs=0.1)


def random_runs(count, canaries, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, canaries)), random.random((count, canaries)) < 0.5


@pytest.mark.parametrize("guesses", [40, (10, 20, 40, 80)])
def test_valid_under_random_guessing(guesses):
    found = [
        one_run(scores, included, guesses=guesses, seed=seed)
        for seed, (scores, included) in enumerate(zip(*random_runs(RUNS, 80, 0), strict=True))
    ]
    rate = np.mean([one.p <= 0.05 for one in found])
    assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / RUNS)
    assert np.mean([one.epsilon > 0 for one in found]) == rate


def test_valid_where_epsilon_is_known():
    random = np.random.default_rng(1)
    exceeded = 0
    for seed in range(400):
        included = random.random(300) < 0.5
        flip = random.random(300) > np.exp(1) / (1 + np.exp(1))
        found = one_run((included ^ flip) * 1.0, included, guesses=300, delta=0, seed=seed)
        exceeded += found.epsilon > 1
    assert exceeded / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_equal_scores_do_not_follow_the_order_of_canaries():
    included = np.arange(400) < 200
    for flipped in (included, ~included):
        assert one_run(np.zeros(400), flipped, guesses=400, seed=0).epsilon == 0


def test_best_of_a_grid_pays_for_the_choice():
    random = np.random.default_rng(2)
    included = random.random(500) < 0.5
    scores = included + random.normal(size=500)
    alone = [one_run(scores, included, guesses=r, seed=0) for r in (50, 100, 500)]
    grid = one_run(scores, included, guesses=(50, 100, 500), seed=0)
    assert 0 < grid.epsilon < max(one.epsilon for one in alone)
    assert [one[:2] for one in grid.tried] == [(one.guesses, one.correct) for one in alone]
    assert grid.epsilon <= grid.ceiling
    assert json.loads(json.dumps(grid.to_json()))["guesses"] == grid.guesses


def test_refusals():
    included = np.arange(10) < 5
    with pytest.raises(ConfigError, match="numbers from 1 to 10"):
        one_run(np.zeros(10), included, guesses=11, seed=0)
    with pytest.raises(ShapeError, match="got \\(9,\\)"):
        one_run(np.zeros(9), included, guesses=4, seed=0)
    with pytest.raises(ShapeError, match="scores: expected finite"):
        one_run(np.full(10, np.nan), included, guesses=4, seed=0)
    with pytest.raises(NeedsError, match="8 canaries, got 5"):
        one_run(np.zeros(5), included[:5], guesses=4, seed=0)


@pytest.mark.slow
def test_speed():
    start = time.process_time()
    lower_bound(1000, 1000, 620)
    lower_bound(1000, 200, 195)
    assert time.process_time() - start < 0.08  # a thirtieth of the loop's 2.5 s
