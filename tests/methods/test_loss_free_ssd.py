"""LFSSD beside a plain loop. The rule that it shares with SSD: test_ssd.py."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.data import MemoryRows
from expunge.errors import ConfigError
from expunge.methods.importance import importances
from expunge.methods.loss_free_ssd import LossFreeSsd, squared_norm
from expunge.methods.ssd import Ssd
from expunge.training import Run
from tests.tiny import same_weights, tiny_problem


def test_score_by_hand():
    assert squared_norm(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.zeros(2)).tolist() == [25.0, 4.0]


def test_importance_is_the_mean_absolute_gradient_of_single_rows():
    problem = tiny_problem(seed=0, forget=5)
    model = deepcopy(problem.original)
    _, ours = importances(model, problem, Run(seed=0), squared_norm, kind="per_row", power=1, batch_size=0)
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for i in problem.forget:
        model.zero_grad()
        model(problem.rows.batch(np.array([i]))[0]).square().sum().backward()
        for name, p in model.named_parameters():
            total[name] += p.grad.abs() / len(problem.forget)
    assert all(torch.allclose(ours[name], total[name], rtol=1e-4) for name in total)


@pytest.mark.parametrize("kind", ["per_row", "batch"])
def test_labels_do_not_matter(kind):
    problem = tiny_problem(seed=0)
    rows = problem.rows
    wrong = MemoryRows(rows.x, (rows.labels + 1) % 3, ids=rows.ids)
    relabelled = replace(problem, rows=wrong)
    method = LossFreeSsd(selection=1.5, importance=kind)
    ours = method.run(problem, seed=0).model
    assert same_weights(ours, method.run(relabelled, seed=0).model)
    assert not same_weights(ours, problem.original)
    with_labels = Ssd(selection=1.5, importance=kind)  # the same change of labels matters to SSD
    assert not same_weights(with_labels.run(problem, seed=0).model, with_labels.run(relabelled, seed=0).model)


def test_limits_are_the_identity():
    problem = tiny_problem(seed=0)
    assert same_weights(LossFreeSsd(selection=1e30).run(problem, seed=0).model, problem.original)
    undamped = LossFreeSsd(selection=0.5, dampening=1e30).run(problem, seed=0)
    assert undamped.notes["selected"] > 0.1
    assert same_weights(undamped.model, problem.original)


def test_seed_does_not_matter():
    problem = tiny_problem(seed=0)
    one, other = (LossFreeSsd(selection=1.1).run(problem, seed=seed) for seed in (0, 1))
    assert same_weights(one.model, other.model)
    assert one.notes["selected"] > 0
    assert one.cost.backward == {"train": 120, "forget": 12}


def test_a_run_without_effect_is_said():
    done = LossFreeSsd().run(tiny_problem(seed=0), seed=0)
    assert "the model is unchanged" in done.notes["warning"]


def test_bad_selection_names_the_range_and_the_value():
    with pytest.raises(ConfigError, match=r"selection: expected > 0, got -2"):
        LossFreeSsd(selection=-2)
