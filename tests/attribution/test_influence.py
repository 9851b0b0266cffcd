"""Influence against exact answers where there are any, solver against solver, and what cannot be answered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.attribution import Influence, Source
from expunge.errors import ConfigError, NeedsError
from expunge.tasks import Classification
from expunge.training import Recipe, fit
from tests.attribution.linear import converged, gold_step, relative, ridge_source
from tests.tiny import tiny_recipe, tiny_rows

FORGET = np.array([3, 40, 11, 59])
EXACT = {"tolerance": 1e-11, "iterations": 1000}


def net(*, rows=60, hidden=3, weight_decay=0.05, epochs=8):
    """A trained net of few parameters."""
    recipe = replace(tiny_recipe(epochs=epochs, hidden=(hidden,)), weight_decay=weight_decay)
    train = tiny_rows(rows, seed=0)
    return Source(recipe=recipe, rows=train, model=fit(recipe, train, seed=0).model)


@pytest.mark.parametrize(
    "estimator",
    [
        Influence(solver="explicit"),
        Influence(solver="explicit", curvature="hessian"),
        Influence(solver="cg", **EXACT),
        Influence(solver="cg", curvature="hessian", **EXACT),
        Influence(solver="lissa", **EXACT),
    ],
    ids=lambda e: f"{e.solver}-{e.curvature}",
)
def test_equals_exact_ridge_without_the_rows(estimator):
    source = ridge_source(80, 12, penalty=20, seed=1)
    found = estimator.fit(source).step(FORGET).numpy()
    assert relative(found, gold_step(source, FORGET)) < 1e-8


@pytest.mark.parametrize("solver", ["explicit", "cg"])
def test_single_and_first_order_are_those_of_ridge(solver):
    source = ridge_source(80, 12, penalty=4, seed=1)
    alone = sum(gold_step(source, FORGET[at : at + 1]) for at in range(4))
    found = Influence(solver=solver, correction="single", **EXACT).fit(source).step(FORGET).numpy()
    assert relative(found, alone) < 1e-8
    first = Influence(solver=solver, correction="none", **EXACT).fit(source).step(FORGET).numpy()
    x = np.hstack([source.rows.x.double().numpy(), np.ones((80, 1))])
    weights = torch.nn.utils.parameters_to_vector(source.model.parameters()).detach().numpy()
    residual = x[FORGET] @ weights - source.rows.labels[FORGET, 0].double().numpy()
    slope = 2 * x[FORGET].T @ residual + 4 * source.recipe.weight_decay * weights
    by_hand = np.linalg.solve(2 * x.T @ x + 80 * source.recipe.weight_decay * np.eye(13), slope)
    assert relative(first, by_hand) < 1e-8


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_three_solvers_agree_on_a_net(curvature):
    source = net(weight_decay=0.2)
    settings = {"curvature": curvature, "damping": 1.0, "tolerance": 1e-9}
    fits = {solver: Influence(solver=solver, **settings).fit(source) for solver in ("explicit", "cg", "lissa")}
    rows = tiny_rows(7, seed=5)
    exact = fits["explicit"].removal(FORGET, rows)
    assert np.abs(exact.change).max() > 1e-3
    for solver in ("cg", "lissa"):
        np.testing.assert_allclose(fits[solver].removal(FORGET, rows).change, exact.change, atol=1e-8)
        assert fits[solver].notes["residual"] <= 1e-9
        assert "warning" not in fits[solver].notes


def test_solvers_agree_on_scores():
    source, rows = net(), tiny_rows(5, seed=5)
    settings = {"damping": 0.1, "correction": "single", **EXACT}
    explicit, cg = (Influence(solver=solver, **settings).fit(source) for solver in ("explicit", "cg"))
    np.testing.assert_allclose(cg.scores(rows, FORGET), explicit.scores(rows, FORGET), rtol=1e-4, atol=1e-7)
    first = [
        Influence(solver=s, damping=0.1, correction=c, **EXACT) for s, c in (("cg", "group"), ("explicit", "none"))
    ]
    by_products, by_matrix = (one.fit(source).scores(rows, FORGET) for one in first)
    np.testing.assert_allclose(by_products, by_matrix, rtol=1e-4, atol=1e-7)


def test_one_newton_step_is_near_to_training_again():
    """Logistic regression, 4 of 60 rows: what is left over is the third derivative; first order misses far more."""
    recipe = Recipe(name="logistic", model="linear", task=Classification(3), weight_decay=0.02)
    rows, test = tiny_rows(60, seed=0), tiny_rows(20, seed=3)
    original, gold = converged(recipe, rows), converged(recipe, rows, np.setdiff1d(np.arange(60), FORGET))
    change = (gold(test.x.double()) - original(test.x.double())).detach().numpy()
    source = Source(recipe=recipe, rows=rows, model=original.float())
    errors = {}
    for name in ("group", "single", "none"):
        fitted = Influence(solver="explicit", correction=name).fit(source)
        errors[name] = relative(fitted.removal(FORGET, test).change, change)
    assert errors["group"] < 0.05
    assert errors["group"] < errors["single"] < errors["none"]


def test_the_hessian_is_nearer_than_gauss_newton_where_a_net_ended_at_a_minimum():
    rows, gone = tiny_rows(60, seed=0), np.array([7])
    recipe = replace(tiny_recipe(), weight_decay=0.02)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        smooth = nn.Sequential(nn.Linear(6, 2), nn.Tanh(), nn.Linear(2, 3))
    original = converged(recipe, rows, start=smooth)
    gold = converged(recipe, rows, np.setdiff1d(np.arange(60), gone), start=original)
    vector = nn.utils.parameters_to_vector
    exact = (vector(gold.parameters()) - vector(original.parameters())).detach().numpy()
    source = Source(recipe=recipe, rows=rows, model=original)
    steps = {
        (kind, solver): Influence(solver=solver, curvature=kind, **EXACT).fit(source).step(gone).numpy()
        for kind in ("hessian", "ggn")
        for solver in ("explicit", "cg")
    }
    errors = {name: relative(step, exact) for name, step in steps.items()}
    assert errors["hessian", "explicit"] < 0.1
    assert errors["hessian", "explicit"] < errors["ggn", "explicit"]
    for kind in ("hessian", "ggn"):
        assert relative(steps[kind, "cg"], steps[kind, "explicit"]) < 1e-6


def test_an_indefinite_hessian_is_damped_and_that_is_said():
    source = net(epochs=1, weight_decay=0.0)
    for solver in ("explicit", "cg"):
        fitted = Influence(solver=solver, curvature="hessian", tolerance=1e-4).fit(source)
        assert "curvature is indefinite (eigenvalues -" in fitted.notes["warning"]
        assert fitted.notes["damping"] > 0
        assert fitted.settings.damping == 0 if solver == "cg" else fitted.dense.damping > 0
    by_matrix = Influence(solver="explicit", curvature="hessian").fit(source).notes["damping"]
    assert fitted.notes["damping"] == pytest.approx(by_matrix, rel=0.3)


@pytest.mark.parametrize("solver", ["explicit", "cg", "lissa"])
def test_too_little_damping_of_an_indefinite_hessian_is_refused(solver):
    source = net(epochs=1, weight_decay=0.0)
    with pytest.raises(NeedsError, match=r"(?s)positive definite matrix, got -.*hint: curvature=\"ggn\""):
        Influence(solver=solver, curvature="hessian", damping=1e-9).fit(source)


@pytest.mark.parametrize("solver", ["explicit", "cg", "lissa"])
def test_a_rank_deficient_curvature_is_damped_and_that_is_said(solver):
    source = net(rows=12, hidden=8, weight_decay=0.0)  # 12 rows x 2 directions, 83 parameters
    fitted = Influence(solver=solver).fit(source)
    assert "rank-deficient" in fitted.notes["warning"]
    assert fitted.notes["damping"] > 0
    assert np.isfinite(fitted.removal(np.array([1]), tiny_rows(4, seed=1)).logits).all()
    sound = Influence(solver=solver).fit(net())
    assert sound.notes["damping"] == 0
    assert "warning" not in sound.notes


@pytest.mark.parametrize("solver", ["cg", "lissa"])
def test_stopping_early_is_noted(solver):
    fitted = Influence(solver=solver, iterations=2).fit(net())
    fitted.step(FORGET)
    assert fitted.notes["steps"] == 2
    assert fitted.notes["residual"] > 1e-6
    assert "stopped at a residual of" in fitted.notes["warning"]
    object.__setattr__(fitted.settings, "iterations", 5000)
    fitted.step(FORGET)
    assert "warning" not in fitted.notes


def test_lissa_on_drawn_rows_comes_near():
    source = net(weight_decay=0.2)
    exact = Influence(solver="explicit", damping=1.0).fit(source).step(FORGET).numpy()
    drawn = Influence(solver="lissa", damping=1.0, sample=30, iterations=40)
    found = drawn.fit(source).step(FORGET).numpy()
    assert 0 < relative(found, exact) < 0.1
    assert np.array_equal(found, drawn.fit(source).step(FORGET).numpy()), "the same draws for the same seed"
    assert not np.array_equal(found, drawn.fit(source, seed=1).step(FORGET).numpy())


def test_precision_of_float32_is_enough_for_outputs():
    source, rows = net(), tiny_rows(6, seed=5)
    exact, single = (Influence(precision=p).fit(source).removal(FORGET, rows) for p in ("float64", "float32"))
    np.testing.assert_allclose(single.change, exact.change, rtol=1e-2, atol=1e-4)
    assert not np.array_equal(single.change, exact.change)


def normed(track):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=track), nn.Flatten(), nn.LazyLinear(3)
        )


def test_batch_normalisation_counts_as_it_is_in_evaluation_and_else_is_explained():
    rows = tiny_rows(30, seed=0, shape=(1, 4, 4))
    for track in (True, False):
        model = normed(track)
        model(rows.x)
        source = Source(recipe=tiny_recipe(), rows=rows, model=model.train())
        if track:
            change = Influence(solver="explicit").fit(source).removal(np.array([1]), rows.take(np.arange(5))).change
            assert np.isfinite(change).all()
            assert np.abs(change).max() > 0
            assert model.training
        else:
            with pytest.raises(NeedsError, match=r"(?s)rows that do not see each other.*track_running_stats=True"):
                Influence(solver="explicit").fit(source)


def test_dropout_is_off():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))
    plain = nn.Sequential(*(layer for layer in model if not isinstance(layer, nn.Dropout)))
    rows, test = tiny_rows(30, seed=0), tiny_rows(5, seed=1)
    found = [
        Influence(solver="cg")
        .fit(Source(recipe=tiny_recipe(), rows=rows, model=one.train()))
        .removal(np.array([2]), test)
        for one in (model, plain)
    ]
    np.testing.assert_array_equal(found[0].logits, found[1].logits)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("solver", "lbfgs", "one of explicit, cg, lissa"),
        ("curvature", "fisher", "one of ggn, hessian"),
        ("correction", "all", "one of group, single, none"),
        ("precision", "bf16", "one of float32, float64"),
        ("damping", -1.0, ">= 0"),
        ("tolerance", 0.0, r"in \(0, 1\)"),
        ("iterations", 0, ">= 1"),
        ("sample", -1, ">= 0"),
    ],
)
def test_bad_settings_name_the_range(setting, value, said):
    with pytest.raises(ConfigError, match=f"{setting}: expected {said}"):
        Influence(**{setting: value})


def test_too_many_parameters_for_a_matrix(monkeypatch):
    monkeypatch.setattr("expunge.attribution.dense.MOST", 10)
    with pytest.raises(
        ConfigError, match=r"solver: expected another one, such as cg, for \d+ parameters \(at most 10\)"
    ):
        Influence(solver="explicit").fit(net())
