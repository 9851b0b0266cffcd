"""Layers that note what passes them leave the model as it was, and say why another model cannot be watched."""

import pytest
import torch
from torch import nn

from expunge.attribution.layers import Layers
from expunge.errors import NeedsError


def test_the_model_is_as_before_afterwards():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with Layers(model), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.ones(2, 5))
    assert not any(module._forward_hooks for module in model.modules())


class Twice(nn.Sequential):
    def forward(self, x):
        return self[0](torch.relu(self[0](x)))


class Half(nn.Sequential):
    def forward(self, x):
        return self[0](x)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(6, 6), nn.Parameter(torch.ones(()))


class Own(nn.Linear):
    """Could do anything with its weight."""


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), "layer 1 .BatchNorm1d. mixes the rows"),
        (lambda: nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)), r"layer 1 .LayerNorm.: expected parameters in nn.L"),
        (lambda: Own(6, 6), r"layer at the top .Own."),
        (Scaled, "layer at the top .Scaled."),
        (tied, "layers 0 and 2 share a parameter"),
        (lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding="same")), "layer 0: expected zeros as padding, in numbers"),
        (lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), "layer 0: .* circular"),
        (lambda: nn.Sequential(nn.Flatten(), nn.ReLU()), "got one without parameters"),
    ],
)
def test_a_model_without_ghost_products_is_told_why(build, says):
    with pytest.raises(NeedsError, match=says):
        Layers(build())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Twice(nn.Linear(6, 6)), "layer 0 is passed twice"),
        (Half(nn.Linear(6, 6), nn.Linear(6, 6)), "layer 1 is not passed"),
    ],
)
def test_layers_that_are_not_passed_once_are_found_in_the_pass(model, says):
    with Layers(model) as layers, pytest.raises(NeedsError, match=says):
        layers.forward(torch.ones(2, 6))


class Centred(nn.Sequential):
    def forward(self, x):
        out = self[0](x)
        return out - out.mean(0)


def test_rows_that_see_each_other_are_found():
    layers = Layers(Centred(nn.Linear(6, 6)))
    with pytest.raises(NeedsError, match="mixes the rows of a batch: outputs move by"):
        layers.check_apart(torch.ones(2, 6))
    plain = Layers(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)))
    plain.model.train()
    plain.check_apart(torch.ones(2, 6))
    assert plain.model.training


@pytest.mark.parametrize(
    ("model", "one"),
    [
        (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.MaxPool1d(2)), True),
        (nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.1)), False),
        (nn.Sequential(nn.Linear(6, 6), nn.RReLU()), False),
        (Half(nn.Linear(6, 6)), False),  # nobody knows what a class of one's own does
    ],
)
def test_models_that_train_as_they_answer(model, one):
    assert Layers(model).one_mode is one
