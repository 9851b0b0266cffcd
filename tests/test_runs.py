"""Run folders: trained, opened, unlearned, opened again; and whatever may have changed in between."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge import runs
from expunge.data import ForgetSet, MemoryRows
from expunge.errors import NeedsError, ProblemError, StoreError
from expunge.methods import method
from expunge.runs import (
    accuracies,
    accuracy_on,
    check_same_request,
    forget_run,
    open_run,
    open_unlearned,
    train_run,
)
from expunge.store import Contents, read, write
from expunge.store.folder import MANIFEST, file_hash, seal
from expunge.tasks import Classification
from expunge.training import Recipe, fit, predict
from expunge.training.recipes import recipe
from tests.tiny import edit_facts, same_weights

TINY = """
from expunge import Classification, Recipe
tiny = Recipe(name="tiny", data="digits@120", model="mlp", arguments={"hidden": [8]}, task=Classification(10),
              epochs=2, batch_size=32, lr=0.1)
"""
FORGET = ForgetSet("random:10", seed=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "my.py"
    file.write_text(TINY)
    return recipe(f"{file}:tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny):
    """A folder with an original and an unlearned model; nobody changes it."""
    place = tmp_path_factory.mktemp("runs")
    parent = train_run(tiny, place / "run", seed=3)
    unlearned, result = forget_run(parent, FORGET, method("finetune")(epochs=1), place / "out", seed=5)
    return place, parent, unlearned, result


@pytest.fixture
def copy(made, tmp_path):
    """A copy of that folder, to be spoilt."""
    return shutil.copytree(made[0], tmp_path / "copy")


def test_an_original_is_what_fit_makes(made, tiny):
    parent = made[1]
    assert same_weights(parent.model, fit(tiny, parent.splits.train, seed=3).model)


def test_a_run_keeps_the_model_as_it_was_halfway(made, tiny):
    place, parent, *_ = made
    halfway = fit(tiny, parent.splits.train, seed=3, halfway=True).halfway
    for run in (parent, open_run(place / "run")):
        assert same_weights(run.halfway, halfway)
        assert run.problem(np.array([1, 2]), "random").halfway is None
        assert same_weights(run.problem(np.array([1, 2]), "random", halfway=True).halfway, halfway)


def test_a_run_that_was_made_before_halfway_was_kept_still_opens(made, tmp_path):
    place, parent, *_ = made
    facts = read(place / "run").facts
    write(tmp_path / "old", Contents("run", facts, {"model": parent.model.state_dict()}))
    old = open_run(tmp_path / "old")
    assert same_weights(old.model, parent.model)
    assert old.halfway is None
    assert old.problem(np.array([1, 2]), "random", halfway=True).halfway is None
    unlearned, _ = forget_run(old, FORGET, method("finetune")(epochs=1), tmp_path / "out", seed=5)
    assert same_weights(unlearned.model, made[2].model)


def test_a_damaged_halfway_hinders_only_those_who_ask_for_it(copy):
    file = copy / "run" / "halfway.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    opened = open_run(copy / "run")
    with pytest.raises(StoreError, match="not what the manifest recorded"):
        _ = opened.halfway


def test_an_opened_run_is_the_run_that_was_trained(made, tiny):
    place, parent, *_ = made
    opened = open_run(place / "run")
    assert same_weights(opened.model, parent.model)
    assert (opened.recipe, opened.seed, opened.cost) == (tiny, 3, parent.cost)
    assert opened.splits.train.ids == parent.splits.train.ids
    assert opened.cost.backward == {"train": 240}


def test_an_opened_unlearned_model_is_the_one_that_was_kept(made):
    place, parent, unlearned, result = made
    opened = open_unlearned(place / "out")
    assert same_weights(opened.model, result.model)
    assert same_weights(opened.parent.model, parent.model)
    assert not same_weights(opened.model, parent.model)
    assert opened.forget == FORGET
    assert opened.problem.forget.tolist() == FORGET.indices(parent.splits.train).tolist()
    assert opened.facts == json.loads(json.dumps(unlearned.facts))
    assert opened.facts["method"] == "finetune"
    assert opened.facts["settings"]["epochs"] == 1
    assert opened.facts["seed"] == 5


def test_an_opened_run_gives_back_what_the_method_returned(made):
    _, _, unlearned, result = made
    for found in (unlearned.unlearned, open_unlearned(made[0] / "out").unlearned):
        assert same_weights(found.model, result.model)
        assert (found.method, found.settings, found.seed) == (result.method, result.settings, result.seed)
        assert (found.method, found.seed) == ("finetune", 5)
        assert found.cost == result.cost
        assert found.cost.backward == {"retain": 110}
        assert found.notes == result.notes
        assert found.history == [], "the folder does not keep it"


def test_notes_of_a_method_come_back(made, tmp_path):
    _, result = forget_run(made[1], FORGET, method("reset_finetune")(preset="kde"), tmp_path / "out")
    assert result.notes["holdout_rows_trained_on"] > 0
    assert open_unlearned(tmp_path / "out").unlearned.notes == json.loads(json.dumps(result.notes))


def test_a_class_keeps_its_kind(made, tmp_path):
    unlearned, _ = forget_run(made[1], ForgetSet("class:3"), method("finetune")(epochs=1), tmp_path / "out")
    assert unlearned.problem.kind == open_unlearned(tmp_path / "out").problem.kind == "class"


def test_both_folders_can_move_together(copy, made):
    assert same_weights(open_unlearned(copy / "out").model, made[3].model)


def test_a_missing_original_is_named(copy):
    shutil.rmtree(copy / "run")
    with pytest.raises(
        StoreError, match=r"run: expected a folder with manifest\.json, found none\nhint: `expunge train"
    ):
        open_unlearned(copy / "out")


def test_another_original_in_its_place_is_noticed(copy, tiny):
    shutil.rmtree(copy / "run")
    train_run(tiny, copy / "run", seed=4)
    with pytest.raises(
        StoreError, match=r"not the run that .*out was unlearned from\nhint: run `expunge forget` again"
    ):
        open_unlearned(copy / "out")


def test_a_run_is_not_an_unlearned_model_and_the_reverse(made):
    with pytest.raises(StoreError, match="expected a folder of kind 'unlearned', got 'run'"):
        open_unlearned(made[0] / "run")
    with pytest.raises(StoreError, match="expected a folder of kind 'run', got 'unlearned'"):
        open_run(made[0] / "out")


@pytest.mark.parametrize("part", ["train", "holdout", "test"])
def test_data_that_changed_is_noticed_in_every_part(made, monkeypatch, part):
    real = runs.load

    def one_pixel_off(spec, root=None):
        splits = real(spec, root=root)
        rows = getattr(splits, part)
        x = rows.x.clone()
        x[0, 0, 0, 0] += 1
        return replace(splits, **{part: MemoryRows(x, rows.labels, ids=rows.ids)})

    monkeypatch.setattr(runs, "load", one_pixel_off)
    with pytest.raises(StoreError, match=f"the {part} rows of digits@120 are not those it was trained with"):
        open_run(made[0] / "run")


def test_weights_that_changed_are_noticed(copy):
    file = copy / "out" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(StoreError, match="damaged or edited"):
        open_unlearned(copy / "out")


def test_a_forget_set_that_changed_is_noticed(copy):
    np.save(copy / "out" / "forget.npy", np.arange(10))
    with pytest.raises(StoreError, match="damaged or edited"):
        open_unlearned(copy / "out")


def test_the_persons_own_model_code_is_part_of_the_run(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def net(shape, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, width))\n"
    )
    own = Recipe(name="own", data="digits@50", model=f"{file}:net", task=Classification(10), epochs=1)
    train_run(own, tmp_path / "run")
    assert open_run(tmp_path / "run", code=file).recipe == own
    file.write_text(file.read_text().replace("ReLU", "Tanh"))
    with pytest.raises(StoreError, match=r"net\.py:net is not the code it was trained with"):
        open_run(tmp_path / "run", code=file)
    file.unlink()
    with pytest.raises(StoreError, match=r"net\.py:net is not the code it was trained with"):
        open_run(tmp_path / "run", code=file)


@pytest.mark.parametrize("name", ["evil.py", ".py"])
def test_opening_a_folder_runs_no_code_that_the_person_did_not_name(copy, name):
    mark, file, own = copy / "mark", copy / name, copy / "own.py"
    file.write_text(f"open({str(mark)!r}, 'w')\ndef net(shape, width): ...\n")
    shutil.copy(file, own)
    manifest = copy / "run" / MANIFEST
    facts = json.loads(manifest.read_text())["facts"]
    edit_facts(copy / "run", recipe={**facts["recipe"], "model": f"{file}:net"}, code=file_hash(file))
    for code in (None, own):
        with pytest.raises(NeedsError, match=f"is code in the file .*{name} .SHA-256 {file_hash(file)}.*\nhint: read"):
            open_run(copy / "run", code=code)
    with pytest.raises(StoreError, match="not the run that"):  # told before anything of the original is opened
        open_unlearned(copy / "out", code=file)
    edit_facts(copy / "out", parent_manifest=file_hash(manifest))
    with pytest.raises(NeedsError, match="is code in the file"):
        open_unlearned(copy / "out")
    assert not mark.exists()


def test_a_folder_behind_a_link_finds_its_original(made, tmp_path):
    for place in ("far/away", "near"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far" / "away")
    shutil.copytree(made[0] / "run", tmp_path / "near" / "run")
    parent = open_run(tmp_path / "near" / "run")
    out = tmp_path / "near" / "link" / "out"
    unlearned, _ = forget_run(parent, FORGET, method("finetune")(epochs=1), out)
    assert unlearned.facts["parent"] == "../../near/run"
    assert same_weights(open_unlearned(out).parent.model, parent.model)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(made, tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    worked = []
    note = lambda *words: worked.append(words)  # noqa: E731
    for out in (tmp_path / "file" / "run", tmp_path / "file" / "deeper" / "run"):
        with pytest.raises(StoreError, match=r"expected a folder, but .*file is a file\nhint: choose another -o"):
            train_run(tiny, out, progress=note)
        with pytest.raises(StoreError, match=r"expected a folder, but .*file is a file"):
            forget_run(made[1], FORGET, method("finetune")(), out, progress=note)
    assert worked == []


def test_a_name_that_is_taken_is_refused_before_any_work(made, tiny, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    worked = []
    note = lambda *words: worked.append(words)  # noqa: E731
    with pytest.raises(StoreError, match="taken exists already\nhint: choose another -o"):
        train_run(tiny, taken, progress=note)
    with pytest.raises(StoreError, match="taken exists already"):
        forget_run(made[1], FORGET, method("finetune")(), taken, progress=note)
    assert worked == []
    assert list(taken.iterdir()) == []


def test_a_recipe_without_data_is_refused(tiny, tmp_path):
    with pytest.raises(NeedsError, match="recipe tiny: names no data set"):
        train_run(replace(tiny, data=""), tmp_path / "run")


def test_a_forget_set_that_does_not_fit_leaves_no_folder(made, tmp_path):
    with pytest.raises(ProblemError):
        forget_run(made[1], ForgetSet("random:120"), method("finetune")(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_another_version_is_refused(copy):
    manifest = copy / "run" / MANIFEST
    data = json.loads(manifest.read_text())
    data["facts"]["recipe"]["warmup"] = 3
    manifest.write_text(json.dumps({**data, "seal": seal(data)}))
    with pytest.raises(StoreError, match="recipe: not one of this version"):
        open_run(copy / "run")


def test_accuracies_are_counted_by_split(made):
    parent, problem = made[1], made[2].problem
    measured = accuracies(parent.model, problem)
    assert measured.keys() == {"forget", "retain", "holdout", "test"}
    with torch.no_grad():
        right = (parent.model(problem.rows.x).argmax(-1) == problem.rows.labels).numpy()
        on_test = parent.model(problem.test.x).argmax(-1) == problem.test.labels
    assert measured["forget"] == pytest.approx(right[problem.forget].mean())
    assert measured["retain"] == pytest.approx(right[problem.retain].mean())
    assert measured["test"] == pytest.approx(float(on_test.float().mean()))
    assert measured["holdout"] == accuracy_on(parent.model, parent.recipe, problem.holdout)
    assert len(predict(parent.model, problem.rows)) == 120


# Several folders


@pytest.fixture(scope="module")
def others(tmp_path_factory, tiny, made):
    """Unlearned models beside that of `made`: one from another original, the others wrong in one respect each."""
    place, parent = tmp_path_factory.mktemp("others"), made[1]
    finetune = method("finetune")
    recipes = {"recipe": replace(tiny, epochs=1), "rows": replace(tiny, data="digits@121")}
    parents = {name: train_run(one, place / f"run-{name}", seed=3) for name, one in recipes.items()}
    second = train_run(tiny, place / "run-second", seed=9)
    asked = {
        "another original": (second, FORGET, finetune(epochs=1)),
        "the same original": (parent, FORGET, finetune(epochs=1)),
        "recipe": (parents["recipe"], FORGET, finetune(epochs=1)),
        "rows": (parents["rows"], FORGET, finetune(epochs=1)),
        "forget set": (parent, ForgetSet("random:10", seed=2), finetune(epochs=1)),
        "method": (parent, FORGET, method("gradient_ascent")(epochs=1)),
        "settings": (parent, FORGET, finetune(epochs=2)),
    }
    return {name: forget_run(*one, place / name.replace(" ", "-"), seed=6)[0] for name, one in asked.items()}


def test_models_of_one_request_go_together_whatever_original_and_seed_they_have(made, others):
    check_same_request([made[2]])
    check_same_request([made[2], others["another original"], others["the same original"]])


@pytest.mark.parametrize("what", ["recipe", "rows", "forget set", "method", "settings"])
def test_models_of_two_requests_are_told_apart_by_name(made, others, what):
    with pytest.raises(ProblemError) as error:
        check_same_request([made[2], others["another original"], others[what]])
    assert error.value.message == f"{others[what].path}: another {what} than {made[0] / 'out'}"
    assert error.value.hint == "a method audit takes models of one method, one setting and one forget set"


def test_one_folder_twice_is_refused_however_it_is_named(made, others, monkeypatch):
    opened = open_unlearned(made[0] / "out")
    with pytest.raises(ProblemError, match=r"out: named twice\nhint: name each unlearned model once"):
        check_same_request([made[2], others["another original"], opened])
    monkeypatch.chdir(made[0])
    with pytest.raises(ProblemError, match="named twice"):
        check_same_request([opened, open_unlearned(Path("run/../out"))])


def test_the_same_original_under_two_names_does_not_count_twice(made, others, tiny, tmp_path):
    twin = train_run(tiny, tmp_path / "twin", seed=3)
    found, _ = forget_run(twin, FORGET, method("finetune")(epochs=1), tmp_path / "out", seed=8)
    with pytest.raises(
        ProblemError, match=r"its original .*twin is the same model as .*run\nhint: train the originals"
    ):
        check_same_request([made[2], others["another original"], found])
