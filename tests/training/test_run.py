"""Run and predict."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import NeedsError
from expunge.models import build
from expunge.seeds import generator, lent
from expunge.training import Batch, Run, predict
from tests.tiny import tiny_rows

ROWS = tiny_rows(50, seed=0, shape=(1, 8, 8))


def net(name="allcnn", **arguments):
    with lent(generator(0, "init")):
        return build(name, shape=(1, 8, 8), width=3, **{"channels": 2, **arguments})


def test_predictions_are_those_of_the_model_in_evaluation_mode():
    model = net().eval()
    assert torch.equal(predict(model, ROWS), model(ROWS.x).detach())


@pytest.mark.parametrize("training", [True, False])
def test_the_modes_of_every_layer_are_kept(training):
    model = net(dropout=0.5).train(training)
    model[1].eval()
    before = [module.training for module in model.modules()]
    values = predict(model, ROWS)
    assert [module.training for module in model.modules()] == before
    assert torch.equal(values, predict(model.eval(), ROWS))


def test_modes_are_kept_after_an_error():
    model = net().train()
    with pytest.raises(RuntimeError):
        predict(model, tiny_rows(4, seed=0, shape=(2, 8, 8)))
    assert all(module.training for module in model.modules())


def test_running_statistics_do_not_move():
    model = net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, ROWS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1024])
def test_batch_size_does_not_change_the_result(batch_size):
    model = build("mlp", shape=(1, 8, 8), width=3)
    assert torch.allclose(predict(model, ROWS, batch_size=batch_size), predict(model, ROWS), atol=1e-6)


def test_rows_come_in_the_order_asked_for():
    model = net()
    assert torch.allclose(predict(model, ROWS, np.array([9, 3])), predict(model, ROWS)[[9, 3]], atol=1e-6)


def test_predictions_are_float32_without_a_gradient():
    values = predict(build("mlp", shape=(1, 8, 8), width=3), ROWS)
    assert (values.dtype, values.requires_grad) == (torch.float32, False)


def test_a_device_that_is_not_there_is_said_at_once():
    with pytest.raises(NeedsError, match=r"torch cannot use 'no-such-device'"):
        Run(seed=0, device="no-such-device")


def test_outputs_count_forward_visits_only():
    run = Run(seed=0)
    batch = Batch(ROWS.x[:7], ROWS.labels[:7], np.arange(7), "forget")
    values = run.outputs(net().eval(), batch)
    assert not values.requires_grad
    assert (run.meter.cost().forward, run.meter.cost().backward) == ({"forget": 7}, {})


def test_bf16_rounds_forward_passes_and_returns_float32():
    batch = Batch(ROWS.x, ROWS.labels, np.arange(50), "retain")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    exact, rounded = (Run(seed=0, precision=p).outputs(model, batch) for p in ("float32", "bf16"))
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, atol=0.1)


def test_progress_and_history_hear_of_each_step():
    heard = []
    run = Run(seed=0, label="scrub", progress=lambda *words: heard.append(words))
    run.note(0, 2, 1.5)
    run.note(1, 2, 0.5)
    assert (heard, run.history) == ([("scrub", 1, 2), ("scrub", 2, 2)], [1.5, 0.5])
