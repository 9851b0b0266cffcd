"""Bounded gradient ascent beside its objective. For every method: tests/properties/test_methods.py."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from expunge.errors import ConfigError, DivergedError
from expunge.methods.gradient_ascent import GradientAscent, climb
from expunge.training import predict
from tests.methods.regression import regression_problem
from tests.tiny import same_weights, tiny_problem


def forget_losses(problem, model):
    labels = problem.rows.labels[torch.as_tensor(problem.forget)]
    return functional.cross_entropy(predict(model, problem.rows, problem.forget), labels, reduction="none")


def test_objective_by_hand():
    losses = torch.tensor([0.5, 3.0], requires_grad=True)
    value = climb(losses, 1.0)
    value.backward()
    assert value.item() == pytest.approx(-(0.5 + 1.0) / 2)
    assert losses.grad.tolist() == [-0.5, 0.0]  # a row above the cap has no pull


def test_one_step_by_hand():
    problem = tiny_problem(seed=0)
    ours = GradientAscent(stop="cap", epochs=1, lr=0.1, clip=None).run(problem, seed=0).model
    model = deepcopy(problem.original)
    x, y = problem.rows.batch(problem.forget)
    functional.cross_entropy(model(x), y).backward()  # every forget row lies below log 3 here
    for name, p in model.named_parameters():
        assert torch.allclose(ours.state_dict()[name], p + 0.1 * p.grad, atol=1e-7)


def test_the_stop_rule_overshoots_by_no_more_than_one_step():
    problem = tiny_problem(seed=0)
    stopped = GradientAscent(lr=0.5, epochs=60).run(problem, seed=0)  # 12 rows, so one step an epoch
    steps = len(stopped.history)
    assert 1 < steps < 60
    reference = stopped.notes["reference_loss"]
    before = GradientAscent(lr=0.5, epochs=steps - 1).run(problem, seed=0)
    assert float(forget_losses(problem, before.model).mean()) < reference
    assert float(forget_losses(problem, stopped.model).mean()) >= reference
    assert stopped.notes["forget_loss"] == pytest.approx(float(forget_losses(problem, stopped.model).mean()))


def test_the_reference_is_the_originals_loss_on_holdout_rows_of_the_same_class():
    problem = tiny_problem(seed=0)  # every forget row is of class 0
    at = np.flatnonzero(problem.holdout.labels.numpy() == 0)
    labels = problem.holdout.labels[torch.as_tensor(at)]
    by_hand = float(functional.cross_entropy(predict(problem.original, problem.holdout, at), labels))
    notes = GradientAscent(epochs=1).run(problem, seed=0).notes
    assert notes["reference_loss"] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("every", [1, 2])
def test_the_rule_is_counted_forward_only(every):
    problem = tiny_problem(seed=0)
    run = GradientAscent(lr=1e-4, epochs=4, check_every=every).run(problem, seed=0)
    assert len(run.history) == 4
    assert run.cost.backward == {"forget": 4 * 12}
    assert run.cost.forward == {"holdout": 20, "forget": (1 + 4 // every) * 12}


def test_forget_rows_that_already_look_unseen_are_left_alone():
    problem = tiny_problem(seed=0)
    at = np.flatnonzero(problem.holdout.labels.numpy() == 0)
    easiest = at[predict(problem.original, problem.holdout, at)[:, 0].argmax()]
    unlearned = GradientAscent(lr=1.0).run(replace(problem, holdout=problem.holdout.take(np.array([easiest]))), seed=0)
    assert unlearned.history == []
    assert same_weights(unlearned.model, problem.original)
    assert unlearned.model is not problem.original


def test_with_the_cap_alone_the_climb_comes_to_rest():
    problem = tiny_problem(seed=0)
    rested = GradientAscent(stop="cap", lr=0.5, epochs=150).run(problem, seed=0)
    assert rested.notes["cap"] == pytest.approx(math.log(3))
    assert float(forget_losses(problem, rested.model).min()) >= math.log(3)
    assert same_weights(rested.model, GradientAscent(stop="cap", lr=0.5, epochs=170).run(problem, seed=0).model)
    assert rested.cost.forward == {}  # nothing is looked at but the forget rows themselves


def test_clipping_bounds_the_length_of_a_step():
    problem = tiny_problem(seed=0)
    moved = GradientAscent(stop="never", unbounded=True, lr=0.5, clip=0.01, epochs=1).run(problem, seed=0).model
    pairs = zip(moved.parameters(), problem.original.parameters(), strict=True)
    length = torch.cat([(a - b).detach().flatten() for a, b in pairs]).norm()
    assert float(length) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_unbounded_needs_consent():
    with pytest.raises(ConfigError, match=r"got 'never' without unbounded=True\nhint: unbounded ascent destroys"):
        GradientAscent(stop="never")
    with pytest.raises(ConfigError, match="unbounded: expected stop='never' and no cap, got stop='holdout'"):
        GradientAscent(unbounded=True)
    with pytest.raises(ConfigError, match=r"unbounded: .* cap=1\.0"):
        GradientAscent(stop="never", unbounded=True, cap=1.0)


def test_unbounded_climbs_past_the_cap():
    problem = tiny_problem(seed=0)
    free = GradientAscent(stop="never", unbounded=True, lr=0.5, epochs=60).run(problem, seed=0)
    bound = GradientAscent(stop="cap", lr=0.5, epochs=60).run(problem, seed=0)
    assert forget_losses(problem, free.model).mean() > 2 * forget_losses(problem, bound.model).mean()


def test_divergence_raises_and_leaves_the_original_untouched():
    problem = tiny_problem(seed=0)
    before = deepcopy(problem.original)
    with pytest.raises(DivergedError, match=r"the original model is untouched\nhint: lower lr from 1e\+30"):
        GradientAscent(stop="never", unbounded=True, lr=1e30, clip=None, epochs=5).run(problem, seed=0)
    assert same_weights(problem.original, before)


def test_regression_has_the_stop_rule_and_no_cap_of_its_own():
    problem = regression_problem()
    assert GradientAscent(epochs=1).run(problem, seed=0).notes["cap"] == math.inf
    with pytest.raises(ConfigError, match="cap: expected a number > 0 for a regression task with stop='cap'"):
        GradientAscent(stop="cap").run(problem, seed=0)
    assert GradientAscent(stop="cap", cap=0.5, epochs=1).run(problem, seed=0).notes["cap"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"stop": "later"}, r"stop: expected one of holdout, cap, never, got 'later'"),
        ({"cap": 0.0}, r"cap: expected > 0, got 0\.0"),
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"clip": -1.0}, r"clip: expected > 0, got -1\.0"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
        ({"check_every": 0}, r"check_every: expected >= 1, got 0"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        GradientAscent(**wrong)
