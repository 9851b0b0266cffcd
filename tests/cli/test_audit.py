"""`expunge audit` from end to end, in this process: one folder, several, stored outputs, and what is said before."""

import json
import re

import numpy as np
import pytest

from expunge.bench.fleets import Fleets
from expunge.cli import run
from expunge.cli.results import spelled
from expunge.report import render
from expunge.runs import open_unlearned
from expunge.store import Store
from tests.bench.test_stored import models, stored
from tests.cli.test_cli import Place, tree

MODELS = 20
"""Unlearned models of the method audit; the policy `screen` asks for as many."""
GOLD = 24


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """20 originals, each unlearned by retraining (good-N), the first four by next to nothing as well (bad-N).

    Gold and shadow models of seed 0 lie in the store: made here, as a worker process takes two seconds to start.
    """
    here = Place(tmp_path_factory.mktemp("audit"))
    for at in range(MODELS):
        assert here(f"train own.py:tiny -o run-{at} --seed {at}") == 0
        assert here(f"forget run-{at} --rows class:3:15 --method retrain -o good-{at} --seed {at}") == 0
    for at in range(4):
        assert here(f"forget run-{at} --rows class:3:15 --method finetune --epochs 1 --lr 0.0001 -o bad-{at}") == 0
    problem = open_unlearned(here.folder / "good-0").problem
    rows = problem.rows, problem.holdout, problem.test
    fleets = Fleets(problem.recipe, *rows, Store(here.folder / ".expunge"))
    fleets.gold(problem.forget, GOLD + MODELS, seed=0)
    fleets.shadows(8, seed=0)
    assert here(f"audit good-0 --gold {GOLD}") == 0
    assert len(trained(here)) == GOLD + MODELS + 8, "the command finds what is there"
    return here


def folders(name, count=MODELS):
    return " ".join(f"{name}-{at}" for at in range(count))


def result(place, folder):
    return json.loads((place.folder / folder / "result.json").read_text())


def trained(place):
    """Names of the finished models in the store."""
    return {path.name for path in (place.folder / ".expunge" / "model").glob("[!.]*")}


def texts(*paths):
    """Everything that is written in files and folders."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    assert files
    return "\n".join(file.read_text() for file in files)


# One folder


def test_the_exit_code_is_the_verdict(place, capsys):
    assert place(f"audit good-0 --gold {GOLD}") == 0
    assert "verdict: pass under standard, sha256 " in capsys.readouterr().out
    assert place(f"audit bad-0 --gold {GOLD}") == 1
    assert "verdict: fail under standard, sha256 " in capsys.readouterr().out
    assert place("audit good-0 --gold 6 -o few") == 3
    assert "verdict: inconclusive under standard" in capsys.readouterr().out
    assert place(f"audit good-0 --gold {GOLD} --policy strict -o strict") == 3
    words = capsys.readouterr().out
    assert "verdict: inconclusive under strict" in words
    assert "24 gold models; the policy asks for at least 64." in words


def test_the_foresight_is_said_before_and_elsewhere_than_the_result(place, capsys):
    assert place(f"audit good-0 --gold {GOLD}") == 0
    words = capsys.readouterr()
    said = "A shift of all 15 forget rows together is seen with probability 0.8 from "
    assert said in words.err
    assert said not in words.out
    assert place("audit good-0 --gold 6 -o few") == 3
    assert "The verdict will be inconclusive: policy standard needs 20 gold models, not 6." in capsys.readouterr().err


def test_shadow_models_come_into_the_result_and_the_command(place, capsys):
    assert place(f"audit good-0 --gold {GOLD} --shadows 8 -o shadowed --json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["models"]["shadow"] == 8
    assert {"lira", "rmia"} <= data["entries"][1]["measures"].keys()
    assert (
        data["command"] == f"expunge audit good-0 --gold {GOLD} --shadows 8 --policy standard --seed 0 --out shadowed"
    )
    assert data == result(place, "shadowed")


# Several folders


def test_several_folders_are_a_method_audit(place, capsys):
    """20 models a side: a perfect method fails or is unresolved once in 10 draws of seeds; this is one draw."""
    line = f"audit {folders('good')} --gold {GOLD} --policy screen"
    assert place(line) == 0
    words = capsys.readouterr()
    assert "verdict: pass under screen" in words.out
    assert words.out.rstrip().endswith("report: good-0-audit.html")
    assert "epsilon of at most" in words.err
    data = result(place, "good-0-audit")
    assert data["kind"] == "method"
    assert data["models"] == {
        "unlearned": MODELS,
        "gold": GOLD,
        "heldout": MODELS,  # as many as there are originals
        "original": MODELS,
        "shadow": 0,
    }
    assert [(entry["name"], entry["verdict"]["state"]) for entry in data["entries"]] == [
        ("original", "fail"),
        ("retrain", "pass"),
        ("gold", "pass"),
    ]
    assert data["problem"]["forget"] == "class:3:15"
    assert data["command"] == f"expunge {line.replace('--policy screen', '--policy screen --seed 0')}"


def test_models_of_one_original_are_told_apart_from_models_of_several(place, capsys):
    assert place("forget run-0 --rows class:3:15 --method finetune --epochs 1 --lr 0.0001 -o bad-again --seed 5") == 0
    assert place("forget run-0 --rows class:3:15 --method finetune --epochs 1 --lr 0.0001 -o bad-third --seed 6") == 0
    assert place(f"audit bad-0 bad-1 bad-2 bad-again --gold {GOLD} -o four") == 3
    assert result(place, "four")["audit"]["finetune"]["models"]["originals"] == 3
    assert result(place, "four")["models"]["heldout"] == 3
    assert place(f"audit bad-0 bad-again bad-third --gold {GOLD} -o alone") == 3
    data = result(place, "alone")
    assert data["audit"]["finetune"]["models"]["originals"] == 1
    assert data["models"]["heldout"] == 0
    assert any("come from one original" in line for line in data["limits"])
    assert "The unlearned models come from one original" in capsys.readouterr().out


# Stored outputs


@pytest.fixture(scope="module")
def outputs(place):
    """Files of outputs of one model that passes, of one that fails, and of 24 models of a method."""
    ids = np.array([f"person-{at}" for at in range(184)])
    np.savez(place.folder / "one.npz", **stored(ids=ids))
    np.savez(place.folder / "known.npz", **stored(ids=ids, unlearned=models(1, 2, knows=4)))
    np.savez(place.folder / "many.npz", **stored(24, heldout=models(24, 7)))
    return place


def test_stored_outputs_are_audited_and_nothing_is_trained(outputs, capsys):
    before = trained(outputs)
    assert outputs("audit one.npz") == 0
    assert capsys.readouterr().out.rstrip().endswith("report: one-audit.html")
    assert outputs("audit known.npz") == 1
    assert outputs("audit many.npz --policy screen --seed 3 -o deep/many --json") == 0
    data = json.loads(capsys.readouterr().out.partition("{\n")[2].join(["{\n", ""]))
    assert data["command"] == "expunge audit many.npz --policy screen --seed 3 --out deep/many"
    assert (data["kind"], data["problem"]["data"], data["seed"]) == ("method", "many.npz", 3)
    assert (outputs.folder / "deep" / "many.html").is_file()
    assert trained(outputs) == before


def test_the_command_in_a_result_gives_the_same_result(outputs):
    assert outputs("audit one.npz --no-rows -o again") == 0
    first = result(outputs, "again")
    assert first["command"] == "expunge audit one.npz --policy standard --seed 0 --out again --no-rows"
    assert outputs(first["command"].removeprefix("expunge ")) == 0
    assert result(outputs, "again") == first


def test_the_page_is_that_of_the_result(outputs):
    assert outputs("audit one.npz -o drawn") == 0
    assert (outputs.folder / "drawn.html").read_text() == render(result(outputs, "drawn"))
    (outputs.folder / "drawn.html").unlink()
    assert outputs("report drawn") == 0
    assert (outputs.folder / "drawn.html").read_text() == render(result(outputs, "drawn"))


def test_a_dry_run_of_stored_outputs_says_what_could_be_seen_and_does_nothing(outputs, capsys):
    before = tree(outputs.folder)
    assert outputs("audit one.npz --dry-run") == 0
    assert capsys.readouterr().out.startswith(
        "A shift of all 24 forget rows together is seen with probability 0.8 from"
    )
    assert outputs("audit many.npz --dry-run --json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["models"], plan["to_train"], plan["parts"]) == (0, 0, {})
    assert "not 24 and 24" in plan["foresight"]["text"][0], "unlearned and gold models"
    assert tree(outputs.folder) == before


# Single rows


def test_without_rows_neither_folder_nor_page_nor_output_names_one(outputs, capsys):
    assert outputs("audit one.npz -o kept --json") == 0
    assert "person-3" in capsys.readouterr().out
    assert "person-3" in texts(outputs.folder / "kept", outputs.folder / "kept.html")
    assert outputs("audit one.npz -o kept --no-rows --json") == 0
    written = texts(outputs.folder / "kept", outputs.folder / "kept.html")
    assert "person-" not in capsys.readouterr().out + written
    assert not [path for path in outputs.folder.iterdir() if path.name.startswith(".kept")], "the older one is gone"
    assert result(outputs, "kept")["stripped"] is True
    assert outputs("report kept --json") == 0
    assert "person-" not in capsys.readouterr().out


def test_without_rows_the_people_who_are_forgotten_are_not_shown(place):
    ids = result(place, "good-0-audit")["per_row"]["forget"]["ids"]
    (place.folder / "people.txt").write_text("\n".join(ids))
    assert place("forget run-0 --rows ids:people.txt --method retrain -o unnamed") == 0
    assert place(f"audit unnamed --gold {GOLD} -o plain") == 0
    assert result(place, "plain")["problem"]["forget"] == "ids:people.txt"
    assert ids[0] in texts(place.folder / "plain")
    assert place(f"audit unnamed --gold {GOLD} -o hidden --no-rows") == 0
    assert result(place, "hidden")["problem"]["forget"] == "ids, not shown"
    written = texts(place.folder / "hidden", place.folder / "hidden.html")
    assert not [row_id for row_id in ids if row_id in written]
    assert "people.txt" not in written
    assert result(place, "hidden")["verdict"] == result(place, "plain")["verdict"]


# Before anything is trained


def test_a_dry_run_says_what_it_takes_and_what_it_could_see_and_trains_nothing(place, capsys):
    line = "audit good-0 --gold 50 --shadows 4 --dry-run"
    before = tree(place.folder)
    assert place(line) == 0
    assert tree(place.folder) == before
    gold, shadow, total, *foresight = capsys.readouterr().out.splitlines()
    visits = 6 * 15 * 185
    assert gold.startswith(f"gold: 50 models: 44 in the store, 6 to train, {visits:,} row visits, about ")
    assert re.search(r"about \d+\.\d minutes on one process, at least \d+ MB of outputs$", gold)
    assert shadow.startswith("shadows: 4 models: 0 in the store, 4 to train, ")
    assert total.startswith("total: 54 models: 44 in the store, 10 to train, ")
    assert re.match(
        r"A shift of all 15 forget rows together is seen with probability 0\.8 from \d+(\.\d+)? times gold's spread on",
        foresight[0],
    )


def test_a_dry_run_of_several_folders_counts_held_out_gold(place, capsys):
    line = f"audit {folders('bad', 3)} --gold 6 --seed 8 --dry-run"
    assert place(f"{line} --json") == 0
    words = capsys.readouterr()
    plan = json.loads(words.out)
    assert (plan["models"], plan["to_train"], plan["parts"].keys()) == (6 + 3, 6 + 3, {"gold"})
    items = {item["name"]: item for item in plan["foresight"]["items"]}
    assert items["shift"]["value"] is None, "3 models on a side see no shift of any size"
    assert {"row", "epsilon_ceiling", "unlearned_needed", "gold_needed"} <= items.keys()
    assert words.err == ""
    assert place(line) == 0
    assert "policy standard needs 32 unlearned and 20 gold models, not 3 and 6" in capsys.readouterr().out
    assert place("audit bad-0 --gold 6 --seed 8 --dry-run --json") == 0
    assert json.loads(capsys.readouterr().out)["models"] == 6


def test_what_a_dry_run_promises_is_what_is_trained(place, capsys):
    line = f"audit {folders('bad', 4)} --gold 8 --shadows 4 --seed 9"
    assert place(f"{line} --dry-run --json") == 0
    plan, before = json.loads(capsys.readouterr().out), trained(place)
    assert plan["to_train"] == plan["models"] == 8 + 4 + 4
    place(f"{line} --processes 1 -o promised")
    assert len(trained(place) - before) == plan["to_train"]
    capsys.readouterr()
    assert place(f"{line} --dry-run --json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["to_train"], again["in_store"], again["visits"]) == (0, plan["models"], 0)


# What is refused


@pytest.fixture(scope="module")
def odd(outputs):
    """Folders and files that do not go with good-0, or with anything."""
    folder = outputs.folder
    (folder / "typo.toml").write_text("shift_margn = 0.5\n")
    (folder / "text.toml").write_text('alpha = "high"\n')
    (folder / "torn.toml").write_text("alpha =\n")
    (folder / "low.toml").write_text("gold = 18\n")
    assert outputs("forget run-1 --rows class:3:14 --method retrain -o other-rows") == 0
    assert outputs("forget run-1 --rows class:3:15 --method finetune --epochs 2 -o other-setting") == 0
    (folder / "broken.npz").write_text("nothing")
    np.savez(folder / "bare.npz", gold=np.zeros((4, 3)))
    np.savez(folder / "typo.npz", **stored(golds=np.zeros(3)))
    return outputs


ERRORS = [
    ("audit", 2, "audit: expected a folder made by `expunge forget`", "`expunge audit --help`"),
    ("audit good-0 good-1 good-0 --gold 24", 2, "good-0: named twice", "name each unlearned model once"),
    ("audit good-0 good-1 ./good-1 --gold 24", 2, "good-1: named twice", "name each unlearned model once"),
    ("audit good-0 other-rows --gold 24", 2, "other-rows: another forget set than good-0", "one forget set"),
    ("audit good-0 bad-1 --gold 24", 2, "bad-1: another method than good-0", "models of one method"),
    ("audit bad-0 other-setting --gold 24", 2, "other-setting: another settings than bad-0", "one setting"),
    ("audit good-0 gone --gold 24", 4, "gone: expected a folder with manifest.json, found none", "expunge forget"),
    ("audit good-0 run-1 --gold 24", 4, "expected a folder of kind 'unlearned', got 'run'", "expunge forget"),
    ("audit good-0 one.npz", 2, "audit: expected one.npz alone", "holds all outputs of an audit"),
    ("audit one.npz many.npz", 2, "audit: expected one.npz alone", "holds all outputs of an audit"),
    ("audit gone.npz", 4, "no file gone.npz", "numpy.savez writes one"),
    ("audit broken.npz", 4, "broken.npz: not an .npz of plain arrays", "write it with numpy.savez"),
    ("audit bare.npz", 4, "stored outputs: the array 'unlearned' is missing", "known are gold, unlearned, original"),
    ("audit typo.npz", 2, "stored outputs: unknown array 'golds'", "known are gold, unlearned, original"),
    ("audit good-0 --policy typo.toml", 2, "policy typo: unknown key 'shift_margn'", "excess_margin, gold"),
    ("audit good-0 --policy text.toml", 2, "policy text: alpha: expected a number, got 'high'", ""),
    ("audit good-0 --policy torn.toml", 2, "policy torn: not TOML", ""),
    ("audit good-0 --policy low.toml", 2, "gold: expected a whole number >= 19, got 18", ""),
    ("audit good-0 --policy gone.toml", 4, "policy: no file gone.toml", "screen, standard, strict"),
    ("audit good-0 --policy stric", 2, "unknown policy 'stric'", "did you mean strict"),
    ("audit one.npz --policy typo.toml", 2, "policy typo: unknown key 'shift_margn'", "excess_margin, gold"),
    ("audit good-0 --gold 3", 2, "gold: expected 4 to 100,000 models, got 3", ""),
    ("audit good-0 --gold 24 --shadows 5", 2, "shadows: expected 0, or an even number >= 4, got 5", ""),
    ("audit good-0 --gold 24 --shadows 2 --dry-run", 2, "shadows: expected 0, or an even number >= 4, got 2", ""),
    ("audit good-0 --gold 26 --device abacus", 4, "device: torch cannot use 'abacus'", "cpu always works"),
    ("audit good-0 --gold 26 --processes 0", 2, "processes: expected >= 1, got 0", ""),
    ("audit one.npz -o run-0", 4, "run-0 exists already and holds no result", "choose another -o"),
]


@pytest.mark.parametrize(("line", "code", "message", "hint"), ERRORS, ids=[line for line, *_ in ERRORS])
def test_every_error_is_a_sentence_with_a_hint_and_leaves_nothing_behind(odd, capsys, line, code, message, hint):
    before = {path for path in odd.folder.rglob("*") if "__pycache__" not in path.parts}
    assert odd(line) == code
    words = capsys.readouterr()
    assert words.out == ""
    first, *rest = words.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(rest) == bool(hint)
    assert hint in "".join(rest)
    assert {path for path in odd.folder.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.mark.parametrize("file", ["result.json", "manifest.json"])
def test_a_result_that_was_edited_by_hand_is_refused(outputs, capsys, file):
    assert outputs("audit known.npz -o edited") == 1
    path = outputs.folder / "edited" / file
    text = path.read_text()
    assert text.count("fail") or file == "manifest.json"
    path.write_text(text.replace('"fail"', '"pass"') if file == "result.json" else text.replace("audit of", "pass of"))
    assert path.read_text() != text
    capsys.readouterr()
    page = (outputs.folder / "edited.html").read_text()
    for line in ("report edited", "report edited --json"):
        assert outputs(line) == 4
        words = capsys.readouterr()
        assert words.out == ""
        assert words.err.startswith("error: edited")
        assert "(damaged or edited)" in words.err
    assert (outputs.folder / "edited.html").read_text() == page
    path.write_text(text)
    assert outputs("report edited") == 0


def test_help_tells_what_an_npz_holds(capsys):
    assert run(["audit", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for name in ("gold, unlearned, original", "heldout, ids, groups, shadows and membership", "--no-rows", "--shadows"):
        assert name in words


# What a person types


def test_a_command_is_spelled_as_a_person_types_it():
    assert spelled("audit", "a", "b c", gold=24, data=None) == "expunge audit a 'b c' --gold 24"
    assert spelled("audit", "a", **{"no-rows": True, "out": "it's"}) == "expunge audit a --no-rows --out 'it'\"'\"'s'"
    assert spelled("audit", gold=0, seed=0) == "expunge audit --gold 0 --seed 0", "a zero was given"
    assert spelled("bench") == "expunge bench"
