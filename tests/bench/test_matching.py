"""The table of distances over their nulls, by hand; and a suite whose methods take gold and choose rows by a model."""

import numpy as np
import pytest

from expunge.attribution.ekfac import Ekfac
from expunge.bench import cell as cells
from expunge.bench.bench import run_suite
from expunge.bench.cell import Cell
from expunge.bench.chosen import as_many, both_ends, first_component, resolved
from expunge.bench.fleets import Fleets
from expunge.bench.matching import HEADINGS, matching_summary
from expunge.bench.suite import parse_suite
from expunge.data import ForgetSet, forget, load
from expunge.errors import NeedsError, ProblemError
from expunge.store import Store
from expunge.training.recipes import recipe
from tests.bench.problem import recipe_file, suite_text
from tests.tiny import tiny_recipe, tiny_rows

ORACLE = """
[[methods]]
name = "oracle_matching"
epochs = 2
batch_size = 20

[[methods]]
name = "datamodel_matching"
estimator = "last_layer"
"""


def entry(name, forget, *, cost=None, notes=None):
    klom = {
        split: {"value": forget if split == "forget" else 2.0, "null": 1.0} for split in ("forget", "retain", "test")
    }
    return {
        "name": name,
        "label": name.upper(),
        "accuracy": {"test": {"mean": 0.9}},
        "measures": {"klom": klom, "u_lira": {"forget": {"value": 0.7}}},
        "cost": cost and {"fraction": cost},
        "notes": notes or {},
    }


def result(forget, value):
    notes = {"attribution": {"share_of_retraining": 2.0, "share_over_requests": 0.1}}
    entries = [entry("original", 9.0), entry("dm", value, cost=0.05, notes=notes), entry("gold", 1.0)]
    return {"problem": {"forget": forget, "rows": {"forget": 10}}, "entries": entries}


def line(lines, method):
    return {
        key: one and one["mean"]
        for key, one in next(x for x in lines if x["method"] == method).items()
        if key != "method"
    }


def test_distances_stand_over_their_null_and_beside_doing_nothing():
    """Nothing lies 8 above the null of 1; a method at 5 has half of the way left, one at 3 a quarter."""
    lines = matching_summary([result("random:10", 5.0), result("random:20", 3.0)])
    ours = line(lines, "DM")
    assert ours["of the way"] == pytest.approx((0.5 + 0.25) / 2)
    assert ours["forget / null"] == pytest.approx(4.0)
    assert ours["retain / null"] == 2.0
    assert (ours["cost"], ours["attribution"], ours["over 20"]) == (0.05, 2.0, 0.1)
    assert line(lines, "ORIGINAL")["of the way"] == 1
    assert line(lines, "ORIGINAL")["cost"] is None
    assert [one["method"] for one in lines][-1] == "GOLD", "the floor comes last"
    assert line(lines, "GOLD")["of the way"] == 0
    assert set(lines[0]) == set(HEADINGS)


def test_both_ends_of_the_first_component_are_chosen():
    draw = np.random.default_rng(0)
    along = draw.normal(size=50)
    matrix = np.outer(along, draw.normal(size=8)) + 0.01 * draw.normal(size=(50, 8)) + 3.0
    found = both_ends(first_component(matrix), 10)
    wanted = {*np.argsort(along)[:5], *np.argsort(along)[-5:]}
    assert set(found) == wanted


def fleets(tmp_path):
    chosen = recipe(recipe_file(tmp_path))
    splits = load(chosen.data)
    return Fleets(chosen, splits.train, splits.holdout, splits.test, Store(tmp_path / "store"))


@pytest.mark.parametrize("text", ["influential:12", "coherent:12", "influential:5"])
def test_a_model_chooses_distinct_rows_the_same_ones_every_time(tmp_path, text):
    own = fleets(tmp_path)
    found = resolved(forget(text), own, seed=0)
    assert len(found) == len(set(found)) == int(text.partition(":")[2])
    assert np.array_equal(found, resolved(forget(text), own, seed=0))
    assert found.max() < len(own.rows)
    if text.startswith("coherent"):  # which row stands in the middle is drawn; so few rows are all looked at
        assert not np.array_equal(found, resolved(forget(text, seed=1), own, seed=0))


def test_rows_that_look_alike_lie_nearer_to_each_other_than_random_ones(tmp_path):
    own = fleets(tmp_path)
    x = own.rows.batch(np.arange(len(own.rows)))[0].flatten(1).numpy()

    def spread(at):
        return float(np.square(x[at] - x[at].mean(axis=0)).sum(axis=1).mean())

    assert spread(resolved(forget("coherent:12"), own, seed=0)) < 0.8 * spread(
        resolved(forget("random:12"), own, seed=0)
    )


def test_more_rows_than_there_are_are_refused(tmp_path):
    with pytest.raises(ProblemError, match="influential:500: expected fewer than 120 rows, got 500"):
        resolved(forget("influential:500"), fleets(tmp_path), seed=0)


def test_outside_a_suite_such_rows_are_refused_with_what_to_do():
    with pytest.raises(NeedsError, match=r"coherent:5: it takes a trained model to choose such rows\nhint: a suite"):
        forget("coherent:5").indices(load("digits@50").train)


def test_gold_to_match_is_none_of_the_gold_that_judges(tmp_path):
    own = fleets(tmp_path)
    at = np.arange(10)
    judges, matched = own.gold(at, 4, seed=0), own.oracles(at, 4, seed=0)
    seeds = [{folder.facts["task"]["seed"] for folder in fleet.folders} for fleet in (judges, matched)]
    assert not seeds[0] & seeds[1]
    assert not matched.masks[:, at].any()


def test_a_suite_runs_upper_bounds_and_predictions(tmp_path):
    suite = parse_suite("tiny", suite_text(tmp_path, methods=ORACLE, forget='["influential:10"]'))
    (found,) = run_suite(suite, recipe(suite.recipe), store=Store(tmp_path / "store"), command="x")
    notes = {one["name"]: one["notes"] for one in found["entries"]}
    assert notes["oracle_matching"]["gold_models"] == 1
    assert notes["datamodel_matching"]["attribution"]["share_of_retraining"] > 0
    assert {"of the way", "attribution"} <= set(matching_summary([found])[0])


def test_a_cell_hangs_on_what_its_text_leaves_to_the_estimators_defaults(monkeypatch):
    nothing = dict.fromkeys(("rows", "holdout", "test", "forget", "kind", "original"), "")
    settings = {"estimator": "ekfac"}
    one = Cell(recipe=tiny_recipe().to_dict(), size=4, method="datamodel_direct", settings=settings, seed=0, **nothing)
    before = one.id
    monkeypatch.setattr(cells, "configured", lambda text: Ekfac(draws=3))
    assert one.id != before


def test_a_plan_does_not_take_a_random_set_for_a_chosen_one():
    texts = ("random:5", "influential:5", "coherent:5")
    planned = [as_many(ForgetSet(text)).indices(tiny_rows(60, seed=0)) for text in texts]
    assert {len(one) for one in planned} == {5}
    assert len({tuple(one) for one in planned}) == 3
