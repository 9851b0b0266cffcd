"""Gradients of single rows against one row at a time, for any number of rows at once, on every kind of model."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.attribution import gradients
from expunge.attribution.gradients import Network
from expunge.errors import ConfigError, NeedsError, ShapeError
from expunge.models import build
from expunge.tasks import Classification, Regression
from tests.tiny import tiny_rows

TASK = Classification(3)


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Shared(nn.Module):
    """One dense layer that every row passes twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.layer(self.layer(x).tanh()))


class Turned(nn.Module):
    """Rows and places change place before a dense layer: what it sees is not in order of rows."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x.reshape(len(x), 3, 2).transpose(0, 1)).sum(0)


def dropping():
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def normalised():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    model(inputs(20, 2, 4, 4, seed=1))  # running statistics that are no longer 0 and 1
    return model


def strided():
    conv = nn.Conv2d(2, 5, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    return nn.Sequential(conv, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3, bias=False))


CASES = {
    "mlp": (lambda: build("mlp", shape=(6,), width=3, hidden=[5]), (6,)),
    "cnn": (lambda: build("cnn", shape=(2, 8, 8), width=3, widths=[3, 12], hidden=7), (2, 8, 8)),
    "strided": (strided, (2, 6, 5)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 3)), (2, 4, 4)),
    "vit": (lambda: build("vit", shape=(3, 8, 8), width=3, size=8, depth=1, heads=2), (3, 8, 8)),
    "tokens": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(15, 3)), (3, 4)),
    "normalised": (normalised, (2, 4, 4)),
    "dropping": (dropping, (6,)),
    "shared": (Shared, (6,)),
    "turned": (Turned, (6,)),
}


def made(name):
    build_it, shape = CASES[name]
    torch.manual_seed(0)
    model, x = build_it(), inputs(7, *shape)
    model(x[:2])
    return model, x, torch.arange(7) % 3


def one_at_a_time(model, score, x, y):
    """`[rows, p]` by autograd on each row alone."""
    model.eval()
    found = []
    for row, label in zip(x, y, strict=True):
        parts = torch.autograd.grad(score(model(row[None]), label[None]).sum(), list(model.parameters()))
        found.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(found)


@pytest.fixture(autouse=True)
def global_state_is_kept():
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


@pytest.mark.parametrize(("name", "of"), [*((name, "loss") for name in CASES), ("mlp", "margin"), ("vit", "margin")])
def test_gradients_are_those_of_a_loop_whatever_is_in_hand(name, of, monkeypatch):
    model, x, y = made(name)
    model.train()
    whole = Network(model).gradients(x, y, TASK, of)
    assert model.training, "the caller's model keeps its mode"
    exact = one_at_a_time(model, TASK.loss if of == "loss" else TASK.margin, x, y)
    torch.testing.assert_close(whole, exact, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(gradients, "AT_ONCE", 2)
    monkeypatch.setattr("expunge.attribution.layerwise.SLICE", 3 * whole.shape[1])
    torch.testing.assert_close(Network(model).gradients(x, y, TASK, of), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "fast"),
    [
        ("mlp", True),
        ("cnn", True),
        ("strided", True),
        ("tokens", True),
        ("turned", False),
        ("shared", False),
        ("normalised", False),
    ],
)
def test_the_fast_way_is_taken_where_it_is_right(name, fast):
    model, x, y = made(name)
    network = Network(model)
    network.gradients(x, y, TASK)
    assert (network._layers is not None) == fast


@pytest.mark.parametrize("name", ["mlp", "cnn", "vit", "normalised"])
def test_jacobian_is_what_its_products_say(name):
    model, x, y = made(name)
    network = Network(model, dtype=torch.float64)
    jacobian = network.jacobian(x)
    exact = [one_at_a_time(network.model.requires_grad_(), lambda o, _, c=c: o[:, c], x.double(), y) for c in range(3)]
    torch.testing.assert_close(jacobian, torch.stack(exact, 1))
    direction, cotangent = inputs(network.size, seed=3).double(), inputs(7, 3, seed=4).double()
    torch.testing.assert_close(network.jvp(x, direction), jacobian @ direction)
    pulled = torch.einsum("rop,ro->rp", jacobian, cotangent)
    torch.testing.assert_close(network.pulled(x, cotangent), pulled)
    torch.testing.assert_close(network.vjp(x, cotangent), pulled.sum(0))


def test_jacobian_is_the_same_in_two_chunk_sizes(monkeypatch):
    model, x, _ = made("cnn")
    whole = Network(model).jacobian(x)
    monkeypatch.setattr(gradients, "AT_ONCE", 3)
    torch.testing.assert_close(Network(model).jacobian(x), whole)


def test_some_parameters_alone():
    model, x, y = made("mlp")
    network = Network(model, only=["3.weight", "3.bias"])
    whole = Network(model)
    assert network.size == 18
    torch.testing.assert_close(network.gradients(x, y, TASK), whole.gradients(x, y, TASK)[:, -18:])
    torch.testing.assert_close(network.jacobian(x), whole.jacobian(x)[..., -18:])
    torch.testing.assert_close(network.outputs(x), whole.outputs(x))
    with pytest.raises(ConfigError, match=r"unknown parameter '3.weigth'\nhint: did you mean 3.weight"):
        Network(model, only=["3.weigth"])


def test_vectors_and_names_are_two_forms_of_one():
    network = Network(made("cnn")[0])
    torch.testing.assert_close(network.flat(network.parameters), network.weights)
    vectors = inputs(2, 5, network.size)
    named = network.named(vectors)
    assert named["0.weight"].shape == (2, 5, 3, 2, 3, 3)
    assert torch.equal(network.flat(named), vectors)
    with pytest.raises(ShapeError, match=r"expected \d+ numbers on the last axis, got \[3\]"):
        network.named(torch.zeros(3))


def test_the_same_network_elsewhere():
    model, x, _ = made("mlp")
    network = Network(model)
    moved = network.at(network.weights + 1)
    torch.testing.assert_close(moved.weights, network.weights + 1)
    torch.testing.assert_close(network.outputs(x), model(x))
    assert not moved.outputs(x).allclose(network.outputs(x))


def test_regression_labels_of_any_shape():
    model, x = build("linear", shape=(6,), width=1), inputs(5, 6)
    network, y = Network(model), inputs(5, seed=2)
    found = network.gradients(x, y, Regression(1))
    residual = 2 * (network.outputs(x)[:, 0] - y)[:, None]
    torch.testing.assert_close(found, residual * torch.cat([x, torch.ones(5, 1)], 1))
    torch.testing.assert_close(network.gradients(x, y[:, None], Regression(1)), found)


def test_batches_are_bounded_and_hold_every_row_once(monkeypatch):
    rows, network = tiny_rows(50, seed=0), Network(build("mlp", shape=(6,), width=3, hidden=[5]))
    monkeypatch.setattr(gradients, "HELD", 7 * 3 * network.size)
    at = np.arange(49, -1, -1)
    batches = list(network.batches(rows, at, gradients=3))
    assert [len(x) for _, x, _ in batches] == [7] * 7 + [1]
    assert np.concatenate([part for part, _, _ in batches]).tolist() == at.tolist()
    assert torch.equal(torch.cat([x for _, x, _ in batches]), rows.x[at.copy()])
    assert [len(x) for _, x, _ in network.batches(rows, gradients=0)] == [50]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_rows_that_see_each_other_are_explained(rows):
    norm = nn.BatchNorm2d(2, track_running_stats=False)
    network = Network(nn.Sequential(norm, nn.Flatten(), nn.Linear(32, 3)))
    x, y = inputs(rows, 2, 4, 4), torch.zeros(rows, dtype=torch.int64)
    for ask in (lambda: network.gradients(x, y, TASK), lambda: network.jacobian(x)):
        with pytest.raises(NeedsError, match=r"(?s)do not see each other.*hint: .*track_running_stats=True"):
            ask()


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return nn.functional.dropout(self.layer(x), 1e-7)  # whatever mode it is in


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.ones(()))  # so that layers alone do not explain it

    def forward(self, x):
        return self.layer(x) * self.scale if float(x.sum()) > 0 else self.layer(x)


def in_place():
    return nn.Sequential(nn.LeakyReLU(0.5, inplace=True), nn.Linear(6, 3))  # it would change the caller's rows


@pytest.mark.parametrize("kind", [Noisy, Branching, in_place])
def test_what_has_no_gradient_per_row_is_explained(kind):
    network, x = Network(kind()), inputs(4, 6)
    with pytest.raises(NeedsError, match=r"(?s)no derivative for a row alone: .*hint: each row must pass alone"):
        network.gradients(x, torch.tensor([0, 1, 2, 0]), TASK)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(NeedsError, match="Flatten has none"):
        Network(nn.Flatten())


def test_unknown_kind_names_the_range():
    network = Network(nn.Linear(6, 3))
    with pytest.raises(ConfigError, match=r"of: expected one of loss, margin, got 'logit'"):
        network.gradients(inputs(2, 6), torch.tensor([0, 1]), TASK, "logit")
