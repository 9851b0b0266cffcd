"""RMIA beside the division of all pairs, its choice of a, and rows that must not be in the population."""

import time
import tracemalloc

import numpy as np
import pytest

from expunge.audit import choose_a, half_masks, rmia, rmia_scores
from expunge.audit.population_attack import auc
from expunge.audit.rmia_scores import GRID, beaten, prior
from expunge.errors import ConfigError, NeedsError, ProblemError, ShapeError


def all_pairs(attacked, population, gamma):
    with np.errstate(divide="ignore", invalid="ignore"):
        return (attacked[:, None] / population[None] > gamma).mean(axis=1)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 0.5, 1.1, 3.0, 0.7])
def test_scores_are_identical_to_all_pairs(gamma):
    for seed in range(20):
        random = np.random.default_rng(seed)
        attacked, population = (random.integers(0, 30, n) / random.integers(1, 30, n) for n in (300, 200))
        if seed % 2:
            attacked, population = attacked * 0.1, population * 0.3
        assert np.array_equal(beaten(attacked, population, gamma=gamma), all_pairs(attacked, population, gamma))


def test_rounding_next_to_a_tie_is_what_the_division_says():
    for gamma in (1.0, 3.0, 1.1):
        near = np.array([0.3, 1 / 3, 0.7])
        for _ in range(3):
            near = np.unique(np.concatenate([near, np.nextafter(near, 0), np.nextafter(near, 9)]))
        attacked = np.concatenate([near * gamma, near])
        assert np.array_equal(beaten(attacked, near, gamma=gamma), all_pairs(attacked, near, gamma))


def fleet(references=6, rows=400, population=150, seed=0, lift=1.0):
    random = np.random.default_rng(seed)
    z = np.arange(rows) >= rows - population
    membership = half_masks(references, rows, seed=seed) & ~z
    hard = random.normal(size=rows) * 2
    margins = hard + random.normal(size=(references, rows)) * 0.5 + lift * membership
    return hard, 1 / (1 + np.exp(-margins)), membership, z


def test_prior_by_hand():
    p = np.array([[0.9, 0.2], [0.5, 0.4], [0.4, 0.6]])
    membership = np.array([[True, False], [False, False], [False, False]])
    told = {"membership": membership, "population": np.array([False, True])}
    assert prior(p, mode="online", **told) == pytest.approx([(0.9 + 0.45) / 2, 0.4])
    assert prior(p, a=0.3, **told) == pytest.approx([(1.3 * 0.45 + 0.7) / 2, (1.3 * 0.4 + 0.7) / 2])
    with pytest.raises(NeedsError, match="trained with each row, got none for row 0"):
        prior(p, mode="online", membership=np.zeros((3, 2), bool), population=told["population"])
    with pytest.raises(NeedsError, match="trained without each row, got none for row 1"):
        prior(p, membership=np.array([[False, True]] * 3), population=told["population"])


def test_choice_of_a_equals_trying_all_of_them():
    _, p, membership, z = fleet(4)
    a, found = choose_a(p, membership=membership, population=z, paired=2)
    others = [0, 1, 3]
    without = np.array([p[others, row][~membership[others, row]].mean() for row in range(400)])
    slow = []
    for value in GRID:
        ratio = p[2] / ((1 + value) * without + 1 - value) * 2
        score = all_pairs(ratio[~z], ratio[z], 1.0)
        slow.append(auc(score[None, membership[2, ~z]], score[None, ~membership[2, ~z]])[0])
    assert found == pytest.approx(slow, abs=1e-3)
    assert a == GRID[int(found.argmax())]


def test_attack_finds_members_and_only_members():
    hard, p, membership, z = fleet(8, 3_000, 1_000, lift=1.5)
    random = np.random.default_rng(3)
    member = np.arange(3_000) < 1_000
    target = 1 / (1 + np.exp(-(hard + 0.5 * random.normal(size=3_000) + 1.5 * member)))[None]
    known = member[~z]
    for mode in ("online", "offline"):
        a = choose_a(p, membership=membership, population=z)[0]
        score = rmia_scores(target, prior(p, membership=membership, population=z, mode=mode, a=a), population=z)
        assert auc(score[:, known], score[:, ~known])[0] > 0.8
        arbitrary = random.permutation(known)
        assert auc(score[:, arbitrary], score[:, ~arbitrary])[0] == pytest.approx(0.5, abs=0.04)
    plain = auc(target[:, ~z][:, known], target[:, ~z][:, ~known])[0]
    assert plain < 0.75


def roles(seed=0):
    hard, p, membership, z = fleet(6, 900, 300, seed)
    split = np.where(z, "population", np.where(np.arange(900) < 200, "forget", "holdout"))
    random = np.random.default_rng(9)

    def models(count, lift):
        noise = 0.5 * random.normal(size=(count, 900)) + lift * (split == "forget")
        return 1 / (1 + np.exp(-(hard + noise)))

    return models, {"references": p, "membership": membership, "split": split}


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_audit_is_against_gold(mode):
    models, told = roles()
    unlearned, gold, original = models(3, 0), models(10, 0), models(3, 2)
    found = rmia(unlearned, gold, original, mode=mode, **told)
    assert found.value < 0.05 < 0.2 < found.start
    assert ("a" in found.extra) == (mode == "offline")
    z = told["split"] == "population"
    given = {"membership": told["membership"], "population": z}
    weight = prior(told["references"], mode=mode, a=found.extra.get("a", 0.0), **given)
    forget = told["split"][~z] == "forget"
    ours, golds = (rmia_scores(part, weight, population=z) for part in (unlearned, gold))
    expected = auc(ours[:, forget], ours[:, ~forget]) - auc(golds[:, forget], golds[:, ~forget]).mean()
    assert found.value == pytest.approx(np.abs(expected).mean())


def test_population_rows_must_not_be_attacked():
    models, told = roles()
    ids = np.arange(900)
    gold = models(4, 0)
    assert rmia(gold[:1], gold, None, ids=ids, **told).value >= 0
    ids[899] = 5
    with pytest.raises(ProblemError, match=r"population rows that are not attacked, got 1 on both sides: \[5\]"):
        rmia(gold[:1], gold, None, ids=ids, **told)
    ids[899], ids[898] = 899, 897  # twice in the population is no leak
    assert rmia(gold[:1], gold, None, ids=ids, **told).value >= 0


def test_impossible_labels_give_zero_and_not_nan():
    z = np.array([False, False, True])
    weight = prior(np.zeros((2, 3)), membership=np.zeros((2, 3), bool), population=z, a=1.0)
    assert rmia_scores(np.zeros((1, 3)), weight, population=z).tolist() == [[0.0, 0.0]]


def test_refusals():
    models, told = roles()
    gold = models(3, 0)
    with pytest.raises(ShapeError, match="probabilities in"):
        rmia(gold * 2, gold, None, **told)
    with pytest.raises(ShapeError, match="split"):
        rmia(gold, gold, None, **(told | {"split": np.full(900, "retain")}))
    with pytest.raises(NeedsError, match="population rows, got none"):
        rmia(gold, gold, None, **(told | {"split": np.array(["forget", "holdout"] * 450)}))
    with pytest.raises(NeedsError, match="2 reference models to choose a"):
        rmia(gold, gold, None, **(told | {"references": told["references"][:1], "membership": told["membership"][:1]}))
    with pytest.raises(ConfigError, match="gamma"):
        rmia(gold, gold, None, gamma=0.0, a=0.3, **told)
    with pytest.raises(ConfigError, match="a: expected"):
        rmia(gold, gold, None, a=1.5, **told)
    with pytest.raises(ShapeError, match="membership"):
        rmia(gold, gold, None, **(told | {"membership": told["membership"][:, :3]}))
    with pytest.raises(NeedsError, match="gold: needs at least 2"):
        rmia(gold, gold[:1], None, **told)


@pytest.mark.slow
def test_speed_and_memory_on_50_000_rows_and_a_population_of_10_000():
    hard, p, membership, z = fleet(4, 60_000, 10_000)
    target = 1 / (1 + np.exp(-hard))[None]
    start = time.process_time()
    a, _ = choose_a(p, membership=membership, population=z)
    score = rmia_scores(target, prior(p, membership=membership, population=z, a=a), population=z)
    assert time.process_time() - start < 2
    ratio = target[0] / prior(p, membership=membership, population=z, a=a)
    assert np.array_equal(score[0, :500], all_pairs(ratio[:500], ratio[z], 1.0))
    tracemalloc.start()
    choose_a(p, membership=membership, population=z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6
