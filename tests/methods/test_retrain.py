"""Retraining is exact: it is `fit` on retain, and begins anew."""

import pytest

from expunge.errors import ConfigError
from expunge.methods.retrain import Retrain
from expunge.seeds import derive
from expunge.training import Run, train
from tests.tiny import same_weights, tiny_problem


def test_it_is_fit_on_retain():
    problem = tiny_problem(seed=0)
    ours = Retrain().run(problem, seed=3)
    gold = train(problem.recipe, problem.rows, problem.retain, Run(derive(3, "retrain")), role="retain")
    assert same_weights(ours.model, gold.model)
    assert ours.cost.backward == {"retain": problem.recipe.epochs * len(problem.retain)}


def test_it_does_not_begin_where_the_original_of_the_same_seed_began():
    problem = tiny_problem(seed=0)
    ours = Retrain().run(problem, seed=0).model
    from_there = train(problem.recipe, problem.rows, problem.retain, Run(0), role="retain").model
    assert not same_weights(ours, from_there)


@pytest.mark.parametrize(("share", "epochs"), [(0.5, 4), (0.01, 1), (1.0, 8)])
def test_share_of_the_epochs(share, epochs):
    problem = tiny_problem(seed=0)
    assert Retrain(share=share).run(problem, seed=0).cost.visits == epochs * len(problem.retain)


def test_share_outside_its_range():
    with pytest.raises(ConfigError, match=r"share: expected in \(0, 1\], got 0"):
        Retrain(share=0)
    assert Retrain().share == 1
