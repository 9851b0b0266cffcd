"""Datamodel matching and its direct form beside their objectives; what any matching does: test_oracle_matching.py."""

import dataclasses

import numpy as np
import pytest
import torch

from expunge.attribution import Source
from expunge.attribution.named import configured
from expunge.data import MemoryRows
from expunge.errors import ConfigError, ProblemError
from expunge.methods import DatamodelDirect, DatamodelMatching, OracleMatching
from expunge.problem import Problem
from expunge.tasks import Regression
from expunge.training import Recipe, fit, predict
from tests.tiny import same_weights, tiny_problem

LAYER = "last_layer"


def regression():
    """Ridge regression: the prediction is exact, so predicted and true gold outputs are the same thing."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=draw)
    y = x @ torch.randn(5, 1, generator=draw) + 0.5 * torch.randn(60, 1, generator=draw)
    others = [MemoryRows(torch.randn(4, 5, generator=draw), torch.zeros(4, 1)) for _ in range(2)]
    recipe = Recipe(
        name="r", model="linear", task=Regression(1), lr=0.2, momentum=0.5, weight_decay=0.01, epochs=400, batch_size=60
    )
    rows = MemoryRows(x, y)
    original = fit(recipe, rows, seed=0).model
    problem = Problem(
        recipe=recipe, rows=rows, forget=np.arange(6), holdout=others[0], test=others[1], original=original
    )
    gold = fit(recipe, rows, problem.retain, seed=1).model
    return dataclasses.replace(problem, gold=(gold,))


def test_the_prediction_is_what_gold_puts_out_where_the_model_is_linear():
    problem = regression()
    found = DatamodelDirect(estimator=LAYER).run(problem, seed=0).model
    gold = predict(problem.gold[0], problem.test)
    assert torch.allclose(predict(found, problem.test), gold, atol=1e-3)
    assert not torch.allclose(predict(problem.original, problem.test), gold, atol=1e-2)


def test_matching_exact_predictions_is_matching_gold():
    problem = regression()
    shared = {"epochs": 30, "lr": 0.1, "optimizer": "sgd", "retain_times": 9.0, "batch_size": 60, "forget_times": 1.0}
    ours = DatamodelMatching(estimator=LAYER, **shared).run(problem, seed=0).model
    theirs = OracleMatching(**shared).run(problem, seed=0).model
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-3)


def test_a_row_of_a_wrong_label_loses_its_margin_when_it_goes():
    """Sign: what a mislabelled row taught about itself is gone, and its own label falls."""
    problem = tiny_problem(seed=0, forget=1)
    labels = problem.rows.labels.clone()
    labels[problem.forget] = 1
    rows = MemoryRows(problem.rows.x, labels, ids=problem.rows.ids)
    original = fit(problem.recipe, rows, seed=0).model
    problem = dataclasses.replace(problem, rows=rows, original=original)
    task, gone = problem.recipe.task, rows.take(problem.forget)
    before = task.margin(predict(original, gone), gone.labels)
    after = task.margin(predict(DatamodelDirect(estimator=LAYER).run(problem, seed=0).model, gone), gone.labels)
    assert float(after) < float(before) - 0.05


def test_nothing_predicted_is_nothing_changed(monkeypatch):
    """A prediction of no change gives the original's outputs as targets, and the model does not move."""
    problem = tiny_problem(seed=0)
    fitted = configured(LAYER).fit(problem)
    monkeypatch.setattr(type(fitted), "step", lambda self, forget: torch.zeros(self.network.size, dtype=torch.float64))
    found = predict(fitted.counterfactual(problem.forget), problem.test)
    assert torch.allclose(found, predict(problem.original, problem.test), atol=1e-5)
    moved = DatamodelMatching(estimator=LAYER, optimizer="sgd", batch_size=16).run(problem, seed=0).model
    for ours, theirs in zip(moved.parameters(), problem.original.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_visits_of_matching_are_counted_and_attribution_stands_apart():
    problem = tiny_problem(seed=0, forget=10, rows=300)
    found = DatamodelMatching(estimator=LAYER, batch_size=32).run(problem, seed=0)
    assert found.cost.backward["mixed"] == 4 * (5 + 20) * 10
    apart = found.notes["attribution"]
    fit_alone = configured(LAYER).fit(problem).cost.visits
    assert apart["visits"] == pytest.approx(fit_alone)
    assert apart["share_over_requests"] == pytest.approx(apart["share_of_retraining"] / 20)
    assert found.cost.visits < fit_alone + found.cost.backward["mixed"] + 3 * len(problem.rows)


def test_our_preset_draws_anew_and_takes_more_of_the_affected_rows():
    problem = tiny_problem(seed=0, forget=12)
    found = DatamodelMatching(preset="ours", estimator=LAYER, epochs=2).run(problem, seed=0)
    assert found.settings["fresh"]
    assert found.settings["affected"]
    assert found.notes["predicted_change"] > 0
    assert found.notes["predicted_error"] is None, "one linearised model knows no error, so nothing stops it"
    assert found.cost.backward["mixed"] == 2 * (1 + 5) * 12


def test_it_stops_once_the_residual_is_within_the_predictions_own_error(monkeypatch):
    problem = tiny_problem(seed=0, forget=12)
    kind = type(configured(LAYER).fit(problem))
    removal = kind.removal

    def sure(self, forget, rows):
        found = removal(self, forget, rows)
        return dataclasses.replace(found, error=np.full_like(found.error, 10.0))

    monkeypatch.setattr(kind, "removal", sure)
    settings = {"estimator": LAYER, "preset": "ours", "epochs": 6}
    assert DatamodelMatching(**settings).run(problem, seed=0).cost.backward["mixed"] == (1 + 5) * 12
    assert DatamodelMatching(**settings, stop=False).run(problem, seed=0).cost.backward["mixed"] == 6 * (1 + 5) * 12


def test_what_an_estimator_warns_of_reaches_the_notes():
    found = DatamodelDirect(estimator="influence:iterations=1").run(tiny_problem(seed=0), seed=0)
    assert found.notes["warning"].startswith("attribution: cg stopped at a residual of")


def test_rows_are_not_taken_off_twice():
    problem = tiny_problem(seed=0)
    predicted = DatamodelDirect(estimator=LAYER).run(problem, seed=0).model
    again = dataclasses.replace(problem, original=predicted)
    with pytest.raises(ProblemError, match="the original is itself a prediction without rows"):
        DatamodelDirect(estimator=LAYER).run(again, seed=0)


def test_a_fit_of_another_model_is_refused():
    problem, other = tiny_problem(seed=0), tiny_problem(seed=1)
    fitted = configured(LAYER).fit(Source.of(problem))
    fitted.check(problem)
    with pytest.raises(ProblemError, match="fitted on other training rows"):
        fitted.check(other)
    anew = dataclasses.replace(problem, original=fit(problem.recipe, problem.rows, seed=9).model)
    with pytest.raises(ProblemError, match="fitted on another model"):
        fitted.check(anew)


def test_seeds_draw_other_retain_rows():
    problem = tiny_problem(seed=0, forget=3)
    method = DatamodelMatching(estimator=LAYER, batch_size=16)
    assert not same_weights(method.run(problem, seed=0).model, method.run(problem, seed=1).model)


def test_settings_come_from_the_preset_unless_they_are_given():
    assert DatamodelMatching().epochs == 4
    assert DatamodelMatching(preset="ours", epochs=3).epochs == 3
    with pytest.raises(ConfigError, match="unknown preset 'our'\nhint: did you mean ours"):
        DatamodelMatching(preset="our")
    with pytest.raises(ConfigError, match="affected: expected true or false, got 1"):
        DatamodelMatching(affected=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lst_layer", "unknown estimator 'lst_layer'\nhint: did you mean last_layer"),
        ("last_layer:dampin=1", "expected SETTING=VALUE with one of damping"),
        ("last_layer:damping=much", "damping: expected a number, got 'much'"),
    ],
)
def test_an_estimator_that_is_none_is_named_with_what_there_is(text, said):
    with pytest.raises(ConfigError, match=said):
        DatamodelDirect(estimator=text).run(tiny_problem(seed=0), seed=0)
