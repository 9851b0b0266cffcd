"""Holdout rows that stand for the forget rows had the model never seen them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.errors import NeedsError
from expunge.methods.reference import matched, measured
from expunge.training import Run, predict
from tests.methods.regression import regression_problem
from tests.tiny import tiny_problem


def test_classes_count_as_they_do_among_the_forget_rows():
    problem = replace(tiny_problem(seed=0), forget=np.array([0, 3, 6, 1]))  # three of class 0, one of class 1
    unequal = np.flatnonzero(problem.holdout.labels.numpy() > 0)
    problem = replace(problem, holdout=problem.holdout.take(np.r_[0, 3, unequal]))  # two of class 0, 20 of class 1
    at, weights = matched(problem)
    labels = problem.holdout.labels[torch.as_tensor(at)]
    assert set(labels.tolist()) == {0, 1}
    assert float(weights[labels == 0].sum()) == pytest.approx(0.75)
    assert float(weights[labels == 1].sum()) == pytest.approx(0.25)
    assert len(weights[labels == 1].unique()) == 1


def test_a_class_that_holdout_lacks_is_left_out():
    problem = replace(tiny_problem(seed=0), forget=np.array([0, 3, 6, 1]))
    holdout = problem.holdout.take(np.flatnonzero(problem.holdout.labels.numpy() != 0))
    at, weights = matched(replace(problem, holdout=holdout))
    assert set(holdout.labels[torch.as_tensor(at)].tolist()) == {1}
    assert float(weights.sum()) == pytest.approx(1)


def test_no_holdout_row_of_these_classes_is_refused():
    problem = tiny_problem(seed=0)
    holdout = problem.holdout.take(np.flatnonzero(problem.holdout.labels.numpy() != 0))
    with pytest.raises(NeedsError, match=r"forget rows' classes \[0\], got classes \[1, 2\]\nhint: add holdout"):
        matched(replace(problem, holdout=holdout))


def test_without_classes_every_row_counts_alike():
    problem = regression_problem()
    at, weights = matched(problem)
    assert at.tolist() == list(range(40))
    assert torch.equal(weights, torch.full((40,), 1 / 40))


def test_a_measure_is_counted_and_keeps_the_mode():
    problem, run = tiny_problem(seed=0), Run(seed=0)
    model = problem.original.train()
    at = np.array([5, 2])
    losses = measured(problem.recipe.task.loss, model, problem.holdout, at, run, "holdout")
    by_hand = torch.nn.functional.cross_entropy(
        predict(model, problem.holdout, at), problem.holdout.labels[torch.as_tensor(at)], reduction="none"
    )
    assert torch.equal(losses, by_hand)
    assert run.meter.cost().forward == {"holdout": 2}
    assert model.training
