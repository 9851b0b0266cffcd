"""FCS: flatten, contrast, repair. What holds for every method: tests/properties/test_methods.py."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.errors import ConfigError
from expunge.methods import Fcs
from expunge.methods.fcs import contrast
from expunge.training import Run, descend, predict
from expunge.training.optim import rate
from tests.methods.regression import regression_problem
from tests.tiny import same_weights, tiny_problem, tiny_recipe


@pytest.fixture(scope="module")
def dense():
    return tiny_problem(seed=0)


@pytest.fixture(scope="module")
def images():
    recipe = tiny_recipe(model="allcnn", channels=4, epochs=1)
    return tiny_problem(seed=0, forget=5, rows=60, recipe=recipe, shape=(1, 8, 8))


@pytest.fixture
def steps(monkeypatch):
    """What every gradient step was: (roles, step size, other settings); and what order its pass had."""
    seen, orders = [], []

    def spy(model, stream, objective, *, run, lr, schedule="constant", **settings):
        factor = schedule if callable(schedule) else lambda step: rate(schedule, step, len(stream))
        for step, draws in enumerate(stream.steps):
            seen.append(({draw.role for draw in draws}, lr * factor(step), settings))
            orders.append([draw.indices.tolist() for draw in draws])
        return descend(model, stream, objective, run=run, lr=lr, schedule=schedule, **settings)

    monkeypatch.setattr("expunge.methods.fcs.descend", spy)
    return seen, orders


def uniform_gap(model, problem):
    """Mean KL(uniform || softmax) on forget, nats."""
    logs = predict(model, problem.rows, problem.forget).log_softmax(-1)
    return (-math.log(logs.shape[1]) - logs.mean(-1)).mean().item()


def forget_loss(model, problem, temperature=1.15):
    gone, kept = (predict(model, problem.rows, at) for at in (problem.forget, problem.retain))
    return contrast(gone, kept, temperature).item()


# the objectives


def test_contrast_by_hand():
    gone, kept = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    total = 0.0
    for row in ([1.0, 2.0, 3.0], [0.0, 1.0, 1.0]):  # products with the three retain rows
        whole = sum(math.exp(product / 0.5) for product in row)
        total -= sum(math.log(math.exp(product / 0.5) / whole) for product in row)
    assert contrast(gone, kept, 0.5).item() == pytest.approx(total / 6)


def test_contrast_is_least_where_a_forget_row_is_equally_near_to_all_retain_rows():
    kept = torch.tensor([[1.0, 0.0], [1.0, 2.0], [1.0, -1.0]])
    assert contrast(torch.tensor([[5.0, 0.0]]), kept, 1.0).item() == pytest.approx(math.log(3))
    assert contrast(torch.tensor([[5.0, 1.0]]), kept, 1.0).item() > math.log(3) + 0.1


def test_contrast_averages_over_all_pairs_so_the_order_of_rows_does_not_matter():
    draw = torch.Generator().manual_seed(0)
    gone, kept = torch.randn(4, 3, generator=draw), torch.randn(4, 3, generator=draw)
    assert contrast(gone, kept.flip(0), 1.0).item() == pytest.approx(contrast(gone, kept, 1.0).item())


def test_no_gradient_passes_through_the_retain_outputs():
    gone, kept = torch.ones(2, 3, requires_grad=True), torch.eye(3, requires_grad=True) * 2
    kept.retain_grad()
    contrast(gone + torch.eye(3)[:2], kept, 1.0).backward()
    assert kept.grad is None
    assert gone.grad.abs().sum() > 0


def test_one_contrastive_step_by_hand(dense):
    """One forget batch, and a retain batch that holds all of retain: nothing is left to chance."""
    problem, run = dense, Run(seed=0, batch_size=128)
    ours, byhand = deepcopy(problem.original), deepcopy(problem.original)
    Fcs(rounds=1, forget_lr=0.1, forget_lr_end=0.1, temperature=2.0).push(ours, problem, run, 0)
    gone = byhand(problem.rows.x[problem.forget])
    kept = problem.original(problem.rows.x[problem.retain]).detach()
    loss = -(gone @ kept.T / 2.0).log_softmax(1).mean()
    loss.backward()
    assert run.history == pytest.approx([loss.item()])
    for mine, theirs in zip(ours.parameters(), byhand.parameters(), strict=True):
        assert torch.allclose(mine, theirs - 0.1 * theirs.grad, atol=1e-6)
        assert theirs.grad.abs().max() > 1e-3


def test_retain_outputs_are_those_of_the_moving_model(dense):
    """Not of the original: in the second of two equal steps both sides have moved."""
    ours, run = deepcopy(dense.original), Run(seed=0, batch_size=128)
    method = Fcs(rounds=2, forget_lr=0.1, forget_lr_end=0.1)
    method.push(ours, dense, run, 0)
    moved = forget_loss(ours, dense)
    method.push(ours, dense, run, 1)
    assert run.history == pytest.approx([forget_loss(dense.original, dense), moved], rel=1e-4)


# the phases


def test_flattening_brings_forget_predictions_near_to_uniform_and_needs_no_labels(dense):
    gaps = [uniform_gap(dense.original, dense)]
    for epochs in (1, 5, 20):
        done = Fcs(uniform_epochs=epochs, uniform_lr=0.02, rounds=0).run(dense, seed=0)
        gaps.append(uniform_gap(done.model, dense))
        assert done.history[0] == pytest.approx(gaps[0], rel=1e-4)  # the loss is this very divergence
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.1 * gaps[0]


def test_forget_passes_lower_their_loss(dense):
    ours, run = deepcopy(dense.original), Run(seed=0, batch_size=32)
    for turn in range(8):
        Fcs(forget_lr=0.05).push(ours, dense, run, turn)
    least = math.log(len(dense.retain))
    assert least < forget_loss(ours, dense) < least + 0.5 * (forget_loss(dense.original, dense) - least)


def test_phases_come_in_turn_at_the_rates_of_the_table(dense, steps):
    """Retain has 108 rows: four steps a pass at 32 rows; forget has 12: one step."""
    Fcs(rounds=3).run(dense, seed=0)
    steps, _ = steps
    assert [roles for roles, *_ in steps] == [{"forget"}] + 3 * [{"forget"}, *4 * [{"retain"}]]
    forget = [(lr, settings) for roles, lr, settings in steps if roles == {"forget"}]
    assert forget[0] == (0.005, {"momentum": 0.9})
    cosine = [1e-6 + (3e-4 - 1e-6) * (1 + math.cos(math.pi * at)) / 2 for at in (1 / 6, 3 / 6, 5 / 6)]
    assert [lr for lr, _ in forget[1:]] == pytest.approx(cosine)
    assert all(settings == {"momentum": 0.9} for _, settings in forget[1:])
    for roles, lr, settings in steps:
        if roles == {"retain"}:
            assert lr == pytest.approx(0.001 * 32 / 64)
            assert settings == {"momentum": 0.9, "weight_decay": 0.01, "statistics": "running"}


def test_every_pass_has_an_order_of_its_own(dense, steps):
    Fcs(rounds=3).run(dense, seed=0)
    _, orders = steps
    assert len({tuple(rows) for (rows,) in orders}) == len(orders) == 4 + 3 * 4


def test_forget_batches_meet_other_retain_rows_every_time(dense, monkeypatch):
    seen = []
    kept = Run.outputs
    monkeypatch.setattr(Run, "outputs", lambda run, model, batch: seen.append(batch) or kept(run, model, batch))
    Fcs(rounds=3).run(replace(dense, recipe=tiny_recipe(batch_size=8)), seed=0)  # 12 rows: 8 and 4
    assert [(len(batch), batch.role) for batch in seen] == 6 * [(8, "retain")]
    assert len({tuple(sorted(batch.indices.tolist())) for batch in seen}) == 6
    for batch in seen:
        assert len(set(batch.indices.tolist())) == 8
        assert not set(batch.indices.tolist()) & set(dense.forget.tolist())
        assert torch.equal(batch.x, dense.rows.x[batch.indices])


def test_statistics_move_in_retain_passes_only(images):
    moved = {}
    for name in ("flatten", "push", "repair"):
        model, run = deepcopy(images.original), Run(seed=0, batch_size=32)
        getattr(Fcs(), name)(model, images, run, *(() if name == "flatten" else (0,)))
        pairs = zip(model.buffers(), images.original.buffers(), strict=True)
        moved[name] = any(not torch.equal(ours, theirs) for ours, theirs in pairs)
    assert moved == {"flatten": False, "push": False, "repair": True}


def test_half_precision_moves_every_weight_in_a_forget_pass(dense):
    """Casts that autocast made without gradients must not serve the pass with them."""
    ours = deepcopy(dense.original)
    Fcs(forget_lr=0.1).push(ours, dense, Run(seed=0, batch_size=32, precision="bf16"), 0)
    assert all(not torch.equal(a, b) for a, b in zip(ours.parameters(), dense.original.parameters(), strict=True))


# the run


def test_cost_counts_both_roles_and_the_retain_batches_of_forget_passes(dense):
    problem = replace(dense, recipe=tiny_recipe(batch_size=8, epochs=30))
    done = Fcs(rounds=3, uniform_epochs=2).run(problem, seed=0)
    assert done.cost.backward == {"forget": (2 + 3) * 12, "retain": 3 * 108}
    assert done.cost.forward == {"retain": 3 * 2 * 8}
    assert done.notes["share_of_retraining"] == pytest.approx(done.cost.visits / (30 * 108))
    assert "warning" not in done.notes


def test_cost_of_a_retraining_or_more_is_said(dense):
    assert "of one retraining; lower rounds" in Fcs().run(dense, seed=0).notes["warning"]  # the recipe has 8 epochs


def test_same_seed_same_weights_and_another_seed_others(dense):
    first, again, other = (Fcs(forget_lr=0.01).run(dense, seed=seed).model for seed in (0, 0, 1))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_neither_phase_leaves_the_model_as_it_was(dense):
    assert same_weights(Fcs(uniform_epochs=0, rounds=0).run(dense, seed=0).model, dense.original)


@pytest.mark.parametrize("forget_rows", [1, 40])
def test_forget_set_of_another_size_than_retain(forget_rows, dense):
    problem = replace(dense, forget=np.arange(len(dense.rows))[:forget_rows])
    assert Fcs(rounds=1).run(problem, seed=0).cost.backward["forget"] == 2 * forget_rows
    tail = replace(dense, forget=np.arange(len(dense.rows) - 5))  # five retain rows are left
    assert Fcs(rounds=1).run(tail, seed=0).cost.forward == {"retain": 4 * 5}


def test_default_leaves_a_dense_model_useful_and_larger_steps_forget(dense):
    task = dense.recipe.task

    def accuracy(model):
        return task.correct(predict(model, dense.test), dense.test.labels).mean()

    default = Fcs().run(dense, seed=0).model
    larger = Fcs(uniform_lr=0.05, forget_lr=0.01).run(dense, seed=0).model
    assert min(accuracy(default), accuracy(larger)) > accuracy(dense.original) - 0.15
    assert uniform_gap(larger, dense) < 0.2 * uniform_gap(default, dense)


# refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"uniform_epochs": -1}, "uniform_epochs: expected >= 0, got -1"),
        ({"uniform_lr": 0.0}, r"uniform_lr: expected > 0, got 0\.0"),
        ({"rounds": -1}, "rounds: expected >= 0, got -1"),
        ({"temperature": 0.0}, r"temperature: expected > 0, got 0\.0"),
        ({"forget_lr": -1.0}, r"forget_lr: expected > 0, got -1\.0"),
        ({"forget_lr_end": 0.1}, r"forget_lr_end: expected in \[0, 0\.0003\], which is forget_lr, got 0\.1"),
        ({"retain_lr": 0.0}, r"retain_lr: expected > 0, got 0\.0"),
        ({"weight_decay": -1.0}, r"weight_decay: expected >= 0, got -1\.0"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
    ],
)
def test_bad_values_name_the_range_and_the_value(settings, message):
    with pytest.raises(ConfigError, match=message):
        Fcs(**settings)


def test_uniform_predictions_need_classes():
    with pytest.raises(ConfigError, match="fcs: expected a classification problem, got regression"):
        Fcs().run(regression_problem(), seed=0)
