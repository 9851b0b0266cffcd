"""`run_suite` on a tiny suite: the result is whole, its controls say what they must, nothing is done twice."""

import copy
import math
import shutil

import numpy as np
import pytest

from expunge.bench.bench import CELLS, run_suite
from expunge.bench.cell import Cell
from expunge.bench.fleets import Fleets
from expunge.bench.suite import parse_suite
from expunge.data import ForgetSet, load
from expunge.errors import DivergedError, StoreError
from expunge.fleet import Here, Task
from expunge.report import render
from expunge.store import Store
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
    "power",
    "statements",
    "entries",
    "densities",
    "per_row",
    "roc",
    "epsilon",
    "ease",
    "strata",
    "limits",
    "audit",
    "policy",
}
SPLITS = ["forget", "retain", "test"]
ON_FORGET = ("zrf", "population_attack", "population_entropy", "population_modified_entropy")
ON_FORGET += ("efficacy_starting_kit", "efficacy_svc", "lira", "rmia")
PLACES = dict.fromkeys(ON_FORGET, "forget") | dict.fromkeys(("average_gap", "tug_of_war", "aus"), "all")
"""Where a measure stands that does not stand by split."""


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
    assert result["models"] == {"unlearned": 4, "gold": 6, "heldout": 4, "original": 4, "shadow": 0}
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
    needed = {"name", "label", "role", "paper", "settings", "accuracy", "measures", "cost", "notes", "verdict"}
    needed |= {"explained"}
    for part in made[2]["entries"]:
        assert part.keys() == needed
        assert list(part["accuracy"]) == SPLITS
        for name, splits in part["measures"].items():
            assert list(splits) == {1: [PLACES.get(name)], 2: ["forget", "retain"], 3: SPLITS}[len(splits)], name
            for estimate in splits.values():
                assert estimate["null"] is not None
                assert math.isfinite(estimate["value"])
    assert entry(made[2], "ascent")["settings"]["lr"] == 0.01


def test_four_originals_give_no_method_a_verdict(made):
    """The policy asks for 32 originals and 20 gold models; each entry says so for itself."""
    result = made[2]
    assert result["policy"]["name"] == "standard"
    reasons = [
        "6 gold models; the policy asks for at least 20.",
        "The unlearned models come from 4 originals; the policy asks for at least 32.",
    ]
    assert result["verdict"]["state"] == "inconclusive"
    assert result["verdict"]["reasons"] == reasons
    for name in ("finetune", "ascent", "reset_finetune"):
        assert entry(result, name)["verdict"] == {"state": "inconclusive", "reasons": reasons}
        assert result["audit"][name]["verdict"] == "inconclusive"
    assert result["audit"].keys() == {"finetune", "ascent", "reset_finetune"}
    assert result["power"]["text"][0].startswith("The verdict will be inconclusive: policy standard needs 32 unlearned")


def test_few_models_lead_with_the_method_distance(made):
    """KLoM takes 50 models a side."""
    result = made[2]
    assert result["per_row"]["measure"] == "method_distance"
    for split in SPLITS:
        rows = result["per_row"][split]["values"]["finetune"]
        if result["problem"]["rows"][split] == len(rows):
            stats = entry(result, "finetune")["measures"]["method_distance"][split]["stats"]
            assert np.mean(rows) == pytest.approx(stats["mean"])
    assert "mean distance on forget rows is" in result["statements"][0]["text"]


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
                if (part["name"], name) != ("reset_finetune", "average_gap"):
                    found = original[name][split]["value"]
                    assert estimate["start"] == pytest.approx(found), (part["name"], name, split)
    starts = [original["accuracy_gap"][split]["value"] for split in SPLITS]  # no attack: it trained on holdout rows
    assert entry(made[2], "reset_finetune")["measures"]["average_gap"]["all"]["start"] == pytest.approx(np.mean(starts))
    assert original["klom"]["forget"]["value"] > original["klom"]["forget"]["null"]


def test_held_out_gold_lies_at_its_null(made):
    gold = entry(made[2], "gold")["measures"]["klom"]
    for split in SPLITS:
        assert gold[split]["value"] == pytest.approx(gold[split]["null"]), split
    shown = made[2]["per_row"]["forget"]
    assert "gold" not in shown["values"]


def test_held_out_gold_is_gold_beside_that_which_is_compared_with(made):
    splits, forget = load("digits@120"), ForgetSet("class:3:10").indices(load("digits@120").train)
    suite = parse_suite("mine", made[0])
    fleets = Fleets(recipe(suite.recipe), splits.train, splits.holdout, splits.test, made[1])
    outputs = fleets.gold(forget, 6 + 4, seed=0).logits()[:, -len(splits.test) :]
    right = (outputs.argmax(-1) == splits.test.labels.numpy()).mean(axis=1)
    assert entry(made[2], "gold")["accuracy"]["test"]["mean"] == pytest.approx(right[6:].mean())
    gap = entry(made[2], "finetune")["measures"]["accuracy_gap"]["test"]["extra"]
    assert gap["gold_mean"] == pytest.approx(right[:6].mean())


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


def test_shadows_are_trained_once_for_every_forget_set(made, tmp_path):
    text, _, result = made
    store, counting = Store(shutil.copytree(made[1].root, tmp_path / "store")), Counting()
    more = text.replace("gold = 6", "gold = 6\nshadows = 8").replace('["class:3:10"]', '["class:3:10", "random:10"]')
    suite = parse_suite("mine", more)
    first, second = run(suite, store, counting)
    assert counting.models == 8 + 10, "shadows, and gold of the second forget set"
    for found in (first, second):
        assert found["models"]["shadow"] == found["strata"]["shadows"] == 8
        assert sum(found["strata"]["rows"].values()) == 10
        assert found["strata"]["values"].keys() == {"original", "finetune", "ascent", "reset_finetune"}
        assert found["roc"]["attack"] == "LiRA, online, 8 shadow models"
        assert {"lira", "rmia"} <= entry(found, "finetune")["measures"].keys()
        assert not {"lira", "rmia"} & entry(found, "reset_finetune")["measures"].keys()
        assert found["roc"]["entries"].keys() == {"original", "finetune", "ascent", "gold"}
    plain = {name: one for name, one in entry(first, "finetune")["measures"].items() if name not in ("lira", "rmia")}
    assert plain == entry(result, "finetune")["measures"], "shadow models change no other measure"
    assert run(suite, store) == [first, second]
    masks = [Task.from_dict(store.get("model", path.name).facts["task"]) for path in (store.root / "model").iterdir()]
    both = [task.indices for task in masks if task.size == 120 + 120]
    assert len(both) == 8
    assert np.bincount(np.concatenate(both), minlength=240).tolist() == [4] * 240, "each row in half of them"


def test_the_suite_s_policy_judges_every_method(made):
    text, store, result = made
    (found,) = run(parse_suite("mine", 'policy = "screen"\n' + text), store)
    assert found["policy"]["name"] == "screen"
    assert found["verdict"]["reasons"][0] == "6 gold models; the policy asks for at least 19."
    assert found["verdict"]["policy"] != result["verdict"]["policy"]
    for part in result["entries"]:
        distances = entry(found, part["name"])["measures"].pop("method_distance")
        assert distances["forget"]["extra"].keys() >= {"margin", "resolution"}
        plain = {name: one for name, one in part["measures"].items() if name != "method_distance"}
        assert entry(found, part["name"])["measures"] == plain, "a policy judges and measures nothing"


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


DIVERGES = """
[[methods]]
name = "neggrad_plus"
label = "too steep"
retain_weight = 0.01
lr = 1e30
"""


def test_a_method_that_diverges_is_left_out_by_name_and_not_run_again(made):
    text, store, result = made
    both = parse_suite("mine", text + DIVERGES)
    first, again = Counting(), Counting()
    (found,) = run(both, store, first)
    assert [one["name"] for one in found["entries"]] == [one["name"] for one in result["entries"]]
    said = next(limit for limit in found["limits"] if "diverged" in limit)
    assert said.startswith("too steep is left out: it diverged on 4 of 4 originals (")
    assert run(both, store, again) == [found]
    assert (first.cells, again.cells) == (4, 0)


def test_where_every_method_diverges_there_is_no_result(made):
    text, store, _ = made
    alone = text[: text.index("[[methods]]")] + DIVERGES
    with pytest.raises(DivergedError, match="too steep is left out"):
        run(parse_suite("mine", alone), store)
