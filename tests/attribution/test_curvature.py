"""Curvature as products and as a matrix, against autograd's own Hessian and a loop over rows."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from expunge.attribution import gradients
from expunge.attribution.curvature import Curvature, derivatives
from expunge.attribution.gradients import Network
from expunge.data import MemoryRows
from expunge.models import build
from expunge.tasks import Classification, Regression
from expunge.training import Run
from tests.tiny import tiny_rows


def curvature(kind, task=None, rows=None, model=None):
    rows = rows if rows is not None else tiny_rows(11, seed=0)
    model = model or build("mlp", shape=rows.x.shape[1:], width=3, hidden=[4])
    return Curvature(Network(model, dtype=torch.float64), rows, task or Classification(3), Run(0), kind)


@pytest.fixture(autouse=True)
def seeded():
    before = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(before)


def hessian_by_autograd(made):
    """`[p, p]` of the summed loss, by torch.autograd.functional."""

    def loss(vector):
        outputs = functional_call(made.network.model, made.network.named(vector), (made.rows.x.double(),))
        return made.task.loss(outputs, made.rows.labels).sum()

    return torch.autograd.functional.hessian(loss, made.network.weights)


def ggn_by_hand(made, at):
    """`[p, p]` a row at a time, W written out for cross-entropy."""
    total = torch.zeros(made.network.size, made.network.size, dtype=torch.float64)
    for row in at:
        jacobian = made.network.jacobian(made.rows.x[row : row + 1])[0]
        p = made.network.outputs(made.rows.x[row : row + 1])[0].softmax(-1)
        total += jacobian.T @ (torch.diag(p) - p[:, None] * p) @ jacobian
    return total


def test_derivatives_of_cross_entropy():
    outputs, y = torch.randn(5, 4), torch.tensor([0, 3, 2, 1, 1])
    r, w = derivatives(Classification(4), outputs, y)
    p = outputs.double().softmax(-1)
    torch.testing.assert_close(r, p - torch.eye(4, dtype=torch.float64)[y])
    torch.testing.assert_close(w, torch.diag_embed(p) - p[:, :, None] * p[:, None])


@pytest.mark.parametrize("shape", [(5, 2), (5, 1), (5,)])
def test_derivatives_of_squared_error(shape):
    y = torch.randn(*shape)
    outputs = torch.randn(5, *shape[1:]) if len(shape) > 1 else torch.randn(5, 1)
    targets = outputs.shape[1]
    r, w = derivatives(Regression(targets), outputs, y)
    torch.testing.assert_close(r, 2 / targets * (outputs - y.reshape(outputs.shape)).double())
    torch.testing.assert_close(w, (2 / targets * torch.eye(targets, dtype=torch.float64)).expand(5, -1, -1))


def test_hessian_is_autograds():
    made = curvature("hessian")
    exact = hessian_by_autograd(made)
    torch.testing.assert_close(made.matrix(), exact)
    columns = torch.randn(made.network.size, 3, dtype=torch.float64)
    torch.testing.assert_close(made.product(columns), exact @ columns)
    assert torch.linalg.eigvalsh(exact)[0] < 0, "an untrained network"


def test_gauss_newton_is_the_loop_over_rows(monkeypatch):
    made = curvature("ggn")
    at = np.array([2, 3, 7, 10])
    columns = torch.randn(made.network.size, 20, dtype=torch.float64)
    for _ in range(2):
        torch.testing.assert_close(made.matrix(), ggn_by_hand(made, range(11)))
        torch.testing.assert_close(made.matrix(at), ggn_by_hand(made, at))
        torch.testing.assert_close(made.product(columns), ggn_by_hand(made, range(11)) @ columns)
        torch.testing.assert_close(made.product(columns, at), ggn_by_hand(made, at) @ columns)
        monkeypatch.setattr(gradients, "AT_ONCE", 3)
        monkeypatch.setattr("expunge.attribution.curvature.COLUMNS", 6)


def test_both_are_one_for_a_linear_model():
    rows = tiny_rows(11, seed=0)
    rows = MemoryRows(rows.x, torch.randn(11, 2))
    model = build("linear", shape=(6,), width=2)
    ggn, exact = (curvature(kind, Regression(2), rows, model).matrix() for kind in ("ggn", "hessian"))
    torch.testing.assert_close(ggn, exact)


def test_visits_are_counted():
    made = curvature("ggn")
    made.matrix()
    made.product(torch.zeros(made.network.size, 5, dtype=torch.float64))
    assert made.run.meter.cost().backward == {"attribution": 11 * 3 + 11 * 5}
