"""Planted tests on real models: retraining leaves no mark, doing nearly nothing leaves all of them."""

import numpy as np
import pytest

import expunge as ex
from expunge.audit.assemble import Pool, positions
from expunge.bench.fleets import Fleets
from expunge.bench.planted import Planting, planted
from expunge.bench.relearn import relearned
from expunge.methods import FineTune, Retrain, Scrub
from expunge.store import Store
from expunge.training import fit
from tests.tiny import same_weights, tiny_problem

GOLD = 4


@pytest.fixture(scope="module")
def problem():
    digits, recipe = ex.load("digits"), ex.recipe("digits-mlp")
    return ex.Problem(
        recipe=recipe,
        rows=digits.train,
        forget=ex.forget("class:8:80", seed=0),
        holdout=digits.holdout,
        test=digits.test,
        original=fit(recipe, digits.train, seed=0).model,
    )


@pytest.fixture(scope="module")
def gold(problem, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    fleets = Fleets(problem.recipe, problem.rows, problem.holdout, problem.test, store)
    return fleets.gold(problem.forget, GOLD, seed=0, weights=True)


def planting(problem, gold, method):
    sizes = len(problem.rows), len(problem.holdout), len(problem.test)
    labels = np.concatenate([part.labels.numpy() for part in (problem.rows, problem.holdout, problem.test)])
    pool = Pool(gold.logits(), None, gold.logits()[:1], labels, positions(*sizes, problem.forget))
    models = tuple(gold.model(at) for at in range(GOLD))
    return Planting(problem, method.run(problem, seed=0), models, pool, seed=0)


@pytest.fixture(scope="module")
def of_retraining(problem, gold):
    return planted(planting(problem, gold, Retrain())).table


@pytest.fixture(scope="module")
def of_nothing(problem, gold):
    return planted(planting(problem, gold, FineTune(epochs=1, lr=1e-6))).table


def test_retraining_leaves_no_mark(of_retraining):
    """Exact tests at a fixed seed: a fresh model that never saw the marks."""
    assert of_retraining["gaussian_poison"]["forget"].extra["p"] > 0.01
    assert of_retraining["one_run"]["forget"].value == 0
    confused = of_retraining["confusion"]["forget"]
    assert confused.value <= 3 * confused.null + 0.01


def test_doing_nothing_leaves_every_mark(of_nothing):
    assert of_nothing["gaussian_poison"]["forget"].extra["p"] < 1e-3
    assert of_nothing["gaussian_poison"]["forget"].extra["signed"] < 0  # it leans towards the noise
    assert of_nothing["one_run"]["forget"].value > 0.5
    confused = of_nothing["confusion"]["forget"]
    assert confused.value > 10 * confused.null
    assert confused.extra["forget_unlearned"] > 0.9  # nearly all still called by the swapped label


def test_the_start_is_what_the_original_shows(of_nothing):
    """Hardly anything was done: the unlearned model stands where the original stands."""
    for name in ("gaussian_poison", "confusion", "one_run"):
        one = of_nothing[name]["forget"]
        assert one.value == pytest.approx(one.start, abs=0.15 * one.start + 1e-9)


def test_gold_shows_the_null(of_nothing, of_retraining):
    """Both methods are held to the same gold: its value does not depend on the method."""
    for name in ("gaussian_poison", "confusion"):
        assert of_nothing[name]["forget"].null == of_retraining[name]["forget"].null
    assert of_nothing["gaussian_poison"]["forget"].null < 0.4  # mean |N(0, 1 / 80)| of four is 0.09


def test_the_second_class_is_what_gold_takes_the_rows_for(of_nothing):
    extra = of_nothing["confusion"]["forget"].extra
    assert extra["first"] == 8
    assert extra["second"] != 8


def test_too_few_canaries_say_so(gold, problem):
    small = tiny_problem(seed=0, forget=3)
    store = Store(gold.folders[0].path.parent.parent / "small")
    fleets = Fleets(small.recipe, small.rows, small.holdout, small.test, store)
    found = planted(planting(small, fleets.gold(small.forget, GOLD, seed=0, weights=True), FineTune(epochs=1)))
    assert "canaries" in found.skipped["one_run"]
    assert "gaussian_poison" in found.table


def test_the_audit_takes_the_method_again_with_its_settings(problem, gold, tmp_path):
    store = Store(gold.folders[0].path.parent.parent)
    scrub = Scrub(epochs=3, decay_after=()).run(problem, seed=0)
    result = ex.audit(problem, scrub, gold=6, relearn=2, planted=True, store=store)
    for name in ("relearn", "gaussian_poison", "confusion", "one_run"):
        assert result.measure(name)["start"] is not None
    assert "planted marks" in " ".join(result.data["limits"])


def test_a_bare_model_cannot_be_made_again(problem, gold):
    store = Store(gold.folders[0].path.parent.parent)
    result = ex.audit(problem, problem.original, gold=4, planted=True, store=store)
    assert "not measured: planted (planted tests run the method again" in " ".join(result.data["limits"])


def test_relearning_tells_the_original_from_gold(problem, gold):
    models = [gold.model(at) for at in range(GOLD)]
    before = [fit(problem.recipe, problem.rows, seed=5).model for _ in range(1)]
    found = relearned(problem, before, models, [problem.original], seed=0)
    assert found.extra["ain"] < 0.5  # it knows them already
    assert found.extra["unfinished_gold"] == 0  # gold needs fewer steps than are offered
    same = relearned(problem, models[:1], models, [problem.original], seed=0)
    assert same.value < found.value / 2
    assert same_weights(models[0], gold.model(0))  # the models that relearn are copies
