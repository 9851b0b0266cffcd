"""Null, start and interval, which every per-row measure takes from one place."""

import json

import numpy as np
import pytest

from expunge.audit.estimate import check_margins, estimate
from expunge.errors import ConfigError, NeedsError, ShapeError


def shift(candidate, gold):
    return np.abs(candidate.mean(0) - gold.mean(0))


def fleets(seed=0, rows=30):
    random = np.random.default_rng(seed)
    return random.normal(1, 1, (12, rows)), random.normal(size=(16, rows)), random.normal(2, 1, (12, rows))


def test_heldout_null_has_the_sizes_of_the_value():
    unlearned, gold, original = fleets()
    heldout = np.random.default_rng(9).normal(size=(14, 30))
    found = estimate("shift", shift, unlearned, gold, original, heldout, headline="mean", seed=0)
    assert found.null == shift(heldout[:12], gold).mean()
    assert found.start == shift(original, gold).mean()
    assert found.extra["matched"] == found.value == shift(unlearned, gold).mean()
    assert (found.extra["null_unlearned"], found.extra["null_gold"]) == (12, 16)


def test_split_null_states_its_sizes_and_matches_them():
    unlearned, gold, _ = fleets()
    found = estimate("shift", shift, unlearned, gold, None, None, headline="mean", seed=0)
    assert (found.extra["null_unlearned"], found.extra["null_gold"]) == (8, 8)
    assert found.extra["null_low"] <= found.null <= found.extra["null_high"] < found.extra["matched"]
    assert found.extra["debiased"] == found.extra["matched"] - found.null
    assert found.start is None


def test_same_seed_same_estimate_and_json_is_plain():
    unlearned, gold, original = fleets()
    one, two = (estimate("shift", shift, unlearned, gold, original, None, seed=3).to_json() for _ in range(2))
    assert json.loads(json.dumps(one, allow_nan=False)) == two


def test_interval_covers_the_truth():
    hits = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        unlearned, gold = random.normal(1, 1, (20, 50)), random.normal(size=(20, 50))
        gap = estimate("gap", lambda u, g: u.mean(0) - g.mean(0), unlearned, gold, None, None, headline="mean", seed=0)
        hits += gap.interval[0] <= 1 <= gap.interval[1]
    assert hits >= 52  # 95% of 60 is 57; below 52 with probability 1%


def test_missing_rows_are_left_out_and_counted():
    def half(u, g):
        return np.where(np.arange(u.shape[1]) % 2, 1.0, np.nan)

    unlearned, gold, _ = fleets()
    found = estimate("half", half, unlearned, gold, None, None, seed=0)
    assert (found.value, found.extra["missing_rows"]) == (1.0, 15.0)


def test_checks_name_the_place():
    gold = np.zeros((4, 3))
    bad = gold.copy()
    bad[2, 1] = np.inf
    with pytest.raises(ShapeError, match="unlearned: expected finite values, got inf at model 2, row 1"):
        check_margins(bad, gold, None, None, least={})
    with pytest.raises(ShapeError, match="original"):
        check_margins(gold, gold, np.zeros((4, 2)), None, least={})
    with pytest.raises(NeedsError, match="gold: needs at least 8 models, got 4"):
        check_margins(gold, gold, None, None, least={"gold": 8})
    with pytest.raises(ConfigError, match="headline"):
        estimate("shift", shift, gold, gold, None, None, headline="max", seed=0)
    with pytest.raises(ShapeError, match="groups"):
        estimate("shift", shift, gold, gold, None, None, seed=0, groups=np.zeros(3))
