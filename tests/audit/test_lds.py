"""LDS and its kin: scipy's Spearman row by row, ceilings of known noise, the null, and its time."""

import json
import time
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from expunge.audit.lds import LEAST, interval, lds, null, spearman, split_half, summed
from expunge.audit.loo_correlation import loo_correlation
from expunge.errors import NeedsError, ShapeError


def planted(subsets=50, targets=40, seeds=4, noise=1.0, seed=0):
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=(subsets, targets))
    return truth, truth + noise * draw.normal(size=(seeds, subsets, targets))


def test_spearman_is_that_of_scipy_with_ties():
    draw = np.random.default_rng(0)
    one, other = draw.integers(0, 6, size=(2, 30, 20))
    slow = [spearmanr(a, b).statistic for a, b in zip(one.T, other.T, strict=True)]
    assert spearman(one, other) == pytest.approx(slow, abs=1e-12)


def test_value_is_the_mean_over_targets_against_the_mean_of_the_seeds():
    truth, actual = planted()
    found = lds(np.exp(truth), actual, seed=0)
    slow = [spearmanr(truth[:, t], actual[:, :, t].mean(axis=0)).statistic for t in range(40)]
    assert found.rows == pytest.approx(slow, abs=1e-12)
    assert found.value == pytest.approx(np.mean(slow))
    assert (found.subsets, found.seeds) == (50, 4)


def test_sums_over_subsets_by_hand():
    scores = np.array([[1.0, -1], [2, 0], [4, 5]])
    masks = np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)
    assert summed(scores, masks).tolist() == [[3, -1], [4, 5]]


@pytest.mark.parametrize("seeds", [2, 3, 4, 7])
@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_ceiling_is_what_the_truth_reaches(seeds, noise):
    """100 targets: the truth's own LDS is within 0.04 of the ceiling at every number of seeds and noise."""
    truth, actual = planted(subsets=60, targets=100, seeds=seeds, noise=noise)
    found = lds(truth, actual, seed=0)
    assert found.ceiling == pytest.approx(found.value, abs=0.04)
    assert found.split_half < found.ceiling


def test_split_half_of_two_seeds_is_their_correlation():
    _, actual = planted(seeds=2)
    agreement, ceiling = split_half(actual, seed=0)
    assert agreement == pytest.approx(np.mean([spearmanr(*actual[:, :, t]).statistic for t in range(40)]))
    assert ceiling == pytest.approx(np.sqrt(2 * agreement / (1 + agreement)))


def test_noise_alone_has_no_ceiling():
    draw = np.random.default_rng(0)
    found = lds(draw.normal(size=(50, 400)), draw.normal(size=(2, 50, 400)), seed=0)
    assert found.ceiling < 0.3
    assert abs(found.value) < 0.03


def test_null_is_the_95th_percentile_over_all_orders():
    """5 subsets have 120 orders: 1,000 of them, drawn, come within 0.1 of the exact percentile."""
    truth, actual = planted(subsets=5, targets=3, seed=1)
    every = [spearman(truth[list(order)], actual[0]).mean() for order in permutations(range(5))]
    assert null(truth, actual[0], seed=0) == pytest.approx(np.percentile(every, 95), abs=0.1)


def test_unrelated_predictions_exceed_the_null_as_often_as_it_says():
    """300 draws: 5% with a standard error of 1.3%."""
    draw = np.random.default_rng(0)
    over = 0
    for _ in range(300):
        predicted, truth = draw.normal(size=(2, 12, 4))
        over += spearman(predicted, truth).mean() > null(predicted, truth, seed=1)
    assert 0.01 < over / 300 < 0.09


def test_interval_covers_the_value_of_many_subsets():
    """100 sets of 40 subsets: 95% intervals cover the value of 4,000 subsets in at least 88%."""
    truth, actual = planted(subsets=4000, targets=6)
    predicted = truth + np.random.default_rng(5).normal(size=truth.shape)
    known = spearman(predicted, actual[0]).mean()
    hits = 0
    for start in range(0, 4000, 40):
        low, high = interval(predicted[start : start + 40], actual[0][start : start + 40])
        hits += low <= known <= high
    assert 0.88 <= hits / 100 <= 1


def test_constant_targets_count_as_nothing_foretold():
    truth, actual = planted(targets=2)
    truth[:, 0] = 7
    found = lds(truth, actual, seed=0)
    assert found.rows[0] == 0
    assert found.value == found.rows[1] / 2


def test_order_of_subsets_does_not_matter():
    truth, actual = planted()
    turned = np.random.default_rng(0).permutation(50)
    one, other = lds(truth, actual, seed=0), lds(truth[turned], actual[:, turned], seed=0)
    assert other.rows == pytest.approx(one.rows)
    assert other.ceiling == pytest.approx(one.ceiling)


def test_plain_data():
    truth, actual = planted(targets=3)
    plain = json.loads(json.dumps(lds(truth, actual, seed=0).to_json()))
    assert plain["name"] == "lds"
    assert len(plain["rows"]) == 3
    assert plain["interval"][0] < plain["value"] < plain["interval"][1]


def test_loo_correlation_is_over_rows_left_out():
    scores, effects = planted(subsets=20)
    found = loo_correlation(scores, effects, seed=0)
    slow = [spearmanr(scores[:, t], effects[:, :, t].mean(axis=0)).statistic for t in range(40)]
    assert found.name == "loo_correlation"
    assert found.rows == pytest.approx(slow)
    assert loo_correlation(-scores, effects, seed=0).value == pytest.approx(-found.value)


def test_arrays_that_do_not_fit_are_refused():
    truth, actual = planted()
    with pytest.raises(ShapeError, match="expected predicted"):
        lds(truth[:20], actual, seed=0)
    broken = truth.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ShapeError, match="predicted: expected finite values, got nan at model 3, row 1"):
        lds(broken, actual, seed=0)
    with pytest.raises(NeedsError, match="at least 2 seeds on each subset, got 1"):
        lds(truth, actual[:1], seed=0)
    few = LEAST["subsets"] - 1
    with pytest.raises(NeedsError, match="at least 10 subsets, got 9"):
        lds(truth[:few], actual[:, :few], seed=0)
    with pytest.raises(ShapeError, match="expected scores"):
        summed(truth, np.ones((2, 7), dtype=bool))


@pytest.mark.slow
def test_500_targets_and_50_subsets_take_less_than_50_ms():  # of processor time: others may use the machine
    truth, actual = planted(targets=500, seeds=4)
    lds(truth, actual, seed=0)
    seconds = []
    for _ in range(5):
        begin = time.process_time()
        lds(truth, actual, seed=0)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.05
