"""Checks on the analogy, on cases made so that each holds or fails."""

from dataclasses import replace

import numpy as np
import pytest

from expunge.audit.population_attack import auc
from expunge.data import MemoryRows
from expunge.store import Store
from expunge.tuning import checks as module
from expunge.tuning.checks import by_chance, checks, likeness
from expunge.tuning.twins import Seen, build, divide, look
from tests.tuning import tunable


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    problem = tunable()
    parts, counts = divide(problem, 1, seed=0)
    return build(problem, parts, counts, 0, kind="finetune", seed=0, store=Store(tmp_path_factory.mktemp("checks")))


def found(twins, kind="finetune"):
    return {one.name: one for one in checks(tunable(), twins, kind=kind, seed=0)}


def by_hand(twin, *, forget, check, gold=0.0):
    """The twin with margins of its own: gold's, and the start that much above on forget and on check rows."""
    count = len(twin.problem.forget)
    away = np.where(np.arange(len(twin.gold)) < count, forget, check)
    of_gold = np.full(len(twin.gold), gold)
    return replace(twin, gold=Seen(of_gold, of_gold > 0), start=Seen(gold + away, gold + away > 0))


def test_no_twin_no_check():
    assert checks(tunable(), [], kind="finetune", seed=0) == ()


def test_power_is_what_there_is_to_forget_over_what_a_seed_does(twin):
    one = found([by_hand(twin, forget=3.0, check=-0.5)])["power"]
    assert (one.value, one.holds, one.limit) == (pytest.approx(6.0), True, ">= 2")
    two = found([by_hand(twin, forget=3.0, check=0.5), by_hand(twin, forget=1.0, check=1.5)])["power"]
    assert (two.value, two.holds) == (pytest.approx(2.0), True)
    assert "2.00 nats from its gold on the rows to forget, 1.00 on rows that neither saw" in two.detail


def test_power_fails_where_the_twin_stands_at_its_gold_on_the_rows_to_forget(twin):
    one = found([by_hand(twin, forget=0.0, check=0.5)])["power"]
    assert (one.value, one.holds) == (0, False)
    assert one.detail.endswith("nothing to forget at this resolution")


def test_power_fails_where_the_twin_is_its_gold(twin):
    one = found([by_hand(twin, forget=0.0, check=0.0)])["power"]
    assert (one.value, one.holds, one.decisive) == (0, False, True)


def test_power_just_below_its_limit_fails(twin):
    assert found([by_hand(twin, forget=1.99, check=1.0)])["power"].holds is False


@pytest.mark.parametrize(
    ("kind", "forget", "decisive"),
    [("fresh", 0.9, True), ("fresh", 1.1, False), ("finetune", 0.9, False), ("rewind", 0.9, False)],
)
def test_power_below_one_is_decisive_and_only_for_a_fresh_twin(twin, kind, forget, decisive):
    assert {name: one.decisive for name, one in found([by_hand(twin, forget=forget, check=1.0)], kind).items()} == {
        "memory": False,
        "fit": False,
        "likeness": False,
        "power": decisive,
    }


def test_memory_is_what_the_twin_learnt_over_what_the_original_did(twin):
    problem = tunable()
    known = look(problem.original, problem.rows.take(problem.forget)).margins.mean() - 1.0
    assert known > 0
    for times, holds in ((0.49, False), (0.51, True), (1.0, True), (1.99, True), (2.01, False)):
        one = found([by_hand(twin, forget=times * known, check=0.1, gold=1.0)])["memory"]
        assert (one.value, one.holds) == (pytest.approx(times), holds)
    assert f"forget rows stand {known:.2f} above" in one.detail


def test_memory_fails_where_forget_rows_stand_no_higher_than_unseen_ones(twin):
    one = found([by_hand(twin, forget=1.0, check=0.1, gold=1000.0)])["memory"]
    assert (one.value, one.holds) == (np.inf, False)


def test_fit_is_the_accuracy_on_the_rows_learnt_against_that_on_forget_rows(twin):
    problem = tunable()
    aim = look(problem.original, problem.rows.take(problem.forget)).right.mean()
    right, wrong = by_hand(twin, forget=1.0, check=0.1), by_hand(twin, forget=-1.0, check=0.1)
    one, other, both = found([right])["fit"], found([wrong])["fit"], found([right, wrong])["fit"]
    assert (one.value, one.holds) == (pytest.approx(1 - aim), True)
    assert (other.value, other.holds) == (pytest.approx(-aim), False)
    assert both.value == pytest.approx(0.5 - aim)


def test_rows_of_the_same_kind_cannot_be_told_apart_on_average(tmp_path):
    # n = 10 divisions of 17 auxiliary against 12 forget rows; one AUROC has a deviation of 0.11, their mean about
    # 0.04 (they share the forget rows), so 0.65 is passed by chance less than once in 1,000
    problem, scores = tunable(), []
    for seed in range(10):
        parts, counts = divide(problem, 1, seed=seed)
        made = build(problem, parts, counts, 0, kind="finetune", seed=seed, store=Store(tmp_path))
        scores.append(likeness(problem, made, seed=0))
    assert 0.3 < np.mean(scores) < 0.65


def test_rows_of_another_class_are_told_apart(twin):
    problem = tunable()
    other = problem.holdout.take(np.flatnonzero(problem.holdout.labels.numpy() == 1)[:17])
    x = twin.problem.rows.x.clone()
    x[twin.problem.forget] = other.x
    swapped = MemoryRows(x, twin.problem.rows.labels, ids=twin.problem.rows.ids)
    strange = replace(twin, problem=replace(twin.problem, rows=swapped))
    assert likeness(problem, strange, seed=0) > 0.9
    one = found([strange])["likeness"]
    assert (one.holds, one.decisive) == (False, True)
    assert one.detail.endswith("above 0.75: what suits the ones need not suit the others")


@pytest.mark.parametrize(
    ("scores", "holds", "decisive"),
    [
        ((0.59,), True, False),
        ((0.61,), False, False),
        ((0.74,), False, False),
        ((0.76,), False, True),
        ((0.65, 0.95), False, True),
        ((0.5, 0.9), False, False),
    ],
)
def test_likeness_warns_above_its_first_limit_and_refuses_above_its_second(twin, monkeypatch, scores, holds, decisive):
    given = iter(scores)
    monkeypatch.setattr(module, "likeness", lambda *_, seed: next(given))
    one = found([twin] * len(scores))["likeness"]
    assert (one.value, one.holds, one.decisive) == (pytest.approx(np.mean(scores)), holds, decisive)


def test_what_few_rows_reach_by_chance_is_no_refusal(twin, monkeypatch):
    monkeypatch.setattr(module, "likeness", lambda *_, seed: 0.76)
    few = replace(tunable(), forget=tunable().forget[:5])  # 5 against 17 rows: two standard errors are 0.3
    one = next(one for one in checks(few, [twin], kind="finetune", seed=0) if one.name == "likeness")
    assert (one.holds, one.decisive) == (False, False)
    assert one.detail.endswith("which so few rows may reach by chance")


@pytest.mark.parametrize(("ours", "theirs"), [(5, 9), (40, 25)])
def test_chance_is_that_of_random_scores(ours, theirs):
    draw = np.random.default_rng(0)
    scores = auc(draw.standard_normal((4000, ours)), draw.standard_normal((4000, theirs)))
    # n = 4000: a share of 0.023 has a deviation of 0.0024
    assert 0.01 < np.mean(scores > by_chance(ours, theirs)) < 0.035


def test_rows_that_are_the_same_are_no_better_than_chance(twin):
    problem = replace(tunable(), forget=np.arange(17) * 3)
    x = twin.problem.rows.x.clone()
    x[twin.problem.forget] = problem.rows.x[problem.forget]
    same = MemoryRows(x, twin.problem.rows.labels, ids=twin.problem.rows.ids)
    assert likeness(problem, replace(twin, problem=replace(twin.problem, rows=same)), seed=0) <= 0.6


def test_one_row_cannot_be_told_from_others(twin):
    alone = replace(tunable(), forget=np.array([3]))
    assert np.isnan(likeness(alone, twin, seed=0))
    one = next(one for one in checks(alone, [twin], kind="finetune", seed=0) if one.name == "likeness")
    assert (one.holds, one.decisive) == (None, False)
    assert one.detail == "too few rows to tell auxiliary from forget rows"
