"""Tuning: what is chosen of a table of trials, and whole searches on small real problems."""

import json
import math
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from expunge.data import ForgetSet, MemoryRows, joined, load
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.methods import METHODS, FineTune, GradientAscent, L1Sparse, Salun, Scrub, Ssd, Twin
from expunge.methods import twin as twin_method
from expunge.methods.search import Choice, Log, Whole
from expunge.methods.twin_problem import auxiliary_rows
from expunge.problem import Problem
from expunge.store import Store
from expunge.tasks import Regression
from expunge.training import fit
from expunge.training.recipes import recipe
from expunge.tuning import Trial, Tuning, rounds, setup, tune
from expunge.tuning import checks as module
from expunge.tuning.checks import Check
from expunge.tuning.rounds import summed
from expunge.tuning.rules import RULES
from expunge.tuning.setup import candidates
from expunge.tuning.trial import Numbers, compare, of_twin, unchanged
from expunge.tuning.tune import choose
from expunge.tuning.twins import build, divide, look
from tests.tuning import Counting, read_from_now_on, rewindable, tunable

OPTIONS = {"trials": 6, "twins": 2, "seeds": 2, "seed": 0}


def trial(name, value, *, error=math.nan, visits=100.0, dropped="", **settings):
    return Trial(name, settings, value, error, 0.0, 0.0, 0.0, visits, 2, dropped)


def entries(store):
    """How many folders of each kind a store holds."""
    return {path.name: sum(1 for one in path.iterdir() if one.name[0] != ".") for path in store.root.iterdir()}


def only(monkeypatch, method, **search):
    monkeypatch.setattr(method, "search", search)


def valued(monkeypatch, value):
    """Give every run the objective `value(cell, scene)`, in place of what its margins come to."""

    def made(scene, one, store, *, objective):
        return Numbers(0.0, 0.0, value(one, scene), 0.0, 10.0)

    monkeypatch.setattr(rounds, "numbers", made)


# What is chosen of a table


def test_the_smallest_objective_is_chosen_where_nothing_is_near():
    table = [trial("a", 0.3, error=0.01), trial("b", 0.32, visits=1), trial("no change", 1.2, visits=0)]
    chosen, reason = choose(table, ())
    assert chosen is table[0]
    assert reason == "smallest objective, 0.3"


def test_within_one_standard_error_the_cheapest_is_chosen():
    table = [
        trial("a", 0.3, error=0.1, visits=50),
        trial("b", 0.35, visits=20),
        trial("c", 0.4, visits=10),
        trial("d", 0.41, visits=1),
        trial("no change", 1.2, visits=0),
    ]
    chosen, reason = choose(table, ())
    assert chosen is table[2]
    assert reason == "objective 0.4, within one standard error of the smallest (0.3), with fewer visits"


def test_the_error_of_the_best_counts_and_not_that_of_the_others():
    table = [trial("a", 0.3, error=0.01, visits=50), trial("b", 0.35, error=9.0, visits=20), trial("no change", 1.2)]
    assert choose(table, ())[0] is table[0]


def test_no_change_is_no_choice_even_where_it_is_near_and_costs_nothing():
    table = [trial("a", 0.9, error=0.5, visits=50), trial("no change", 1.0, visits=0)]
    assert choose(table, ())[0] is table[0]


def test_where_no_change_is_best_nothing_is_chosen():
    table = [trial("no change", 1.0, error=0.5, visits=0), trial("a", 1.1, visits=1)]
    assert choose(table, ()) == (None, "no setting comes nearer to gold than the original as it is")


def test_dropped_trials_are_passed_over():
    table = [
        trial("b", 0.2, dropped="loses 0.1 accuracy", visits=1),
        trial("a", 0.3, error=0.5),
        trial("no change", 1.0, visits=0),
    ]
    assert choose(table, ())[0] is table[1]
    assert choose([table[0], table[2]], ())[0] is None


def test_where_nothing_is_whole_that_is_said():
    table = [trial("no change", 1.0), trial("a", 0.3, dropped="first round only")]
    chosen, reason = choose(table, ())
    assert chosen is None
    assert reason.startswith("no setting had all its runs")


def test_where_the_best_third_was_dropped_the_budget_is_not_blamed():
    table = [
        trial("no change", 1.0),
        trial("a", 0.3, dropped="first round only"),
        trial("b", 0.2, dropped="loses 0.1 accuracy"),
    ]
    assert "budget" not in choose(table, ())[1]


def test_only_a_decisive_check_that_does_not_hold_rules_out_a_choice():
    table = [trial("a", 0.3), trial("no change", 1.0)]
    for holds, decisive, out in ((False, True, True), (False, False, False), (True, True, False), (None, True, False)):
        chosen, reason = choose(table, [Check("power", 1.0, ">= 2", holds, "nothing to forget", decisive)])
        assert (chosen is None) == out
        assert (reason == "power: nothing to forget") == out


# A table whose optimum is known


def test_of_models_between_the_twin_and_its_gold_the_gold_is_chosen(tmp_path):
    problem = tunable()
    parts, counts = divide(problem, 1, seed=0)
    twin = build(problem, parts, counts, 0, kind="finetune", seed=0, store=Store(tmp_path))
    scene = of_twin(twin)
    shown = twin.problem.rows.take(twin.problem.forget), twin.problem.test
    table = [trial("no change", unchanged(scene, objective="twin").value, visits=0)]
    for share in np.linspace(0, 1, 11):  # 0 the twin, 1 its gold
        model, gold = deepcopy(twin.problem.original), problem.original.state_dict()
        model.load_state_dict({name: torch.lerp(w, gold[name], float(share)) for name, w in model.state_dict().items()})
        value = compare(scene, look(model, *shown), 1.0, objective="twin").value
        table.append(trial("between", value, share=round(float(share), 1)))
    table.sort(key=lambda one: one.value)
    chosen, _ = choose(table, ())
    assert chosen.settings == {"share": 1.0}
    assert chosen.value == 0
    assert table[1].settings == {"share": 0.9}
    by_share = sorted((one for one in table if one.settings), key=lambda one: one.settings["share"])
    assert by_share[0].value == pytest.approx(next(one for one in table if one.method == "no change").value)
    assert all(later.value < earlier.value for earlier, later in pairwise(by_share[-4:]))


def test_a_method_that_returns_the_gold_of_the_twin_is_chosen(tmp_path, monkeypatch):
    problem = tunable()
    monkeypatch.setattr(FineTune, "unlearn", lambda self, asked, run: deepcopy(problem.original))
    found = tune("finetune", problem, store=Store(tmp_path), **OPTIONS)
    assert isinstance(found.method, FineTune)
    assert found.expected == 0
    assert [one.value for one in found.trials if one.method != "no change"] == [0] * 6
    scenes = []
    for at in range(2):
        parts, counts = divide(problem, 2, seed=0)
        twin = build(problem, parts, counts, at, kind="finetune", seed=0, store=Store(tmp_path))
        away = np.abs(twin.start.margins - twin.gold.margins)
        scenes.append(1 + away[17:].mean() / away[:17].mean())
    nothing = next(one for one in found.trials if one.method == "no change")
    assert nothing.value == pytest.approx(np.mean(scenes), rel=1e-6)
    assert nothing.error == pytest.approx(np.std(scenes, ddof=1) / math.sqrt(2), rel=1e-4)
    assert (nothing.runs, nothing.visits) == (2, 0)


def test_runs_on_one_twin_are_no_spread_over_twins():
    """Two runs on each of two twins: means 2 and 5, so 3.5 with a standard error of 1.5; one twin alone has none."""
    found = [Numbers(0, 0, value, 0, 1) for value in (1.0, 3.0, 4.0, 6.0)]
    both = summed("ssd", {}, found, 1.0, turns=2)
    assert (both.value, both.error) == (3.5, pytest.approx(1.5))
    assert math.isnan(summed("ssd", {}, found[:2], 1.0, turns=2).error)
    assert summed("ssd", {}, found[:1], 1.0, turns=0).dropped == "first round only"


def test_the_choice_under_a_budget_is_not_a_matter_of_cores(tmp_path):
    options = {"trials": 12, "twins": 1, "seeds": 1, "seed": 0, "budget": 3.0}
    found = []
    for cores in (1, 16):
        executor = Counting()
        executor.processes = cores
        found.append(tune("finetune", tunable(), store=Store(tmp_path / str(cores)), executor=executor, **options))
    assert found[0].to_json() == found[1].to_json()
    assert len(found[0].trials) < 13, "the budget is what ended it"


def test_regression_is_refused_before_anything_is_trained(tmp_path):
    problem = tunable()
    sums = [
        MemoryRows(part.x, part.x.sum(1, keepdim=True), ids=part.ids)
        for part in (problem.rows, problem.holdout, problem.test)
    ]
    lines = replace(problem.recipe, task=Regression(1), lr=0.001)
    model = fit(lines, sums[0], seed=0).model
    asked = Problem(recipe=lines, rows=sums[0], forget=np.arange(5), holdout=sums[1], test=sums[2], original=model)
    with pytest.raises(NeedsError, match="tune: expected a classification task, got regression"):
        tune("finetune", asked, store=Store(tmp_path), **OPTIONS)
    assert not list(tmp_path.iterdir())


# Whole searches


def test_a_search_in_full(tmp_path):
    store = Store(tmp_path)
    found = tune("random_label", tunable(), store=store, **OPTIONS)
    assert found.method is not None
    chosen = next(one for one in found.trials if one.value == found.expected)
    assert {name: found.method.settings()[name] for name in chosen.settings} == chosen.settings
    assert len(found.trials) == 6 + 1
    names = [one.method for one in found.trials]
    assert (names.count("no change"), names.count("random_label")) == (1, 6)
    kept = [one for one in found.trials if one.method != "no change" and one.runs == 4]
    assert len(kept) == 2  # one in three
    assert all(one.runs == 1 for one in found.trials if one.method != "no change" and one not in kept)
    assert entries(store)["cell"] == 6 + 2 * 3
    assert found.cost["trials"] == pytest.approx(sum(one.visits * one.runs for one in found.trials))
    assert found.cost["retraining"] == 8 * 108
    assert (found.objective, found.kind, found.twins) == ("twin", "finetune", 2)
    assert [one.name for one in found.checks] == ["memory", "fit", "likeness", "power"]
    able = [one.value for one in found.trials if not one.dropped]
    assert able == sorted(able)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["chosen"]["method"] == "random_label"


def test_the_default_is_always_tried(tmp_path):
    found = tune("finetune", tunable(), store=Store(tmp_path), trials=1, twins=1, seeds=1)
    assert [one.settings for one in found.trials if one.method == "finetune"] == [{"lr": 0.02, "epochs": 5}]


def test_the_default_that_is_tried_is_the_methods_own(tmp_path):
    found = tune("salun", tunable(), store=Store(tmp_path), trials=1, twins=1, seeds=1)
    mine = next(one for one in found.trials if one.method == "salun")
    assert mine.settings == {name: Salun().settings()[name] for name in Salun.search}


def test_deterministic_runs_are_not_repeated(tmp_path):
    found = tune("ssd", tunable(), store=Store(tmp_path), **OPTIONS)
    assert not Ssd.stochastic
    assert {one.runs for one in found.trials if one.method == "ssd"} == {1, 2}


def test_one_seed_one_result_whatever_runs_it(tmp_path):
    problem = tunable()
    ours, again, wide, other = (
        tune("finetune", problem, store=Store(tmp_path / str(n)), executor=executor, **{**OPTIONS, "seed": seed})
        for n, (executor, seed) in enumerate([(None, 0), (None, 0), (Counting(processes=4), 0), (None, 1)])
    )
    assert ours.to_json() == again.to_json() == wide.to_json()
    assert ours.to_json() != other.to_json()


@pytest.mark.parametrize("most", [0, 1, 4, 9])
def test_a_search_that_was_stopped_goes_on_and_repeats_nothing(tmp_path, most):
    problem, whole = tunable(), Counting()
    straight = tune("random_label", problem, store=Store(tmp_path / "straight"), executor=whole, **OPTIONS)
    store, stopped, rest = Store(tmp_path / "stopped"), Counting(most=most), Counting()
    with pytest.raises(KeyboardInterrupt):
        tune("random_label", problem, store=store, executor=stopped, **OPTIONS)
    assert entries(store).get("cell", 0) == most
    assert tune("random_label", problem, store=store, executor=rest, **OPTIONS).to_json() == straight.to_json()
    assert entries(store)["cell"] == len(whole.jobs) == len(stopped.jobs) + len(rest.jobs)
    again = Counting()
    tune("random_label", problem, store=store, executor=again, **OPTIONS)
    assert again.jobs == []


@pytest.mark.parametrize("objective", ["twin", "holdout", "accuracy", "close"])
def test_no_row_kept_for_the_audit_is_read_and_no_gold_fleet(tmp_path, monkeypatch, objective):
    problem, store = tunable(), Store(tmp_path)
    parts, _ = divide(problem, 2 if objective == "twin" else 1, seed=0)
    audit = {problem.holdout.ids[i] for i in parts.audit}
    read = read_from_now_on(monkeypatch)
    tune("scrub", problem, store=store, objective=objective, **OPTIONS)
    assert {problem.holdout.ids[i] for i in (*parts.check, *parts.auxiliary[0])} <= read
    assert len(audit) > 50
    assert not audit & read
    assert not set(problem.test.ids) & read
    kinds = entries(store)
    assert kinds.keys() == {"rows", "model", "cell"}
    assert kinds["model"] == (2 if objective == "twin" else 1)
    kept = [store.get("rows", path.name) for path in (tmp_path / "rows").iterdir()]
    assert not audit & {row for folder in kept for row in folder.array("ids").tolist()}
    twins = [store.get("model", path.name).facts.get("request") for path in (tmp_path / "model").iterdir()]
    if objective == "twin":
        drawn = [joined(problem.rows, problem.holdout.take(part)).fingerprint for part in parts.auxiliary]
        assert sorted(request["rows"] for request in twins) == sorted(drawn)


def test_what_the_rows_of_the_audit_hold_changes_nothing(tmp_path):
    problem = tunable()
    parts, _ = divide(problem, 2, seed=0)
    x = problem.holdout.x.clone()
    x[parts.audit] = 1e4
    other = replace(problem, holdout=MemoryRows(x, problem.holdout.labels, ids=problem.holdout.ids))
    ours, theirs = (
        tune("ssd", one, store=Store(tmp_path / str(n)), **OPTIONS) for n, one in enumerate((problem, other))
    )
    assert ours.to_json() == theirs.to_json()


def test_every_setting_meets_the_same_random_numbers(tmp_path):
    executor = Counting()
    tune("finetune", tunable(), store=Store(tmp_path), executor=executor, **OPTIONS)
    cells = [job["cells"][0] for job in executor.jobs]
    assert len({one["seed"] for one in cells[:6]}) == 1
    assert len({(one["original"], one["seed"]) for one in cells}) == 2 * 2
    assert len({one["seed"] for one in cells}) == 2 * 2


def test_a_setting_that_diverges_is_dropped_and_the_search_goes_on(tmp_path, monkeypatch):
    only(monkeypatch, FineTune, lr=Choice((1e9, 1e-6)), epochs=Choice((2,)))
    found = tune("finetune", tunable(), store=Store(tmp_path), **OPTIONS)
    wild = [one for one in found.trials if one.settings.get("lr") == 1e9]
    tame = [one for one in found.trials if one.settings.get("lr") == 1e-6]
    assert wild
    assert tame
    assert {one.dropped for one in wild} == {"diverged"}
    assert "diverged" not in {one.dropped for one in tame}
    assert all(math.isnan(one.value) for one in wild)
    plain = json.loads(json.dumps(found.to_json()["trials"], allow_nan=False))
    assert sum(one["value"] is None for one in plain) == len(wild)


def test_what_diverged_stands_last(tmp_path, monkeypatch):
    only(monkeypatch, FineTune, lr=Choice((1e9, 1e-6)), epochs=Choice((2,)))
    found = tune("finetune", tunable(), store=Store(tmp_path), **OPTIONS)
    wild = [math.isnan(one.value) for one in found.trials]
    assert any(wild)
    assert wild == sorted(wild)


def test_where_every_setting_diverges_nothing_is_chosen(tmp_path, monkeypatch):
    only(monkeypatch, FineTune, lr=Choice((1e9,)), epochs=Choice((2,)))
    found = tune("finetune", tunable(), store=Store(tmp_path), **OPTIONS)
    assert found.method is None
    assert math.isnan(found.expected)
    assert found.to_json()["chosen"] is found.to_json()["expected"] is None


@pytest.mark.parametrize(("guard", "dropped"), [(0.02, True), (1.0, False)])
def test_the_guard_drops_what_loses_accuracy(tmp_path, monkeypatch, guard, dropped):
    only(monkeypatch, L1Sparse, alpha=Choice((1.0,)), lr=Choice((0.1,)), epochs=Choice((3,)))
    found = tune("l1_sparse", tunable(), store=Store(tmp_path), guard=guard, **OPTIONS)
    mine = next(one for one in found.trials if one.method == "l1_sparse")
    assert mine.lost > 0.02
    assert mine.dropped == (f"loses {mine.lost:.3f} accuracy" if dropped else "")


def test_where_fresh_twins_show_nothing_to_forget_nothing_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NO_POWER", 2.0)  # the twins' power is 1.2
    executor = Counting()
    found = tune("finetune", tunable(), store=Store(tmp_path), kind="fresh", executor=executor, **OPTIONS)
    assert found.method is None
    assert found.reason.startswith("power: ")
    assert found.reason.endswith("nothing to forget at this resolution")
    assert (executor.jobs, found.cost["trials"]) == ([], 0)
    assert [one.method for one in found.trials] == ["no change"]


def test_where_auxiliary_rows_are_of_another_kind_nothing_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "likeness", lambda *_, seed: 0.76)
    executor = Counting()
    found = tune("finetune", tunable(), store=Store(tmp_path), executor=executor, **OPTIONS)
    assert found.method is None
    assert found.reason.startswith("likeness: a linear classifier tells auxiliary from forget rows")
    assert executor.jobs == []


def test_where_they_may_be_of_another_kind_the_search_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "likeness", lambda *_, seed: 0.7)
    found = tune("random_label", tunable(), store=Store(tmp_path), **OPTIONS)
    assert found.method is not None
    assert not next(one for one in found.checks if one.name == "likeness").holds


@pytest.mark.parametrize("kind", ["rewind", "fresh"])
def test_any_kind_of_twin_is_searched_on(tmp_path, kind):
    found = tune("ssd", rewindable(), store=Store(tmp_path), kind=kind, **OPTIONS)
    assert (found.kind, found.objective, found.twins) == (kind, "twin", 2)
    epochs = 8 if kind == "fresh" else 4
    assert found.cost["twins"] == 2 * epochs * 137


@pytest.mark.parametrize(("forget", "kind"), [("class", "finetune"), ("random", "fresh"), ("subject", "fresh")])
def test_nobody_need_name_objective_and_kind(tmp_path, forget, kind):
    found = tune("ssd", replace(tunable(), kind=forget), store=Store(tmp_path), trials=2, twins=1, seeds=1)
    assert (found.objective, found.kind) == ("twin", kind) == (RULES[forget].objective, RULES[forget].kind)
    assert RULES[forget].basis in found.why
    assert found.to_json()["why"] == found.why
    named = tune("ssd", tunable(), store=Store(tmp_path), trials=2, twins=1, seeds=1, objective="twin", kind="finetune")
    assert named.why == ""


def test_where_no_change_wins_nothing_is_chosen(tmp_path):
    found = tune("finetune", tunable(), store=Store(tmp_path), **OPTIONS)
    assert (found.method, found.trials[0].method) == (None, "no change")
    assert found.reason == "no setting comes nearer to gold than the original as it is"


def test_a_rival_needs_no_twin(tmp_path):
    store = Store(tmp_path)
    found = tune("finetune", tunable(), store=store, objective="holdout", **OPTIONS)
    assert (found.twins, found.checks, found.cost["twins"]) == (0, (), 0)
    assert {one.runs for one in found.trials} == {1, 2}


def test_auto_means_all_that_can_be_tuned_and_fit():
    names = [one.name() for one in candidates("auto", tunable())]
    assert names == [name for name, one in METHODS.items() if one.search and "class" in one.forget_kinds]
    assert {"finetune", "ssd", "twin"} <= set(names)


@pytest.fixture
def four(monkeypatch):
    """Four methods stand for all that can be tuned; in the order of their names."""
    chosen = {name: METHODS[name] for name in ("finetune", "random_label", "ssd", "twin")}
    monkeypatch.setattr(setup, "METHODS", chosen)
    return list(chosen)


def test_auto_tries_them_all_and_chooses_one(tmp_path, four):
    found = tune("auto", tunable(), store=Store(tmp_path), trials=10, twins=1, seeds=1)
    names = [one.method for one in found.trials]
    assert sorted(names) == sorted(["no change"] + 3 * four[:2] + 2 * four[2:])
    assert found.method.name() in four
    assert found.warnings == ()


def test_auto_begins_with_the_default_of_every_method(tmp_path, four):
    executor = Counting()
    tune("auto", tunable(), store=Store(tmp_path), trials=10, twins=1, seeds=1, executor=executor)
    first = [job["cells"][0] for job in executor.jobs[:4]]
    assert [one["method"] for one in first] == four
    assert all(one["settings"] == METHODS[one["method"]]().settings() for one in first)


def test_auto_keeps_to_one_budget_and_names_what_that_did_not_reach(tmp_path, four):
    found = tune("auto", tunable(), store=Store(tmp_path), trials=10, twins=1, seeds=1, budget=1.5)
    assert found.cost["trials"] <= 1.5 * found.cost["retraining"]
    tried = {one.method for one in found.trials} - {"no change"}
    assert 0 < len(tried) < len(four)
    missed = [name for name in four if name not in tried]
    assert [text.split()[0] for text in found.warnings] == missed
    assert all("share of the budget was spent" in text for text in found.warnings)


def test_auto_passes_over_a_method_that_cannot_treat_the_problem_and_says_why(tmp_path, monkeypatch, four):
    def refused(self, problem, run):
        raise NeedsError("finetune needs what is not there")

    monkeypatch.setattr(FineTune, "unlearn", refused)
    found = tune("auto", tunable(), store=Store(tmp_path), trials=10, twins=1, seeds=1)
    assert {one.method for one in found.trials} == {*four[1:], "no change"}
    assert found.warnings == ("finetune was passed over: finetune needs what is not there",)
    with pytest.raises(NeedsError, match="finetune needs what is not there"):
        tune("finetune", tunable(), store=Store(tmp_path), trials=2, twins=1, seeds=1)


def test_auto_passes_over_methods_that_are_not_for_such_rows(monkeypatch):
    monkeypatch.setattr(FineTune, "forget_kinds", frozenset({"random"}))
    assert FineTune not in candidates("auto", tunable())
    assert FineTune in candidates("auto", replace(tunable(), kind="random"))


# Budget


def test_a_budget_below_one_trial_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(ConfigError, match="budget: the first trial takes 600 row visits, the budget is 86") as caught:
        tune("finetune", tunable(), store=Store(tmp_path), budget=0.1, **OPTIONS)
    assert "raise --budget" in caught.value.hint


def test_a_budget_stops_the_search_but_not_the_choice(tmp_path):
    straight = tune("random_label", tunable(), store=Store(tmp_path / "all"), **OPTIONS)
    found = tune("random_label", tunable(), store=Store(tmp_path / "some"), budget=3.0, **OPTIONS)
    budget = 3.0 * found.cost["retraining"]
    dearest = max(one.visits for one in found.trials)
    assert found.cost["trials"] <= budget + dearest < straight.cost["trials"]
    assert len(found.trials) < len(straight.trials)
    assert found.method is not None  # the first round left enough to run the best on both twins


def test_a_budget_that_is_large_changes_nothing(tmp_path):
    ours = tune("ssd", tunable(), store=Store(tmp_path), **OPTIONS)
    assert tune("ssd", tunable(), store=Store(tmp_path), budget=1e6, **OPTIONS).to_json() == ours.to_json()


@pytest.mark.usefixtures("four")
def test_a_method_that_the_budget_never_reached_is_not_said_to_have_diverged(tmp_path):
    found = tune("auto", tunable(), store=Store(tmp_path), trials=12, twins=1, seeds=1, budget=1.5)
    assert all(one.runs > 0 for one in found.trials)


# Methods that read holdout rows


@pytest.mark.parametrize(
    ("method", "fixed"),
    [(GradientAscent, {"stop": "holdout"}), (Scrub, {"rewind": True, "decay_after": ()}), (Twin, {"twin_epochs": 2})],
)
@pytest.mark.parametrize("objective", ["twin", "holdout"])
def test_methods_see_the_guide_rows_and_no_other_holdout_row(tmp_path, monkeypatch, method, fixed, objective):
    problem, given, read = tunable(), [], set()
    parts, _ = divide(problem, 1, seed=0)
    inner, batch = method.unlearn, MemoryRows.batch

    def spied(self, asked, run):
        given.append(set(asked.holdout.ids))
        monkeypatch.setattr(MemoryRows, "batch", spied_batch)
        try:
            return inner(self, asked, run)
        finally:
            monkeypatch.setattr(MemoryRows, "batch", batch)

    def spied_batch(rows, indices, device="cpu"):
        read.update(rows.ids[i] for i in np.asarray(indices))
        return batch(rows, indices, device)

    monkeypatch.setattr(method, "unlearn", spied)
    only(monkeypatch, method, lr=Log(1e-4, 1e-3), **{name: Choice((value,)) for name, value in fixed.items()})
    tune(method.name(), problem, store=Store(tmp_path), objective=objective, trials=2, twins=1, seeds=1)
    named = {part: {problem.holdout.ids[i] for i in getattr(parts, part)} for part in ("guide", "check", "audit")}
    assert given == [named["guide"]] * 2
    assert named["guide"] & read
    assert not (named["check"] | named["audit"] | set(problem.test.ids)) & read
    taught = {problem.holdout.ids[i] for i in parts.auxiliary[0]}
    assert (taught & read == set()) == (objective != "twin")  # they are training rows of the twin


def test_the_twin_of_the_twin_is_taught_rows_that_nobody_has_seen(tmp_path, monkeypatch):
    problem, taught = tunable(), []
    parts, _ = divide(problem, 1, seed=0)

    def kept(*arguments, **options):
        rows, copies = auxiliary_rows(*arguments, **options)
        taught.append((rows, copies))
        return rows, copies

    monkeypatch.setattr(twin_method, "auxiliary_rows", kept)
    found = tune("twin", problem, store=Store(tmp_path), trials=3, twins=1, seeds=2)
    assert {one.method for one in found.trials} == {"twin", "no change"}
    assert set(next(one for one in found.trials if one.method == "twin").settings) == set(Twin.search)
    assert len(taught) == 3 + 1
    named = {part: {problem.holdout.ids[i] for i in at} for part, at in vars(parts).items() if part != "auxiliary"}
    outer = {problem.holdout.ids[i] for i in parts.auxiliary[0]}
    for rows, copies in taught:
        assert (len(rows), copies) == (round((40 + 17) * 17 / 40), 0)
        assert set(rows.labels.tolist()) == {0}
        assert set(rows.ids) <= named["guide"]
        assert not set(rows.ids) & (outer | named["check"] | named["audit"] | {*problem.rows.ids, *problem.test.ids})


# What is said of the twins


def test_copies_among_the_auxiliary_rows_and_twins_that_are_missing_are_said(tmp_path):
    whole = tunable()
    few = np.flatnonzero(whole.holdout.labels.numpy() == 0)[:5]
    others = np.flatnonzero(whole.holdout.labels.numpy() != 0)
    problem = replace(whole, holdout=whole.holdout.take(np.concatenate([few, others])))
    found = tune("ssd", problem, store=Store(tmp_path), **OPTIONS)
    assert found.twins == 1
    assert found.warnings[0].startswith("1 of 2 twins: holdout rows ran out, of a class or altogether")
    copied = "twin 1: 12 of its 17 auxiliary rows are changed copies of the others: holdout rows ran out"
    assert copied in found.warnings
    assert list(found.warnings) == found.to_json()["warnings"]


def test_a_twin_that_does_not_learn_its_rows_is_said(tmp_path):
    odd = replace(tunable(), recipe=replace(tunable().recipe, lr=1e-30))
    wrong = MemoryRows(-odd.holdout.x, odd.holdout.labels, ids=odd.holdout.ids)  # the original gets none of them right
    found = tune("ssd", replace(odd, holdout=wrong), store=Store(tmp_path), trials=1, twins=1, seeds=1)
    assert any("twin 1: the twin did not learn its rows: expected accuracy" in text for text in found.warnings)
    assert not next(one for one in found.checks if one.name == "fit").holds


def test_twins_of_which_there_is_nothing_to_say(tmp_path):
    assert tune("ssd", tunable(), store=Store(tmp_path), **OPTIONS).warnings == ()


# What a search must not do


def test_whatever_is_chosen_was_run_on_every_twin(tmp_path, monkeypatch):
    first = divide(tunable(), 2, seed=0)[0].auxiliary[0]
    ids = {tunable().holdout.ids[i] for i in first}

    def value(one, scene):  # the first twin is the easier one, for every setting alike
        easy = scene.problem.rows.ids[-1] in ids
        return (0.2 if easy else 0.8) + 0.01 * one.settings["lr"]

    valued(monkeypatch, value)
    found = tune("finetune", tunable(), store=Store(tmp_path), **OPTIONS)
    chosen = next(one for one in found.trials if one.value == found.expected)
    assert chosen.runs == 4


def test_the_last_third_follows_what_did_well(tmp_path, monkeypatch):
    only(monkeypatch, FineTune, lr=Log(1e-5, 1e-1), epochs=Whole(1, 9))

    def found(better):
        valued(monkeypatch, lambda one, _: better * math.log(one.settings["lr"]))
        return tune("finetune", tunable(), store=Store(tmp_path), trials=24, twins=1, seeds=1)

    rates = [{one.settings["lr"] for one in found(better).trials if one.settings} for better in (1.0, -1.0)]
    assert rates[0] != rates[1]


def test_a_twin_that_learnt_nothing_new_leads_to_no_choice(tmp_path):
    problem = replace(tunable(), recipe=replace(tunable().recipe, lr=1e-30))
    found = tune("ssd", problem, store=Store(tmp_path), **OPTIONS)
    assert found.method is None


def test_a_check_without_a_finite_number_is_still_json():
    one = Check("memory", math.inf, "0.5 to 2", False, "")
    found = Tuning(None, "", math.nan, (), (one,), {}, "twin", "finetune", 1)
    assert json.dumps(found.to_json(), allow_nan=False)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials: expected >= 1, got 0"),
        ({"seeds": 0}, "seeds: expected >= 1, got 0"),
        ({"twins": 0}, "twins: expected >= 1, got 0"),
        ({"objective": "gold"}, "objective: expected auto, twin, holdout, accuracy, close, got 'gold'"),
        ({"guard": -0.1}, r"guard: expected in \[0, 1\], got -0.1"),
        ({"guard": 1.1}, r"guard: expected in \[0, 1\], got 1.1"),
        ({"budget": 0.0}, "budget: expected > 0 or None, got 0.0"),
        ({"kind": "old"}, "kind: expected auto, finetune, rewind, fresh, got 'old'"),
    ],
)
def test_options_out_of_range_name_the_range_and_the_value(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        tune("finetune", tunable(), store=Store(tmp_path), **{**OPTIONS, **options})


def test_a_method_without_a_search_space_names_those_that_have_one(tmp_path):
    with pytest.raises(NeedsError, match="retrain declares no search space") as caught:
        tune("retrain", tunable(), store=Store(tmp_path))
    able = [name for name, one in METHODS.items() if one.search]
    assert caught.value.hint == f"those that do: {', '.join(able)}"
    assert "finetune" in able


def test_a_whole_class_and_too_few_holdout_rows_are_refused_before_anything_is_trained(tmp_path):
    store = Store(tmp_path / "none")
    with pytest.raises(NeedsError, match="is no gold for its removal"):
        tune("finetune", tunable(forget=40), store=store, **OPTIONS)
    with pytest.raises(NeedsError, match="holdout rows to check utility on, 44 are left"):
        tune("finetune", tunable(holdout=150), store=store, **{**OPTIONS, "twins": 1})
    with pytest.raises(NeedsError, match="as it was after 4 of its 8 epochs"):
        tune("finetune", tunable(), store=store, kind="rewind", **OPTIONS)
    with pytest.raises(ProblemError, match="tune: expected a problem without gold models, got 1"):
        tune("finetune", replace(tunable(), gold=(tunable().original,)), store=store, **OPTIONS)
    assert not store.root.exists()


def test_without_its_library_tuning_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(NeedsError, match="which is not installed") as caught:
        tune("finetune", tunable(), store=Store(tmp_path), **OPTIONS)
    assert caught.value.hint == 'pip install "expunge[tune]"'


# A real data set


@pytest.mark.slow
def test_on_digits_the_choice_is_nearer_to_gold_than_the_median_setting(tmp_path):
    chosen, splits = recipe("digits-mlp"), load("digits")
    problem = Problem(
        recipe=chosen,
        rows=splits.train,
        forget=ForgetSet("class:8:20", 0),
        holdout=splits.holdout,
        test=splits.test,
        original=fit(chosen, splits.train, seed=0).model,
    )
    found = tune("random_label", problem, store=Store(tmp_path), trials=6, twins=1, seeds=1)
    assert found.method is not None
    assert found.twins == 1
    shown = problem.rows.take(problem.forget), problem.test
    golds = [look(fit(chosen, splits.train, problem.retain, seed=n).model, *shown).margins for n in range(1, 6)]

    def distance(method):  # mean over five gold models, forget and test rows alike
        margins = look(method.run(problem, seed=0).model, *shown).margins
        away = np.mean([np.abs(margins - gold) for gold in golds], axis=0)
        return away[: len(problem.forget)].mean() + away[len(problem.forget) :].mean()

    tried = [distance(METHODS[one.method](**one.settings)) for one in found.trials if one.method != "no change"]
    assert distance(found.method) < np.median(tried)
