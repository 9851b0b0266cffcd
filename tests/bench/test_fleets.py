"""The fleets of an audit: who saw which row, what is found again, and how few models serve how many measures."""

import numpy as np
import pytest
import torch

import expunge as ex
from expunge.bench import fleets as fleets_module
from expunge.bench.fleets import UNTRAINED, Fleets, outputs, shadow_plan
from expunge.data import joined
from expunge.errors import ConfigError, ProblemError, StoreError
from expunge.fleet import Task, role_seeds
from expunge.fleet.task import pack
from expunge.store import Store
from expunge.training import fit, predict
from tests.tiny import edit_facts, tiny_problem, tiny_recipe, tiny_rows

SHADOWS = 6


@pytest.fixture(scope="module")
def problem():
    recipe = tiny_recipe(epochs=10, batch_size=16)
    return tiny_problem(seed=0, rows=60, forget=15, recipe=recipe, kind="class")


def fleets_of(problem, folder, **more):
    return Fleets(problem.recipe, problem.rows, problem.holdout, problem.test, Store(folder), **more)


@pytest.fixture(scope="module")
def made(problem, tmp_path_factory):
    """Fleets with 6 shadow models in their store and nothing else."""
    fleets = fleets_of(problem, tmp_path_factory.mktemp("store"))
    return fleets, fleets.shadows(SHADOWS, seed=0)


def tasks(store):
    """Every finished model's folder and task."""
    found = {path: store.get("model", path.name).facts["task"] for path in (store.root / "model").glob("[!.]*")}
    return {path: Task.from_dict(task) for path, task in found.items()}


def times(store):
    return {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}


# Shadows


def test_every_training_and_holdout_row_is_in_exactly_half_of_the_shadows(problem, made):
    _, shadows = made
    assert shadows.membership.shape == (SHADOWS, 60 + 60 + 60)
    assert shadows.membership.sum(axis=0).tolist() == [SHADOWS // 2] * 120 + [0] * 60
    assert len({row.tobytes() for row in shadows.membership}) == SHADOWS
    assert shadows.logits.shape == (SHADOWS, 180, 3)


def test_membership_is_what_the_shadows_were_trained_on(problem, made):
    fleets, shadows = made
    recorded = sorted(task.indices.tolist() for task in tasks(fleets.store).values())
    assert recorded == sorted(np.flatnonzero(row).tolist() for row in shadows.membership)
    masks, seeds = shadow_plan(120, SHADOWS, seed=0)
    assert np.array_equal(masks, shadows.membership[:, :120])
    rows = joined(problem.rows, problem.holdout)
    model = fit(problem.recipe, rows, np.flatnonzero(shadows.membership[2]), seed=seeds[2]).model
    slow = np.concatenate([predict(model, part).numpy() for part in (problem.rows, problem.holdout, problem.test)])
    assert np.allclose(shadows.logits[2], slow, atol=1e-3)
    assert not np.allclose(shadows.logits[1], slow, atol=1e-1)


def test_rows_that_a_shadow_saw_have_larger_margins(problem, made):
    """A mean over 360 pairs of model and row on a side; membership turned around would turn its sign."""
    _, shadows = made
    labels = np.concatenate([rows.labels.numpy() for rows in (problem.rows, problem.holdout)])
    own = np.take_along_axis(shadows.logits[:, :120], labels[None, :, None], axis=2)[..., 0]
    known = own - shadows.logits[:, :120].mean(axis=2)
    inside = shadows.membership[:, :120]
    assert known[inside].mean() > known[~inside].mean() + 0.05


@pytest.mark.parametrize("models", [3, 5])
def test_an_odd_number_of_shadows_is_refused(models):
    with pytest.raises(ConfigError, match=f"shadows: expected an even number >= 2, got {models}"):
        shadow_plan(20, models, seed=0)


def test_a_holdout_row_that_is_a_training_row_is_refused(problem, tmp_path):
    twin = Fleets(problem.recipe, problem.rows, problem.rows, problem.test, Store(tmp_path))
    with pytest.raises(ProblemError, match="expected unique ids"):
        twin.shadows(4, seed=0)


def test_roles_share_no_seed():
    seeds = [*shadow_plan(20, 8, seed=0)[1], *role_seeds(0, "gold", 8), *role_seeds(0, "original", 8)]
    assert len(set(seeds)) == 24
    assert set(shadow_plan(20, 8, seed=1)[1]).isdisjoint(seeds)
    assert not np.array_equal(shadow_plan(20, 8, seed=1)[0], shadow_plan(20, 8, seed=0)[0])


def test_one_shadow_fleet_serves_every_measure_that_takes_one(problem, made):
    """LiRA, RMIA and memorisation look at the 6 shadow models that are there; only gold is trained beside them."""
    fleets, _ = made
    store = fleets.store
    before = set(tasks(store))
    result = ex.audit(problem, problem.original, gold=5, shadows=SHADOWS, store=store)
    measures = result.data["entries"][1]["measures"]
    assert {"lira", "rmia"} <= measures.keys()
    assert result.data["roc"]["attack"] == f"LiRA, online, {SHADOWS} shadow models"
    assert result.data["strata"]["shadows"] == result.data["models"]["shadow"] == SHADOWS
    after = set(tasks(store))
    assert before < after
    assert len(after) == len(before) + 5
    unchanged = times(store)
    ex.audit(problem, problem.original, gold=5, shadows=SHADOWS, store=store)
    assert times(store) == unchanged


# Gold


def test_gold_never_sees_a_forget_row_and_sees_all_others(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    gold = fleets.gold(problem.forget, 3, seed=0)
    assert gold.masks.sum(axis=1).tolist() == [45] * 3
    assert not gold.masks[:, problem.forget].any()
    assert all(task.indices.tolist() == problem.retain.tolist() for task in tasks(fleets.store).values())
    slow = fit(problem.recipe, problem.rows, problem.retain, seed=role_seeds(0, "gold", 3)[1]).model
    assert np.allclose(gold.logits()[1], outputs(slow, fleets.watch), atol=1e-3)


def test_gold_is_found_again_and_more_of_it_begins_with_the_same(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    few = fleets.gold(problem.forget, 3, seed=0).logits()
    before = times(fleets.store)
    assert np.array_equal(fleets_of(problem, tmp_path).gold(problem.forget, 3, seed=0).logits(), few)
    assert times(fleets.store) == before
    more = fleets.gold(problem.forget, 5, seed=0).logits()
    assert np.array_equal(more[:3], few)
    assert len(tasks(fleets.store)) == 5
    assert np.array_equal(fleets.gold(problem.forget, 5, seed=0, first=3).logits(), more[3:])
    assert not np.allclose(fleets.gold(problem.forget, 3, seed=1).logits(), few)


def test_gold_with_weights_puts_out_what_its_weights_give(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    gold = fleets.gold(problem.forget, 2, seed=0, weights=True)
    assert np.allclose(outputs(gold.model(1), fleets.watch), gold.logits()[1], atol=1e-5)


def test_a_fleet_that_saw_a_forget_row_is_no_gold(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    spoilt = np.append(problem.retain, problem.forget[4])
    fleet = fleets.same(spoilt, role_seeds(0, "gold", 2), "train gold")
    with pytest.raises(StoreError, match="this model was trained on forget rows and cannot be gold") as error:
        fleet.excluding(problem.forget)
    assert error.value.hint == "train gold on retain rows alone"


def test_a_slip_in_the_masks_of_gold_is_noticed(problem, tmp_path, monkeypatch):
    real = fleets_module.same_rows
    leaky = lambda rows, indices, models: real(rows, np.append(indices, problem.forget[:1]), models)  # noqa: E731
    monkeypatch.setattr(fleets_module, "same_rows", leaky)
    with pytest.raises(StoreError, match="trained on forget rows and cannot be gold"):
        fleets_of(problem, tmp_path).gold(problem.forget, 2, seed=0)


def test_gold_whose_record_says_that_it_saw_a_forget_row_is_refused(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    fleets.gold(problem.forget, 4, seed=0)
    path, task = next(iter(tasks(fleets.store).items()))
    mask = np.isin(np.arange(60), np.append(task.indices, problem.forget[:1]))
    edit_facts(path, task=task.to_dict() | {"mask": pack(mask)})
    with pytest.raises(StoreError, match="holds another model than its name says"):
        fleets.gold(problem.forget, 4, seed=0)
    with pytest.raises(StoreError, match="holds another model than its name says"):
        ex.audit(problem, problem.original, gold=4, store=fleets.store)


def test_logits_that_were_edited_are_refused(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    fleets.gold(problem.forget, 4, seed=0)
    path = next(iter(tasks(fleets.store)))
    np.save(path / "logits.npy", np.zeros((180, 3), dtype=np.float32))
    with pytest.raises(StoreError, match="not what the manifest recorded"):
        ex.audit(problem, problem.original, gold=4, store=fleets.store)


# The rest


def test_untrained_models_know_nothing_and_are_not_kept(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    found = fleets.untrained(seed=0)
    assert found.shape == (UNTRAINED, 180, 3)
    assert not (tmp_path / "model").exists()
    assert np.array_equal(fleets.untrained(seed=0), found)
    assert not np.allclose(fleets.untrained(seed=1), found)
    assert len({one.tobytes() for one in found}) == UNTRAINED
    labels = np.concatenate([rows.labels.numpy() for rows in fleets.watch])
    trained = fleets.gold(problem.forget, 1, seed=0).logits()[0]
    right = [(one.argmax(-1) == labels).mean() for one in (*found, trained)]
    assert max(right[:-1]) < right[-1] - 0.1
    assert np.mean(right[:-1]) < 0.6


def test_rows_are_watched_in_the_order_training_holdout_test(problem, tmp_path):
    fleets = fleets_of(problem, tmp_path)
    assert fleets.watch == (problem.rows, problem.holdout, problem.test)
    assert fleets.sampled.ids == (*problem.rows.ids, *problem.holdout.ids)
    with torch.no_grad():
        x = torch.cat([part.batch(np.arange(60))[0] for part in fleets.watch])
        slow = problem.original(x).numpy()
    assert np.allclose(outputs(problem.original, fleets.watch), slow, atol=1e-5)


def test_progress_names_what_is_trained(problem, tmp_path):
    said = []
    fleets = fleets_of(problem, tmp_path, progress=lambda *words: said.append(words))
    fleets.gold(problem.forget, 2, seed=0)
    fleets.shadows(2, seed=0)
    assert {words[0] for words in said} == {"train gold", "train shadows"}
    assert {words[2] for words in said} == {2}


def test_other_holdout_rows_are_other_shadows(problem, made, tmp_path):
    _, shadows = made
    other = Fleets(problem.recipe, problem.rows, tiny_rows(60, seed=77), problem.test, Store(tmp_path))
    found = other.shadows(SHADOWS, seed=0)
    assert np.array_equal(found.membership, shadows.membership)
    assert not np.allclose(found.logits[:, :60], shadows.logits[:, :60], atol=1e-2)
