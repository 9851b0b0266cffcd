"""Model audit: verdicts, both controls, and rows of the table of measured powers."""

import json
import time

import numpy as np
import pytest

from expunge.audit.distance_to_gold import raw_distances
from expunge.audit.model_audit import model_audit
from expunge.errors import ConfigError, NeedsError, ShapeError

FORGET, TEST = 200, 400
SPLIT = np.repeat(["forget", "test"], [FORGET, TEST])


def fleet(seed, gold, rows=FORGET + TEST):
    """[2 + gold, rows] margins: 20% of the variance is a factor common to all rows of a model."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(gold + 2, rows))
    return np.sqrt(0.2) * random.normal(size=(gold + 2, 1)) + np.sqrt(0.8) * noise


def ask(models, *, change=0.0, start=1.0, split=SPLIT, **policy):
    unlearned, original = models[:1].copy(), models[1:2].copy()
    unlearned[:, split == "forget"] += change
    original[:, split == "forget"] += start
    return model_audit(unlearned, models[2:], original, split=split, **policy)


def test_gold_passes_and_rarely_fails():
    verdicts = [ask(fleet(seed, 64)).verdict for seed in range(150)]
    assert verdicts.count("pass") >= 0.95 * 150 - 2 * np.sqrt(0.05 * 0.95 * 150)
    assert verdicts.count("fail") <= 0.05 * 150


@pytest.mark.parametrize("change", [0.5, -0.5, 3.0])
def test_shift_of_all_forget_rows_fails_on_both_sides(change):
    found = ask(fleet(1, 64), change=change)
    assert found.verdict == "fail"
    assert any("forget.shift lies above its margin" in reason for reason in found.reasons)


def test_single_remembered_row_fails():
    change = np.zeros(FORGET)
    change[17] = 8.0
    found = ask(fleet(2, 64), change=change)
    assert found.verdict == "fail"
    assert 17 in found.flagged["forget"]


def test_ruined_model_fails_by_drift():
    models = fleet(3, 64)
    models[0] -= 20
    found = ask(models)
    assert found.verdict == "fail"
    assert any(reason.startswith("drift") for reason in found.reasons)


def test_few_gold_models_are_inconclusive_whatever_the_shift():
    found = ask(fleet(4, 16), change=9.0)
    assert (found.verdict, found.mode) == ("inconclusive", "model")
    assert "at least 19" in found.reasons[0]


def test_nothing_to_forget_is_inconclusive():
    found = ask(fleet(5, 64), start=0.0)
    assert found.verdict == "inconclusive"
    assert "original does not fail" in found.reasons[0]


def test_margin_finer_than_gold_resolves_is_inconclusive():
    found = ask(fleet(6, 64), shift_margin=0.01)
    assert found.verdict == "inconclusive"
    assert "coarser than its margin" in found.reasons[0]


def test_order_of_gold_and_constants_change_nothing():
    models, random = fleet(7, 40), np.random.default_rng(0)
    one = ask(models)
    two = ask(models + 5.0 * random.normal(size=(1, models.shape[1])))
    assert two.verdict == one.verdict
    assert two.joint == one.joint
    order = np.concatenate([[0, 1], 2 + random.permutation(40)])
    assert ask(models[order]).joint == one.joint


def test_constant_rows_are_flagged_outright_without_division_by_zero():
    models = fleet(8, 64)
    models[:, 0] = 1.0
    models[2:, 1], models[0, 1] = 1.0, 1.5
    found = ask(models)
    assert 1 in found.flagged["forget"]
    assert 0 not in found.flagged["forget"]
    assert all(np.isfinite(column).all() for column in found.rows.values())


POWER = [  # change of the unlearned model, statistic, rejection rate at N = 64
    (0.5, "shift_raw", 0.15),
    (0.5, "shift", 1.0),
    (0.5, "omnibus", 0.92),
    (np.where(np.arange(FORGET) < 10, 4.0, 0.0), "size", 1.0),
    (np.where(np.arange(FORGET) < 10, 4.0, 0.0), "omnibus", 0.98),
    (np.where(np.arange(FORGET) < 1, 6.0, 0.0), "omnibus", 0.81),
]


@pytest.mark.parametrize(("change", "statistic", "rate"), POWER)
def test_power(change, statistic, rate):
    repeats = 60
    hits = sum(ask(fleet(seed, 64), change=change).joint["forget"][statistic] <= 0.05 for seed in range(repeats))
    assert hits / repeats == pytest.approx(rate, abs=2 * 0.035 + 2 * np.sqrt(rate * (1 - rate) / repeats))


def test_distances_equal_a_naive_loop():
    models = fleet(9, 12)
    masks = {"forget": SPLIT == "forget", "test": SPLIT == "test"}
    found = raw_distances(models[:2], models[2:], masks)

    def naive(one, others):
        z = (one - others.mean(0)) / (others.std(0, ddof=1) * np.sqrt(1 + 1 / len(others)))
        z = z - z[masks["test"]].mean()
        return z[masks["forget"]].mean(), (z[masks["forget"]] ** 2).mean()

    golds = [naive(models[2 + k], np.delete(models[2:], k, axis=0)) for k in range(12)]
    shift, size = naive(models[0], models[2:])
    assert found["forget.shift"][0] == pytest.approx(shift, abs=1e-10)
    assert found["forget.shift"][2:] == pytest.approx([gold[0] for gold in golds], abs=1e-10)
    assert found["forget.excess"][0] == pytest.approx(size - np.mean([gold[1] for gold in golds]), abs=1e-10)


def test_attack_on_holdout_rows_and_json():
    split = np.repeat(["forget", "test", "retain", "holdout"], 150)
    found = ask(fleet(10, 30), split=split, start=2.0, shift_margin=0.5)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["attack"]["original"] > plain["attack"]["gold_max"] > 0.5
    assert "rows" not in plain
    assert len(found.to_json(rows=True)["rows"]["rank_p"]) == 600
    assert set(plain["joint"]) == {"forget", "test", "retain", "holdout"}


def test_refusals():
    models = fleet(11, 6)
    with pytest.raises(NeedsError, match="test rows"):
        ask(models, split=np.repeat("forget", 600))
    with pytest.raises(ShapeError, match="got 'other'"):
        ask(models, split=np.repeat(["forget", "other"], 300))
    with pytest.raises(ShapeError, match="takes 1 model, got 2"):
        model_audit(models[:2], models[2:], models[:1], split=SPLIT)
    with pytest.raises(ConfigError, match="shift_margin: expected > 0 or None, got 0"):
        ask(models, shift_margin=0)


@pytest.mark.slow
def test_speed():
    split = np.repeat(["forget", "retain", "test"], [20_000, 20_000, 10_000])
    models = fleet(12, 64, rows=50_000).astype(np.float32)
    start = time.process_time()
    found = ask(models, split=split)
    assert time.process_time() - start < 2.0
    assert found.verdict in {"pass", "fail", "inconclusive"}
