"""The benchmark of tuning: its statistics by hand and on planted cases, and a tiny run of the whole."""

import json
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest

from benchmarks import tuning, tuning_summary, tuning_units
from benchmarks.figure import Options
from benchmarks.tuning_choice import (
    DIVERGED,
    GOLD,
    ONE,
    RANDOM,
    UNCHANGED,
    USUAL,
    Case,
    Scores,
    first,
    guarded,
    order,
    places,
    regret,
    together,
)
from benchmarks.tuning_summary import expected, group, interval, shuffled, sign, summary
from benchmarks.tuning_units import TWINS, WAYS, Judge, Size, Study, Work, drawn, matched_auc, without
from expunge.data import MemoryRows, Splits
from expunge.fleet import Here
from expunge.methods import METHODS
from expunge.report import render
from expunge.store import Store
from expunge.tuning.trial import Scene
from expunge.tuning.twins import Parts
from tests.report.parsed import Page
from tests.tiny import tiny_problem, tiny_recipe, tiny_rows


def scored(*values, lost=0.0):
    """Scores of one run a row of values."""
    value = np.array(values, float)
    return Scores(value, np.full(value.shape, lost), value / 2, value / 2)


def case(true, *, replicate=0, method="ssd", kind="class", data="digits", origin=(), **ways):
    """A cell of true distances `[candidates, golds]`; a way that is not given knows them."""
    true = np.array(true, float)
    mean = true.mean(axis=1)
    known = {way: scored(mean) for way in WAYS} | {name.replace("_", " "): value for name, value in ways.items()}
    settings = [None, *({"lr": float(at)} for at in range(1, len(true)))]
    visits = np.arange(len(true), dtype=float)
    facts = {"data": data, "forget": f"{kind}:8", "kind": kind, "replicate": replicate, "method": method}
    parts = {"true": true, "true_forget": mean / 2, "true_test": mean / 2, "origin": origin}
    return Case(settings=settings, visits=visits, scores=known, **facts, **parts)


def planted(seed, *, noise, **facts):
    """A cell of 13 candidates whose twins see the truth through noise, and whose rivals see nothing."""
    draw = np.random.default_rng(seed)
    level = np.concatenate([[2.0, 2.0], draw.uniform(0.5, 4, 11)])
    true = level[:, None] + 0.05 * draw.normal(size=(13, 8))
    ways = {f"twin_{kind}": scored(*(level + noise * draw.normal(size=(2, 13)))) for kind in TWINS}
    ways |= {way: scored(draw.normal(size=13)) for way in tuning_units.RIVALS}
    return case(true, **ways, **facts)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_first_is_the_mean_over_ways_to_break_ties(count):
    values = np.array([1.0, 2.0, 2.0, 0.0, 2.0])
    taken = []
    for order_of_ties in permutations(range(5)):
        ranked = sorted(range(5), key=lambda at: (values[at], order_of_ties[at]))
        taken.append(np.isin(np.arange(5), ranked[:count]))
    assert first(values, count) == pytest.approx(np.mean(taken, axis=0))


def test_dropped_settings_come_last_but_no_change_always_competes():
    value, lost = np.array([5.0, 1.0, np.inf, 3.0]), np.array([0.5, 0.03, 0.0, 0.01])
    assert np.argsort(guarded(value, lost)).tolist() == [3, 0, 2, 1]
    assert guarded(value, lost)[0] == 5


def test_regret_by_hand():
    """Golds at 0, 2 and 1, 3 are the halves; the first half likes setting 2, the second setting 3."""
    true = [[4, 4, 4, 4], [2, 2.1, 2.1, 2], [0.5, 0.9, 0.5, 0.9], [0.6, 0.7, 0.6, 0.7]]
    found = regret(case(true, close=scored([0, 1, 1, 1]), accuracy=scored([3, 0, 0, 1])))
    gold = (0.9 + 0.6) / 2
    scale = ((2.1 + 2 - 2 * 0.9) / 2 + (2 + 2.1 - 2 * 0.6) / 2) / 2
    assert found.distance[GOLD] == pytest.approx(gold)
    assert found.distance["close"] == found.distance[UNCHANGED] == 4
    assert found.distance["accuracy"] == pytest.approx((2.05 + 0.7) / 2), "a tie: the mean of both"
    assert found.distance[RANDOM] == pytest.approx(0.7), "the median of the settings"
    assert found.relative[USUAL] == pytest.approx((2.05 - gold) / scale)
    assert found.relative["twin fresh"] == pytest.approx((0.65 - gold) / scale)
    assert found.relative[GOLD] == 0
    assert places(case(true)) == {way: [3] for way in WAYS} | {GOLD: [2, 3], USUAL: [1]}


def test_a_cell_in_which_the_default_is_best_says_nothing():
    assert regret(case([[3] * 4, [1, 1.1, 1, 1.1], [2] * 4])).relative is None


def test_a_gain_below_twice_its_error_says_nothing():
    small = [[3] * 4, [1, 2, 1, 2], [0.9, 2.3, 1, 1.4]]
    assert regret(case(small)).relative is None


def test_twins_choose_together_and_alone():
    true = [[4] * 4, [3, 3.1, 3, 3.1], [2] * 4, [1] * 4]
    found = regret(case(true, twin_fresh=scored([9, 9, 1, 2], [9, 9, 4, 2])))
    assert found.distance["twin fresh"] == 1, "means 2.5 and 2"
    assert found.distance["twin fresh" + ONE] == pytest.approx(1.5)


def test_diverged_settings_have_a_number_and_are_never_gold_s():
    found = case([[4] * 4, [np.inf] * 4, [2] * 4], twin_fresh=scored([9, 1, 2]))
    assert regret(found).distance["twin fresh"] == DIVERGED
    assert places(found)[GOLD] == [2, 2]
    assert found.to_dict()["true"][1] == [None] * 4
    assert (
        regret(case([[4] * 4, [3, 3.1, 3, 3.1], [2] * 4], twin_fresh=scored([9, np.inf, 2]))).distance["twin fresh"]
        == 2
    )


def test_order_of_one_that_knows_and_of_one_that_says_the_same_of_all():
    found = case([[at] * 4 for at in (9, 1, 2, 3, 4, 5, 6, 7)], close=scored(np.ones(8)))
    assert order(found, "twin fresh") == pytest.approx({"rho": 1, "rho_forget": 1, "rho_check": 1, "overlap": 1})
    assert np.isnan([*order(found, "close").values()]).all()
    upside = case([[at] * 4 for at in (9, 1, 2, 3, 4, 5, 6, 7, 8)], close=scored([0, 8, 7, 6, 5, 4, 3, 2, 1]))
    assert order(upside, "close")["rho"] == pytest.approx(-1)
    assert order(upside, "close")["overlap"] == pytest.approx(1 / 3), "its best are 8, 7, 6; the true best 1 to 6"


def test_order_sees_forget_and_other_rows_apart():
    draw = np.random.default_rng(0)
    mean = draw.permutation(9).astype(float)
    seen = Scores(mean[None], np.zeros((1, 9)), draw.normal(size=(1, 9)), mean[None])
    found = order(case(np.repeat(mean[:, None], 4, axis=1), twin_fresh=seen), "twin fresh")
    assert found["rho"] == found["rho_check"] == pytest.approx(1)
    assert abs(found["rho_forget"]) < 0.9


def test_methods_of_a_unit_together():
    one, other = case([[4] * 4, [3] * 4, [2] * 4]), case([[4] * 4, [1] * 4, [5] * 4], method="scrub")
    whole = together([one, other])
    assert whole.true[:, 0].tolist() == [4, 3, 2, 1, 5]
    assert whole.origin == ("", "ssd", "ssd", "scrub", "scrub")
    assert whole.scores["twin fresh"].value.tolist() == [[4, 3, 2, 1, 5]]
    found = regret(whole)
    assert found.distance["twin fresh"] == 1
    assert found.distance[USUAL] == 2, "the lower median of 3, 2, 1, 5"


def test_interval_is_over_units_and_not_over_cells():
    units = [("digits", "random:30", at) for at in range(8)]
    values = [(unit, float(at)) for at, unit in enumerate(units) for _ in range(50)]
    found = interval(values)
    assert found["median"] == 3.5
    assert found["low"] <= 2 < 5 <= found["high"], "eight units: 400 cells would give a narrow one"
    assert interval([]) is None


def test_sign_test_by_hand():
    cells = [case([[4] * 4, [3, 3.1, 3, 3.1], [1] * 4], replicate=at, close=scored([9, 0, 9])) for at in range(5)]
    found = sign("twin fresh", [(one, regret(one)) for one in cells])
    assert (found["rival"], found["wins"], found["of"]) == ("holdout", 0, 0), "holdout knows the truth too: ties"
    blind = {way: scored([9, 0, 9]) for way in tuning_units.RIVALS}
    cells = [case([[4] * 4, [3, 3.1, 3, 3.1], [1] * 4], replicate=at, **blind) for at in range(5)]
    found = sign("twin fresh", [(one, regret(one)) for one in cells])
    assert found["rival"] == RANDOM
    assert (found["wins"], found["of"], found["p"]) == (5, 5, pytest.approx(1 / 32))
    assert found["units_p"] == pytest.approx(1 / 32)


@pytest.fixture(scope="module")
def cells():
    return [
        planted(10 * at + turn, noise=0.2, replicate=at, method=method, kind=kind)
        for at in range(6)
        for turn, (method, kind) in enumerate(
            (method, kind) for kind in ("class", "random") for method in ("ssd", "scrub")
        )
    ]


@pytest.fixture(scope="module")
def units(cells):
    return [
        {"data": data, "forget": forget, "kind": forget.split(":")[0], "replicate": at, "null": [0.1], "checks": {}}
        for data, forget, at in dict.fromkeys(one.unit for one in cells)
    ]


def test_planted_twins_are_found_good_and_blind_rivals_are_not(cells, units):
    whole = summary(cells, units)
    assert [(one["data"], one["kind"]) for one in whole["groups"]] == [
        (None, None),
        ("digits", "class"),
        ("digits", "random"),
    ]
    ways = whole["groups"][0]["cells"]["ways"]
    assert ways["twin finetune"]["regret"]["median"] < 0.15
    assert ways["twin finetune"]["rho"] > 0.9
    assert ways["close"]["regret"]["median"] > 0.5
    assert abs(ways["close"]["rho"]) < 0.3
    assert [one["holds"] for one in whole["expected"] if one["way"] == "twin fresh"] == [True] * 4


def test_noisier_twins_fall_short_of_what_is_expected():
    noisy = [planted(at, noise=30, replicate=at) for at in range(12)]
    made = [{"data": "digits", "kind": "class", "null": [0.1], "checks": {}} for _ in noisy]
    found = expected(group(noisy, noisy, made, data=None, kind=None))
    assert not any(one["holds"] for one in found)


def test_control_of_the_shuffled_objective(cells):
    found = shuffled(cells)
    assert found["holds"]
    assert found["numbers"]["regret"] > 0.4
    constant = [replace(one, scores={**one.scores, "twin finetune": scored(np.ones(13))}) for one in cells]
    assert not shuffled(constant)["holds"], "what has no order cannot be shuffled"


def test_control_of_gold_as_a_candidate(cells, units):
    assert tuning_summary.gold_is_best(cells, units)["holds"]
    worse = [{**one, "null": [3.0]} for one in units]
    found = tuning_summary.gold_is_best(cells, worse)
    assert not found["holds"]
    assert found["numbers"]["smallest"] == 0


def test_control_of_another_class_asks_for_the_check_and_for_the_order(cells, units):
    wrong = "twin finetune, other class"
    blind = [replace(one, scores={**one.scores, wrong: one.scores["close"]}) for one in cells]
    seen = [{**one, "checks": {wrong: [{"name": "likeness", "value": 0.9, "holds": False}]}} for one in units]
    (found,) = tuning_summary.other_class(blind, seen, "twin finetune")
    assert found["holds"]
    unseen = [{**one, "checks": {wrong: [{"name": "likeness", "value": 0.5, "holds": True}]}} for one in units]
    assert not next(tuning_summary.other_class(blind, unseen, "twin finetune"))["holds"]
    as_good = [replace(one, scores={**one.scores, wrong: scored(one.true.mean(axis=1))}) for one in cells]
    assert not next(tuning_summary.other_class(as_good, seen, "twin finetune"))["holds"]


def test_control_of_the_ratio_rule(cells):
    names = ["twin fresh, x0.2", "twin fresh, x5"]
    blind = [replace(one, scores={**one.scores, **{name: one.scores["auc"] for name in names}}) for one in cells]
    (found,) = tuning_summary.ratio(blind, "twin fresh")
    assert found["holds"]
    same = [
        replace(one, scores={**one.scores, **{name: one.scores["twin fresh"].only(0) for name in names}})
        for one in cells
    ]
    assert not next(tuning_summary.ratio(same, "twin fresh"))["holds"]
    assert list(tuning_summary.ratio(cells, "twin fresh")) == []


def judge(golds):
    problem = tiny_problem(seed=0, kind="class")
    parts = np.arange(20), np.arange(20, 60)
    asked = replace(problem, holdout=problem.holdout.take(parts[0]), test=problem.holdout.take(parts[1]))
    start = tuning_units.look(problem.original, problem.rows.take(problem.forget), asked.test)
    return problem, Judge(problem, Scene(asked, "", start, start, 10), golds)


def test_true_distance_is_a_loop_over_golds_and_rows():
    draw = np.random.default_rng(0)
    golds = draw.normal(size=(5, 72))  # 12 forget and 60 test rows
    problem, made = judge(golds)
    found = draw.normal(size=12 + 40 + 60)
    rows = np.concatenate([found[:12], found[52:]])
    forget_gap, test_gap = made.gaps(found)
    for at, gold in enumerate(golds):
        assert forget_gap[at] == pytest.approx(np.mean([abs(rows[i] - gold[i]) for i in range(12)]))
        assert test_gap[at] == pytest.approx(np.mean([abs(rows[i] - gold[i]) for i in range(12, 72)]))
    own = tuning_units.look(problem.original, problem.rows.take(problem.forget), problem.test).margins
    assert made.start == pytest.approx(np.abs(own - golds)[:, :12].mean())
    gaps = [np.abs(golds[0] - other)[:12].mean() + np.abs(golds[0] - other)[12:].mean() for other in golds[1:]]
    assert made.null()[0] == pytest.approx(np.mean(gaps) / made.start)


def test_matched_auc_counts_pairs_and_lost_accuracy():
    found = np.array([3.0, 1.0, 9.0, 9.0, 2.0, 0.0])  # two forget rows, two between, two unseen
    pairs = np.mean([ours > theirs for ours in found[:2] for theirs in found[4:]])
    assert matched_auc(found, 2, 2, -0.1) == pytest.approx(abs(pairs - 0.5))
    assert matched_auc(found, 2, 2, 0.1) == pytest.approx(abs(pairs - 0.5) + 0.1)


def test_a_wrong_draw_leaves_every_other_part():
    parts = Parts((np.arange(3),), np.arange(3, 9), np.arange(9, 15), np.arange(15, 20))
    apart = without(parts, np.array([2, 4, 9, 19]))
    kept = [apart.auxiliary[0], apart.guide, apart.check, apart.audit]
    assert [part.tolist() for part in kept[:1]] == [[2, 4, 9, 19]]
    assert all(len(np.intersect1d(one, other)) == 0 for one, other in combinations(kept, 2))


def test_settings_begin_with_the_default_and_depend_on_the_seed():
    found = drawn(METHODS["finetune"], 4, 1)
    assert found[0] == {"lr": METHODS["finetune"]().lr, "epochs": METHODS["finetune"]().epochs}
    assert found == drawn(METHODS["finetune"], 4, 1)
    assert found[1:] != drawn(METHODS["finetune"], 4, 2)[1:]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(tuning_summary, "DRAWS", 100)
    monkeypatch.setattr(tuning_summary, "SHUFFLES", 10)


@pytest.fixture
def tiny(monkeypatch):
    """Two forget sets of a tiny data set, one of them with every control."""
    holdout = tiny_rows(360, seed=1)
    named = MemoryRows(holdout.x, holdout.labels, ids=[f"holdout {at}" for at in range(360)])
    splits = Splits("tiny", tiny_rows(120, seed=0), named, tiny_rows(60, seed=2), ("a", "b", "c"))
    recipe = replace(tiny_recipe(epochs=4), data="tiny")
    study = Study("tiny-mlp", ("class:0:8", "random:12"), 1, other=("class:0:8", 1), ratio="class:0:8")
    for module in (tuning, tuning_units):
        monkeypatch.setitem(module.RECIPES, "tiny-mlp", recipe)
    monkeypatch.setattr(tuning, "load", lambda spec: splits)
    monkeypatch.setattr(tuning, "Local", lambda processes: nullcontext(Here()))
    monkeypatch.setattr(tuning, "STUDIES", (study,))
    monkeypatch.setattr(tuning, "SIZE", Size(("ssd",), settings=2, gold=4, twins=2))


def test_a_tiny_run_is_written_drawn_and_resumed(tiny, tmp_path, monkeypatch):
    options = Options(out=str(tmp_path / "tuning.json"), store=str(tmp_path / "store"), twins=2)
    figures = list(tuning.measure(options))
    assert figures[0].what == "tuning, all: informative of 2 cells"
    assert len([one for one in figures if one.what.startswith("expected")]) == 4 * len(TWINS)
    assert len([one for one in figures if one.what.startswith("control")]) == 2 + 2 * len(tuning_units.CONTROLLED)
    found = json.loads((tmp_path / "tuning.json").read_text())
    assert (found["schema"], found["kind"], len(found["cells"]), len(found["units"])) == (1, "tuning", 2, 2)
    assert found["command"] == "python -m benchmarks tuning --twins 2 --out tuning.json"
    ways = found["cells"][0]["ways"]
    assert set(WAYS) < set(ways)
    assert {"twin finetune, other class", "twin fresh, x0.2", "twin fresh, x5"} < set(ways)
    assert len(ways["twin rewind"]["value"]) == 2, "two twins"
    assert set(found["cells"][1]["ways"]) == set(WAYS)
    nothing = found["cells"][0]["true"][0]
    assert 1 < np.mean(nothing) < 5, "1 + distance on test rows over that on forget rows"
    assert Page(render(found)).open == []

    def refuse(self, work, jobs):
        assert list(jobs) == [], "all of it lies in the store"
        return iter(())

    monkeypatch.setattr(Here, "map", refuse)
    list(tuning.measure(replace(options, out=str(tmp_path / "again.json"))))
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["cells"] == found["cells"]
    assert again["summary"] == found["summary"]


def test_gold_takes_no_part_in_any_other_choice(tiny, tmp_path, monkeypatch):
    """With other gold models every score of every way stays, and the truth moves."""
    work, study = Work(Store(tmp_path), Here()), tuning.STUDIES[0]
    splits, size = tuning.load(""), Size(("ssd",), settings=3, gold=4, twins=1)
    _, (one,) = tuning_units.unit(study, splits, "random:12", 0, size, work)
    plain = tuning_units.gold_margins
    monkeypatch.setattr(tuning_units, "gold_margins", lambda *given: plain(*given) + 1)
    _, (other,) = tuning_units.unit(study, splits, "random:12", 0, size, work)
    assert {way: scores.to_dict() for way, scores in one.scores.items()} == {
        way: scores.to_dict() for way, scores in other.scores.items()
    }
    assert not np.allclose(one.true, other.true)


def test_without_data_the_study_says_why(monkeypatch, tmp_path):
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    monkeypatch.setattr(tuning, "STUDIES", tuning.STUDIES[1:])
    (figure,) = tuning.measure(Options(store=str(tmp_path)))
    assert figure.measured is None
    assert "EXPUNGE_DATA" in figure.text or "no data folder" in figure.text


def test_the_store_may_be_named_by_the_environment(tiny, monkeypatch):
    seen = []

    def stop(*given):
        seen.append(given[-1].store.root.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "unit", stop)
    monkeypatch.setenv("EXPUNGE_STORE", "environment")
    for options in (Options(), Options(store="option")):
        with pytest.raises(KeyboardInterrupt):
            list(tuning.measure(options))
    assert seen == ["environment", "option"]
