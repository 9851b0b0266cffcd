"""Power: floors by arithmetic, detectable effects against simulated audits."""

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from expunge.audit.detectable import (
    detectable_row,
    detectable_shift,
    gold_needed,
    independent_spread,
    rank_power,
    resolution,
    spread_of_shift,
)
from expunge.audit.epsilon import ceiling
from expunge.audit.floors import auc_half_width, model_floors, own_rank_floor, zero_hits
from expunge.audit.loo import centred, exact_p, flag, joint_statistics, loo_z, pooled_p
from expunge.audit.power import power
from expunge.errors import ConfigError, NeedsError

FORGET, TEST = 40, 120
MASK = np.arange(FORGET + TEST) >= FORGET


def shift_p(golds, shift, seed):
    """Exact p of T1 of one unlearned model, rows independent given the model's drift."""
    random = np.random.default_rng(seed)
    models = np.sqrt(0.8) * random.normal(size=(golds + 1, FORGET + TEST)) + np.sqrt(0.2) * random.normal(
        size=(golds + 1, 1)
    )
    models[0, :FORGET] += shift
    z = centred(loo_z(models), MASK)[0][:, :FORGET]
    return exact_p(joint_statistics(z))[0, 0]


@pytest.mark.parametrize("golds", [19, 32, 64])
def test_detectable_shift_against_simulated_audits(golds):
    spread = np.sqrt(0.8) * independent_spread(FORGET, TEST)  # a fifth of the variance is drift, and is taken out
    shift = detectable_shift(golds, spread=spread)
    seen = np.mean([shift_p(golds, shift, seed) <= 0.05 for seed in range(400)])
    assert seen == pytest.approx(0.8, abs=2.5 * np.sqrt(0.8 * 0.2 / 400))
    half = rank_power(shift / 2, golds, spread=spread)
    seen = np.mean([shift_p(golds, shift / 2, seed) <= 0.05 for seed in range(400)])
    assert seen == pytest.approx(half, abs=2.5 * np.sqrt(half * (1 - half) / 400))


def test_rank_power_equals_its_simulation_and_its_level():
    random = np.random.default_rng(0)
    ours, golds = np.abs(2.5 + random.normal(size=20_000)), np.abs(random.normal(size=(20_000, 39)))
    seen = ((golds >= ours[:, None]).sum(axis=1) < 2).mean()
    assert rank_power(2.5 * np.sqrt(1 + 1 / 39), 39, spread=1.0) == pytest.approx(seen, abs=0.01)
    for golds_n in (19, 32, 64, 200):
        level = np.floor(0.05 * (golds_n + 1)) / (golds_n + 1)
        assert rank_power(0.0, golds_n, spread=1.0) == pytest.approx(level, abs=2e-3)


def test_more_gold_sees_less_until_the_spread_itself():
    seen = [detectable_shift(golds, spread=1.0) for golds in (18, 19, 39, 399, 9999)]
    assert seen[0] == np.inf
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=0.02)


def test_spread_measured_on_gold():
    random = np.random.default_rng(1)
    shared = random.normal(size=(300, 1)) * ~MASK  # forget rows move together beyond the drift
    gold = random.normal(size=(300, FORGET + TEST)) + 0.5 * shared
    found = spread_of_shift(gold, forget=~MASK, test=MASK)
    sd = np.sqrt(1.25)
    assert found == pytest.approx(np.sqrt((0.25 + 1 / FORGET) / sd**2 + 1 / TEST), rel=0.1)
    assert found > 2 * independent_spread(FORGET, TEST)
    assert resolution(300, spread=found) == pytest.approx(1.96 * found, rel=0.01)


def test_gold_needed_is_the_smallest_that_passes_gold():
    spread, margin = 0.1, 0.25
    least = gold_needed(margin, spread=spread)
    random = np.random.default_rng(2)

    def passed(golds):
        means = spread * random.normal(size=(20_000, golds + 1))
        off = np.abs(means[:, 0] - means[:, 1:].mean(axis=1))
        return (off + 2.262 * spread / np.sqrt(golds) < margin).mean()

    assert passed(least) == pytest.approx(0.955, abs=0.01)
    assert gold_needed(9.0, spread=0.1) == 19
    assert gold_needed(0.2, spread=0.1) > least
    with pytest.raises(NeedsError, match=r"differ from each other by 0\.196, margin 0\.19 is finer"):
        gold_needed(0.19, spread=0.1)


@pytest.mark.parametrize("models", [32, 64])
def test_detectable_row_against_mann_whitney(models):
    random = np.random.default_rng(3)
    shift = detectable_row(models, models)
    u, g = random.normal(shift, 1, (models, 2000)), random.normal(size=(models, 2000))
    assert (mannwhitneyu(u, g, axis=0).pvalue <= 0.05).mean() == pytest.approx(0.8, abs=0.04)


def test_floors_are_where_the_tests_can_first_reject():
    assert model_floors(0.05) == {"joint": 19, "one_row_abs": 20, "one_row": 40}
    assert model_floors(0.1) == {"joint": 9, "one_row_abs": 10, "one_row": 20}
    for tails, golds in (("abs", 20), ("signed", 40)):
        for count, possible in ((golds, True), (golds - 1, False)):
            pool = np.random.default_rng(4).normal(size=(count, 50))
            z = np.append(np.zeros(49), 99.0)
            assert flag(pooled_p(z, pool, tails=tails), 0.05).any() == possible
    assert exact_p(np.append(9.0, np.zeros(19)))[0] <= 0.05 < exact_p(np.append(9.0, np.zeros(18)))[0]
    least = own_rank_floor(30, 3)
    for count, possible in ((least, True), (least - 1, False)):
        assert flag(np.append(np.full(3, 2 / (count + 1)), np.ones(27)), 0.05).any() == possible


def test_half_widths_and_rates_of_the_literature():
    assert [round(auc_half_width(n), 3) for n in (10, 100, 500, 1000)] == [0.259, 0.080, 0.036, 0.025]
    assert [round(zero_hits(n), 3) for n in (10, 100, 500, 1000, 3000)] == [0.259, 0.030, 0.006, 0.003, 0.001]


def test_power_assembles():
    found = power(64, 200, margin=0.25)
    assert found.spread == independent_spread(200, 400)
    assert found.epsilon_ceiling == ceiling(32, 0.025)
    assert found.gold_needed == gold_needed(0.25, spread=found.spread)
    assert found.reached == {claim: found.floors[claim] <= 64 for claim in found.floors}
    few = power(16, 3, margin=0.25)
    assert (few.gold_needed, few.reached["joint"]) == (None, False)
    assert json.loads(json.dumps(few.to_json(), allow_nan=False))["detectable_shift"] is None
    assert power(64, 200, spread=0.5).detectable_shift > 4 * found.detectable_shift
    with pytest.raises(ConfigError, match="forget: expected >= 1, got 0"):
        power(64, 0)
