"""U-LiRA: one half on true gold, above it otherwise, and originals that are never on both sides."""

import time

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from expunge.audit import half_masks, u_lira
from expunge.audit.u_lira_scores import Told, log_ratios, tell
from expunge.audit.worlds import World, turns, worlds
from expunge.errors import ConfigError, NeedsError, ShapeError


def gold_fleets(seed, models=(64, 64), rows=200):
    random = np.random.default_rng(seed)
    centre, spread = random.normal(2, 3, rows), random.uniform(0.5, 2, rows)
    return tuple(random.normal(centre, spread, (count, rows)) for count in models)


def test_true_gold_in_both_worlds_gives_one_half():
    found = [u_lira(*gold_fleets(seed), None, seed=seed) for seed in range(8)]
    values = np.array([one.value for one in found])
    assert np.abs(values).max() < 0.02
    assert abs(values.mean()) < 0.005
    assert np.mean([abs(one.null) for one in found]) < 0.01
    assert np.mean([one.extra["auc"] for one in found]) == pytest.approx(0.5, abs=0.01)


def test_known_accuracy_of_two_normals():
    random = np.random.default_rng(0)
    unlearned, gold = random.normal(1, 1, (256, 100)), random.normal(size=(256, 100))
    found = u_lira(unlearned, gold, unlearned + 3, seed=0)
    assert found.value == pytest.approx(norm.cdf(0.5) - 0.5, abs=0.01)
    assert found.interval[0] < norm.cdf(0.5) - 0.5 < found.interval[1]
    assert found.start == pytest.approx(norm.cdf(2) - 0.5, abs=0.01)
    assert found.extra["auc"] == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)
    assert found.extra["tpr"] == pytest.approx(norm.cdf(1 - 2.3263), abs=0.03)
    assert found.stats["p95"] > found.stats["p50"] == pytest.approx(found.value, abs=0.02)


def test_decisions_equal_a_loop_over_turns_rows_and_models():
    gold, unlearned = gold_fleets(1, (14, 11), 7)
    random = np.random.default_rng(1)
    masks = {"unlearned": random.random((11, 7)) < 0.8, "gold": random.random((14, 7)) < 0.8}
    groups = {"unlearned": np.arange(11) // 2, "gold": np.arange(14) % 9}
    found = worlds({"unlearned": unlearned, "gold": gold}, masks, groups)
    turn = turns(found, 3, seed=0)
    told = tell(found["unlearned"], found["gold"], turn, spread="per_row")
    sides = {"unlearned": (unlearned, told.forgot), "gold": (gold, told.never)}
    for role, (margins, ratios) in sides.items():
        for model in range(len(margins)):
            for row in range(7):
                if not masks[role][model, row]:
                    assert np.isnan(ratios[model, row])
                    continue
                law = {}
                for other, (shadows, _) in sides.items():
                    apart = turn[found[other].origin] != turn[found[role].origin[model]]
                    part = shadows[apart & masks[other][:, row], row]
                    law[other] = norm(part.mean(), part.std())
                at = margins[model, row]
                expected = law["unlearned"].logpdf(at) - law["gold"].logpdf(at)
                assert ratios[model, row] == pytest.approx(expected, rel=1e-6)


def test_accuracy_is_balanced_and_a_tie_counts_half():
    told = Told(np.array([[1.0, -1.0, np.nan], [2.0, 0.0, np.nan]]), np.array([[-3.0, 1.0, 1.0]]))
    assert told.rows().tolist()[:2] == [1.0, 0.125]
    assert np.isnan(told.rows()[2])
    assert told.accuracy() == pytest.approx(1.125 / 2)


def test_constant_unlearner_is_told_apart_even_with_rounding():
    gold = gold_fleets(2)[0]
    flat = np.full((64, 200), 3.0) + 1e-6 * np.random.default_rng(2).normal(size=(64, 200))
    assert u_lira(flat, gold, None, seed=0).value > 0.45
    found = worlds({"unlearned": np.full((9, 1), 3.0), "gold": gold[:, :1]}, {}, {})
    rounded = World(np.array([[3.0 + 5e-7]]), np.array([[True]]), np.array([999]))
    assert log_ratios(rounded, found["unlearned"], found["gold"], spread="per_row")[0, 0] > 0
    same = np.full((16, 3), 3.0)
    assert u_lira(same, same, None, seed=0).value == 0


def test_original_behind_a_target_never_serves_as_shadow():
    sides, first = {"unlearned": np.zeros((6, 2)), "gold": np.ones((6, 2))}, np.arange(6) < 1
    one_world = worlds(sides, {}, {"unlearned": np.array(list("aabbcc"))})
    both_worlds = worlds(sides, {}, {"unlearned": np.array(list("abcdef")), "gold": np.array(list("abcdef"))})
    for found in (one_world, both_worlds):
        targets, shadows = found["unlearned"].of(first), found["unlearned"].of(~first)
        with pytest.raises(NeedsError, match="got original 0 on both sides"):
            log_ratios(targets, shadows, found["gold"], spread="per_row")


def test_one_original_behind_all_unlearned_models_is_refused():
    gold, unlearned = gold_fleets(3)
    with pytest.raises(NeedsError, match="2 shadows of each world for every row, got 0"):
        u_lira(unlearned, gold, None, groups={"unlearned": np.zeros(64)}, seed=0)


def test_shared_originals_widen_the_interval_and_fool_only_naive_shadows():
    random = np.random.default_rng(4)
    grouped, naive = [], []
    for _ in range(4):
        gold, originals = random.normal(size=(60, 100)), random.normal(size=(6, 100))
        unlearned = np.repeat(originals, 10, axis=0) + 0.1 * random.normal(size=(60, 100))
        groups = {"unlearned": np.repeat(np.arange(6), 10)}
        grouped.append(u_lira(unlearned, gold, None, groups=groups, seed=0))
        naive.append(u_lira(unlearned, gold, None, seed=0))
    assert grouped[0].extra["originals"] == 6
    assert np.mean([one.value for one in grouped]) == pytest.approx(0, abs=0.02)
    assert np.mean([one.value for one in naive]) > 0.04  # shadows of its own original give a target away
    widths = [np.mean([np.ptp(one.interval) for one in some]) for some in (grouped, naive)]
    assert widths[0] > 2 * widths[1]


def test_half_sampled_fleet_serves_both_readings_of_never():
    random = np.random.default_rng(5)
    trained = half_masks(64, 120, seed=0)
    forgot = trained & (random.random((64, 120)) < 0.5)
    base = random.normal(size=(64, 120))
    originals, unlearned = base + 2 * trained, base + 2 * (trained & ~forgot) + 0.8 * forgot
    groups = dict.fromkeys(("unlearned", "gold", "original"), np.arange(64))
    masks = {"unlearned": forgot, "gold": ~trained, "original": trained}
    one = u_lira(unlearned, originals, originals, masks=masks, groups=groups, spread="pooled", seed=0)
    assert one.value == pytest.approx(norm.cdf(0.4) - 0.5, abs=0.05)
    assert one.start == pytest.approx(norm.cdf(1) - 0.5, abs=0.05)
    told = {"masks": masks, "groups": groups, "spread": "pooled", "seed": 0}
    two = u_lira(unlearned, unlearned, originals, never="unlearned", **told)
    assert two.value == pytest.approx(one.value, abs=0.02)
    assert (one.extra["never_unlearned"], two.extra["never_unlearned"]) == (0, 1)
    with pytest.raises(NeedsError, match="needs groups for unlearned and gold"):
        u_lira(unlearned, unlearned, None, masks={"unlearned": forgot, "gold": ~trained}, never="unlearned", seed=0)


def test_interval_covers_one_half_on_gold():
    hits = 0
    for seed in range(30):
        found = u_lira(*gold_fleets(seed, (20, 20), 30), None, seed=seed)
        hits += found.interval[0] <= 0 <= found.interval[1]
    assert hits >= 25  # 95% of 30 is 28.5; below 25 with probability 0.3%


def test_interval_is_the_cluster_robust_one():
    random = np.random.default_rng(9)
    ids = {"unlearned": np.arange(30) % 10, "gold": np.arange(24) % 12}
    masks = {"unlearned": random.random((30, 8)) < 0.8, "gold": random.random((24, 8)) < 0.8}
    unlearned, gold = random.normal(0.5, 1, (30, 8)), random.normal(size=(24, 8))
    estimate = u_lira(unlearned, gold, None, masks=masks, groups=ids, spread="pooled", seed=3)
    found = worlds({"unlearned": unlearned, "gold": gold}, masks, ids)
    told = tell(found["unlearned"], found["gold"], turns(found, 5, seed=3), spread="pooled")
    sums = dict.fromkeys(range(12), 0.0)
    for role, ratios, sign in (("unlearned", told.forgot, 1), ("gold", told.never, -1)):
        for row in range(8):
            known = np.flatnonzero(masks[role][:, row])
            right = ratios[known, row] * sign > 0
            for model, good in zip(known, right, strict=True):
                sums[ids[role][model]] += (good - right.mean()) / len(known) / 8 / 2
    error = np.sqrt(sum(value**2 for value in sums.values()) * 10 / 9)
    assert np.ptp(estimate.interval) / 2 == pytest.approx(student.ppf(0.975, 9) * error)


def test_unequal_numbers():
    gold, unlearned = gold_fleets(6, (40, 9), 30)
    found = u_lira(unlearned, gold, None, seed=0)
    assert found.extra["underpowered"] == 1
    assert (found.extra["null_unlearned"], found.extra["null_gold"]) == (9, 31)
    assert found.rows.shape == (30,)


def test_refusals():
    gold = gold_fleets(7, (8, 8), 5)[0]
    with pytest.raises(ConfigError, match="never"):
        u_lira(gold, gold, None, never="gold", seed=0)
    with pytest.raises(NeedsError, match="gold: needs at least 8 models, got 7"):
        u_lira(gold, gold[:7], None, seed=0)
    with pytest.raises(ShapeError, match="masks: expected gold"):
        u_lira(gold, gold, None, masks={"gold": np.ones((8, 4), bool)}, seed=0)
    with pytest.raises(ShapeError, match="groups: expected one id per gold model"):
        u_lira(gold, gold, None, groups={"gold": np.arange(3)}, seed=0)
    with pytest.raises(ShapeError, match="got 'shadow'"):
        u_lira(gold, gold, None, groups={"shadow": np.arange(3)}, seed=0)
    thin = np.ones((8, 5), bool)
    thin[1:, 3] = False
    with pytest.raises(NeedsError, match="for row 3"):
        u_lira(gold, gold, None, masks={"gold": thin}, seed=0)


def test_every_turn_holds_its_share_of_both_worlds():
    for seed in range(5):
        found = worlds({"unlearned": np.zeros((9, 1)), "gold": np.zeros((12, 1))}, {}, {})
        turn = turns(found, 3, seed=seed)
        for role, share in (("unlearned", 3), ("gold", 4)):
            assert np.bincount(turn[found[role].origin]).tolist() == [share] * 3
    assert len({tuple(turns(found, 3, seed=seed)) for seed in range(5)}) == 5


def test_worlds_of_one_row_subset():
    world = World(np.arange(6.0).reshape(2, 3), np.ones((2, 3), bool), np.array([4, 5]))
    part = world.of(np.array([1]), np.array([0, 2]))
    assert part.margins.tolist() == [[3.0, 5.0]]
    assert part.origin.tolist() == [5]


@pytest.mark.slow
def test_speed():
    unlearned, gold, original = gold_fleets(8, (128, 128, 128), 2_000)
    start = time.process_time()
    u_lira(unlearned, gold, original, seed=0)
    assert time.process_time() - start < 5
