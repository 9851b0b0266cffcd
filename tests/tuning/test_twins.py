"""Twins: the holdout rows divided, and models that have learnt rows which the original never saw."""

import re
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.data import MemoryRows, joined
from expunge.errors import ConfigError, NeedsError
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Run, fit, predict, train_on
from expunge.tuning import twins
from expunge.tuning.twins import KINDS, LEAST_CHECK, build, divide, weights_hash
from tests.tiny import same_weights
from tests.tuning import rewindable, tunable


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("twins"))


def built(problem, store, *, at=0, kind="finetune", seed=0, wanted=2):
    parts, counts = divide(problem, wanted, seed=seed)
    return build(problem, parts, counts, at, kind=kind, seed=seed, store=store)


def ids(problem, positions):
    return [problem.holdout.ids[i] for i in positions]


def test_all_parts_are_disjoint_by_id_and_use_every_holdout_row():
    problem = tunable()
    parts, counts = divide(problem, 3, seed=0)
    named = [*parts.auxiliary, parts.guide, parts.check, parts.audit]
    laid = [row for part in named for row in ids(problem, part)]
    assert len(parts.auxiliary) == 3
    assert sorted(laid) == sorted(problem.holdout.ids)  # every one, and none twice
    assert len({*laid, *problem.rows.ids, *problem.test.ids}) == len(laid) + len(problem.rows) + len(problem.test)
    assert counts == {0: round(40 * 12 / 28)}
    for part in parts.auxiliary:
        assert len(part) == 17
        assert set(problem.holdout.labels[part].tolist()) == {0}
    assert max(map(len, named[3:])) - min(map(len, named[3:])) <= 1


def test_the_division_follows_its_seed():
    problem = tunable()
    one, again, other = (divide(problem, 2, seed=seed)[0] for seed in (4, 4, 5))
    for name in ("auxiliary", "guide", "check", "audit"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.audit, other.audit)
    assert not np.array_equal(one.auxiliary[0], other.auxiliary[0])


def test_the_first_twin_is_the_same_however_many_are_wanted():
    problem = tunable()
    np.testing.assert_array_equal(
        divide(problem, 1, seed=0)[0].auxiliary[0], divide(problem, 3, seed=0)[0].auxiliary[0]
    )


def test_twins_stop_where_a_class_runs_out_of_rows():
    problem = tunable(forget=20)  # 40 auxiliary rows each, of 110
    parts, counts = divide(problem, 5, seed=0)
    assert counts == {0: 40}
    assert [len(part) for part in parts.auxiliary] == [40, 40]


def test_the_last_twin_may_take_the_last_row_of_a_class():
    parts, _ = divide(tunable(forget=20, holdout=360), 5, seed=0)  # 40 auxiliary rows each, of 120
    assert [len(part) for part in parts.auxiliary] == [40, 40, 40]


def test_a_whole_class_has_no_twin():
    with pytest.raises(NeedsError, match="all 40 rows of class 0 are to be forgotten") as caught:
        divide(tunable(forget=40), 1, seed=0)
    assert "class:C:N" in caught.value.hint


def test_too_few_holdout_rows_are_refused_with_the_number_and_that_number_mends_it():
    problem = tunable(holdout=150)  # 133 left beside 17: a third is 44 or 45
    with pytest.raises(
        NeedsError, match=f"needs {LEAST_CHECK} holdout rows to check utility on, 44 are left"
    ) as caught:
        divide(problem, 1, seed=0)
    missing = int(re.match(r"about (\d+) more holdout rows", caught.value.hint)[1])
    assert missing == 3 * (LEAST_CHECK - 44)
    parts, _ = divide(tunable(holdout=150 + missing), 1, seed=0)
    assert len(parts.check) >= LEAST_CHECK
    with pytest.raises(NeedsError):
        divide(tunable(holdout=150 + missing - 3), 1, seed=0)


def test_a_class_without_holdout_rows_is_refused():
    problem = tunable()
    holdout = problem.holdout.take(np.flatnonzero(problem.holdout.labels.numpy() != 0))
    with pytest.raises(NeedsError, match="expected 17 holdout rows of class 0, got none"):
        divide(replace(problem, holdout=holdout), 1, seed=0)


def test_no_twin_is_no_division():
    with pytest.raises(ConfigError, match="twins: expected >= 1, got 0"):
        divide(tunable(), 0, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_is_the_problem_of_forgetting_rows_whose_gold_is_the_original(store, kind):
    problem = rewindable()
    parts, _ = divide(problem, 2, seed=0)
    for at in range(2):
        twin = built(problem, store, at=at, kind=kind)
        theirs = twin.problem
        assert theirs.rows.ids == (*problem.rows.ids, *ids(problem, parts.auxiliary[at]))
        np.testing.assert_array_equal(theirs.forget, np.arange(120, 137))
        assert theirs.holdout.ids == tuple(ids(problem, parts.guide))
        assert theirs.test.ids == tuple(ids(problem, parts.check))
        assert theirs.kind == problem.kind
        labels = torch.cat([theirs.rows.labels[120:], theirs.test.labels])
        x = torch.cat([theirs.rows.x[120:], theirs.test.x])
        for model, shown in ((problem.original, twin.gold), (theirs.original, twin.start)):
            logits = predict(model, MemoryRows(x, labels, ids=[str(i) for i in range(len(x))])).double()
            rest = logits.clone()
            rest[torch.arange(len(x)), labels] = -torch.inf
            expected = logits[torch.arange(len(x)), labels] - rest.logsumexp(1)
            np.testing.assert_allclose(shown.margins, expected.numpy(), atol=1e-4)
            np.testing.assert_array_equal(shown.right, logits.argmax(1) == labels)


def test_the_twin_has_learnt_its_rows(store):
    problem = tunable()
    twin = built(problem, store, kind="fresh")
    assert twin.start.margins[:17].mean() > twin.gold.margins[:17].mean() + 0.5
    tuned = built(problem, store)
    assert tuned.notes["twin_accuracy"] >= tuned.notes["twin_aim"]
    assert not same_weights(tuned.problem.original, problem.original)


def test_a_fresh_twin_is_a_training_on_all_its_rows(store):
    problem = tunable()
    parts, _ = divide(problem, 2, seed=0)
    twin = built(problem, store, at=1, kind="fresh")
    rows = joined(problem.rows, problem.holdout.take(parts.auxiliary[1]))
    alone = fit(problem.recipe, rows, seed=derive(0, "tuning/twin", 1))
    assert same_weights(twin.problem.original, alone.model)
    assert twin.cost.visits == alone.cost.visits


def test_a_rewound_twin_is_the_rest_of_the_originals_training_on_all_its_rows(store):
    problem = rewindable()
    parts, _ = divide(problem, 2, seed=0)
    twin = built(problem, store, at=1, kind="rewind")
    rows, seed = joined(problem.rows, problem.holdout.take(parts.auxiliary[1])), derive(0, "tuning/twin", 1)
    alone = train_on(
        problem.recipe, deepcopy(problem.halfway), rows, np.arange(137), Run(seed, problem.recipe.batch_size), first=4
    )
    assert same_weights(twin.problem.original, alone.model)
    assert twin.cost.visits == 4 * 137
    assert twin.problem.halfway is None  # that of the original, not of the twin


def test_a_rewound_twin_stays_nearer_to_the_original_than_a_fresh_one(store):
    problem = rewindable()
    rewound, fresh = (built(problem, store, kind=kind) for kind in ("rewind", "fresh"))
    away = [np.abs(twin.start.margins - twin.gold.margins)[17:].mean() for twin in (rewound, fresh)]
    assert away[0] < away[1]


def test_without_the_model_of_half_the_way_a_rewound_twin_is_refused_and_told_how_to_get_it(store):
    with pytest.raises(NeedsError, match="as it was after 4 of its 8 epochs, which was not kept") as caught:
        built(tunable(), store, kind="rewind")
    assert "`expunge train tiny-mlp -o RUN`" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_building_leaves_the_original_and_its_past_as_they_are(tmp_path, kind):
    problem = rewindable()
    before = weights_hash(problem.original), weights_hash(problem.halfway)
    built(problem, Store(tmp_path), kind=kind)
    assert (weights_hash(problem.original), weights_hash(problem.halfway)) == before


def test_a_class_short_of_holdout_rows_is_filled_up_with_changed_copies(store):
    whole = tunable()
    few = np.flatnonzero(whole.holdout.labels.numpy() == 0)[:5]
    others = np.flatnonzero(whole.holdout.labels.numpy() != 0)
    problem = replace(whole, holdout=whole.holdout.take(np.concatenate([few, others])))
    twin = built(problem, store)
    assert (twin.notes["auxiliary_rows"], twin.notes["augmented_rows"]) == (17, 12)
    assert {row.partition("~")[0] for row in twin.problem.rows.ids[120:]} == set(problem.holdout.ids[:5])


def test_a_finished_twin_is_read_and_not_trained_again(tmp_path, monkeypatch):
    problem, store = tunable(), Store(tmp_path)
    first = built(problem, store)
    monkeypatch.setattr(twins, "_train", lambda *_: pytest.fail("trained again"))
    again = built(problem, store)
    assert (again.model, again.notes, again.cost) == (first.model, first.notes, first.cost)
    np.testing.assert_array_equal(again.start.margins, first.start.margins)
    assert same_weights(again.problem.original, first.problem.original)


def test_whatever_decides_a_twin_decides_its_key(store):
    problem = tunable()
    elsewhere = replace(problem, original=problem.recipe.fresh((6,), seed=77))
    fewer = replace(problem, forget=np.array([0, 3, 6]))
    keys = [
        built(problem, store).model,
        built(problem, store, at=1).model,
        built(problem, store, kind="fresh").model,
        built(problem, store, seed=1).model,
        built(elsewhere, store).model,
        built(fewer, store).model,
    ]
    assert len(set(keys)) == len(keys)


def test_seed_and_forget_rows_decide_a_twin_of_the_same_rows_too(store):
    problem = tunable()
    elsewhere = replace(problem, forget=problem.forget + 3)  # as many of the same class
    parts, counts = divide(problem, 1, seed=0)
    keys = [
        build(one, parts, counts, 0, kind="finetune", seed=seed, store=store).model
        for one, seed in ((problem, 0), (problem, 1), (elsewhere, 0))
    ]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(("kind", "shared"), [("fresh", True), ("rewind", True), ("finetune", False)])
def test_a_twin_that_was_not_trained_for_these_rows_serves_others_of_the_same_classes(tmp_path, kind, shared):
    problem, store = rewindable(), Store(tmp_path)
    one, other = (built(asked, store, kind=kind) for asked in (problem, replace(problem, forget=problem.forget + 3)))
    assert (one.model == other.model) == shared
    assert len(list((tmp_path / "model").iterdir())) == (1 if shared else 2)


def test_a_fresh_twin_serves_another_original_of_the_same_rows_and_a_rewound_one_another_past(store):
    problem = rewindable()
    other = problem.recipe.fresh((6,), seed=77)
    elsewhere, earlier = replace(problem, original=other), replace(problem, halfway=other)
    assert built(problem, store, kind="fresh").model == built(elsewhere, store, kind="fresh").model
    assert built(problem, store, kind="rewind").model == built(elsewhere, store, kind="rewind").model
    assert built(problem, store, kind="rewind").model != built(earlier, store, kind="rewind").model
    shown = [built(one, store, kind="fresh").gold.margins for one in (problem, elsewhere)]
    assert not np.allclose(*shown)


def test_the_hash_of_weights_sees_every_number():
    model = tunable().recipe.fresh((6,), seed=0)
    before = weights_hash(model)
    assert weights_hash(tunable().recipe.fresh((6,), seed=0)) == before
    with torch.no_grad():
        list(model.parameters())[-1][-1] += 1e-6
    assert weights_hash(model) != before


def test_an_unknown_kind_names_the_known(store):
    with pytest.raises(ConfigError, match="kind: expected finetune, rewind, fresh, got 'old'"):
        built(tunable(), store, kind="old")
