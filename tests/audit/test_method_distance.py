"""Method distance beside a loop over rows, samples of known distance, and what must not move it."""

import sys

import numpy as np
import pytest

from expunge.audit.gaussian_kl import gaussian_kl_rows
from expunge.audit.method_distance import CAP, method_distances, row_distances
from expunge.errors import NeedsError

EVEN = np.array([-3.0, -1.0, 1.0, 3.0])[:, None]  # variance with n - 1: 20 / 3


def both(unlearned, gold):
    """[rows] distance of every row."""
    ours = np.arange(len(unlearned) + len(gold)) < len(unlearned)
    return row_distances(np.concatenate([unlearned, gold]), ours, ~ours)


def mean(unlearned, gold):
    ours = np.arange(len(unlearned) + len(gold))[None] < len(unlearned)
    return float(method_distances(np.concatenate([unlearned, gold]), ours, ~ours)[0])


def slow(unlearned, gold):
    """Half the sum of both KL divergences of two normal laws, row by row."""
    models = np.concatenate([unlearned, gold]).astype(np.float64)
    floor = max(1e-6 * np.median(models.std(axis=0, ddof=1)), 1e-12)
    found = []
    for u, g in zip(unlearned.astype(np.float64).T, gold.astype(np.float64).T, strict=True):
        a, b = max(u.std(ddof=1), floor), max(g.std(ddof=1), floor)
        forward = np.log(b / a) + (a**2 + (u.mean() - g.mean()) ** 2) / (2 * b**2) - 0.5
        backward = np.log(a / b) + (b**2 + (u.mean() - g.mean()) ** 2) / (2 * a**2) - 0.5
        found.append(min((forward + backward) / 2, CAP))
    return np.array(found)


@pytest.mark.parametrize(("ours", "golds"), [(2, 2), (3, 9), (20, 7), (32, 32)])
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equals_a_loop_over_rows_with_the_closed_form(ours, golds, offset, dtype):
    random = np.random.default_rng([ours, golds])
    spread = 10 ** random.uniform(-1, 1, 40)
    u = (random.normal(0.5, 2, (ours, 40)) * spread + offset * np.arange(40)).astype(dtype)
    g = (random.normal(0.0, 1, (golds, 40)) * spread + offset * np.arange(40)).astype(dtype)
    assert both(u, g) == pytest.approx(slow(u, g), rel=1e-6, abs=1e-9)
    assert mean(u, g) == pytest.approx(slow(u, g).mean(), rel=1e-6)


def test_is_the_mean_of_gaussian_kl_in_both_directions():
    random = np.random.default_rng(0)
    u, g = 1.3 * random.normal(0.4, 1, (24, 30)), random.normal(size=(31, 30))
    assert both(u, g) == pytest.approx((gaussian_kl_rows(u, g) + gaussian_kl_rows(g, u)) / 2)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 1.0, -2.0, 7.0])
def test_a_shift_of_s_at_golds_spread_is_half_of_s_squared(shift):
    deviation = EVEN.std(ddof=1)
    assert mean(EVEN + shift * deviation, EVEN) == pytest.approx(shift**2 / 2, abs=1e-12)
    twice = np.repeat(EVEN, 2, axis=0)  # the same mean, and with n - 1 a variance that is smaller by 6 / 7
    scale = np.sqrt(7 / 6)
    assert mean(scale * twice + shift * deviation, EVEN) == pytest.approx(shift**2 / 2, abs=1e-12)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_half_and_twice_the_spread_are_nine_sixteenths_of_a_nat(ratio):
    assert mean(ratio * EVEN, EVEN) == pytest.approx(9 / 16)


def test_many_choices_at_once_equal_one_by_one_and_other_models_do_not_count():
    random = np.random.default_rng(1)
    models = random.normal(size=(15, 12)) + random.normal(size=(15, 1))
    order = np.stack([random.permutation(15) for _ in range(50)])
    ours, golds = (np.zeros((50, 15), bool) for _ in range(2))
    np.put_along_axis(ours, order[:, :4], True, axis=1)
    np.put_along_axis(golds, order[:, 4:9], True, axis=1)
    found = method_distances(models, ours, golds)
    for value, one in zip(found, order, strict=True):
        assert value == pytest.approx(slow(models[one[:4]], models[one[4:9]]).mean())


def test_blocks_do_not_matter(monkeypatch):
    random = np.random.default_rng(2)
    models, ours = random.normal(size=(10, 7)), np.zeros((23, 10), bool)
    np.put_along_axis(ours, np.stack([random.permutation(10)[:4] for _ in range(23)]), True, axis=1)
    whole = method_distances(models, ours, ~ours)
    for block in (1, 7 * 5, 7 * 23):
        monkeypatch.setattr(sys.modules["expunge.audit.method_distance"], "BLOCK", block)
        assert method_distances(models, ours, ~ours) == pytest.approx(whole)


def test_symmetric_in_both_sides():
    random = np.random.default_rng(3)
    u, g = 3 * random.normal(1, 1, (9, 25)), random.normal(size=(14, 25))
    assert both(u, g) == pytest.approx(both(g, u))
    assert mean(u, g) == pytest.approx(mean(g, u))


def test_a_side_beside_itself_is_at_zero_and_rounding_does_not_go_below():
    random = np.random.default_rng(9)
    side = 10 ** random.uniform(-6, 6, 3000) * random.normal(size=(7, 3000))
    found = both(side, random.permutation(side))
    assert found.min() >= 0
    assert found.max() < 1e-6


def test_a_row_counts_at_most_the_cap():
    far = np.tile(EVEN, (1, 10))
    far[:, 3] += 1e3
    assert both(far, np.tile(EVEN, (1, 10))).tolist() == pytest.approx([0.0] * 3 + [25.0] + [0.0] * 6)
    assert mean(far, np.tile(EVEN, (1, 10))) == pytest.approx(2.5)
    narrow = 1e-3 * EVEN
    assert both(narrow, EVEN).tolist() == both(EVEN, narrow).tolist() == [25.0]


def test_a_side_that_never_varies_is_as_far_as_can_be_and_never_raises():
    vary = np.random.default_rng(4).normal(size=(20, 5))
    for value in (0.0, 7.0, -1e4):
        flat = np.full((12, 5), value, np.float32)
        assert both(flat, vary).tolist() == both(vary, flat).tolist() == [25.0] * 5
    assert both(np.ones((12, 5)), np.zeros((20, 5))).tolist() == [25.0] * 5
    assert both(np.full((12, 5), 0.1), np.full((20, 5), 0.1)).tolist() == pytest.approx([0.0] * 5)
    mixed = np.concatenate([np.full((20, 1), 0.3), vary[:, 1:]], axis=1)
    assert both(mixed, mixed[::-1]).tolist() == pytest.approx([0.0] * 5)


def test_the_floors_by_hand():
    gold = np.tile(EVEN, (1, 3))
    unlearned = gold.copy()
    pooled = np.concatenate([EVEN, EVEN]).std(ddof=1)  # of the models of both sides: the median of the three rows
    unlearned[:, 2], gold[:, 2] = 2e-6 * pooled, 0.0
    assert both(unlearned, gold).tolist() == pytest.approx([0.0, 0.0, 2.0])  # two floors apart: 2^2 / 2
    assert both(np.full((3, 1), 4e-12), np.zeros((3, 1))).tolist() == pytest.approx([8.0])  # four times 1e-12 nats


def test_a_factor_and_a_constant_per_row_change_nothing():
    random = np.random.default_rng(5)
    u, g = 1.5 * random.normal(1, 1, (11, 16)), random.normal(size=(8, 16))
    shift = 100 * random.normal(size=16)
    for factor in (1e-3, 1.0, -7.0, 1e4):
        assert both(factor * u + shift, factor * g + shift) == pytest.approx(both(u, g), rel=1e-6)


def test_order_of_rows_and_of_the_models_of_a_side_changes_nothing():
    random = np.random.default_rng(6)
    u, g = 1.5 * random.normal(1, 1, (11, 16)), random.normal(size=(8, 16))
    rows = random.permutation(16)
    assert both(u[:, rows], g[:, rows]) == pytest.approx(both(u, g)[rows])
    assert mean(u[:, rows], g[:, rows]) == pytest.approx(mean(u, g))
    assert both(random.permutation(u), random.permutation(g)) == pytest.approx(both(u, g))
    for one in range(16):
        assert both(u[:, [one]], g[:, [one]]) == pytest.approx(both(u, g)[[one]])  # batch of one row


def test_the_input_is_left_as_it_was():
    models = np.random.default_rng(7).normal(size=(6, 4))
    before, side = models.copy(), np.arange(6)[None] < 3
    method_distances(models, side, ~side)
    assert np.array_equal(models, before)


def test_one_model_on_a_side_is_refused_also_among_other_choices():
    models = np.random.default_rng(8).normal(size=(5, 3))
    enough = np.array([[True, True, False, False, False], [True, False, False, False, False]])
    with pytest.raises(NeedsError, match="method distance: unlearned: needs at least 2 models, got 1"):
        method_distances(models, enough, ~enough)
    with pytest.raises(NeedsError, match="method distance: gold: needs at least 2 models, got 1"):
        row_distances(models, ~enough[1], enough[1])
