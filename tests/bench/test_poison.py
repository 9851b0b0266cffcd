"""Planting and its audits: gradients against a loop and vmap, noise that is remembered, swapped labels."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from expunge.audit.confusion import confusion
from expunge.audit.gaussian_poison import gaussian_poison
from expunge.bench.poison import input_gradients, plant_noise, swap_labels
from expunge.data import MemoryRows
from expunge.errors import ConfigError, ProblemError
from expunge.tasks import Classification
from expunge.training import fit, predict
from tests.tiny import tiny_recipe, tiny_rows

TASK = Classification(3)
PLANTED = np.arange(0, 40, 2)


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Dropout(), nn.Linear(64, 3))


def one_by_one(model, rows, indices):
    found = []
    for i in indices:
        x, y = rows.batch(np.array([i]))
        x.requires_grad_()
        TASK.loss(model(x), y).sum().backward()
        found.append(x.grad[0])
    return torch.stack(found).numpy()


def test_gradients_equal_a_loop_and_vmap_in_any_batch():
    rows, model = tiny_rows(50, seed=0, shape=(1, 6, 6)), net(0)
    model(rows.x)  # running statistics that differ from those of a batch
    at = np.arange(3, 50)
    found = input_gradients(model, TASK, rows, at, batch_size=7)
    assert model.training  # as it was
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    assert found == pytest.approx(one_by_one(model, rows, at), abs=1e-7)
    assert found == pytest.approx(input_gradients(model, TASK, rows, at), abs=1e-7)

    def loss(x, y):
        return TASK.loss(model(x[None]), y[None])[0]

    x, y = rows.batch(at)
    assert found == pytest.approx(torch.func.vmap(torch.func.grad(loss))(x, y).detach().numpy(), abs=1e-7)


def test_planting_keeps_ids_and_everything_else():
    rows = tiny_rows(60, seed=1)
    planted, noise = plant_noise(rows, PLANTED, sd=0.5, seed=3)
    assert planted.ids == rows.ids
    assert planted.fingerprint != rows.fingerprint
    assert (planted.x - rows.x)[PLANTED].numpy() == pytest.approx(noise, abs=1e-6)
    others = np.setdiff1d(np.arange(60), PLANTED)
    assert torch.equal(planted.x[others], rows.x[others])
    assert torch.equal(planted.labels, rows.labels)
    assert np.array_equal(plant_noise(rows, PLANTED, sd=0.5, seed=3)[1], noise)
    assert not np.array_equal(plant_noise(rows, PLANTED, sd=0.5, seed=4)[1], noise)
    assert plant_noise(tiny_rows(900, seed=1), np.arange(900), sd=0.5, seed=0)[1].std() == pytest.approx(0.5, rel=0.05)
    with pytest.raises(ConfigError, match="sd"):
        plant_noise(rows, PLANTED, sd=0, seed=0)
    with pytest.raises(ProblemError, match="1 rows are named more than once"):
        plant_noise(rows, np.array([4, 4]), sd=1, seed=0)


def test_noise_is_remembered_by_the_original_and_unknown_to_gold():
    random = torch.Generator().manual_seed(0)
    rows = MemoryRows(torch.randn(60, 400, generator=random), torch.randint(0, 3, (60,), generator=random))
    at, recipe = np.arange(30), tiny_recipe(epochs=15, hidden=(64,))
    planted, noise = plant_noise(rows, at, sd=1.0, seed=1)
    original = fit(recipe, planted, np.arange(60), seed=0).model
    gold = fit(recipe, planted, np.arange(30, 60), seed=1).model
    found = [gaussian_poison(input_gradients(m, TASK, rows, at), noise, sd=1.0) for m in (original, gold)]
    assert found[0].p < 1e-3
    assert found[0].value < 0  # a step towards the noise lowers the loss
    assert found[1].p > 0.05


def test_swapped_labels():
    rows = tiny_rows(60, seed=2)
    at = np.flatnonzero(np.isin(rows.labels.numpy(), (0, 2)))[:20]
    planted = swap_labels(rows, at, classes=(0, 2))
    assert torch.equal(planted.labels[at], 2 - rows.labels[at])
    others = np.setdiff1d(np.arange(60), at)
    assert torch.equal(planted.labels[others], rows.labels[others])
    assert torch.equal(planted.x, rows.x)
    assert planted.ids == rows.ids
    assert torch.equal(swap_labels(planted, at, classes=(2, 0)).labels, rows.labels)
    with pytest.raises(ProblemError, match="row 1: expected class 0 or 2, got 1"):
        swap_labels(rows, np.array([0, 1]), classes=(0, 2))
    with pytest.raises(ConfigError, match="different"):
        swap_labels(rows, at, classes=(1, 1))


def test_swapped_labels_confuse_the_original_and_not_gold():
    rows, unseen, recipe = tiny_rows(150, seed=3), tiny_rows(90, seed=4), tiny_recipe(epochs=15)
    at = np.flatnonzero(np.isin(rows.labels.numpy(), (0, 2)))[:60]
    planted = swap_labels(rows, at, classes=(0, 2))
    kept = np.setdiff1d(np.arange(150), at)
    original = fit(recipe, planted, np.arange(150), seed=0).model
    golds = [fit(recipe, planted, kept, seed=seed).model for seed in range(1, 5)]

    def outputs(models):
        return np.stack([torch.cat([predict(m, rows, at), predict(m, unseen)]).numpy() for m in models])

    labels = torch.cat([rows.labels[at], unseen.labels]).numpy()
    forget = np.arange(len(labels)) < len(at)
    found = confusion(
        outputs(golds[:1]), outputs(golds[1:]), outputs([original]), labels=labels, forget=forget, classes=(0, 2)
    )
    assert found.start > 5 * found.value
    assert found.extra["forget_original"] > 0.3 > found.extra["forget_gold"]


@pytest.mark.slow
def test_gradients_are_ten_times_faster_than_a_loop():
    rows, model = tiny_rows(512, seed=0, shape=(1, 6, 6)), net(1).eval()
    at = np.arange(512)
    input_gradients(model, TASK, rows, at)
    start = time.process_time()
    one_by_one(model, rows, at)
    slow = time.process_time() - start
    start = time.process_time()
    input_gradients(model, TASK, rows, at)
    assert 10 * (time.process_time() - start) < slow
