"""The command line from end to end, in this process; a few times as a process of its own."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expunge import __version__, cli
from expunge.audit import MEASURES
from expunge.bench.suite import suites
from expunge.cli import app, run
from expunge.data import DATASETS
from expunge.gan.methods import GAN_METHODS
from expunge.gan.recipes import GAN_RECIPES
from expunge.methods import METHODS
from expunge.training.recipes import RECIPES
from tests.bench.problem import suite_text

RECIPE = """
import expunge as ex

TEN = ex.Classification(10)
tiny = ex.Recipe(name="tiny", data="digits@200", model="linear", task=TEN, epochs=15, batch_size=50, lr=0.1)
elsewhere = ex.Recipe(name="elsewhere", data="mnist@50", model="linear", task=TEN)
nowhere = ex.Recipe(name="nowhere", model="linear", task=TEN)
number = 3
"""
COMMANDS = ["demo", "train", "forget", "audit", "bench", "report", "methods", "measures", "recipes", "data"]
ESCAPE = "\x1b"


class Place:
    """A folder with a recipe file, and what was made in it; commands run inside it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "own.py").write_text(RECIPE)

    def __call__(self, line):
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return run(line.split())
        finally:
            os.chdir(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained run, a good and a bad unlearned model, 24 gold models, and both audits."""
    here = Place(tmp_path_factory.mktemp("cli"))
    assert here("train own.py:tiny -o run") == 0
    assert here("forget run --rows class:3:15 --method retrain -o good") == 0
    assert here("forget run --rows class:3:15 --method finetune --epochs 1 --lr 0.0001 -o bad") == 0
    assert here("audit good --gold 24 --processes 1") == 0
    assert here("audit bad --gold 24 --processes 1") == 1
    return here


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in str(path)}


def process(arguments, folder, **settings):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    return subprocess.Popen(
        [sys.executable, "-m", "expunge", *arguments.split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_train_forget_audit_report(place, capsys):
    assert place("train own.py:tiny -o run2 --seed 3") == 0
    assert re.search(r"run2: tiny, train accuracy [01]\.\d+, test accuracy 0\.\d+", capsys.readouterr().out)
    assert place("forget run2 --rows random:5 --method finetune --epochs 2 -o un2") == 0
    words = capsys.readouterr().out
    assert "un2: 5 rows" in words
    assert "13.3% of the row visits of one retraining" in words
    assert "next: expunge audit un2 --gold 64" in words
    assert place("audit good --gold 24 -o again") == 0
    words = capsys.readouterr().out
    assert "verdict: pass" in words
    assert words.rstrip().endswith("report: again.html")
    assert place("report again -o drawn.html") == 0
    assert (place.folder / "drawn.html").read_text() == (place.folder / "again.html").read_text()
    assert "class:3:15" in (place.folder / "drawn.html").read_text()


def test_the_exit_code_is_the_verdict(place, capsys):
    assert place("audit good --gold 24") == 0
    assert place("audit bad --gold 24") == 1
    assert place("audit good --gold 6") == 3
    assert "verdict: inconclusive" in capsys.readouterr().out
    assert place("audit good --gold many") == 2
    assert place("audit nothing") == 4


@pytest.mark.parametrize(
    ("line", "keys", "code"),
    [
        ("train own.py:tiny -o json1 --json", {"run", "accuracy", "cost"}, 0),
        ("train own.py:tiny -o json2 --json --dry-run", {"models", "rows", "visits", "out"}, 0),
        (
            "forget run --rows random:3 --method finetune --epochs 1 -o json3 --json",
            {"out", "before", "after", "cost", "fraction_of_retraining", "notes"},
            0,
        ),
        (
            "forget run --rows random:3 --method scrub -o json4 --json --dry-run",
            {"method", "settings", "forget", "retain", "out"},
            0,
        ),
        ("audit bad --gold 24 --json", {"schema", "verdict", "entries"}, 1),
        ("audit bad --gold 30 --json --dry-run", {"models", "in_store", "to_train", "visits", "sentence"}, 0),
        ("report bad-audit --json", {"schema", "verdict", "entries"}, 0),
        ("bench --list --json", {"demo"}, 0),
        ("bench demo --dry-run --json", {"models", "parts", "foresight", "unlearning_runs", "sentence"}, 0),
        ("methods scrub --json", {"name", "page", "flags", "needs"}, 0),
        ("measures klom --json", {"name", "page"}, 0),
        ("recipes digits-mlp --json", {"model", "task", "epochs"}, 0),
    ],
)
def test_json_is_json_and_nothing_else(place, capsys, line, keys, code):
    assert place(line) == code
    words = capsys.readouterr()
    assert keys <= json.loads(words.out).keys()
    assert words.err == ""


def test_a_dry_run_says_what_and_does_nothing(place, capsys):
    assert place("audit bad --gold 30 --dry-run") == 0  # so that the speed is on record
    before = tree(place.folder)
    capsys.readouterr()
    assert place("train own.py:tiny -o dry1 --dry-run") == 0
    assert capsys.readouterr().out == "would train 1 model: 200 rows x 15 epochs\n"
    assert place("forget run --rows random:3 --method scrub -o dry2 --dry-run") == 0
    assert capsys.readouterr().out == "would forget 3 of 200 rows by scrub into dry2\n"
    assert place("audit bad --gold 30 --dry-run") == 0
    words = capsys.readouterr().out
    assert "A shift of all 15 forget rows together is seen with probability 0.8 from " in words
    assert words.startswith("gold: 30 models: 24 in the store, 6 to train, 16,650 row visits, about ")
    assert tree(place.folder) == before


def test_a_dry_run_of_a_suite_trains_nothing(tmp_path, capsys):
    (tmp_path / "dry.toml").write_text(suite_text(tmp_path))
    assert run(["bench", f"{tmp_path / 'dry.toml'}", "--dry-run", "--store", str(tmp_path / "store")]) == 0
    words = capsys.readouterr().out
    assert "originals: 4 models: 0 in the store, 4 to train" in words
    assert "gold, class:3:10: 10 models: 0 in the store, 10 to train" in words
    assert words.endswith("and up to 8 unlearning runs\n")
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["rows", "timing"]


ERRORS = [
    ("train digits-mpl -o x", 2, "unknown recipe 'digits-mpl'", "did you mean digits-mlp"),
    ("train nothing.py:tiny -o x", 2, "no such file", ""),
    ("train own.py:tyni -o x", 2, "expected a Recipe called 'tyni' in own.py, got NoneType", "NAME = expunge.Recipe"),
    ("train own.py:number -o x", 2, "expected a Recipe called 'number' in own.py, got int", "NAME = expunge.Recipe"),
    ("train own.py:nowhere -o x", 4, "recipe nowhere: names no data set", "expunge data"),
    ("train own.py:elsewhere -o x", 4, "data set mnist: no data folder is set", "EXPUNGE_DATA or give --data DIR"),
    ("train own.py:elsewhere -o x --data gone", 4, "data set mnist: nothing at gone/mnist", "nothing is downloaded"),
    ("train own.py:tiny -o run", 4, "run exists already", "choose another -o"),
    ("train own.py:tiny -o own.py/x", 4, "own.py/x: expected a folder, but own.py is a file", "choose another -o"),
    ("train own.py:tiny -o x --seed 1.5", 2, "expected a whole number, got 1.5", "--help"),
    ("train own.py:tiny -o x --device abacus", 4, "device: torch cannot use 'abacus'", "cpu always works"),
    ("train own.py:tiny -o x --seed one", 2, "Invalid value for --seed", "--help"),
    ("train own.py:tiny", 2, "--out", "--help"),
    ("train own.py:tiny -o x --epoch 3", 2, "Unknown option: --epoch", "--help"),
    ("trian own.py:tiny -o x", 2, 'Did you mean "train"', "--help"),
    ("forget gone --rows random:3 --method scrub -o x", 4, "gone: expected a folder with manifest", "expunge train"),
    ("forget good --rows random:3 --method scrub -o x", 4, "expected a folder of kind 'run'", "expunge train"),
    ("forget broken --rows random:3 --method scrub -o x", 4, "is not what the manifest recorded", "restore it"),
    ("forget torn --rows random:3 --method scrub -o x", 4, "torn/manifest.json: not a manifest", ""),
    ("forget run --rows random:3 --method scurb -o x", 2, "unknown method 'scurb'", "did you mean scrub"),
    ("forget run --rows random:3 --method scrub -o good", 4, "good exists already", "choose another -o"),
    ("forget run --rows random:3 --method scrub -o x --epoch 3", 2, "scrub: Unknown option: --epoch", "methods scrub"),
    ("forget run --rows random:3 --method scrub -o x --lr -1", 2, "lr: expected > 0, got -1", ""),
    ("forget run --rows random:3 --method scrub -o x --lr up", 2, "scrub: Invalid value for --lr", "methods scrub"),
    ("forget run --rows randomly --method scrub -o x", 2, "expected one of random:N, class:C", ""),
    ("forget run --rows random:0 --method scrub -o x", 2, "expected at least 1 row, got 'random:0'", ""),
    ("forget run --rows random:201 --method scrub -o x", 2, "expected at least 201 such rows, got 200", ""),
    ("forget run --rows random:200 --method scrub -o x", 2, "all 200 training rows", "delete the model"),
    ("forget run --rows class:11 --method scrub -o x", 2, "no class is called '11'", "classes: 0, 1, 2"),
    ("forget run --rows ids:gone --method scrub -o x", 4, "ids: no file gone", "one row id a line"),
    ("forget run --rows ids:own.py --method scrub -o x", 2, "are not among the training rows", ""),
    ("forget run --rows indices:gone.npy --method scrub -o x", 4, "indices: no file gone.npy", "numpy.save"),
    ("forget run --rows indices:own.py --method scrub -o x", 2, "is not a .npy array", ""),
    ("forget run --rows subject:me --method scrub -o x", 4, "carry no data subjects", "ids:FILE"),
    ("forget run --rows random:3 --method scrub -o own.py/x", 4, "but own.py is a file", "choose another -o"),
    ("forget run --rows random:9 --method finetune --lr 1e30 -o x", 2, "the original model is untouched", "lower lr"),
    ("audit gone", 4, "gone: expected a folder with manifest", "expunge forget"),
    ("audit run", 4, "expected a folder of kind 'unlearned', got 'run'", "expunge forget"),
    ("audit good --gold 0", 2, "gold: expected 4 to 100,000 models, got 0", ""),
    ("audit good --gold 10000000 --dry-run", 2, "gold: expected 4 to 100,000 models, got 10000000", ""),
    ("audit good --gold 24 -o own.py/x", 4, "own.py/x: expected a folder, but own.py is a file", "choose another -o"),
    ("audit good --gold 24 -o page", 4, "page.html exists already, and no result beside it", "choose another -o"),
    ("audit good --gold 24 --store own.py", 4, "own.py: expected a folder", "--store or EXPUNGE_STORE"),
    ("audit good --gold 26 -o x --device abacus", 4, "device: torch cannot use 'abacus'", "cpu always works"),
    ("bench demo --store own.py/x", 4, "own.py/x: expected a folder, but own.py is a file", "--store"),
    ("bench demo -o page", 4, "page.html exists already, and no result beside it", "choose another -o"),
    ("demo --store own.py", 4, "own.py: expected a folder, but own.py is a file", "--store"),
    ("demo -o page", 4, "page.html exists already, and no result beside it", "choose another -o"),
    ("audit good --gold 24 --processes 0", 2, "processes: expected >= 1, got 0", ""),
    ("audit good --gold 24 -o run", 4, "run exists already and holds no result", "choose another -o"),
    ("report gone", 4, "gone: expected a folder with manifest", "expunge audit"),
    ("report run", 4, "expected a folder of kind 'result', got 'run'", "expunge audit"),
    ("report good-audit -o own.py/page.html", 4, "could not write own.py/page.html", "another place with -o"),
    ("bench", 2, "expected the name of a suite", "expunge bench --list"),
    ("bench dmeo", 2, "unknown suite 'dmeo'", "did you mean demo"),
    ("bench gone.toml", 2, "suite: no file gone.toml", "expunge bench --list"),
    ("bench wrong.toml", 2, "suite wrong: unknown key 'rceipe'", "recipe"),
    ("bench demo -o run", 4, "run exists already and holds no result", "choose another -o"),
    ("demo -o run", 4, "run exists already and holds no result", "choose another -o"),
    ("methods scurb", 2, "unknown method 'scurb'", "did you mean scrub"),
    ("measures kolm", 2, "unknown measure 'kolm'", "did you mean klom"),
    ("recipes digits", 2, "unknown recipe 'digits'", "did you mean digits-"),
    ("data digit", 2, "unknown data set 'digit'", "did you mean digits"),
]


@pytest.mark.parametrize(("line", "code", "message", "hint"), ERRORS, ids=[line for line, *_ in ERRORS])
def test_every_error_is_a_sentence_with_a_hint(place, capsys, monkeypatch, line, code, message, hint):
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    (place.folder / "page.html").write_text("a page of the person's own")
    (place.folder / "wrong.toml").write_text('rceipe = "digits-mlp"')
    _damaged(place.folder)
    before = {path for path in tree(place.folder) if ".expunge" not in path.parts}
    assert place(line) == code
    words = capsys.readouterr()
    assert words.out == ""
    lines = words.err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert len(lines) == 1 + bool(hint)
    assert hint in lines[-1].removeprefix("hint: ")
    assert "Traceback" not in words.err
    assert {path for path in tree(place.folder) if ".expunge" not in path.parts} == before, "nothing is left behind"


def _damaged(folder):
    """A run whose weights were changed, and one whose manifest was cut."""
    for name in ("broken", "torn"):
        (folder / name).mkdir(exist_ok=True)
        for file in (folder / "run").iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    manifest = folder / "torn" / "manifest.json"
    manifest.write_text(manifest.read_text()[:100])


def test_something_else_is_never_deleted_for_a_result(place):
    before = tree(place.folder / "run")
    assert place("audit good --gold 24 -o run") == 4
    assert tree(place.folder / "run") == before


def test_a_folder_may_be_where_one_stands(place, monkeypatch, capsys):
    monkeypatch.setenv("EXPUNGE_STORE", str(place.folder / ".expunge"))
    monkeypatch.chdir(place.folder / "good")
    assert run(["audit", ".", "--gold", "24"]) == 0
    monkeypatch.chdir(place.folder / "good-audit")
    (place.folder / "good-audit.html").unlink()
    assert run(["report", "."]) == 0
    assert (place.folder / "good-audit.html").is_file()
    assert run(["audit", "../good", "--gold", "24", "-o", "."]) == 0


def test_the_command_in_the_result_has_what_the_person_gave(place, capsys):
    assert place("audit good --gold 24 --processes 1 --store .expunge -o own/out") == 0
    assert place("report own/out --json") == 0
    shown = capsys.readouterr().out
    command = "expunge audit good --gold 24 --policy standard --seed 0 --store .expunge --out own/out"
    assert json.loads(shown[shown.index("{\n") :])["command"] == command


REGRESSION = """
import expunge as ex

line = ex.Recipe(name="line", data="csv:line.csv?label=y", model="linear", task=ex.Regression(), epochs=1)
"""


def test_a_regression_is_refused_before_anything_is_trained(place, capsys):
    (place.folder / "line.py").write_text(REGRESSION)
    (place.folder / "line.csv").write_text("x,y\n" + "\n".join(f"{i},{i / 2 + 0.25}" for i in range(40)))
    (place.folder / "line.toml").write_text(suite_text(place.folder).replace("own.py:tiny", "line.py:line"))
    (place.folder / "own.py").write_text(RECIPE)
    assert place("train line.py:line -o line") == 0
    assert place("forget line --rows random:3 --method finetune --epochs 1 -o unline") == 0
    capsys.readouterr()
    for line in ("audit unline --gold 24 --store fresh", "bench line.toml --store fresh"):
        assert place(line) == 4
        assert "audits need a classification task, got regression" in capsys.readouterr().err
    assert not (place.folder / "fresh").exists()


OWN_MODEL = """
import expunge as ex
from torch import nn


def net(shape, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width))


mine = ex.Recipe(name="mine", data="digits@50", model="net.py:net", task=ex.Classification(10), epochs=1)
"""


def test_a_model_in_a_file_is_built_where_the_person_names_the_file(place, capsys):
    (place.folder / "net.py").write_text(OWN_MODEL)
    assert place("train net.py:mine -o mine") == 0
    forget = "forget mine --rows random:3 --method finetune --epochs 1 -o unmine"
    capsys.readouterr()
    assert place(forget) == 4
    words = capsys.readouterr().err
    assert "error: mine: its model is code in the file net.py (SHA-256 " in words
    assert words.endswith("hint: read that file; if you trust it, name it: --code net.py\n")
    assert place(f"{forget} --code net.py") == 0
    assert place("audit unmine --gold 4 --dry-run") == 4
    assert place("audit unmine --gold 4 --dry-run --code net.py") == 0


def test_an_error_that_nobody_foresaw_is_no_failed_audit(monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("a word\nand another")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.delenv("EXPUNGE_DEBUG", raising=False)
    assert run(["recipes"]) == 70
    words = capsys.readouterr().err
    assert words.startswith("error: internal error: ZeroDivisionError: a word and another\nhint: ")
    assert "EXPUNGE_DEBUG=1" in words
    assert "Traceback" not in words
    monkeypatch.setenv("EXPUNGE_DEBUG", "1")
    assert run(["recipes"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        *((name, "finished models are kept") for name in ("demo", "audit", "bench")),
        ("train", "starts a classifier anew, and goes on with a GAN"),
        ("forget", "nothing was kept"),
        ("report", None),
    ],
)
def test_ctrl_c_promises_only_what_is_true(command, hint, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stopped)
    assert run([command]) == 130
    words = capsys.readouterr().err
    assert words.startswith("error: stopped\n")
    assert (hint in words) if hint else ("hint" not in words)


def test_an_older_result_makes_room_for_a_newer_one(place):
    assert place("audit good --gold 24 -o twice") == place("audit good --gold 24 -o twice") == 0


def test_an_original_that_is_gone_is_told(place, capsys):
    assert place("train own.py:tiny -o short") == 0
    assert place("forget short --rows random:3 --method finetune --epochs 1 -o orphan") == 0
    (place.folder / "short").rename(place.folder / "moved")
    capsys.readouterr()
    assert place("audit orphan --gold 24") == 4
    assert "short: expected a folder with manifest.json, found none" in capsys.readouterr().err
    assert place("train own.py:tiny -o short --seed 1") == 0
    assert place("audit orphan --gold 24") == 4
    assert "not the run that orphan was unlearned from" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_argument_has_help(command, capsys):
    assert run([command, "--help"]) == 0
    words = capsys.readouterr().out
    assert f"Usage: expunge {command}" in words
    for argument in app[command].assemble_argument_collection(parse_docstring=True):
        if argument.parameter.show is not False:
            assert argument.parameter.help, f"{command} {argument.name}: a line under Args says what it is"


def test_the_first_page_lists_every_command(capsys):
    assert run(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f" {command} " in page for command in COMMANDS)
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("methods", {*METHODS, *GAN_METHODS}),
        ("measures", MEASURES),
        ("recipes", {*RECIPES, *GAN_RECIPES}),
        ("data", DATASETS),
        ("bench --list", suites()),
    ],
    ids=["methods", "measures", "recipes", "data", "suites"],
)
def test_listings_name_everything(command, names, capsys):
    assert run(command.split()) == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].strip()]
    assert set(names) <= set(first)
    assert run([*command.split(), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(names) == {next(iter(line.values())) for line in listed} if isinstance(listed, list) else set(listed)


@pytest.mark.parametrize(
    ("command", "names"),
    [("methods", METHODS), ("measures", MEASURES), ("recipes", RECIPES), ("data", DATASETS)],
    ids=["methods", "measures", "recipes", "data"],
)
def test_everything_listed_has_a_page(command, names, capsys):
    for name in names:
        assert run([command, name]) == 0
        assert len(capsys.readouterr().out) > 40, name


def test_output_that_nobody_looks_at_has_no_escape_codes(place, capsys):
    for line in ("methods", "methods scrub", "report good-audit -o plain.html", "audit bad --gold 24", "train --help"):
        place(line)
    place("train gone -o x")
    words = capsys.readouterr()
    assert ESCAPE not in words.out + words.err


@pytest.mark.parametrize(("settings", "codes"), [({"NO_COLOR": "1"}, False), ({}, True)], ids=["NO_COLOR", "colours"])
def test_no_color_is_honoured_on_a_terminal(settings, codes, tmp_path):
    master, slave = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", **settings}
    command = [sys.executable, "-m", "expunge", "methods"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=tmp_path) as shown:
        os.close(slave)
        words = b""
        while part := _read(master):
            words += part
    os.close(master)
    assert shown.returncode == 0
    assert b"scrub" in words
    assert (ESCAPE.encode() in words) == codes


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end was closed
        return b""


def test_a_process_leaves_with_the_code_and_keeps_the_streams_apart(place):
    with process("audit bad --gold 24 --json", place.folder) as started:
        out, err = started.communicate(timeout=60)
    assert (started.returncode, "error" in err) == (1, False)
    assert json.loads(out)["verdict"]["state"] == "fail"


def test_a_reader_that_goes_away_is_no_error(place):
    command = f"set -o pipefail; {sys.executable} -m expunge report good-audit --json | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=place.folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_ctrl_c_says_how_to_go_on_and_a_rerun_completes(tmp_path, monkeypatch, capsys):
    text = suite_text(tmp_path, gold=400)
    (tmp_path / "mine.toml").write_text(text)
    line = "bench mine.toml --processes 1 --json"
    with process(line, tmp_path) as started:
        end = time.monotonic() + 60
        while len(_models(tmp_path)) < 20:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.killpg(started.pid, signal.SIGINT)
        out, err = started.communicate(timeout=20)
    kept = _models(tmp_path)
    assert "Traceback" not in err
    assert (started.returncode, out) == (130, "")
    assert err.endswith(
        "error: stopped\nhint: run the same command again: finished models are kept and it goes on from there\n"
    )
    assert 20 <= len(kept) < 4 + 4 + 400
    assert not (tmp_path / "bench-mine").exists()
    (tmp_path / "mine.toml").write_text(text.replace("gold = 400", "gold = 12"))
    monkeypatch.chdir(tmp_path)
    assert run(line.split()) == 0
    assert json.loads(capsys.readouterr().out)["models"]["gold"] == 12
    assert kept.items() <= _models(tmp_path).items()


def _models(folder):
    """Finished models and when they were finished."""
    found = (folder / ".expunge" / "model").glob("[!.]*")
    return {path.name: path.stat().st_mtime_ns for path in found}
