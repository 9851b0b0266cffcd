"""SSD beside its rule and a plain loop. What holds for every method: tests/properties/test_methods.py."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import ConfigError
from expunge.methods.importance import dampen, importances
from expunge.methods.ssd import Ssd
from expunge.training import Run, predict
from tests.tiny import same_weights, tiny_problem, tiny_recipe

IMAGES = {"recipe": tiny_recipe(model="allcnn", channels=4, epochs=1), "shape": (1, 8, 8), "rows": 60}


def measured(problem, *, kind="per_row", batch_size=0):
    run = Run(seed=0, batch_size=32)
    model = deepcopy(problem.original).eval()
    loss = problem.recipe.task.loss
    return importances(model, problem, run, loss, kind=kind, power=2, batch_size=batch_size), run


def by_loop(problem, indices):
    """Mean squared gradient of single rows, the slow way."""
    model, task = deepcopy(problem.original).eval(), problem.recipe.task
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for i in indices:
        model.zero_grad()
        x, y = problem.rows.batch(np.array([i]))
        task.loss(model(x), y).sum().backward()
        for name, p in model.named_parameters():
            total[name] += p.grad**2 / len(indices)
    return total


def close(ours, theirs):
    return all(torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-9) for name in theirs)


def test_rule_by_hand():
    model = nn.Linear(4, 1, bias=False)
    nn.init.ones_(model.weight)
    of_all = {"weight": torch.tensor([[1.0, 1.0, 1.0, 0.0]])}
    of_forget = {"weight": torch.tensor([[2.0, 2.1, 8.0, 0.0]])}
    run = Run(seed=0)
    dampen(model, of_all, of_forget, run, dampening=4.0, selection=2.0)
    # 2.0 is not above 2 * 1; 2.1 is, but 4 / 2.1 is cut at 1; 8.0 is halved; nothing matters for the last
    assert model.weight.tolist() == [[1.0, 1.0, 0.5, 1.0]]
    assert run.notes == {"selected": 0.5, "largest_ratio": 8.0}


@pytest.mark.parametrize("images", [{}, IMAGES], ids=["mlp", "allcnn"])
def test_per_row_importance_is_that_of_a_plain_loop(images):
    problem = tiny_problem(seed=0, forget=5, **images)
    (of_all, of_forget), run = measured(problem)
    assert "row_gradients" not in run.notes  # vmap treats batch normalisation in evaluation mode
    assert close(of_forget, by_loop(problem, problem.forget))
    assert close(of_all, by_loop(problem, range(len(problem.rows))))  # forget rows are part of D


def test_per_row_importance_does_not_depend_on_the_batch_size():
    problem = tiny_problem(seed=0, forget=5)
    (of_all, of_forget), _ = measured(problem)
    for size in (1, 7, 120):
        (again, again_forget), _ = measured(problem, batch_size=size)
        assert close(again, of_all)
        assert close(again_forget, of_forget)


def test_batch_importance_squares_batch_means_and_depends_on_the_batch_size():
    problem = tiny_problem(seed=0, forget=5)
    model, task = deepcopy(problem.original), problem.recipe.task
    (_, of_forget), _ = measured(problem, kind="batch", batch_size=5)
    x, y = problem.rows.batch(problem.forget)
    task.loss(model(x), y).mean().backward()
    assert close(of_forget, {name: p.grad**2 for name, p in model.named_parameters()})
    (_, smaller), _ = measured(problem, kind="batch", batch_size=2)
    assert not close(smaller, of_forget)
    (_, single), _ = measured(problem, kind="batch", batch_size=1)
    assert close(single, by_loop(problem, problem.forget))


def test_model_that_vmap_cannot_treat_is_walked_row_by_row(tmp_path):
    source = tmp_path / "branching.py"
    source.write_text(
        "from torch import nn\n"
        "class Branching(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x) * (2.0 if float(x.sum()) > 0 else 1.0)\n"
        "def build(shape, width):\n"
        "    return Branching(nn.Flatten(), nn.Linear(shape[0], width))\n"
    )
    problem = tiny_problem(seed=0, forget=5, recipe=tiny_recipe(model=f"{source}:build", epochs=1))
    (of_all, of_forget), run = measured(problem)
    assert run.notes["row_gradients"].startswith("one row at a time; vmap: ")
    assert close(of_forget, by_loop(problem, problem.forget))
    assert close(of_all, by_loop(problem, range(len(problem.rows))))


def test_limits_are_the_identity():
    problem = tiny_problem(seed=0)
    unselective = Ssd(selection=1e30).run(problem, seed=0)
    assert same_weights(unselective.model, problem.original)
    undamped = Ssd(selection=0.1, dampening=1e30).run(problem, seed=0)
    assert undamped.notes["selected"] > 0.05
    assert same_weights(undamped.model, problem.original)
    assert "exceeds both selection (0.1) and dampening (1e+30)" in undamped.notes["warning"]


@pytest.mark.parametrize("kind", ["per_row", "batch"])
def test_seed_does_not_matter_and_the_weights_move(kind):
    problem = tiny_problem(seed=0)
    method = Ssd(selection=0.3, dampening=0.1, importance=kind)
    one, other = method.run(problem, seed=0), method.run(problem, seed=1)
    assert same_weights(one.model, other.model)
    assert not same_weights(one.model, problem.original)


def test_a_forgotten_class_suffers_and_the_others_do_not():
    problem = tiny_problem(seed=0, forget=40)  # all of class 0
    task, y = problem.recipe.task, problem.rows.labels
    model = Ssd(selection=1.5, dampening=0.1).run(problem, seed=0).model
    before, after = (task.correct(predict(m, problem.rows), y) for m in (problem.original, model))
    assert after[problem.forget].mean() < before[problem.forget].mean() - 0.3
    assert after[problem.retain].mean() > before[problem.retain].mean() - 0.1


def test_only_weights_are_dampened_and_statistics_stay():
    problem = tiny_problem(seed=0, forget=5, **IMAGES)
    done = Ssd(selection=1.5).run(problem, seed=0)
    assert done.notes["selected"] > 0
    buffers = zip(done.model.buffers(), problem.original.buffers(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in buffers)
    pairs = zip(done.model.parameters(), problem.original.parameters(), strict=True)
    assert all(bool((ours.abs() <= theirs.abs()).all()) for ours, theirs in pairs)


def test_nothing_selected_is_said_and_no_ratio_exceeds_rows_over_forget_rows():
    problem = tiny_problem(seed=0, forget=40)  # 40 of 120
    done = Ssd(selection=3.001).run(problem, seed=0)
    assert same_weights(done.model, problem.original)
    assert done.notes["selected"] == 0
    assert 1 < done.notes["largest_ratio"] <= 3.001
    assert "the model is unchanged: the largest ratio of importances is " in done.notes["warning"]


def test_more_than_half_selected_is_said():
    done = Ssd(selection=1e-6, dampening=0.1).run(tiny_problem(seed=0), seed=0)
    assert done.notes["selected"] > 0.5
    assert "expect a collapse; raise selection from 1e-06" in done.notes["warning"]


def test_cost_is_one_pass_over_all_rows_and_one_over_forget():
    cost = Ssd().run(tiny_problem(seed=0), seed=0).cost
    assert (cost.backward, cost.forward) == ({"train": 120, "forget": 12}, {})


def test_bad_values_name_the_range_and_the_value():
    with pytest.raises(ConfigError, match=r"selection: expected > 0, got 0"):
        Ssd(selection=0)
    with pytest.raises(ConfigError, match=r"dampening: expected > 0, got -1"):
        Ssd(dampening=-1)
    with pytest.raises(ConfigError, match=r"importance: expected one of per_row, batch, got 'row'"):
        Ssd(importance="row")
    with pytest.raises(ConfigError, match=r"batch_size: expected >= 0, got -1"):
        Ssd(batch_size=-1)
