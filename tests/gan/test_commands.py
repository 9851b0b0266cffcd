"""Pairs through the command line: train, forget, audit, bench, and what is said where something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.bench.gan import cell_key
from expunge.bench.gan_suite import gan_suite
from expunge.data import forget
from expunge.errors import StoreError
from expunge.gan.runs import open_gan_run, open_gan_unlearned
from expunge.report import render
from expunge.store import Store, read
from tests.cli.test_cli import Place as OtherPlace
from tests.tiny import edit_facts

RECIPE = """
from expunge.gan.recipe import GanRecipe

SIZES = {"generator": [32], "discriminator": [32]}
tiny = GanRecipe(
    name="tiny", data="digits@300", classifier="digits-mlp", arguments=SIZES, latent=8, lr=2e-3, epochs=60,
    batch_size=32, average=0.9,
)
blind = GanRecipe(name="blind", data="digits@300", arguments=SIZES, latent=8, epochs=1)
nowhere = GanRecipe(name="nowhere", arguments=SIZES)
"""
SUITE = """
recipe = "own.py:tiny"
epochs = 60
forget = ["class:3", "random:9"]
originals = 1
gold = 3
pictures = 100
searched = 9
search_steps = 10
downstream = 100

[[methods]]
name = "cascade"
steps = 10
search_steps = 20
latents = 20

[[methods]]
name = "retrain"
label = "retrain, 20 %"
share = 0.2

[[methods]]
name = "retrain"
label = "retrain, 40 %"
share = 0.4
"""
FIRST = 'name = "cascade"\nsteps = 10\nsearch_steps = 20\nlatents = 20'
FORGET = "--method cascade --steps 40 --latents 30"


class Place(OtherPlace):
    """The same with recipes of pairs, and a suite."""

    def __init__(self, folder):
        super().__init__(folder)
        (folder / "own.py").write_text(RECIPE)
        (folder / "mine.toml").write_text(SUITE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained pair, a class unlearned from it, and its audit."""
    here = Place(tmp_path_factory.mktemp("gan"))
    assert here("train own.py:tiny -o run") == 0
    assert here(f"forget run --rows class:3 {FORGET} -o gone") == 0
    assert here("audit gone --gold 3 --processes 1") in (0, 1, 3)
    return here


def result(place, name="gone-audit"):
    return read(place.folder / name, "result").document("result")


def test_the_exit_code_is_the_verdict(place):
    state = result(place)["verdict"]["state"]
    assert place("audit gone --gold 3 --processes 1") == {"pass": 0, "fail": 1, "inconclusive": 3}[state]


def test_the_result_holds_what_the_page_shows(place):
    found = result(place)
    assert found["problem"]["mode"] == "class"
    assert found["problem"]["classes"] == ["3"]
    assert [entry["name"] for entry in found["entries"]] == ["cascade", "finetune, same visits"]
    assert {grid["name"] for grid in found["grids"]} == {"original", "gold", "cascade", "finetune, same visits"}
    assert len(found["swaps"]) == 10
    assert found["timeline"]["steps"] == [1, 2, 5, 10, 20]
    judged = [measure["name"] for measure in found["measures"] if measure["judged"]]
    assert judged == ["discriminator_auc_same_class", "class_share", "frechet"]
    ours, alike = (entry["cost"]["visits"] for entry in found["entries"])
    assert alike == pytest.approx(ours, rel=0.05)
    page = (place.folder / "gone-audit.html").read_text()
    assert page == render(found)
    assert found["command"] == "expunge audit gone --gold 3 --seed 0"


def test_single_rows_are_not_shown_where_that_is_asked(place):
    place("audit gone --gold 3 --processes 1 --no-rows -o bare")
    assert result(place, "bare")["swaps"] == []


def test_a_second_audit_trains_and_measures_nothing(place):
    before = {path.name for path in (place.folder / ".expunge").rglob("*")}
    place("audit gone --gold 3 --processes 1 -o again")
    assert {path.name for path in (place.folder / ".expunge").rglob("*")} == before
    assert result(place, "again")["measures"] == result(place)["measures"]


def test_items_are_unlearned_and_audited(place, capsys):
    assert place("forget run --rows random:9 --method cascade --steps 5 --search-steps 20 -o items") == 0
    words = capsys.readouterr().out
    assert "items: 9 rows (item)" in words
    assert "rows not found:" in words
    assert place("audit items --gold 2 --processes 1") in (1, 3)
    names = [measure["name"] for measure in result(place, "items-audit")["measures"]]
    assert "reconstruction_auc" in names
    assert "class_share" not in names


def test_original_as_unlearned_with_nothing_to_forget_is_inconclusive(place, capsys):
    assert place("forget run --rows random:1 --method finetune --steps 1 -o one") == 0
    assert place("audit one --gold 2 --processes 1") == 3  # one row, two golds: nothing can be seen
    assert "nothing to forget" in capsys.readouterr().out


def test_plans_train_nothing(place, capsys):
    before = {path for path in place.folder.rglob("*")}
    assert place("train own.py:tiny -o other --dry-run") == 0
    assert "300 rows x 60 epochs, 78,000 visits" in capsys.readouterr().out
    assert place("forget run --rows class:3 --method redaction -o other --dry-run --json") == 0
    assert json.loads(capsys.readouterr().out)["mode"] == "class"
    assert place("audit gone --gold 5 --dry-run") == 0
    assert "5 pairs: 3 in the store, 2 to train" in capsys.readouterr().out
    assert place("bench mine.toml --dry-run") == 0
    assert "up to 8 unlearning runs" in capsys.readouterr().out
    assert {path for path in place.folder.rglob("*")} == before


def test_json_is_the_result(place, capsys):
    place("audit gone --gold 3 --processes 1 --json -o plain")
    assert json.loads(capsys.readouterr().out) == result(place, "plain")


def test_a_suite_runs_once_and_says_what_came_out(place, capsys):
    assert place("bench mine.toml --processes 1") == 0
    words = capsys.readouterr().out
    assert "retrain, 20 %" in words
    found = result(place, "bench-mine-class-3")
    assert [point["name"] for point in found["curve"]] == ["cascade", "retrain", "retrain", "finetune"]
    shares = [point["visits_share"] for point in found["curve"]]
    assert shares[1] == pytest.approx(0.2, rel=0.01)
    assert shares[2] == pytest.approx(0.4, rel=0.01)
    assert (place.folder / "bench-mine-random-9.html").is_file()
    begin = time.monotonic()
    assert place("bench mine.toml --processes 1") == 0  # all of it lies in the store
    assert time.monotonic() - begin < 5
    assert result(place, "bench-mine-class-3") == found


def test_several_results_are_summed_up(place, capsys):
    two = SUITE.replace('"random:9"', '"class:8"')
    (place.folder / "two.toml").write_text(two)
    capsys.readouterr()
    assert place("bench two.toml --processes 1") == 0
    assert "class unlearning, means over 2 results" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("train own.py:tin -o x", 2, "expected a Recipe called 'tin'"),
        ("train digits-gam -o x", 2, "did you mean digits-gan"),
        ("train own.py:nowhere -o x", 4, "recipe nowhere: names no data set"),
        ("train own.py:tiny -o run", 4, "run exists already"),
        ("forget run --rows class:11 --method cascade -o x", 2, "no class is called '11'"),
        ("forget run --rows class:3 --method cascad -o x", 2, "did you mean cascade"),
        ("forget run --rows class:3 --method scrub -o x", 2, "unknown GAN method 'scrub'"),
        ("forget run --rows class:3 --method cascade --stepz 3 -o x", 2, "--stepz"),
        ("forget run --rows class:3 --method cascade --steps -3 -o x", 2, "steps: expected >= 0, got -3"),
        ("forget run --rows class:3 --method selective_amnesia -o x", 4, "needs a conditional pair"),
        ("audit gone --gold 1", 4, "at least 2 golds, got 1"),
        ("audit gone gone", 2, "expected one unlearned pair, got 2"),
        ("audit gone --policy strict", 2, "--policy: an audit of a GAN takes none"),
        ("audit gone --shadows 8", 2, "--shadows: an audit of a GAN takes none"),
        ("audit run", 4, "expected a folder of kind 'gan-unlearned', got 'gan-run'"),
        ("audit gone --features gone.py:f", 4, "no file gone.py"),
        ("forget gone --rows class:3 --method cascade -o x", 4, "expected a folder of kind 'gan-run'"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_made(place, capsys, line, code, words):
    before = {path for path in place.folder.glob("*") if path.name != "__pycache__"}
    capsys.readouterr()
    assert place(line) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert {path for path in place.folder.glob("*") if path.name != "__pycache__"} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('name = "cascade"', 'name = "cascades"'), "did you mean cascade"),
        (("\nsteps = 10", '\nsteps = "ten"'), "a setting of the wrong type"),
        (("\nsteps = 10", "\nstepz = 10"), "cascade has no setting 'stepz'"),
        (("gold = 3", ""), "the key 'gold' is missing"),
        (("gold = 3", "gold = 1"), "gold: expected >= 2, got 1"),
        (("gold = 3", "gold = 3\nepsilon = 1"), "unknown key 'epsilon'"),
        (("originals = 1", 'originals = "one"'), "originals cannot be 'one'"),
        ((FIRST, 'name = "selective_amnesia"'), "needs a conditional pair"),
        (('label = "retrain, 20 %"', 'label = "gold"'), "label: expected another one than original, gold"),
        (('label = "retrain, 20 %"', 'label = "cascade"'), "a different label for each"),
    ],
)
def test_a_broken_suite_is_told(place, capsys, change, words):
    (place.folder / "broken.toml").write_text(SUITE.replace(*change, 1))
    assert place("bench broken.toml") == 2
    assert words in capsys.readouterr().err


def test_a_recipe_without_a_classifier_says_what_it_lacks(place, capsys):
    assert place("train own.py:blind -o blind") == 0
    assert place("forget blind --rows class:3 --method cascade -o x") == 4
    assert "names no classifier to measure by" in capsys.readouterr().err
    assert place("forget blind --rows class:3 --method finetune --steps 1 -o fine") == 0  # it needs none


def test_a_damaged_or_exchanged_original_is_refused(place):
    assert place("train own.py:tiny -o second --seed 1") == 0
    assert place("forget second --rows class:3 --method finetune --steps 1 -o orphan") == 0
    edit_facts(place.folder / "second", seed=7)
    before = Path.cwd()
    os.chdir(place.folder)
    try:
        with pytest.raises(StoreError, match="not the run that orphan was unlearned from"):
            open_gan_unlearned(Path("orphan"))
        edit_facts(place.folder / "second", rows={"train": "0" * 64})
        with pytest.raises(StoreError, match="the train rows of digits@300 are not those"):
            open_gan_run(Path("second"))
    finally:
        os.chdir(before)


def test_a_folder_gives_back_the_pair_that_was_kept(place):
    opened = open_gan_unlearned(place.folder / "gone")
    assert opened.problem.kind == "class"
    assert np.array_equal(opened.problem.forget, forget("class:3").indices(opened.problem.rows))
    assert opened.candidate.made.steps == 40
    assert opened.candidate.steps == {}  # the way there would give away what went: it lies in the store
    assert {path.name for path in (place.folder / "gone").iterdir()} == {
        "manifest.json",
        "generator.safetensors",
        "discriminator.safetensors",
        "forget.npy",
    }
    way = open_gan_unlearned(place.folder / "gone", store=Store(place.folder / ".expunge")).candidate
    assert sorted(way.steps) == [1, 2, 5, 10, 20]
    assert opened.candidate.made.pair.hash() != opened.parent.pair.hash()
    assert opened.candidate.made.method == "cascade"


def test_a_file_of_ids_that_changed_later_changes_nothing(place):
    rows = open_gan_run(place.folder / "run").splits.train
    (place.folder / "ids.txt").write_text("\n".join(rows.ids[:5]))
    assert place("forget run --rows ids:ids.txt --method finetune --steps 1 -o listed") == 0
    (place.folder / "ids.txt").write_text("\n".join(rows.ids[5:30]))
    assert open_gan_unlearned(place.folder / "listed").problem.forget.tolist() == [0, 1, 2, 3, 4]
    (place.folder / "ids.txt").unlink()
    assert open_gan_unlearned(place.folder / "listed").problem.forget.tolist() == [0, 1, 2, 3, 4]


def test_what_decides_a_result_is_in_its_key(place):
    def key(text, at=0):
        (place.folder / "keyed.toml").write_text(text)
        suite = gan_suite(str(place.folder / "keyed.toml"))
        opened = open_gan_run(place.folder / "run")
        return cell_key(suite, replace(opened, recipe=suite.trained()), suite.forget[0], at)

    own = SUITE.replace("own.py", str(place.folder / "own.py"))
    same = key(own)
    assert key(own.replace('forget = ["class:3", "random:9"]', 'forget = ["class:3"]')) == same
    for change in (("epochs = 60", "epochs = 61"), ("gold = 3", "gold = 4"), ("\nsteps = 10", "\nsteps = 11")):
        assert key(own.replace(*change)) != same, change
    assert key(own.replace('"class:3"', '"class:4"')) != same
    assert key(own.replace("pictures = 100", "pictures = 101")) != same
    assert key(own, at=1) != same


def test_a_method_that_cannot_unlearn_is_left_out_and_the_verdict_stays_open(place, capsys):
    never = SUITE.replace("epochs = 60", "epochs = 1").replace('"class:3", "random:9"', '"class:3"')
    (place.folder / "never.toml").write_text(never)
    assert place("bench never.toml --processes 1") == 0
    found = result(place, "bench-never")
    assert found["limits"][0].startswith("cascade is left out: cascade: expected pictures of class 3, got none in")
    assert found["verdict"]["state"] == "inconclusive"
    assert found["verdict"]["reasons"][0].startswith("it is about retrain, 20 %: cascade is left out")


def test_features_of_ones_own_stand_in_the_result(place):
    (place.folder / "own_features.py").write_text("def thirds(x):\n    return x.flatten(1)[:, ::3]\n")
    place("audit gone --gold 2 --processes 1 --features own_features.py:thirds -o own")
    assert result(place, "own")["features"].startswith("own_features.py:thirds (SHA-256 ")


def test_features_of_a_classifiers_audit_are_refused(tmp_path, capsys):
    here = Place(tmp_path)
    assert here("audit nothing --features own.py:f") == 2
    assert "expected the unlearned pair of a GAN" in capsys.readouterr().err


def test_a_killed_training_goes_on(tmp_path):
    (tmp_path / "own.py").write_text(RECIPE.replace("epochs=60", "epochs=4000"))
    code = (
        "import expunge.gan.fit as f; f.EVERY = 0.2; f.fit_pair.__kwdefaults__['every'] = 0.2; "
        "from expunge.cli import main; main(['train', 'own.py:tiny', '-o', 'run'])"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    kept = tmp_path / ".expunge" / "gan-unfinished"
    end = time.monotonic() + 60
    while not (kept.is_dir() and list(kept.glob("[!.]*"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    (folder,) = kept.glob("[!.]*")
    assert read(folder, "gan-unfinished").facts["step"] > 0
    assert not (tmp_path / "run").exists()
