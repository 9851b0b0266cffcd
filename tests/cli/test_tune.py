"""`expunge tune` from end to end, in this process."""

import json
import os
import re
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from expunge.cli import run
from expunge.cli.flags import configured
from expunge.cli.tune import _command
from expunge.fleet import Here
from expunge.methods import METHODS, Method, Scrub
from expunge.methods.search import Choice
from expunge.store import Contents, write
from expunge.store import read as read_folder
from expunge.tuning import setup

RECIPE = """
import expunge as ex

tiny = ex.Recipe(
    name="tiny", data="digits@200", model="linear", task=ex.Classification(10), epochs=15, batch_size=50, lr=0.1
)
"""
TUNE = "run --rows class:3:5 --trials 4 --twins 1 --seeds 1 --processes 1"
CORNERS = [(name, end) for name, method in METHODS.items() if method.search for end in ("low", "high")]


class Place:
    """A folder with a recipe file and a trained run; commands run inside it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "own.py").write_text(RECIPE)

    def __call__(self, line):
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return run(shlex.split(line))
        finally:
            os.chdir(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    here = Place(tmp_path_factory.mktemp("tune"))
    assert here("train own.py:tiny -o run") == 0
    return here


@pytest.fixture
def here(monkeypatch):
    """Trials in this process: a worker takes seconds to start."""
    monkeypatch.setattr("expunge.cli.tune.workers", lambda *_: nullcontext(Here()))


def read(command) -> Method:
    """The method that a printed `expunge forget` would run."""
    words = shlex.split(command)
    at = words.index("--method") + 1
    return configured(METHODS[words[at]], words[at + 1 : words.index("-o")])


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in str(path)}


def corner(name, end):
    method = METHODS[name]
    values = {
        key: space.values[0 if end == "low" else -1] if isinstance(space, Choice) else getattr(space, end)
        for key, space in method.search.items()
    }
    return method(**values)


def test_the_command_it_ends_with_takes_the_chosen_settings(place, capsys):
    assert place(f"tune random_label {TUNE} --json") == 0
    chosen = json.loads(capsys.readouterr().out)["chosen"]
    assert place(f"tune random_label {TUNE}") == 0
    words = capsys.readouterr().out
    command = words.splitlines()[-1].removeprefix("next: ")
    assert command.startswith("expunge forget run --rows class:3:5 --method random_label --lr ")
    assert read(command).settings() == chosen["settings"]
    assert place(command.removeprefix("expunge ").replace("-o UNLEARNED", "-o unlearned")) == 0


@pytest.mark.usefixtures("here")
def test_a_table_and_the_checks_are_shown(place, capsys):
    assert place(f"tune random_label {TUNE}") == 0
    words = capsys.readouterr().out
    assert re.search(r"^method +settings +objective +forget +check +lost +visits +runs", words)
    assert len(re.findall(r"^random_label +lr ", words, re.MULTILINE)) == 4
    assert len(re.findall("^no change ", words, re.MULTILINE)) == 1
    assert re.findall(r"^  (?:ok|NO)  (\w+): ", words, re.MULTILINE) == ["memory", "fit", "likeness", "power"]
    assert re.search(r"^cost: \d+\.\d times the row visits of one retraining$", words, re.MULTILINE)
    assert re.search("^chosen: (smallest objective|objective)", words, re.MULTILINE)
    assert re.search(r"^  --  auto took objective twin and kind finetune \(a part of a class", words, re.MULTILINE)


@pytest.mark.usefixtures("here")
def test_where_nothing_is_chosen_the_exit_code_is_three_and_no_command_follows(place, capsys):
    line = f"tune finetune {TUNE} --objective close"
    assert place(line) == 3
    words = capsys.readouterr().out
    assert "nothing chosen: no setting comes nearer to gold than the original as it is\n" in words
    assert "next:" not in words
    assert place(f"{line} --json") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] is None
    assert found["trials"][0]["method"] == "no change"
    assert found["objective"] == "close"


@pytest.mark.parametrize("objective", ["twin", "holdout"])  # under "twin" a check is endless here
@pytest.mark.usefixtures("here")
def test_json_is_json_and_nothing_else(place, capsys, objective):
    assert place(f"tune random_label {TUNE} --objective {objective} --json") in (0, 3)
    words = capsys.readouterr()
    assert words.err == ""
    found = json.loads(words.out, parse_constant=strange)
    assert {"chosen", "reason", "expected", "trials", "checks", "cost"} <= found.keys()
    assert (found["objective"], len(found["trials"])) == (objective, 4 + 1)


def strange(name):
    raise ValueError(f"{name} is no JSON")


@pytest.mark.usefixtures("here")
def test_all_options_reach_the_search(place, capsys):
    assert place(f"tune ssd {TUNE} --kind fresh --seed 3 --guard 0 --json") in (0, 3)
    one = json.loads(capsys.readouterr().out)
    assert one["kind"] == "fresh"
    assert all(trial["lost"] <= 0 or trial["dropped"] for trial in one["trials"] if trial["method"] == "ssd")
    assert place(f"tune ssd {TUNE} --kind fresh --seed 4 --guard 1 --rows-seed 1 --json") in (0, 3)
    other = json.loads(capsys.readouterr().out)
    assert not any(trial["dropped"] for trial in other["trials"])
    assert [trial["settings"] for trial in one["trials"]] != [trial["settings"] for trial in other["trials"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "tune finetune --kind finetune",
            ["1 twin (finetune): 210 to 6,242 row", "4 runs of finetune: 800 to 8,000 row"],
        ),
        ("tune ssd --kind rewind", ["1 twin (rewind): 1,648 row visits", "4 runs of ssd: 848 row visits"]),
        ("tune ssd --kind fresh", ["1 twin (fresh): 3,090 row visits", "4 runs of ssd: 848 row visits"]),
        ("tune finetune --seeds 3", ["1 twin (finetune)", "8 runs of finetune"]),
        ("tune finetune --objective close", ["no twin", "4 runs of finetune: 780 to 7,800 row visits"]),
        ("tune finetune --budget 1", ["1 twin", "4 runs of finetune: at most", "that may cost more than retraining"]),
    ],
)
def test_a_dry_run_says_what_and_trains_nothing(place, capsys, line, words):
    before = tree(place.folder)
    name, rest = line.split()[1], " ".join(line.split()[2:])
    base = TUNE if "--seeds" not in rest else TUNE.replace("--seeds 1", "")
    assert place(f"tune {name} {base} {rest} --seed 9 --dry-run") == 0  # no other test's twins are in the store
    shown = capsys.readouterr().out
    assert all(text in shown for text in words)
    assert re.search(
        r"^together (at most )?[\d.]+( to [\d.]+)? times one retraining \(2,925 row visits\), about 0\.\d MB",
        shown,
        re.M,
    )
    assert ("cheaper for this one request" in shown) == (name != "ssd" or "fresh" in rest)
    assert tree(place.folder) == before


def test_a_dry_run_as_json(place, capsys):
    before = tree(place.folder)
    assert place(f"tune auto {TUNE} --seed 9 --dry-run --json") == 0
    found = json.loads(capsys.readouterr().out)
    able = [name for name, one in METHODS.items() if one.search and "class" in one.forget_kinds]
    passed = [text.split()[0] for text in found["warnings"] if "was passed over" in text]
    assert sorted(found["methods"] + passed) == able
    assert {"finetune", "ssd", "twin"} <= set(found["methods"])
    assert (found["twins"], found["kind"], found["in_store"]) == (1, "finetune", 0)
    assert found["share_of_retraining"][0] < found["share_of_retraining"][1]
    assert tree(place.folder) == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("name", "kind"), [("ssd", "rewind"), ("ssd", "fresh")])
def test_the_cost_that_is_printed_first_is_the_cost_that_is_metered(place, capsys, name, kind):
    line = f"tune {name} {TUNE} --kind {kind} --json"
    assert place(f"{line} --dry-run") == 0
    least, most = json.loads(capsys.readouterr().out)["share_of_retraining"]
    assert place(line) in (0, 3)
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert least == most == pytest.approx((cost["twins"] + cost["trials"]) / cost["retraining"], rel=0.05)


@pytest.mark.usefixtures("here")
def test_a_run_made_by_train_can_be_tuned_on_rewound_twins(place, capsys):
    assert place(f"tune random_label {TUNE} --kind rewind --json") in (0, 3)
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["twins"]) == ("rewind", 1)
    assert found["cost"]["twins"] == (15 - 7) * (200 + 6)


def test_a_run_without_its_past_says_which_command_supplies_it(place, capsys):
    folder = read_folder(place.folder / "run")
    write(place.folder / "old", Contents("run", folder.facts, {"model": folder.weights("model")}))
    for extra in ("", " --dry-run"):
        assert place(f"tune ssd {TUNE.replace('run ', 'old ', 1)} --kind rewind{extra}") == 4
        words = capsys.readouterr().err
        assert "kind rewind: expected the original as it was after 7 of its 15 epochs, which was not kept" in words
        assert "hint: train it anew: `expunge train tiny -o RUN` keeps that" in words


@pytest.mark.usefixtures("here")
def test_all_methods_are_tuned_under_one_budget(place, capsys, monkeypatch):
    names = ["finetune", "random_label", "ssd"]
    monkeypatch.setattr(setup, "METHODS", {name: METHODS[name] for name in names})
    line = f"tune auto {TUNE.replace('--trials 4', '--trials 6')}"
    assert place(f"{line} --json") in (0, 3)
    found = json.loads(capsys.readouterr().out)
    assert {one["method"] for one in found["trials"]} == {*names, "no change"}
    assert found["warnings"] == []
    assert place(f"{line} --budget 0.4") in (0, 3)
    words = capsys.readouterr().out
    assert "  --  ssd was not tried: the first round's share of the budget was spent" in words
    assert "next: expunge forget run --rows class:3:5 --method finetune " in words


@pytest.mark.usefixtures("here")
def test_a_dry_run_counts_the_runs_that_follow(place, capsys):
    line = f"tune finetune {TUNE.replace('--trials 4', '--trials 6').replace('--seeds 1', '--seeds 3')} --json"
    assert place(f"{line} --dry-run") == 0
    planned = json.loads(capsys.readouterr().out)["runs"]
    assert place(line) in (0, 3)
    tried = json.loads(capsys.readouterr().out)["trials"]
    assert planned == sum(one["runs"] for one in tried if one["method"] == "finetune") == 6 + 2 * 2


@pytest.mark.parametrize(
    ("line", "code", "message", "hint"),
    [
        (f"tune retrain {TUNE}", 4, "retrain declares no search space", "those that do: bad_teacher"),
        (f"tune fintune {TUNE}", 2, "unknown method 'fintune'", "did you mean finetune"),
        (f"tune finetune {TUNE} --objective gold", 2, "objective: expected auto, twin, holdout, accuracy, close", ""),
        (f"tune finetune {TUNE} --kind old", 2, "kind: expected auto, finetune, rewind, fresh, got 'old'", ""),
        (f"tune finetune {TUNE} --budget 0.000001", 2, "budget: the first trial takes", "raise --budget"),
        (f"tune finetune {TUNE.replace('class:3:5', 'class:3')}", 4, "is no gold for its removal", "class:C:N"),
        (f"tune finetune {TUNE.replace('run', 'gone')}", 4, "gone: expected a folder with manifest", "expunge train"),
        (f"tune finetune {TUNE.replace('--trials 4', '--trials 0')}", 2, "trials: expected >= 1, got 0", ""),
    ],
)
def test_errors_say_what_was_expected_and_what_mends_it(place, capsys, line, code, message, hint):
    assert place(line) == code
    words = capsys.readouterr()
    assert words.out == ""
    assert message in words.err
    assert hint in words.err


def test_without_its_library_the_command_says_what_to_install(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert place(f"tune finetune {TUNE}") == 4
    assert 'hint: pip install "expunge[tune]"' in capsys.readouterr().err


@pytest.mark.parametrize(("name", "end"), CORNERS)
def test_every_corner_of_every_space_is_read_back_as_it_was(name, end):
    chosen = corner(name, end)
    assert read(_command(chosen, Path("a run"), "ids:my rows", 0)) == chosen


def test_a_tuple_is_read_back_as_it_was():
    chosen = Scrub(lr=0.1 / 3, decay_after=(2, 7))
    assert read(_command(chosen, Path("run"), "class:3", 0)) == chosen


def test_an_empty_tuple_is_read_back_as_it_was():
    chosen = Scrub(decay_after=())
    command = _command(chosen, Path("run"), "class:3", 0)
    assert "--empty-decay-after" in shlex.split(command)
    assert read(command) == chosen


@pytest.mark.usefixtures("here")
def test_the_command_forgets_the_rows_that_were_tuned_for(place, capsys):
    assert place(f"tune random_label {TUNE} --rows-seed 1") == 0
    assert " --rows class:3:5 --rows-seed 1 " in capsys.readouterr().out.splitlines()[-1]
