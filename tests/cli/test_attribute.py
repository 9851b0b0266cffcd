"""`expunge attribute` and `expunge estimators` from end to end, in this process."""

import json
import shlex
from contextlib import nullcontext

import numpy as np
import pytest

from expunge.attribution import ESTIMATORS
from expunge.attribution.kept import KIND
from expunge.cli import app, run
from expunge.data import ForgetSet, load
from expunge.fleet import Here
from expunge.store import Store
from tests.attribution.known import LOST, Known
from tests.cli.test_cli import Place, tree
from tests.report.parsed import Page

ATTRIBUTE = "attribute run --rows class:3:5 --processes 1 --calibrate 3"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained run of a linear model on 200 digits."""
    here = Place(tmp_path_factory.mktemp("attribute"))
    assert here("train own.py:tiny -o run") == 0
    return here


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Models are trained in this process: a worker takes seconds to start."""
    monkeypatch.setattr("expunge.cli.attribute.workers", lambda *_: nullcontext(Here()))


@pytest.fixture
def known(monkeypatch):
    """An estimator whose answers are known."""
    monkeypatch.setitem(ESTIMATORS, "known", Known)


def page_in(place, name="run-attribution.html"):
    return Page((place.folder / name).read_text())


def test_sign_unit_and_error_stand_in_the_output(place, capsys):
    assert place(ATTRIBUTE) == 0
    words = capsys.readouterr().out
    assert words.startswith("estimator: influence (the model has 650 parameters; up to 2,000 all of them are taken)\n")
    assert "logits of the true class would be " in words
    line = next(line for line in words.splitlines() if line.startswith("forget rows: "))
    assert line.startswith("forget rows: +")
    assert " on average if these 5 rows were removed, ±" in line
    assert "calibrated on 3 held-out models; slope of margins on rows of: forget " in words
    assert words.splitlines()[-1] == "report: run-attribution.html"


def test_the_page_parses_and_has_pictures_of_targets_beside_training_rows(place, capsys):
    assert place(f"{ATTRIBUTE} --json") == 0
    result = json.loads(capsys.readouterr().out)
    parsed = page_in(place)
    assert parsed.open == []
    assert set(parsed.values("src")) <= set(result["images"].values())
    targets = result["targets"]["items"]
    assert len(targets) == 5
    for one in targets:
        assert one["raises"], one["id"]
        assert {row["id"] for row in one["raises"]} <= set(result["images"])
    count = sum(len(one[way]) for one in [*targets, result["targets"]["together"]] for way in ("raises", "lowers"))
    lines = sum(len(lines) for lines in result["affected"].values())
    assert parsed.tags.count("img") == count + lines + len(targets)


def test_the_page_is_drawn_again_by_report(place, capsys):
    assert place(ATTRIBUTE) == 0
    before = (place.folder / "run-attribution.html").read_text()
    assert place("report run-attribution -o again.html") == 0
    assert (place.folder / "again.html").read_text() == before
    capsys.readouterr()
    assert place("report run-attribution --json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "attribution"


def test_json_is_json_and_nothing_else_and_holds_what_the_folder_holds(place, capsys):
    assert place(f"{ATTRIBUTE} -o own --json") == 0
    words = capsys.readouterr()
    result = json.loads(words.out)
    assert (result["schema"], result["kind"]) == (1, "attribution")
    assert result == json.loads((place.folder / "own" / "result.json").read_text())
    assert result["estimator"]["settings"]["solver"] == "explicit"
    train = load("digits@200").train
    assert set(result["targets"]["together"]["raises"][0]) == {"id", "label", "score", "role"}
    assert {one["id"] for one in result["affected"]["forget"]} <= set(train.ids)


def test_the_command_of_the_page_gives_the_same_again(place, capsys):
    assert place(f"{ATTRIBUTE} --of forget --targets 2 --top 3 --json") == 0
    first = json.loads(capsys.readouterr().out)
    words = shlex.split(first["command"])
    assert words[:2] == ["expunge", "attribute"]
    assert place(shlex.join([*words[1:], "--json"])) == 0
    again = json.loads(capsys.readouterr().out)
    for name in ("parts", "affected", "targets", "images"):
        assert again[name] == first[name], name


def test_scores_are_kept_in_the_store_and_read_again(place, capsys):
    assert place(ATTRIBUTE) == 0
    before = {path: path.stat().st_mtime_ns for path in (place.folder / ".expunge" / KIND).rglob("*")}
    assert before
    assert place(ATTRIBUTE) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    capsys.readouterr()


@pytest.mark.usefixtures("known")
def test_a_damaged_score_file_is_told_with_what_mends_it(place, capsys):
    line = f"{ATTRIBUTE} --estimator known --store apart"
    assert place(line) == 0
    (folder,) = (place.folder / "apart" / KIND).iterdir()
    chunk = folder / "scores-00000.npy"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    assert place(line) == 4
    words = capsys.readouterr().err
    assert "its content is not what the manifest recorded (damaged or edited)" in words
    assert "delete the folder and run the command again" in words


@pytest.mark.usefixtures("known")
def test_without_held_out_models_the_error_is_not_known_and_it_is_said_what_tells_it(place, capsys):
    assert place("attribute run --rows class:3:5 --processes 1 --estimator known --calibrate 0 -o plain") == 0
    words = capsys.readouterr().out
    assert (
        f"forget rows: +{LOST:.2f} logits of the true class would be lost on average if these 5 rows were removed, "
        "± not known"
    ) in words
    assert "held-out" not in words
    assert "--calibrate 20" in page_in(place, "plain.html").text


def test_targets_may_be_named_and_chosen_among_forget_and_retain_rows(place, capsys):
    train = load("digits@200").train
    stay = np.setdiff1d(np.arange(200), ForgetSet("class:3:5").indices(train))[:2]
    mine = {train.ids[at] for at in stay}
    (place.folder / "mine").write_text("\n".join(mine))
    for of, targets in (("retain", "ids:mine"), ("forget", "2"), ("test", "class:8:3")):
        assert place(f"{ATTRIBUTE} --of {of} --targets {targets} --json") == 0
        found = json.loads(capsys.readouterr().out)["targets"]
        assert found["of"] == of
        assert len(found["items"]) == {"ids:mine": 2, "2": 2, "class:8:3": 3}[targets]
        if targets == "ids:mine":
            assert {one["id"] for one in found["items"]} == mine
            assert {row["role"] for one in found["items"] for row in one["raises"]} >= {"itself", "retain"}


def test_subset_models_are_kept_where_later_commands_and_methods_find_them(place, capsys):
    line = "attribute run --rows class:3:5 --processes 1 --calibrate 0 --estimator datamodel --store subsets"
    assert place(line) == 4
    words = capsys.readouterr().err
    assert "datamodel needs models trained on random subsets of the rows, subsets holds none" in words
    assert "--subsets 200 trains them once" in words
    matching = "forget run --rows class:3:5 --method datamodel_matching --estimator datamodel --store"
    assert place(f"{matching} subsets -o early") == 4
    assert "datamodel needs models trained on random subsets" in capsys.readouterr().err
    assert place(f"{line} --subsets 24 --json") == 0
    first = json.loads(capsys.readouterr().out)
    models = len(list((place.folder / "subsets" / "model").iterdir()))
    assert models == 24
    assert place(f"{line} --json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["parts"] == first["parts"]
    assert again["parts"]["forget"]["error"] > 0  # the regression knows its own error
    assert place(f"{matching} subsets -o matched --json") == 0
    assert json.loads(capsys.readouterr().out)["notes"]["attribution"]["estimator"] == "datamodel"
    assert len(list((place.folder / "subsets" / "model").iterdir())) == models


def test_a_dry_run_says_what_would_be_trained_and_keeps_no_result(place, capsys):
    before = {path for path in tree(place.folder) if ".expunge" not in str(path)}
    assert place("attribute run --rows class:3:7 --calibrate 4 --subsets 8 --top 3 --dry-run") == 0
    words = capsys.readouterr().out
    assert "subset models: 8 models: 0 in the store, 8 to train" in words
    assert f"held-out models: 4 models: 0 in the store, 4 to train, {4 * 15 * 193:,} row visits" in words
    assert "influence on 650 parameters and 200 training rows; scores of 5 targets: 0.0 MB on disk" in words
    assert {path for path in tree(place.folder) if ".expunge" not in str(path)} == before
    assert place("attribute run --rows class:3:7 --calibrate 4 --dry-run --json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["to_train"], found["estimator"], found["parameters"]) == (4, "influence", 650)


def test_a_dry_run_with_nothing_to_train(place, capsys):
    assert place("attribute run --rows class:3:5 --calibrate 0 --dry-run") == 0
    assert capsys.readouterr().out.startswith("influence on 650 parameters")


@pytest.mark.parametrize(
    ("line", "code", "message", "hint"),
    [
        (f"{ATTRIBUTE} --estimator influense", 2, "unknown estimator 'influense'", "did you mean influence"),
        (f"{ATTRIBUTE} --estimator influence:dampin=1", 2, "expected SETTING=VALUE", "expunge estimators influence"),
        (f"{ATTRIBUTE} --estimator influence:damping=-1", 2, "damping: expected >= 0", ""),
        (f"{ATTRIBUTE} --of train", 2, "of: expected one of test, forget, retain, got 'train'", ""),
        (f"{ATTRIBUTE} --targets 0", 2, "targets: expected >= 1, got 0", ""),
        (f"{ATTRIBUTE} --targets class:nine", 2, "targets class:nine: no class is called 'nine'", "classes: 0, 1"),
        (f"{ATTRIBUTE} --targets some", 2, "targets: expected one of random:N", ""),
        (f"{ATTRIBUTE} --top 0", 2, "top: expected >= 1, got 0", ""),
        ("attribute run --rows class:3:5 --calibrate 2", 2, "calibrate: expected 0, or 3..20, got 2", ""),
        (f"{ATTRIBUTE} --subsets 1", 2, "subsets: expected 0, or >= 4, got 1", ""),
        (ATTRIBUTE.replace("class:3:5", "clas:3"), 2, "forget set: expected one of random:N", ""),
        (ATTRIBUTE.replace("class:3:5", "random:201"), 2, "expected at least 201 such rows, got 200", ""),
        (ATTRIBUTE.replace("class:3:5", "random:200"), 2, "forget set: all 200 training rows", ""),
        (ATTRIBUTE.replace("run", "gone"), 4, "gone: expected a folder with manifest.json", "expunge train"),
        (f"{ATTRIBUTE} -o run", 4, "run exists already and holds no result", "choose another -o"),
        ("attribute run", 2, "rows", "expunge COMMAND --help"),
    ],
)
def test_errors_say_what_was_expected_and_what_mends_it(place, capsys, line, code, message, hint):
    assert place(line) == code
    words = capsys.readouterr()
    assert words.out == ""
    assert message in words.err
    assert hint in words.err


def test_rows_that_have_changed_since_the_training_are_refused(place, capsys, monkeypatch):
    splits = load("digits@200")
    monkeypatch.setattr(splits.train, "fingerprint", "0" * 64)
    monkeypatch.setattr("expunge.runs.load", lambda *_, **__: splits)
    assert place(ATTRIBUTE) == 4
    assert "the train rows of digits@200 are not those it was trained with" in capsys.readouterr().err


def test_a_fleet_of_another_recipe_does_not_answer(place, capsys):
    assert place("attribute run --rows class:3:5 --calibrate 0 --estimator datamodel --subsets 24 --processes 1") == 0
    text = (place.folder / "own.py").read_text()
    (place.folder / "other.py").write_text(text.replace("epochs=15", "epochs=3"))
    assert place("train other.py:tiny -o other") == 0
    capsys.readouterr()
    assert place("attribute other --rows class:3:5 --calibrate 0 --estimator datamodel --processes 1") == 4
    assert "holds none" in capsys.readouterr().err
    kept = list((place.folder / ".expunge" / "subsets").iterdir())
    assert len(kept) == 1
    assert Store(place.folder / ".expunge").get("subsets", kept[0].name).facts["models"] == 24


def test_every_estimator_of_gradients_ranks_and_those_that_predict_predict(place, capsys):
    for name in ("last_layer", "ekfac", "grad_dot", "in_run"):
        assert place(f"{ATTRIBUTE} --estimator {name} --targets 1 --top 2 --json") == 0, name
        result = json.loads(capsys.readouterr().out)
        assert bool(result["parts"]) == ESTIMATORS[name].predicts
        assert len(result["targets"]["items"][0]["raises"]) == 2


@pytest.mark.parametrize("command", ["attribute", "estimators"])
def test_every_argument_has_help(command):
    for argument in app[command].assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help, f"{command} {argument.name}: a line under Args says what it is"


def test_estimators_are_listed_and_each_has_a_page(capsys):
    assert run(["estimators"]) == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].strip()]
    assert set(ESTIMATORS) <= set(first)
    assert run(["estimators", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["estimator"] for one in listed] == list(ESTIMATORS)
    assert {one["needs"] for one in listed if one["estimator"] in ("influence", "datamodel")} == {"-", "subsets"}
    for name in ESTIMATORS:
        assert run(["estimators", name]) == 0
        page = capsys.readouterr().out
        assert "Source:" in page
        assert run(["estimators", name, "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert data["name"] == name
        assert all(text for _, _, text in data["settings"]), f"{name}: every setting says what it is"
    assert run(["estimators", "datamodl"]) == 2
    assert "did you mean datamodel" in capsys.readouterr().err


def test_no_row_of_the_page_is_without_its_number(place, capsys):
    assert place(f"{ATTRIBUTE} --json") == 0
    result = json.loads(capsys.readouterr().out)
    parsed = page_in(place)
    for name, one in result["parts"].items():
        assert one["sentence"].split("; ")[0].replace("-", "\N{MINUS SIGN}") in parsed.text, name
    assert np.isfinite([one["error"] for one in result["parts"].values()]).all()
