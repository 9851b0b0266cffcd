"""Fleets: masks are honoured and recorded, nothing is trained twice, a stopped run goes on."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from expunge.data import MemoryRows
from expunge.errors import NeedsError, ShapeError, StoreError
from expunge.fleet import Here, Local, Task, plan_fleet, prefer_stacked, role_seeds, same_rows, timing, train_fleet
from expunge.fleet.work import train_job
from expunge.seeds import derive
from expunge.store import Contents, Store
from expunge.training import fit, predict
from tests.tiny import edit_facts, tiny_recipe, tiny_rows

ROWS = tiny_rows(48, seed=1)
UNSEEN = tiny_rows(20, seed=2)
RECIPE = tiny_recipe(epochs=2, batch_size=16)
FORGET = np.array([3, 10, 40])
RETAIN = np.setdiff1d(np.arange(48), FORGET)


class Counting:
    """`Here`, with a count of the models that it was asked to train."""

    processes = 1

    def __init__(self, stop_after=None):
        self.trained, self.stop_after = 0, stop_after

    def map(self, work, jobs):
        for job in jobs:
            if self.stop_after is not None and self.trained >= self.stop_after:
                raise KeyboardInterrupt
            self.trained += len(job["tasks"])
            yield work(job)


def store_in(folder, *, stacked=False, recipe=RECIPE, rows=ROWS):
    """A store whose measurement says which way to train, so that a test does not depend on the machine's mood."""
    scratch = Store(folder)
    timing(recipe, rows, scratch)
    (place,) = (scratch.root / "timing").iterdir()
    edit_facts(place, stacked=stacked, single_visits_per_second=1000.0, stacked_visits_per_second=1000.0)
    return scratch


def fleet_in(store, *, indices=RETAIN, models=3, seeds=None, executor=None, recipe=RECIPE, rows=ROWS, weights=True):
    seeds = seeds or role_seeds(0, "gold", models)
    masks = same_rows(rows, indices, len(seeds))
    watch = (rows, UNSEEN)
    return train_fleet(recipe, rows, masks, seeds, watch=watch, store=store, executor=executor, keep_weights=weights)


def finished(store):
    """What tells whether a finished model was touched: inode and time of change of every file."""
    files = sorted(path for path in (store.root / "model").rglob("*") if path.is_file())
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("stacked", [False, True])
def test_rows_outside_the_mask_never_influence(tmp_path, stacked):
    other = ROWS.x.clone()
    other[FORGET] = 1000.0  # the same ids and labels, other content where the mask is false
    changed = MemoryRows(other, (ROWS.labels + torch.isin(torch.arange(48), torch.tensor(FORGET))) % 3, ids=ROWS.ids)
    watch = {"recipe": RECIPE, "seeds": role_seeds(0, "gold", 3), "store": store_in(tmp_path, stacked=stacked)}

    def outputs(rows, indices):
        masks = same_rows(rows, indices, 3)
        return train_fleet(watch["recipe"], rows, masks, watch["seeds"], watch=(UNSEEN,), store=watch["store"]).logits()

    assert np.array_equal(outputs(ROWS, RETAIN), outputs(changed, RETAIN))
    assert not np.array_equal(outputs(ROWS, np.arange(48)), outputs(changed, np.arange(48)))


def test_every_model_has_its_own_mask(tmp_path):
    store, seeds = store_in(tmp_path, stacked=True), [7, 7, 7]
    masks = np.random.default_rng(0).random((3, 48)) < 0.6
    fleet = train_fleet(RECIPE, ROWS, masks, seeds, watch=(UNSEEN,), store=store)
    for logits, mask in zip(fleet.logits(), masks, strict=True):
        alone = fit(RECIPE, ROWS, np.flatnonzero(mask), seed=7).model
        assert np.abs(logits - predict(alone, UNSEEN).numpy()).max() < 1e-4
    assert np.array_equal(fleet.masks, masks)


def test_a_fleet_that_saw_forget_rows_cannot_be_gold(tmp_path):
    store = store_in(tmp_path)
    gold = fleet_in(store)
    assert gold.excluding(FORGET) is gold
    one_saw = same_rows(ROWS, RETAIN, 3)
    one_saw[2, FORGET[1]] = True
    fleet = train_fleet(RECIPE, ROWS, one_saw, role_seeds(0, "gold", 3), watch=(ROWS, UNSEEN), store=store)
    with pytest.raises(StoreError, match="trained on forget rows and cannot be gold") as error:
        fleet.excluding(FORGET)
    assert str(fleet.folders[2].path) in error.value.message


def test_a_model_whose_recorded_mask_was_edited_is_refused(tmp_path):
    store = store_in(tmp_path)
    saw = fleet_in(store, indices=np.arange(48), models=1)
    gold = plan_fleet(
        RECIPE, ROWS, same_rows(ROWS, RETAIN, 1), role_seeds(0, "gold", 1), watch=(ROWS, UNSEEN), store=store
    )
    edit_facts(saw.folders[0].path, task={**saw.folders[0].facts["task"], "mask": gold[0].mask})
    with pytest.raises(StoreError, match="holds another model than its name says"):
        fleet_in(store, indices=np.arange(48), models=1)


def test_a_model_under_a_gold_models_name_is_refused(tmp_path):
    store = store_in(tmp_path)
    gold, original = fleet_in(store, models=1), fleet_in(store, indices=np.arange(48), models=1)
    for file in gold.folders[0].path.iterdir():
        file.unlink()
    for file in original.folders[0].path.iterdir():
        file.rename(gold.folders[0].path / file.name)
    with pytest.raises(StoreError, match="holds another model than its name says"):
        fleet_in(store, models=1)


def test_damaged_outputs_are_refused(tmp_path):
    fleet = fleet_in(store_in(tmp_path), models=1)
    file = fleet.folders[0].path / "logits.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(StoreError, match="not what the manifest recorded"):
        fleet.logits()


@pytest.mark.parametrize("stacked", [False, True])
def test_nothing_is_trained_twice(tmp_path, stacked):
    store, counting = store_in(tmp_path, stacked=stacked), Counting()
    first = fleet_in(store, executor=counting).logits()
    before = finished(store)
    assert np.array_equal(fleet_in(store, executor=counting).logits(), first)
    assert counting.trained == 3
    assert finished(store) == before


def test_a_larger_fleet_reuses_the_smaller_one(tmp_path):
    store, counting = store_in(tmp_path), Counting()
    small = fleet_in(store, models=2, executor=counting).logits()
    large = fleet_in(store, models=5, executor=counting).logits()
    assert counting.trained == 5
    assert np.array_equal(large[:2], small)


@pytest.mark.parametrize(("stacked", "model"), [(False, "mlp"), (True, "mlp"), (True, "cnn")])
def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_been_stopped(tmp_path, stacked, model):
    recipe, rows = RECIPE, ROWS
    if model == "cnn":
        recipe = tiny_recipe(epochs=1, batch_size=16, model="cnn", widths=(3,), hidden=8)
        rows = tiny_rows(48, seed=1, shape=(1, 8, 8))
    stores = [store_in(tmp_path / name, stacked=stacked, recipe=recipe, rows=rows) for name in ("whole", "stopped")]

    def train(store, executor=None):
        masks, seeds = same_rows(rows, RETAIN, 6), role_seeds(0, "gold", 6)
        return train_fleet(recipe, rows, masks, seeds, watch=(rows,), store=store, executor=executor)

    whole, part = train(stores[0]), stores[1]
    tasks = plan_fleet(recipe, rows, same_rows(rows, RETAIN, 6), role_seeds(0, "gold", 6), watch=(rows,), store=part)
    for group in (tasks[:2], tasks[2:5]):  # what a killed run leaves: five of six
        train_job(
            {"store": str(part.root), "stacked": stacked, "device": "cpu", "tasks": [task.to_dict() for task in group]}
        )
    before, counting = finished(part), Counting()
    resumed = train(part, counting)
    assert counting.trained == 1
    assert np.array_equal(resumed.logits(), whole.logits())
    assert before.items() <= finished(part).items()


def test_an_interrupted_run_keeps_what_was_finished(tmp_path):
    store = store_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fleet_in(store, models=4, executor=Counting(stop_after=2))
    counting = Counting()
    assert len(fleet_in(store, models=4, executor=counting)) == 4
    assert counting.trained == 2


def test_the_id_depends_on_every_field():
    task = Task(RECIPE.to_dict(), "rows", 48, "ff" * 6, 3, ("a", "b"), True)
    others = {
        "recipe": replace(RECIPE, lr=0.2).to_dict(),
        "rows": "other",
        "size": 47,
        "mask": "fe" + "ff" * 5,
        "seed": 4,
        "watch": ("b", "a"),
        "weights": False,
    }
    assert others.keys() == {field.name for field in fields(Task)}
    ids = [task.id, *(replace(task, **{name: value}).id for name, value in others.items())]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("change", [{"epochs": 3}, {"lr": 0.2}, {"weight_decay": 0.0}, {"arguments": {"hidden": (8,)}}])
def test_another_recipe_is_another_model(change):
    task = Task(RECIPE.to_dict(), "rows", 48, "ff" * 6, 3, ("a",), True)
    assert replace(task, recipe=replace(RECIPE, **change).to_dict()).id != task.id


def test_a_recipes_name_does_not_make_it_another_model():
    task = Task(RECIPE.to_dict(), "rows", 48, "ff" * 6, 3, ("a",), True)
    assert replace(task, recipe=replace(RECIPE, name="renamed").to_dict()).id == task.id


def test_a_task_survives_plain_data():
    task = Task(RECIPE.to_dict(), "rows", 48, "ff" * 6, 3, ("a", "b"), True)
    again = Task.from_dict(json.loads(json.dumps(task.to_dict())))
    assert again.id == task.id
    assert np.array_equal(again.indices, np.arange(48))


@pytest.mark.parametrize("stacked", [False, True])
def test_a_stored_model_gives_the_stored_outputs(tmp_path, stacked):
    fleet = fleet_in(store_in(tmp_path, stacked=stacked))
    for index in range(3):
        outputs = torch.cat([predict(fleet.model(index), rows) for rows in (ROWS, UNSEEN)])
        assert np.abs(outputs.numpy() - fleet.logits()[index]).max() < 1e-5
        assert not fleet.model(index).training


def test_without_weights_only_outputs_are_kept(tmp_path):
    fleet = fleet_in(store_in(tmp_path), weights=False)
    assert fleet.logits().shape == (3, 68, 3)
    assert not list(fleet.folders[0].path.glob("*.safetensors"))
    with pytest.raises(NeedsError, match="kept outputs only") as error:
        fleet.model(0)
    assert error.value.hint == "train it with keep_weights=True"


@pytest.mark.parametrize("shape", [(3, 47), (2, 48), (48,)])
def test_masks_that_do_not_fit_are_refused(tmp_path, shape):
    with pytest.raises(ShapeError, match=r"masks: expected \[3, 48\], got \["):
        train_fleet(RECIPE, ROWS, np.ones(shape, dtype=bool), [1, 2, 3], watch=(ROWS,), store=Store(tmp_path))


@pytest.mark.parametrize("stacked", [False, True])
def test_processes_give_what_this_process_gives(tmp_path, stacked):
    here = fleet_in(store_in(tmp_path / "here", stacked=stacked), executor=Here())
    with Local(2) as executor:
        there = fleet_in(store_in(tmp_path / "there", stacked=stacked), executor=executor)
    assert np.array_equal(here.logits(), there.logits())
    assert [cost.visits for cost in there.costs()] == [2 * len(RETAIN)] * 3


def test_the_choice_is_measured_once_and_recorded(tmp_path):
    store = Store(tmp_path)
    first = prefer_stacked(RECIPE, ROWS, store)
    (place,) = (store.root / "timing").iterdir()
    facts = store.get("timing", place.name).facts
    assert facts["stacked"] == first == (facts["stacked_visits_per_second"] > facts["single_visits_per_second"])
    touched = (place / "manifest.json").stat().st_mtime_ns
    assert prefer_stacked(replace(RECIPE, epochs=9, lr=0.3), ROWS, store) == first, "epochs and lr change no speed"
    assert (place / "manifest.json").stat().st_mtime_ns == touched
    timing(replace(RECIPE, batch_size=8), ROWS, store)
    assert len(list((store.root / "timing").iterdir())) == 2


def test_the_recorded_choice_is_obeyed(tmp_path):
    jobs = []

    class Spy:
        processes = 1

        def map(self, work, given):
            jobs.extend(given)
            return Here().map(work, jobs)

    fleet_in(store_in(tmp_path / "stacked", stacked=True), executor=Spy())
    assert [(job["stacked"], len(job["tasks"])) for job in jobs] == [(True, 3)]
    jobs.clear()
    fleet_in(store_in(tmp_path / "single", stacked=False), executor=Spy())
    assert [(job["stacked"], len(job["tasks"])) for job in jobs] == [(False, 1)] * 3


def test_a_plan_trains_nothing(tmp_path):
    store = Store(tmp_path)
    tasks = plan_fleet(RECIPE, ROWS, same_rows(ROWS, RETAIN, 4), [1, 2, 3, 4], watch=(ROWS,), store=store)
    assert len({task.id for task in tasks}) == 4
    assert {path.name for path in store.root.iterdir()} == {"rows"}
    assert all(np.array_equal(task.indices, RETAIN) for task in tasks)


def test_progress_counts_finished_models(tmp_path):
    store, seen = store_in(tmp_path), []
    fleet_in(store, models=1)
    masks, seeds = same_rows(ROWS, RETAIN, 3), role_seeds(0, "gold", 3)
    train_fleet(
        RECIPE,
        ROWS,
        masks,
        seeds,
        watch=(ROWS, UNSEEN),
        store=store,
        keep_weights=True,
        progress=lambda what, done, total: seen.append((what, done, total)),
        label="train gold",
    )
    assert seen == [("train gold", done, 3) for done in (1, 2, 3)]


def test_seeds_of_two_roles_never_collide():
    roles = ("original", "gold", "shadow")
    drawn = [seed for root in range(4) for role in roles for seed in role_seeds(root, role, 500)]
    assert len(set(drawn)) == len(drawn)
    assert role_seeds(1, "gold", 5) == role_seeds(1, "gold", 9)[:5]
    assert role_seeds(0, "gold", 1) == [derive(0, "gold", 0)]


def test_gold_is_built_anew_and_shares_nothing_with_originals(tmp_path):
    store = store_in(tmp_path)
    gold = fleet_in(store, seeds=role_seeds(0, "gold", 3))
    originals = fleet_in(store, indices=np.arange(48), seeds=role_seeds(0, "original", 3))
    everyone = [fleet.model(index) for fleet in (gold, originals) for index in range(3)]
    flat = [torch.cat([p.detach().flatten() for p in model.parameters()]) for model in everyone]
    starts = [RECIPE.fresh((6,), seed) for role in ("gold", "original") for seed in role_seeds(0, role, 3)]
    started = [torch.cat([p.detach().flatten() for p in model.parameters()]) for model in starts]
    for weights in (flat, started):
        for i, one in enumerate(weights):
            for other in weights[i + 1 :]:
                share = (one == other).float().mean()
                assert share < 0.5, "no common weights beyond biases that both start at zero"
    pointers = [p.data_ptr() for model in everyone for p in model.parameters()]
    assert len(set(pointers)) == len(pointers)


def test_rows_whose_content_was_edited_are_refused(tmp_path):
    store = store_in(tmp_path)
    task = plan_fleet(RECIPE, ROWS, same_rows(ROWS, RETAIN, 1), [1], watch=(ROWS,), store=store)[0]
    place = store.path("rows", task.rows)
    other = ROWS.x.numpy().copy()
    other[0] += 1
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    store.put(
        task.rows,
        Contents("rows", {"rows": 48}, arrays={"x": other, "y": ROWS.labels.numpy(), "ids": np.array(ROWS.ids)}),
    )
    job = {"store": str(store.root), "stacked": False, "device": "cpu", "tasks": [task.to_dict()]}
    with pytest.raises(StoreError, match="do not have the fingerprint in their name"):
        train_job(job)
