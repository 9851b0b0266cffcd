"""`run_suite` on a tiny suite: the result is whole, its controls say what they must, nothing is done twice."""

import copy
import math

import numpy as np
import pytest

from expunge.bench.bench import CELLS, run_suite
from expunge.bench.cell import Cell
from expunge.bench.suite import parse_suite
from expunge.data import ForgetSet, load
from expunge.errors import StoreError
from expunge.fleet import Here, Task
from expunge.report import render
from expunge.training.recipes import recipe
from tests.bench.problem import HOLDOUT_METHOD, METHODS, fixed_choice, suite_text, without_times

PARTS = {
    "schema",
    "kind",
    "title",
    "command",
    "versions",
    "machine",
    "seed",
    "problem",
    "models",
    "retraining",
    "verdict",
    "statements",
    "entries",
    "densities",
    "per_row",
    "limits",
}
SPLITS = ["forget", "retain", "test"]


class Counting:
    """`Here`, with the jobs that it was given."""

    processes = 1

    def __init__(self):
        self.models, self.cells = 0, 0

    def map(self, work, jobs):
        jobs = list(jobs)
        self.models += sum(len(job.get("tasks", [])) for job in jobs)
        self.cells += sum(len(job.get("cells", [])) for job in jobs)
        return Here().map(work, jobs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The suite's text, its store, and the result of a run."""
    folder = tmp_path_factory.mktemp("bench")
    text = suite_text(folder, methods=METHODS + HOLDOUT_METHOD)
    suite = parse_suite("mine", text)
    store, counting = fixed_choice(folder / "store", suite.recipe, stacked=True), Counting()
    (result,) = run(suite, store, counting)
    assert (counting.models, counting.cells) == (4 + 4 + 6, 4 * 3 + 3), "originals, held-out gold, gold; cells"
    return text, store, result


def run(suite, store, executor=None):
    return list(run_suite(suite, recipe(suite.recipe), store=store, command="expunge bench mine", executor=executor))


def entry(result, name):
    (found,) = [entry for entry in result["entries"] if entry["name"] == name]
    return found


def test_the_result_has_every_part_of_the_schema(made):
    result = made[2]
    assert result.keys() == PARTS
    assert (result["schema"], result["kind"], result["verdict"]["state"] in ("measured", "inconclusive")) == (
        1,
        "method",
        True,
    )
    assert result["problem"] == {
        "recipe": "tiny",
        "data": "digits@120",
        "forget": "class:3:10",
        "forget_seed": 0,
        "rows": {"forget": 10, "retain": 110, "holdout": 120, "test": 400},
    }
    assert result["models"] == {"unlearned": 4, "gold": 6, "heldout": 4, "original": 4}
    assert [part["name"] for part in result["entries"]] == [
        "original",
        "finetune",
        "ascent",
        "reset_finetune",
        "gold",
    ]
    assert all(control.keys() == {"name", "holds", "detail"} for control in result["verdict"]["controls"])
    assert all(part.keys() == {"text", "value", "limit", "holds"} for part in result["statements"])
    for split in SPLITS:
        shape, rows = result["densities"][split], result["per_row"][split]
        for density in shape["density"].values():
            widths = np.diff(shape["edges"])
            assert float((np.array(density) * widths).sum()) == pytest.approx(1)
        assert len(rows["ids"]) == len(rows["labels"]) == len(rows["null"])
        assert all(len(values) == len(rows["ids"]) for values in rows["values"].values())
    assert set(result["per_row"]["forget"]["labels"]) == {3}


def test_entries_are_whole(made):
    needed = {"name", "label", "role", "paper", "settings", "accuracy", "measures", "cost", "notes"}
    for part in made[2]["entries"]:
        assert part.keys() == needed
        assert list(part["accuracy"]) == SPLITS
        for name, splits in part["measures"].items():
            assert list(splits) == (["forget"] if name == "population_attack" else SPLITS)
            for estimate in splits.values():
                assert estimate["null"] is not None
                assert math.isfinite(estimate["value"])
    assert entry(made[2], "ascent")["settings"]["lr"] == 0.01


def test_the_report_accepts_it_and_it_is_left_alone(made):
    before = copy.deepcopy(made[2])
    page = render(made[2])
    assert "class:3:10" in page
    assert "ascent" in page
    assert repr(made[2]) == repr(before)


def test_the_originals_value_is_where_everybody_starts(made):
    original = entry(made[2], "original")["measures"]
    for part in made[2]["entries"]:
        for name, splits in part["measures"].items():
            for split, estimate in splits.items():
                assert estimate["start"] == pytest.approx(original[name][split]["value"]), (part["name"], name, split)
    assert original["klom"]["forget"]["value"] > original["klom"]["forget"]["null"]


def test_held_out_gold_lies_at_its_null(made):
    gold = entry(made[2], "gold")["measures"]["klom"]
    for split in SPLITS:
        assert gold[split]["value"] == pytest.approx(gold[split]["null"]), split
    shown = made[2]["per_row"]["forget"]
    assert "gold" not in shown["values"]


def test_costs_are_shares_of_one_retraining(made):
    result = made[2]
    assert result["retraining"]["visits"] == 2 * 110
    assert result["retraining"]["seconds"] > 0
    assert entry(result, "original")["cost"] is entry(result, "gold")["cost"] is None
    fractions = {name: entry(result, name)["cost"]["fraction"] for name in ("finetune", "ascent", "reset_finetune")}
    assert all(fraction > 0 for fraction in fractions.values())
    assert fractions["finetune"] == pytest.approx(1 / 2)
    assert 10 / 220 <= fractions["ascent"] < fractions["finetune"], "ten rows once, and what its stop rule looks at"


def test_no_attack_uses_rows_that_a_method_trained_on(made):
    assert "population_attack" not in entry(made[2], "reset_finetune")["measures"]
    assert all("population_attack" in entry(made[2], name)["measures"] for name in ("original", "finetune", "gold"))


def test_the_same_again_from_the_store_with_nothing_done(made):
    text, store, result = made
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    counting = Counting()
    assert run(parse_suite("mine", text), store, counting) == [result]
    assert (counting.models, counting.cells) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_a_method_more_reuses_models_and_cells(made):
    text, store, result = made
    more = '[[methods]]\nname = "random_label"\nepochs = 1\n'
    counting = Counting()
    (larger,) = run(parse_suite("mine", text + more), store, counting)
    assert (counting.models, counting.cells) == (0, 4)
    assert entry(larger, "finetune") == entry(result, "finetune")


def test_another_store_gives_the_same_result(made, tmp_path):
    text, _, result = made
    suite = parse_suite("mine", text)
    (again,) = run(suite, fixed_choice(tmp_path, suite.recipe, stacked=True))
    assert without_times(again) == without_times(result)


def test_one_result_a_forget_set_on_the_same_originals(made, tmp_path):
    text, store, _ = made
    counting = Counting()
    suite = parse_suite("mine", text.replace('["class:3:10"]', '["class:3:10", "random:7"]'))
    results = run(suite, store, counting)
    assert [result["problem"]["forget"] for result in results] == ["class:3:10", "random:7"]
    assert counting.models == 4 + 6, "gold of the second set alone"
    assert results[1]["problem"]["rows"]["forget"] == 7


def test_gold_never_saw_a_forget_row_and_originals_saw_all(made):
    store, rows = made[1], load("digits@120").train
    forget = ForgetSet("class:3:10").indices(rows)
    masks = [
        Task.from_dict(store.get("model", path.name).facts["task"]).indices for path in (store.root / "model").iterdir()
    ]
    originals = [mask for mask in masks if len(mask) == 120]
    gold = [mask for mask in masks if len(mask) == 110]
    assert (len(originals), len(gold)) == (4, 10)
    assert not any(np.isin(forget, mask).any() for mask in gold)


def test_every_original_has_seeds_of_its_own(made):
    store = made[1]
    cells = [Cell.from_dict(store.get("cell", path.name).facts["cell"]) for path in (store.root / "cell").iterdir()]
    finetuned = [cell for cell in cells if cell.method == "finetune"]
    assert len({cell.original for cell in finetuned}) == len({cell.seed for cell in finetuned}) == 4
    assert len({cell.id for cell in cells}) == len(cells) > CELLS


def test_a_damaged_original_is_refused(made, tmp_path):
    text = made[0]
    suite = parse_suite("mine", text)
    store = fixed_choice(tmp_path, suite.recipe, stacked=True)
    run(suite, store)
    for path in (store.root / "model").rglob("weights.safetensors"):
        path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    more = text + '[[methods]]\nname = "random_label"\nepochs = 1\n'
    with pytest.raises(StoreError, match="not what the manifest recorded"):
        run(parse_suite("mine", more), store)
