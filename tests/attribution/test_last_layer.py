"""The last layer against ridge and influence on its features alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.attribution import Influence, LastLayer, Source
from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError
from expunge.tasks import Regression
from expunge.training import Recipe, fit
from tests.attribution.linear import gold_step, relative, ridge_source
from tests.tiny import tiny_recipe, tiny_rows

FORGET = np.array([3, 40, 11, 59])


def net(**arguments):
    recipe = replace(tiny_recipe(**arguments), weight_decay=0.05)
    rows = tiny_rows(60, seed=0)
    return Source(recipe=recipe, rows=rows, model=fit(recipe, rows, seed=0).model)


def features_alone(source, body, head):
    """The last layer as a model of its own, on the features that go into it."""
    with torch.no_grad():
        features = body(source.rows.x)
    recipe = replace(source.recipe, model="linear", arguments={})
    return Source(recipe=recipe, rows=MemoryRows(features, source.rows.labels), model=nn.Sequential(head))


@pytest.mark.parametrize("correction", ["group", "single", "none"])
def test_is_influence_of_a_linear_model_on_the_features(correction):
    source = net(hidden=(7, 4))
    alone = features_alone(source, source.model[:-1], source.model[-1])
    exact = Influence(solver="explicit", correction=correction).fit(alone)
    found = LastLayer(correction=correction).fit(source)
    torch.testing.assert_close(found.step(FORGET), exact.step(FORGET), rtol=1e-4, atol=1e-7)
    test = tiny_rows(5, seed=4)
    with torch.no_grad():
        seen = MemoryRows(source.model[:-1](test.x), test.labels)
    theirs = exact.removal(FORGET, seen)
    np.testing.assert_allclose(found.removal(FORGET, test).change, theirs.change, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.scores(test, FORGET), exact.scores(seen, FORGET), rtol=1e-3, atol=1e-6)


def test_is_exact_for_squared_loss():
    source = ridge_source(80, 12, penalty=4, seed=1)
    turn = nn.Linear(12, 12, bias=False)
    with torch.no_grad():
        turn.weight.copy_(torch.eye(12).roll(1, 0))
        head = nn.Linear(12, 1)
        head.weight.copy_(source.model[1].weight.roll(1, 1))
        head.bias.copy_(source.model[1].bias)
    found = LastLayer().fit(replace(source, model=nn.Sequential(turn, head).double()))
    step = found.step(FORGET).numpy()
    exact = gold_step(source, FORGET)
    assert relative(np.concatenate([np.roll(step[:-1], -1), step[-1:]]), exact) < 1e-6  # weights are float32 here


def test_the_last_layer_is_the_one_that_runs_last():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body, self.spare = nn.Linear(4, 3), nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x):
            return 0.2 * self.head(self.body(x).tanh())

    source = Source(recipe=tiny_recipe(), rows=tiny_rows(30, seed=0), model=Crossed())
    assert list(LastLayer().fit(source).network.parameters) == ["head.weight", "head.bias"]
    assert list(LastLayer(layer="body").fit(source).network.parameters) == ["body.weight", "body.bias"]
    with pytest.raises(ConfigError, match=r"unknown dense layer 'haed'\nhint: did you mean head"):
        LastLayer(layer="haed").fit(source)


def test_no_dense_layer_or_one_too_large_is_explained(monkeypatch):
    rows = tiny_rows(30, seed=0, shape=(1, 4, 4))
    model = nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten())
    with pytest.raises(NeedsError, match=r"(?s)an nn.Linear to run in Sequential, but none did.*hint: `influence`"):
        LastLayer().fit(Source(recipe=tiny_recipe(), rows=rows, model=model))
    monkeypatch.setattr("expunge.attribution.last_layer.MOST", 20)
    with pytest.raises(NeedsError, match=r"(?s)at most 20 parameters, got 51.*hint: .*solver=cg"):
        LastLayer().fit(net())


def test_damping_and_a_rank_deficient_layer_are_noted():
    source = net()
    plain = replace(source, recipe=replace(source.recipe, weight_decay=0.0))
    assert "rank-deficient" in LastLayer().fit(plain).notes["warning"], "logits may all rise together"
    assert LastLayer(damping=0.01).fit(plain).notes["damping"] == 0.01
    with pytest.raises(ConfigError, match="damping: expected >= 0, got -1"):
        LastLayer(damping=-1)
    with pytest.raises(ConfigError, match="correction: expected one of group, single, none, got 'x'"):
        LastLayer(correction="x")


def test_regression_of_several_targets_on_deep_features():
    recipe = Recipe(name="deep", model="mlp", arguments={"hidden": [5]}, task=Regression(2), weight_decay=0.05)
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    rows = MemoryRows(x, torch.stack([x[:, 0], x[:, 1] * x[:, 2]], 1))
    source = Source(recipe=recipe, rows=rows, model=recipe.fresh((6,), 0))
    found = LastLayer().fit(source).step(np.array([1, 7])).reshape(1, -1)
    exact = Influence(solver="explicit").fit(features_alone(source, source.model[:-1], source.model[-1]))
    torch.testing.assert_close(found, exact.step(np.array([1, 7])).reshape(1, -1), rtol=1e-4, atol=1e-7)
