"""`expunge.audit`: one model against gold."""

import copy

import numpy as np
import pytest

import expunge as ex
from expunge.errors import ConfigError, StoreError
from expunge.fleet import role_seeds
from expunge.report import render
from expunge.store import Store
from expunge.training import fit
from tests.bench.problem import without_times
from tests.tiny import same_weights, tiny_problem, tiny_recipe

GOLD = 20


@pytest.fixture(scope="module")
def problem():
    recipe = tiny_recipe(epochs=30, batch_size=16)
    return tiny_problem(seed=0, rows=90, forget=28, recipe=recipe, kind="class")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def of_original(problem, store):
    return ex.audit(problem, problem.original, gold=GOLD, store=store)


@pytest.fixture(scope="module")
def of_gold(problem, store):
    (seed,) = role_seeds(99, "unlearned", 1)
    retrained = fit(problem.recipe, problem.rows, problem.retain, seed=seed).model
    return ex.audit(problem, retrained, gold=GOLD, store=store)


def omnibus(result):
    return result.data["audit"]["joint"]["forget"]["omnibus"]


def distance(result, split="forget"):
    found = [entry for entry in result.data["entries"] if entry["name"] == "unlearned"]
    return found[0]["measures"]["row_z"][split]["value"]


def test_gold_looks_like_gold_and_the_original_does_not(of_gold, of_original):
    """20 gold models: p of the original is the least possible, 1 / 21; false alarms on gold: 1 in 20."""
    assert omnibus(of_original) <= 1 / 20
    assert omnibus(of_gold) > 1 / 20
    assert distance(of_gold) < distance(of_original) / 1.5
    assert of_gold.data["audit"]["controls"]["original_verdict"] == "fail"
    assert (of_gold.verdict, of_original.verdict) == ("pass", "fail")


def test_the_result_is_whole_and_the_report_accepts_it(of_gold):
    data = of_gold.data
    assert (data["schema"], data["kind"]) == (1, "model")
    assert [entry["name"] for entry in data["entries"]] == ["original", "unlearned", "gold"]
    assert data["models"] == {"unlearned": 1, "gold": GOLD, "heldout": 0, "original": 1}
    assert data["problem"]["rows"] == {"forget": 28, "retain": 62, "holdout": 60, "test": 60}
    assert "audit of model" in render(data)


def test_too_few_gold_models_are_inconclusive(problem, store):
    result = ex.audit(problem, problem.original, gold=6, store=store)
    assert result.verdict == "inconclusive"
    assert "at least 19 are needed" in " ".join(result.data["verdict"]["reasons"])


@pytest.mark.parametrize("gold", [-1, 0, 3])
def test_fewer_gold_models_than_can_be_compared_are_refused_at_once(problem, tmp_path, gold):
    with pytest.raises(ConfigError, match=f"gold: expected 4 to 100,000 models, got {gold}"):
        ex.audit(problem, problem.original, gold=gold, store=Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_the_table_and_the_page(of_gold, tmp_path):
    lines = of_gold.table().splitlines()
    assert lines[0].startswith("audit of model")
    assert "\x1b" not in of_gold.table()
    page = of_gold.to_html(tmp_path / "deep" / "page.html")
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_a_sentence(of_gold, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="could not write"):
        of_gold.to_html(tmp_path / "file" / "page.html")


def test_the_original_stays_as_it_is(problem, store):
    before, training = copy.deepcopy(problem.original), problem.original.training
    ex.audit(problem, problem.original, gold=4, store=store)
    assert same_weights(before, problem.original)
    assert problem.original.training == training


def test_gold_is_found_again(problem, store, of_gold):
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    again = ex.audit(problem, problem.original, gold=GOLD, store=store)
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before
    assert without_times(again.data["entries"][2]) == without_times(of_gold.data["entries"][2])


def test_what_a_method_returned_brings_its_name_settings_and_cost(problem, store):
    unlearned = ex.methods.METHODS["finetune"](epochs=3).run(problem, seed=0)
    entry = ex.audit(problem, unlearned, gold=4, store=store).data["entries"][1]
    assert (entry["label"], entry["settings"]["epochs"]) == ("finetune", 3)
    assert entry["cost"]["fraction"] == pytest.approx(3 / 30)
    assert "population_attack" in entry["measures"]


def test_no_attack_uses_holdout_rows_that_the_method_trained_on(problem, store):
    unlearned = ex.methods.METHODS["reset_finetune"](preset="kde").run(problem, seed=0)
    result = ex.audit(problem, unlearned, gold=4, store=store)
    original, changed, _ = result.data["entries"]
    assert "population_attack" not in changed["measures"]
    assert "population_attack" in original["measures"]
    assert result.data["audit"]["attack"] == {}


def test_another_seed_is_another_gold_fleet(problem, store, of_gold):
    other = ex.audit(problem, problem.original, gold=4, seed=1, store=store)
    same = ex.audit(problem, problem.original, gold=4, seed=0, store=store)
    ours, theirs = (result.data["per_row"]["forget"]["values"]["original"] for result in (other, same))
    assert not np.allclose(ours, theirs)
