"""Rank tests beside scipy row by row, their level under the null, and what each of the three sees."""

import json
import sys
import time

import numpy as np
import pytest
from scipy import stats

from expunge.audit import rank_tests
from expunge.audit.estimate import estimate
from expunge.audit.loo import flag
from expunge.audit.rank_tests import TESTS, log_variance_ratio, p_values
from expunge.audit.two_sample import brown_forsythe_p, ks_p, mann_whitney_p, ranks
from expunge.errors import ConfigError, NeedsError, ShapeError


def two_sides(ours, golds, *, digits=None, rows=60, shift=0.3):
    random = np.random.default_rng([ours, golds])
    sides = random.normal(shift, 1, (ours, rows)), random.normal(size=(golds, rows))
    if digits is not None:
        sides = tuple(side.round(digits) for side in sides)
    return tuple(side.astype(np.float32).astype(float) for side in sides)


@pytest.mark.parametrize(
    ("ours", "golds", "digits"), [(5, 7, None), (8, 30, None), (12, 9, None), (30, 40, 1), (20, 20, 0), (40, 17, None)]
)
def test_statistics_and_p_equal_scipy(ours, golds, digits):
    unlearned, gold = two_sides(ours, golds, digits=digits)
    found = ranks(unlearned, gold)
    wilcoxon = stats.mannwhitneyu(unlearned, gold, axis=0, method="auto")
    columns = list(zip(unlearned.T, gold.T, strict=True))
    ks = [stats.ks_2samp(u, g, method="exact") for u, g in columns]
    assert found.auc == pytest.approx(wilcoxon.statistic / (ours * golds), abs=1e-12)
    assert mann_whitney_p(found, ours, golds) == pytest.approx(wilcoxon.pvalue, rel=1e-9)
    assert found.ks == pytest.approx(np.array([one.statistic for one in ks]), abs=1e-12)
    assert ks_p(found.ks, ours, golds) == pytest.approx(np.array([one.pvalue for one in ks]), rel=1e-9)
    levene = [stats.levene(u, g, center="median").pvalue for u, g in columns]
    assert brown_forsythe_p(unlearned, gold) == pytest.approx(np.array(levene), rel=1e-9)


def test_small_p_lose_no_digits_and_large_fleets_take_the_limit():
    apart = ranks(np.arange(30.0)[:, None] + 90, np.arange(30.0)[:, None])
    assert ks_p(apart.ks, 30, 30)[0] == pytest.approx(2 / stats.hypergeom(60, 30, 30).pmf(0) ** -1, rel=1e-9)
    far = np.array([0.05, 0.08])
    limit, exact = ks_p(far, 800, 800), ks_p(far, 800, 655)
    assert limit == pytest.approx(stats.kstwobign.sf(far * np.sqrt(800 / 2)))
    assert exact == pytest.approx(stats.kstwobign.sf(far * np.sqrt(800 * 655 / 1455)), rel=0.1)


def test_ties_are_mid_ranks_and_float32_decides():
    close = np.array([[1.0], [1.0 + 1e-12], [-0.0]]), np.array([[1.0 - 1e-12], [0.0]])
    found = ranks(*close)
    assert found.auc[0] == pytest.approx((0.5 + 1 + 0.5 + 1 + 0 + 0.5) / 6)
    assert found.ties[0] == (3**3 - 3) + (2**3 - 2)
    same = np.full((9, 4), 3.0, np.float32)
    everything = p_values(same, same[:5])
    assert all((everything[name] == 1).all() for name in TESTS)


def test_blocks_do_not_matter(monkeypatch):
    unlearned, gold = two_sides(9, 11, digits=1)
    whole = ranks(unlearned, gold)
    monkeypatch.setattr(sys.modules["expunge.audit.two_sample"], "BLOCK", 45)
    for one, other in zip(ranks(unlearned, gold), whole, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("ours", "golds"), [(6, 12), (32, 32), (20, 64)])
def test_level_under_the_null(ours, golds):
    random = np.random.default_rng(ours)
    p = p_values(random.normal(size=(ours, 2_000)), random.normal(size=(golds, 2_000)))
    for name in TESTS:
        assert (p[name] <= 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2_000)  # 2 s.e. over 2,000 draws


def test_rows_flagged_under_a_skewed_null():
    random, any_flagged = np.random.default_rng(8), 0
    for _ in range(100):
        p = p_values(random.gumbel(size=(16, 100)), random.gumbel(size=(32, 100)))
        any_flagged += flag(np.concatenate(list(p.values())), 0.05).any()
    assert any_flagged / 100 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)  # measured .03 over 200 draws


@pytest.mark.parametrize(("models", "power"), [(16, 0.26), (64, 0.79)])
def test_power_of_a_half_sd_shift(models, power):
    random = np.random.default_rng(1)
    p = p_values(random.normal(0.5, 1, (models, 2_000)), random.normal(size=(models, 2_000)))
    assert (p["auc"] <= 0.05).mean() == pytest.approx(power, abs=0.04)


def test_too_little_spread_has_auc_one_half_and_is_flagged_by_the_others():
    random = np.random.default_rng(2)
    gold, peaky = random.normal(size=(256, 100)), random.normal(0, 0.5, (256, 100))
    found = rank_tests(peaky, gold, None, seed=0)
    assert found.auc.extra["signed"] == pytest.approx(0, abs=0.01)
    assert len(found.flagged["auc"]) <= 10  # 3 or 4 expected: the rejections of the others raise the threshold
    assert len(found.flagged["ks"]) > 95
    assert len(found.flagged["variance"]) == 100
    assert found.variance.extra["signed"] == pytest.approx(2 * np.log(0.5), abs=0.1)


def test_estimates_are_distances_with_null_and_start():
    random = np.random.default_rng(5)
    unlearned, gold, heldout = (random.normal(size=(64, 200)) for _ in range(3))
    found = rank_tests(unlearned, gold, unlearned + 1, heldout=heldout, seed=0)
    column = stats.mannwhitneyu(unlearned, gold, axis=0).statistic / 64**2
    assert found.auc.rows == pytest.approx(np.abs(column - 0.5), abs=1e-7)
    for name in TESTS:
        one = getattr(found, name)
        assert one.interval[0] < one.null < one.interval[1]
    assert found.auc.start > 0.3 > 2 * found.auc.value
    assert found.tests == 600
    assert sum(map(len, found.flagged.values())) == 0


def test_ks_estimate_equals_one_computed_by_itself():
    unlearned, gold = two_sides(20, 24)
    alone = estimate("rank_ks", lambda u, g: ranks(u, g).ks, unlearned, gold, gold[:20], None, seed=4)
    assert rank_tests(unlearned, gold, gold[:20], seed=4).ks.to_json() | {"extra": 0} == alone.to_json() | {"extra": 0}


def test_one_run_of_each_original_stands_behind_the_p_values():
    random = np.random.default_rng(5)
    gold, originals = random.normal(size=(64, 300)), random.normal(size=(8, 300))
    unlearned = np.repeat(originals, 8, axis=0) + 0.05 * random.normal(size=(64, 300))
    groups = np.repeat(np.arange(8), 8)
    assert sum(map(len, rank_tests(unlearned, gold, None, seed=0).flagged.values())) > 30
    found = rank_tests(unlearned, gold, None, seed=0, groups=groups)
    assert found.tested == 8
    assert sum(map(len, found.flagged.values())) <= 3
    assert found.p["auc"] == pytest.approx(p_values(unlearned[::8], gold)["auc"])
    one = rank_tests(unlearned, gold, None, seed=0, groups=np.zeros(64))
    assert np.isnan(one.p["ks"]).all()
    assert json.loads(json.dumps(one.to_json(rows=True), allow_nan=False))["p"]["ks"] is None


def test_constant_sides_and_unequal_numbers():
    gold = np.random.default_rng(6).normal(size=(40, 30))
    found = rank_tests(np.full((12, 30), 0.1), gold, None, seed=0)
    assert found.variance.value > 20
    assert len(found.flagged["variance"]) == 30
    assert np.isfinite(log_variance_ratio(np.zeros((3, 2)), np.zeros((4, 2)))).all()


def test_refusals_and_json():
    gold = np.random.default_rng(7).normal(size=(8, 5))
    with pytest.raises(ConfigError, match="alpha"):
        rank_tests(gold, gold, None, alpha=1.0, seed=0)
    with pytest.raises(NeedsError, match="unlearned: needs at least 3 models, got 2"):
        rank_tests(gold[:2], gold, None, seed=0)
    with pytest.raises(ShapeError, match="groups"):
        rank_tests(gold, gold, None, seed=0, groups=np.zeros(3))
    with pytest.raises(ShapeError, match="finite"):
        rank_tests(np.where(gold > 1, np.inf, gold), gold, None, seed=0)
    plain = rank_tests(gold, gold, None, seed=0).to_json()
    assert plain["flagged"] == dict.fromkeys(TESTS, 0)
    assert "rows" not in json.loads(json.dumps(plain))["auc"]


@pytest.mark.slow
def test_speed():
    random = np.random.default_rng(0)
    unlearned, gold, original = (random.normal(size=(128, 2_000)).astype(np.float32) for _ in range(3))
    start = time.process_time()
    rank_tests(unlearned, gold, original, seed=0)
    assert time.process_time() - start < 6
