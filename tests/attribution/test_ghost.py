"""Ghost products beside gradients formed one row at a time."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from expunge.attribution import ghost
from expunge.attribution.ghost import Trace, by_gradients, by_pairs, product
from expunge.attribution.layers import Layers

ROWS, OTHERS = 7, 3


class Sequence(nn.Module):
    """Dense layers that work at every position, then their mean."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3, bias=False)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x))).mean(1)


@dataclass
class Case:
    build: object
    shape: tuple


CASES = {
    "mlp": Case(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.ReLU(inplace=True),
                                      nn.Linear(4, 3)), (6,)),
    "cnn": Case(lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                                      nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.Tanh(), nn.Flatten(),
                                      nn.Linear(24, 3)), (2, 8, 8)),
    "odd convolutions": Case(lambda: nn.Sequential(nn.Conv2d(4, 6, (3, 2), padding=(2, 0), dilation=(2, 1), groups=2),
                                                   nn.Tanh(), nn.Conv2d(6, 6, 3, groups=6, bias=False),
                                                   nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)), (4, 6, 7)),
    "sequence": Case(Sequence, (5, 4)),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CASES[request.param].build()
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS + OTHERS, *CASES[request.param].shape, generator=draw)
    return model, x, torch.randn(ROWS + OTHERS, 3, generator=draw)


def row_gradients(model, x, weights):
    """`[rows, p]` of the weighted sum of each row's outputs, one row at a time."""
    found = []
    for one, weight in zip(x, weights, strict=True):
        parts = torch.autograd.grad((model(one[None]) * weight).sum(), list(model.parameters()))
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


def traced(model, x, weights):
    with Layers(model) as layers:
        traces = layers.traces((layers.forward(x) * weights).sum())
    pairs = [trace.split(ROWS) for trace in traces]
    return layers, [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


@torch.no_grad()
def collected(layers, ours, theirs):
    return layers.collect(ours, theirs)


def test_products_equal_those_of_gradients_formed_row_by_row(case):
    model, x, weights = case
    rows = row_gradients(model, x, weights).double()
    expected = rows[:ROWS] @ rows[ROWS:].T
    found = collected(*traced(model, x, weights))
    assert found.shape == (ROWS, OTHERS)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize("numbers", [1, 200])
def test_small_chunks_change_nothing(case, numbers, monkeypatch):
    model, x, weights = case
    whole = collected(*traced(model, x, weights))
    monkeypatch.setattr(ghost, "NUMBERS", numbers)
    assert torch.allclose(collected(*traced(model, x, weights)), whole, rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_our_rows_alone(case):
    model, x, weights = case
    collected(*traced(model, x, weights))
    expected = torch.autograd.grad((model(x[:ROWS]) * weights[:ROWS]).sum(), list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.grad.shape == gradient.shape
        assert torch.allclose(parameter.grad, gradient, rtol=1e-5, atol=1e-6)


def test_changes_along_a_direction_equal_a_difference_of_gradients(case):
    model, x, weights = case
    model, x, weights = model.double(), x.double(), weights.double()
    draw = torch.Generator().manual_seed(2)
    direction = {name: torch.randn(p.shape, generator=draw).double() for name, p in model.named_parameters()}
    rows = row_gradients(model, x[:ROWS], weights[:ROWS])
    with Layers(model) as layers:
        ours = layers.traces((layers.forward(x[:ROWS]) * weights[:ROWS]).sum())
        theirs = layers.traces((layers.forward(x[ROWS:]) * weights[ROWS:]).sum())
        moves = layers.moves(x[ROWS:], lambda outputs: (outputs * weights[ROWS:]).sum(), direction)
    with torch.no_grad():
        found = layers.tangent_products(ours, theirs, moves)
    sides = []
    for step in (1e-4, -2e-4):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter += step * direction[name]
        sides.append(row_gradients(model, x[ROWS:], weights[ROWS:]))
    expected = rows @ ((sides[0] - sides[1]) / 2e-4).T
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


def test_both_ways_agree_for_positions_that_differ_in_number():
    draw = torch.Generator().manual_seed(0)
    sizes = (ROWS, 6, 4), (ROWS, 6, 5), (OTHERS, 2, 4), (OTHERS, 2, 5)
    parts = [torch.randn(*size, generator=draw, dtype=torch.float64) for size in sizes]
    slow = torch.einsum("ipa,ipb,jqa,jqb->ij", *parts)
    assert torch.allclose(by_pairs(*parts), slow)
    assert torch.allclose(by_gradients(*parts), slow)


@pytest.mark.parametrize(
    ("side", "width", "way"),
    [(2, 64, "by_pairs"), (16, 2, "by_gradients")],  # few positions of wide layers; many of narrow ones
)
def test_the_cheaper_way_is_taken(side, width, way, monkeypatch):
    layer = nn.Conv2d(width, width, 3, padding=1)
    one = Trace(torch.ones(ROWS, width, side, side), torch.ones(ROWS, width, side, side))
    taken = []
    for name in ("by_pairs", "by_gradients"):
        real = getattr(ghost, name)
        monkeypatch.setattr(ghost, name, lambda *parts, real=real, name=name: taken.append(name) or real(*parts))
    product(layer, one, one, bias=True)
    assert taken == [way]
