"""Ridge against the normal equations solved again without the rows, and what every fitted estimator has in common."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.attribution import Ridge, Source
from expunge.attribution.estimator import Prediction
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.problem import Problem
from expunge.training import predict
from tests.attribution.linear import as_vector, columns, gold_step, regression_rows, relative, ridge_source, solved
from tests.tiny import tiny_problem

SIZES = [(100, 400, 5), (100, 400, 20), (400, 50, 5), (400, 50, 20)]
GROUP, SINGLE, NONE = ({"correction": name} for name in ("group", "single", "none"))


def step(estimator, source, forget):
    return estimator.fit(source).step(np.asarray(forget)).numpy()


def without(source, forget):
    """The same model of the same recipe, trained on the rows that are left."""
    kept = np.setdiff1d(np.arange(len(source.rows)), forget)
    rows, model = source.rows.take(kept), source.recipe.fresh(source.rows.x.shape[1:], seed=0).double()
    vector = torch.from_numpy(as_vector(solved(rows, source.recipe.weight_decay)))
    torch.nn.utils.vector_to_parameters(vector, model.parameters())
    return Source(recipe=source.recipe, rows=rows, model=model)


@pytest.mark.parametrize(("rows", "inputs", "forget"), SIZES)
def test_golden_table(rows, inputs, forget):
    """datamodels spec, section 4: the group is exact, leave-one-out and first order miss by these orders."""
    source = ridge_source(rows, inputs, penalty=4, seed=1)
    gone = 3 * np.arange(forget)
    exact = gold_step(source, gone)
    assert relative(step(Ridge(**GROUP), source, gone), exact) < 1e-8
    errors = [relative(step(Ridge(**kind), source, gone), exact) for kind in (SINGLE, NONE)]
    low, high = {(100, 5): (0.03, 0.2), (100, 20): (0.15, 0.35), (400, 5): (0.01, 0.06), (400, 20): (0.05, 0.2)}[
        rows, forget
    ]
    assert low < errors[0] < high
    assert (0.97 < errors[1] < 1) if rows == 100 else (0.08 < errors[1] < 0.3)


def test_one_row_is_leave_one_out():
    source = ridge_source(60, 20, penalty=2, seed=0)
    for row in (0, 17):
        exact = gold_step(source, np.array([row]))
        assert relative(step(Ridge(**GROUP), source, [row]), exact) < 1e-10
        assert relative(step(Ridge(**SINGLE), source, [row]), exact) < 1e-10


def test_order_of_the_rows_does_not_matter():
    source = ridge_source(60, 20, penalty=2, seed=0)
    assert np.array_equal(step(Ridge(), source, [3, 40, 11]), step(Ridge(), source, [40, 11, 3]))


def test_one_part_after_the_other_is_both_together():
    source = ridge_source(60, 80, penalty=2, seed=0)
    first, second = np.array([3, 40, 11]), np.array([5, 59])
    between = without(source, first)
    later = np.flatnonzero(np.isin(np.setdiff1d(np.arange(60), first), second))
    both = step(Ridge(), source, np.concatenate([first, second]))
    assert relative(step(Ridge(), source, first) + step(Ridge(), between, later), both) < 1e-10


@pytest.mark.parametrize("targets", [1, 3])
def test_predicted_outputs_are_those_of_the_model_trained_again(targets):
    source = ridge_source(80, 30, penalty=3, seed=2, targets=targets, double=False)
    rows, forget = regression_rows(9, 30, seed=5, targets=targets), np.array([1, 5, 60, 61, 79])
    removal = Ridge().fit(source).removal(forget, rows)
    kept = np.setdiff1d(np.arange(80), forget)
    gold = columns(rows) @ solved(source.rows, source.recipe.weight_decay, kept)
    start = columns(rows) @ solved(source.rows, source.recipe.weight_decay)
    assert relative(removal.change, gold - start) < 1e-6, "the changes themselves are exact"
    np.testing.assert_allclose(removal.logits, gold, atol=1e-5)
    assert np.isnan(removal.error).all()


def test_a_layer_without_bias():
    source = ridge_source(40, 12, penalty=2, seed=3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1, bias=False)).double()
    source = replace(source, model=model)
    x, y = source.rows.x.double().numpy(), source.rows.labels.double().numpy()
    half = source.recipe.weight_decay / 2
    every, kept = (np.arange(40), np.arange(4, 40))
    gold, start = (np.linalg.solve(x[k].T @ x[k] + len(k) * half * np.eye(12), x[k].T @ y[k]) for k in (kept, every))
    assert relative(step(Ridge(), source, np.arange(4)), (gold - start)[:, 0]) < 1e-10


def test_scores_are_signed_effects_of_single_rows():
    source = ridge_source(50, 10, penalty=2, seed=4, double=False)
    rows, train = regression_rows(6, 10, seed=9), np.array([7, 0, 33])
    fitted = Ridge().fit(source)
    found = fitted.scores(rows, train)
    x, y = columns(rows), rows.labels.double().numpy()[:, 0]
    outputs = x @ solved(source.rows, source.recipe.weight_decay)[:, 0]
    for at, row in enumerate(train):
        moved = x @ gold_step(source, np.array([row]))  # how the outputs move when the row goes
        lost = 2 * (outputs - y) * moved  # to first order, what the margin -(f - y)^2 then loses
        np.testing.assert_allclose(found[at], lost, rtol=1e-3, atol=1e-6)
    streamed = list(fitted.stream(rows, chunk=20))
    assert np.concatenate([at for at, _ in streamed]).tolist() == list(range(50))
    np.testing.assert_allclose(np.concatenate([part for _, part in streamed])[train], found, rtol=1e-4, atol=1e-7)


def test_counterfactual_answers_any_row_as_removal_does():
    source = ridge_source(50, 10, penalty=2, seed=4, double=False)
    fitted, rows, forget = Ridge().fit(source), regression_rows(6, 10, seed=9), np.array([7, 0, 33])
    model = fitted.counterfactual(forget)
    assert isinstance(model, Prediction)
    expected = fitted.removal(forget, rows).logits
    np.testing.assert_allclose(predict(model, rows).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(predict(model.train(), rows).numpy(), expected, atol=1e-6)
    ours = {p.data_ptr() for p in source.model.parameters()}
    assert not ours & {value.data_ptr() for value in model.state_dict().values()}


def test_a_model_that_is_no_optimum_is_moved_by_the_same_amount():
    source = ridge_source(50, 10, penalty=2, seed=4, double=False)
    away = source.recipe.fresh((10,), seed=1)
    rows, forget = regression_rows(6, 10, seed=9), np.array([7, 0, 33])
    fitted, exact = Ridge().fit(replace(source, model=away)), Ridge().fit(source)
    found = fitted.removal(forget, rows)
    np.testing.assert_allclose(found.original, predict(away, rows).double().numpy())
    np.testing.assert_allclose(found.change, exact.removal(forget, rows).change, atol=1e-9)
    np.testing.assert_allclose(predict(fitted.counterfactual(forget), rows).numpy(), found.logits, atol=1e-6)
    assert "away from the ridge solution" in fitted.notes["warning"]
    assert "warning" not in exact.notes
    assert exact.notes["distance_to_optimum"] < 1e-6


def test_what_is_no_ridge_regression_is_refused():
    problem = tiny_problem(seed=0)
    with pytest.raises(NeedsError, match=r"(?s)regression by one dense layer, got classification.*hint: .*last_layer"):
        Ridge().fit(problem)
    source = ridge_source(30, 6, penalty=1, seed=0)
    for model in (
        nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(6, 1), nn.Tanh()),
        nn.Sequential(nn.LayerNorm(6)),
    ):
        with pytest.raises(NeedsError, match="regression by one dense layer"):
            Ridge().fit(replace(source, model=model))


def test_rows_that_leave_the_weights_undetermined_are_refused():
    source = ridge_source(20, 40, penalty=1, seed=0)
    without_penalty = replace(source, recipe=replace(source.recipe, weight_decay=0.0))
    with pytest.raises(NeedsError, match=r"(?s)leave the weights undetermined, condition .*hint: .*weight_decay > 0"):
        Ridge().fit(without_penalty)


def test_a_nearly_undetermined_remainder_is_noted():
    fitted = Ridge().fit(ridge_source(60, 6, penalty=1e-12, seed=0))
    fitted.step(np.arange(30))
    assert "warning" not in fitted.notes
    fitted.step(np.arange(59))  # one row and hardly a penalty do not tell seven weights
    assert fitted.notes["group_condition"] > 1e10
    assert "nearly undetermined" in fitted.notes["warning"]


def test_without_a_penalty_enough_rows_still_determine_it():
    source = ridge_source(40, 6, penalty=1, seed=0)
    source = replace(source, recipe=replace(source.recipe, weight_decay=0.0))
    assert relative(step(Ridge(), source, [1, 2, 3]), gold_step(source, np.array([1, 2, 3]))) < 1e-10


@pytest.mark.parametrize(
    ("forget", "said"),
    [
        (np.arange(30), "all 30 training rows"),
        (np.arange(31), r"positions 0..29, got 0..30"),
        (np.arange(0), "at least one row, got none"),
        (np.array([3, 3]), "named more than once"),
    ],
)
def test_forget_sets_that_cannot_be_are_refused(forget, said):
    fitted = Ridge().fit(ridge_source(30, 6, penalty=1, seed=0, double=False))
    for ask in (fitted.step, fitted.counterfactual, lambda at: fitted.removal(at, regression_rows(2, 6, seed=1))):
        with pytest.raises(ProblemError, match=said):
            ask(forget)


def test_a_fit_knows_what_it_was_fitted_on():
    source = ridge_source(30, 6, penalty=1, seed=0, double=False)
    apart = {name: regression_rows(5, 6, seed=seed) for name, seed in (("holdout", 7), ("test", 8))}
    problem = Problem(recipe=source.recipe, rows=source.rows, forget=np.arange(3), original=source.model, **apart)
    fitted = Ridge().fit(problem)
    fitted.check(problem)
    other_recipe = replace(source.recipe, weight_decay=0.5)
    for field, value, said in (
        ("recipe", other_recipe, r"weight_decay is .* there, 0.5 here"),
        ("rows", regression_rows(30, 6, seed=3), "other training rows"),
        ("original", source.recipe.fresh((6,), seed=2), "another model"),
    ):
        with pytest.raises(ProblemError, match=said):
            fitted.check(replace(problem, **{field: value}))


def test_visits_are_counted_and_seconds_are_those_of_the_fit():
    fitted = Ridge().fit(ridge_source(30, 6, penalty=1, seed=0, double=False))
    before = fitted.cost
    assert before.forward == {"attribution": 30}
    fitted.removal(np.arange(4), regression_rows(7, 6, seed=1))
    assert fitted.cost.visits > before.visits
    assert fitted.cost.seconds == before.seconds


def test_bad_correction_names_the_range():
    with pytest.raises(ConfigError, match=r"correction: expected one of group, single, none, got 'both'"):
        Ridge(correction="both")
