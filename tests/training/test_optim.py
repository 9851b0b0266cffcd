"""Optimisers beside their update rules, schedules beside their curves."""

import math

import pytest
import torch

from expunge.errors import ConfigError
from expunge.training.optim import OPTIMIZERS, SCHEDULES, optimizer, rate, set_rate


def moved(name, gradients, **settings):
    """Where one weight of 1.0 ends after some gradients."""
    weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    chosen = optimizer(name, [weight], **settings)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        chosen.step()
    return float(weight.detach())


def test_sgd_by_hand():
    w, velocity = 1.0, 0.0
    for gradient in (0.5, -0.2, 0.1):
        velocity = 0.9 * velocity + gradient + 0.01 * w
        w -= 0.1 * velocity
    assert moved("sgd", (0.5, -0.2, 0.1), lr=0.1, momentum=0.9, weight_decay=0.01) == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_by_hand(name):
    w, m, v, decay = 1.0, 0.0, 0.0, 0.1
    for step, raw in enumerate((0.5, -0.2, 0.1), start=1):
        gradient = raw + decay * w if name == "adam" else raw
        w -= 0.01 * decay * w if name == "adamw" else 0
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w -= 0.01 * (m / (1 - 0.9**step)) / (math.sqrt(v / (1 - 0.999**step)) + 1e-8)
    assert moved(name, (0.5, -0.2, 0.1), lr=0.01, weight_decay=decay) == pytest.approx(w, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("sdg", {"lr": 0.1}, f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got 'sdg'"),
        ("sgd", {"lr": 0.0}, "lr: expected > 0, got 0.0"),
        ("sgd", {"lr": float("nan")}, "lr: expected > 0, got nan"),
        ("adam", {"lr": 0.1, "weight_decay": -1.0}, "weight_decay: expected >= 0, got -1.0"),
    ],
)
def test_bad_values_name_the_argument(name, settings, text):
    with pytest.raises(ConfigError, match=text):
        optimizer(name, [torch.zeros(1)], **settings)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_every_factor_is_above_0_and_at_most_1(schedule, steps):
    factors = [rate(schedule, step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)


def test_curves_at_known_points():
    assert [rate("constant", step, 4) for step in range(4)] == [1.0] * 4
    assert [rate("linear", step, 4) for step in range(4)] == [0.875, 0.625, 0.375, 0.125]
    assert rate("cosine", 1, 3) == pytest.approx(0.5)
    assert [rate("triangle", step, 8) for step in (0, 1, 2, 7)] == pytest.approx([0.25, 0.75, 11 / 12, 1 / 12])


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_mean_factor_is_a_half(schedule):
    assert sum(rate(schedule, step, 50) for step in range(50)) / 50 == pytest.approx(0.5)


def test_set_rate_reaches_every_group():
    chosen = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(2)], "lr": 7.0}], lr=1.0)
    set_rate(chosen, 0.25)
    assert [group["lr"] for group in chosen.param_groups] == [0.25, 0.25]
