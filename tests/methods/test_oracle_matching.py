"""Oracle matching, and the matching that it shares with `datamodel_matching`, beside their objective."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError
from expunge.methods import OracleMatching
from expunge.methods.matching import match, passes, repeated, settings_of
from expunge.problem import Problem
from expunge.tasks import Regression
from expunge.training import Recipe, Run, fit, predict
from tests.tiny import tiny_problem, tiny_recipe

QUICK = {"epochs": 2, "batch_size": 16}


def with_gold(problem, seeds=(1,)):
    models = tuple(fit(problem.recipe, problem.rows, problem.retain, seed=seed).model for seed in seeds)
    return dataclasses.replace(problem, gold=models)


def test_the_model_comes_nearer_to_gold_on_the_forget_rows():
    problem = with_gold(tiny_problem(seed=0, forget=12))
    found = OracleMatching(epochs=60, lr=0.01, batch_size=32).run(problem, seed=0)

    def away(model):
        gold = predict(problem.gold[0], problem.rows, problem.forget)
        return float((predict(model, problem.rows, problem.forget) - gold).abs().mean())

    assert away(found.model) < 0.5 * away(problem.original)


def test_visits_are_those_of_the_stream_and_one_look_of_every_gold_model():
    problem = with_gold(tiny_problem(seed=0, forget=10), seeds=(1, 2))
    cost = OracleMatching(epochs=3, forget_times=2, retain_times=4, batch_size=16).run(problem, seed=0).cost
    assert cost.backward == {"mixed": 3 * (2 + 4) * 10}
    assert cost.forward == {"mixed": 2 * (10 + 40)}


def test_targets_equal_to_the_originals_outputs_leave_it_where_it_is():
    problem = tiny_problem(seed=0)
    problem = dataclasses.replace(problem, gold=(problem.original,))
    found = OracleMatching(lr=1e-3, optimizer="sgd", **QUICK).run(problem, seed=0)
    for ours, theirs in zip(found.model.parameters(), problem.original.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("statistics", ["frozen", "running"])
def test_statistics_of_normalisation_stay_unless_they_are_let_go(statistics):
    problem = with_gold(normalised_problem())
    found = OracleMatching(statistics=statistics, **QUICK).run(problem, seed=0)
    pairs = zip(found.model.buffers(), problem.original.buffers(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs) == (statistics == "frozen")


def normalised_problem():
    recipe = tiny_recipe(model="allcnn", channels=2, epochs=1)
    return tiny_problem(seed=0, rows=60, forget=5, recipe=recipe, shape=(1, 8, 8))


def test_linear_regression_towards_true_gold_outputs_finds_golds_weights():
    """Retain and forget rows span the space, so matching outputs there is matching weights (in a convex problem)."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(80, 5, generator=draw)
    y = x @ torch.randn(5, 1, generator=draw) + 0.5 * torch.randn(80, 1, generator=draw)
    others = [MemoryRows(torch.randn(4, 5, generator=draw), torch.zeros(4, 1)) for _ in range(2)]
    recipe = Recipe(name="r", model="linear", task=Regression(1), lr=0.1, momentum=0.0, weight_decay=0.0, epochs=60)
    rows = MemoryRows(x, y)
    original = fit(recipe, rows, seed=0).model
    problem = Problem(
        recipe=recipe, rows=rows, forget=np.arange(8), holdout=others[0], test=others[1], original=original
    )
    problem = with_gold(problem)
    found = OracleMatching(epochs=80, lr=0.2, decay=1.0, optimizer="sgd", retain_times=9, batch_size=80).run(
        problem, seed=0
    )

    def weights(model: nn.Module):
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    gold, start = weights(problem.gold[0]), weights(original)
    assert float((weights(found.model) - gold).norm() / (start - gold).norm()) < 0.02


def test_retain_rows_are_drawn_once_or_anew():
    problem, run = tiny_problem(seed=0), Run(0)
    own = settings_of(OracleMatching(epochs=3, retain_times=2))
    once = passes(problem, run, own)
    anew = passes(problem, run, dataclasses.replace(own, fresh=True))
    assert all(np.array_equal(once[0], one) for one in once)
    assert not np.array_equal(anew[0], anew[1])
    for rows in (*once, *anew):
        assert set(rows[: len(problem.forget)]) == set(problem.forget)
        assert not set(rows[len(problem.forget) :]) & set(problem.forget), "no forget row among the retain draws"


def test_rows_that_weigh_more_are_drawn_more():
    problem, own = tiny_problem(seed=0, rows=240), settings_of(OracleMatching(epochs=20, fresh=True, retain_times=2))
    weights = np.where(np.arange(len(problem.retain)) < 40, 9.0, 1.0)
    drawn = np.concatenate([one[len(problem.forget) :] for one in passes(problem, Run(0), own, weights)])
    heavy = np.isin(drawn, problem.retain[:40]).mean()
    assert heavy > 0.45  # 40 of 228 rows: 0.18 if all were alike


def test_more_retain_rows_than_there_are_is_capped_and_noted():
    problem = with_gold(tiny_problem(seed=0, rows=30, forget=5))
    found = OracleMatching(retain_times=20, **QUICK).run(problem, seed=0)
    assert found.notes["retain_rows_capped"] == "100 asked for, 25 there are"
    assert found.cost.backward["mixed"] == 2 * (5 + 25)


@pytest.mark.parametrize(("times", "count"), [(0.2, 1), (0.5, 3), (1, 6), (2.5, 15)])
def test_a_fraction_of_the_forget_rows_is_never_none(times, count):
    assert len(repeated(np.arange(6), times, seed=0)) == count


def test_the_stop_rule_ends_the_run_after_an_epoch():
    problem, run = tiny_problem(seed=0), Run(0, 16)
    own = settings_of(OracleMatching(epochs=5, batch_size=16))
    asked = []
    match(
        problem,
        run,
        own,
        passes(problem, run, own),
        lambda at: predict(problem.original, problem.rows, at),
        enough=lambda model: asked.append(model) or len(asked) == 2,
    )
    assert len(asked) == 2
    assert run.meter.cost().backward["mixed"] == 2 * 6 * len(problem.forget)


def test_without_gold_models_it_says_how_to_give_some():
    with pytest.raises(NeedsError, match=r"oracle_matching is an upper bound and needs gold models, got none\nhint"):
        OracleMatching().run(tiny_problem(seed=0), seed=0)


def test_bad_settings_name_the_range_and_the_value():
    with pytest.raises(ConfigError, match=r"forget_times: expected > 0, got 0"):
        OracleMatching(forget_times=0)
    with pytest.raises(ConfigError, match=r"statistics: expected one of frozen, running, got 'train'"):
        OracleMatching(statistics="train")
