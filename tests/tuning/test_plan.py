"""Plans beside what the same search is metered at afterwards."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from expunge.errors import ConfigError, NeedsError
from expunge.methods import METHODS, FineTune, GradientAscent, Ssd
from expunge.methods.search import Choice, Log, Whole
from expunge.store import Store
from expunge.tuning import plan, setup, tune
from expunge.tuning.plan import Span, corners, stand_in, visits
from expunge.tuning.twins import build, divide, twin_visits
from tests.tiny import same_weights
from tests.tuning import read_from_now_on, rewindable, tunable

OPTIONS = {"trials": 6, "twins": 2, "seeds": 2, "seed": 0}
TUNABLE = [name for name, method in METHODS.items() if method.search]


def total(found):
    return found.cost["twins"] + found.cost["trials"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A real twin problem."""
    problem = tunable()
    parts, counts = divide(problem, 2, seed=0)
    return build(
        problem, parts, counts, 0, kind="finetune", seed=0, store=Store(tmp_path_factory.mktemp("plan"))
    ).problem


# What one trial takes


@pytest.mark.parametrize("name", TUNABLE)
def test_visits_on_a_stand_in_are_those_on_the_real_problem(scene, name):
    method = METHODS[name]
    real = [method(**corner).run(scene, seed=1).cost.visits for corner in corners(method)]
    found = visits(method, scene)
    if method(**corners(method)[0]).most_visits(scene) is None:
        drawn = 0.05 if name == "datamodel_matching" else 1e-12  # how many of its retain draws are the same row differs
        assert (found.least, found.most) == pytest.approx((min(real), max(real)), rel=drawn)
    else:
        assert found.least == 0
        assert max(real) <= found.most


def test_a_climb_that_is_never_stopped_takes_the_most(scene):
    slow = GradientAscent(lr=1e-9, epochs=3, check_every=2)
    assert slow.most_visits(scene) == pytest.approx(slow.run(scene, seed=0).cost.visits)
    assert GradientAscent(stop="cap").most_visits(scene) is None


def test_the_corners_are_the_ends_of_what_changes_visits(monkeypatch):
    monkeypatch.setattr(
        FineTune, "search", {"lr": Log(1e-4, 0.1), "epochs": Whole(2, 7), "momentum": Choice((0.0, 0.9))}
    )
    found = corners(FineTune)
    assert {(one["epochs"], one["momentum"]) for one in found} == {(2, 0.0), (2, 0.9), (7, 0.0), (7, 0.9)}
    assert {one["lr"] for one in found} == {1e-4}


def test_a_stand_in_has_the_numbers_of_the_problem_and_none_of_its_inputs(scene):
    apart = stand_in(scene)
    for name in ("rows", "holdout", "test"):
        ours, theirs = getattr(apart, name), getattr(scene, name)
        assert ours.ids == theirs.ids
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert ours.x.shape == (len(theirs), 1)
        assert not ours.x.any()
    assert (apart.recipe.epochs, apart.recipe.batch_size, apart.kind) == (8, 32, "class")
    assert apart.forget.tolist() == scene.forget.tolist()
    assert sum(value.numel() for value in apart.original.parameters()) == 2 * 3


# A whole search


@pytest.mark.parametrize("kind", ["rewind", "fresh"])
def test_where_visits_follow_from_the_settings_the_plan_is_what_is_metered(tmp_path, kind):
    problem, store = rewindable(), Store(tmp_path)
    foreseen = plan("ssd", problem, kind=kind, store=store, **OPTIONS)
    assert not store.root.joinpath("model").exists()
    found = tune("ssd", problem, kind=kind, store=store, **OPTIONS)
    for span, name in ((foreseen.twin_visits, "twins"), (foreseen.trial_visits, "trials")):
        assert span.least == span.most == pytest.approx(found.cost[name], rel=0.05)
    assert foreseen.share.most == pytest.approx(total(found) / found.cost["retraining"], rel=0.05)
    assert foreseen.runs == sum(one.runs for one in found.trials if one.method == "ssd")
    assert (foreseen.twins, foreseen.kind, foreseen.in_store) == (found.twins, found.kind, 0)


@pytest.mark.parametrize("name", ["finetune", "random_label"])
def test_with_epochs_fixed_so_it_is_for_gradient_methods(tmp_path, monkeypatch, name):
    monkeypatch.setattr(METHODS[name], "search", {"lr": Log(1e-4, 1e-2), "epochs": Choice((2,))})
    foreseen = plan(name, tunable(), kind="fresh", store=Store(tmp_path), **OPTIONS)
    found = tune(name, tunable(), kind="fresh", store=Store(tmp_path), **OPTIONS)
    assert foreseen.share.least == foreseen.share.most
    assert foreseen.share.most == pytest.approx(total(found) / found.cost["retraining"], rel=0.05)


@pytest.mark.parametrize("name", ["finetune", "gradient_ascent", "twin"])
def test_where_epochs_are_searched_or_rules_stop_the_metered_cost_lies_between(tmp_path, name):
    foreseen = plan(name, tunable(), store=Store(tmp_path), **OPTIONS)
    found = tune(name, tunable(), store=Store(tmp_path), **OPTIONS)
    assert foreseen.twin_visits.least <= found.cost["twins"] <= foreseen.twin_visits.most
    assert foreseen.trial_visits.least <= found.cost["trials"] <= foreseen.trial_visits.most
    assert foreseen.trial_visits.least < foreseen.trial_visits.most
    assert foreseen.runs == sum(one.runs for one in found.trials if one.method == name)
    again = plan(name, tunable(), store=Store(tmp_path), **OPTIONS)  # what is in the store is known
    assert again.in_store == 2
    assert again.twin_visits.least == again.twin_visits.most == pytest.approx(found.cost["twins"])


def test_several_methods_under_one_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "METHODS", {name: METHODS[name] for name in ("finetune", "random_label", "ssd")})
    options = {"trials": 18, "twins": 1, "seeds": 2, "seed": 0}
    free, bound = (plan("auto", tunable(), store=Store(tmp_path), budget=one, **options) for one in (None, 2.0))
    assert free.methods == ("finetune", "random_label", "ssd")
    assert bound.trial_visits.least == 0
    assert bound.trial_visits.most < free.trial_visits.most
    for foreseen, budget in ((free, None), (bound, 2.0)):
        found = tune("auto", tunable(), store=Store(tmp_path / str(budget)), budget=budget, **options)
        assert foreseen.trial_visits.least <= found.cost["trials"] <= foreseen.trial_visits.most


def test_a_rival_needs_no_twin_and_unlearns_the_true_problem(tmp_path):
    foreseen = plan("ssd", tunable(), objective="close", store=Store(tmp_path), **OPTIONS)
    found = tune("ssd", tunable(), objective="close", store=Store(tmp_path), **OPTIONS)
    assert (foreseen.twins, foreseen.twin_visits) == (0, Span(0, 0))
    assert foreseen.trial_visits == Span(found.cost["trials"], found.cost["trials"])


def test_the_spans_of_a_twin_are_its_stop_rules():
    problem = rewindable()
    assert twin_visits(problem, 17, "fresh") == (8 * 137, 8 * 137)
    assert twin_visits(problem, 17, "rewind") == (4 * 137, 4 * 137)
    assert twin_visits(problem, 17, "finetune") == pytest.approx((137 + (12 + 17) / 3, 30 * 137 + (12 + 30 * 17) / 3))
    odd = replace(problem.recipe, epochs=5)
    assert twin_visits(replace(problem, recipe=odd), 17, "rewind") == (3 * 137, 3 * 137)


def test_disk_is_what_the_store_then_holds(tmp_path):
    foreseen = plan("ssd", tunable(), kind="fresh", store=Store(tmp_path), **OPTIONS)
    tune("ssd", tunable(), kind="fresh", store=Store(tmp_path), **OPTIONS)
    files = [path for end in ("npy", "safetensors") for path in tmp_path.rglob(f"*.{end}") if path.stem != "ids"]
    size = sum(path.stat().st_size - 128 * (path.suffix == ".npy") for path in files)
    assert foreseen.disk_megabytes * 1e6 == pytest.approx(size, rel=0.1)


# What is said


def test_above_one_retraining_it_says_that_retraining_is_cheaper_and_what_spreads_the_cost():
    foreseen = plan("ssd", tunable(), kind="fresh", **OPTIONS)
    words = foreseen.sentence().splitlines()
    assert foreseen.share.least > 1
    assert words[1] == "2 twins (fresh): 2,192 row visits"
    assert words[2].startswith("8 runs of ssd: 1,232 row visits")
    assert words[3].startswith("together 4 times one retraining (864 row visits), about 0.0")
    assert words[4].startswith(
        "that costs more than retraining, which is cheaper for this one request; a fresh or stored"
    )
    assert len(words) == 5


def test_below_one_retraining_it_does_not():
    problem = replace(tunable(), recipe=replace(tunable().recipe, epochs=100))
    foreseen = plan("ssd", problem, objective="close", kind="fresh", **OPTIONS)
    assert foreseen.share.most < 1
    assert "cheaper" not in foreseen.sentence()


def test_where_it_may_be_above_one_it_says_so():
    problem = replace(tunable(), recipe=replace(tunable().recipe, epochs=60))
    foreseen = plan("ssd", problem, trials=1, twins=1, seeds=1)
    assert foreseen.share.least < 1
    assert plan("finetune", problem, trials=12, twins=2, seeds=1).share.most > 1
    assert "that may cost more than retraining" in plan("finetune", problem, trials=12, twins=2, seeds=1).sentence()


def test_why_and_warnings_are_said(monkeypatch):
    monkeypatch.setattr(setup, "METHODS", {name: METHODS[name] for name in ("ssd", "twin")})
    few = np.flatnonzero(tunable().holdout.labels.numpy() == 0)[:30]
    others = np.flatnonzero(tunable().holdout.labels.numpy() != 0)
    problem = replace(tunable(), holdout=tunable().holdout.take(np.concatenate([few, others])))
    words = plan("auto", problem, **OPTIONS).sentence().splitlines()
    assert words[0].startswith("auto took objective twin and kind finetune (a part of a class: relative regret")
    assert words[-2].startswith("note: 1 of 2 twins: ")
    assert words[-1].startswith("note: twin was passed over: expected at least 12 rows of class 0")


def test_a_method_that_cannot_treat_the_problem_is_named_as_it_will_be(monkeypatch):
    def refused(self, problem, run):
        raise NeedsError("ssd needs what is not there")

    monkeypatch.setattr(Ssd, "unlearn", refused)
    monkeypatch.setattr(setup, "METHODS", {name: METHODS[name] for name in ("finetune", "ssd")})
    foreseen = plan("auto", tunable(), **OPTIONS)
    assert foreseen.methods == ("finetune",)
    assert foreseen.warnings == ("ssd was passed over: ssd needs what is not there",)
    with pytest.raises(NeedsError, match="ssd needs what is not there"):
        plan("ssd", tunable(), **OPTIONS)
    monkeypatch.setattr(setup, "METHODS", {"ssd": Ssd, "again": Ssd})
    with pytest.raises(NeedsError, match="no method can treat this problem: ssd was passed over"):
        plan("auto", tunable(), **OPTIONS)


# What it must not do


@pytest.mark.parametrize("objective", ["twin", "close"])
def test_no_row_kept_for_the_audit_is_read_and_nothing_is_trained_or_written(tmp_path, monkeypatch, objective):
    problem, before = tunable(), deepcopy(tunable().original)
    parts, _ = divide(problem, 2 if objective == "twin" else 1, seed=0)
    read = read_from_now_on(monkeypatch)
    plan("finetune", problem, kind="fresh", objective=objective, store=Store(tmp_path / "none"), **OPTIONS)
    assert {problem.holdout.ids[i] for i in parts.guide} <= read
    assert not {problem.holdout.ids[i] for i in parts.audit} & read
    assert not (tmp_path / "none").exists()
    assert same_weights(problem.original, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 0}, "trials: expected >= 1, got 0"),
        ({"seeds": 0}, "seeds: expected >= 1"),
        ({"kind": "old"}, "kind: "),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        plan("ssd", tunable(), **{**OPTIONS, **options})


def test_a_rewound_twin_is_refused_before_it_is_planned():
    with pytest.raises(NeedsError, match="which was not kept"):
        plan("ssd", tunable(), kind="rewind", **OPTIONS)
