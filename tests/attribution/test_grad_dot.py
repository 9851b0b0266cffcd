"""Gradient dot products against autograd, row by row, and against one real step."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from expunge.attribution import Source
from expunge.attribution.grad_dot import GradDot
from expunge.errors import ConfigError, NeedsError
from expunge.training import fit
from tests.tiny import tiny_recipe, tiny_rows


@pytest.fixture(scope="module")
def source():
    recipe, rows = tiny_recipe(), tiny_rows(60, seed=0)
    return Source(recipe=recipe, rows=rows, model=fit(recipe, rows, seed=0).model)


TARGETS, TRAIN = tiny_rows(5, seed=1), np.array([7, 2, 31])


def slope(model, score, rows, at):
    """The gradient of one row's score, by autograd alone."""
    x, y = rows.batch(np.array([at]))
    parts = torch.autograd.grad(score(model(x), y).sum(), list(model.parameters()))
    return torch.cat([part.flatten() for part in parts])


def test_scores_are_products_of_gradients(source):
    task, model = source.recipe.task, source.model
    ours = torch.stack([slope(model, task.loss, source.rows, at) for at in TRAIN])
    theirs = torch.stack([slope(model, task.margin, TARGETS, at) for at in range(5)])
    found = GradDot().fit(source).scores(TARGETS, TRAIN)
    np.testing.assert_allclose(found, -(ours @ theirs.T), rtol=1e-4, atol=1e-6)
    cosines = GradDot(cosine=True).fit(source).scores(TARGETS, TRAIN)
    expected = -torch.nn.functional.cosine_similarity(ours[:, None], theirs[None], dim=-1)
    np.testing.assert_allclose(cosines, expected, rtol=1e-4, atol=1e-6)


def test_unit_is_the_rise_of_the_margin_in_one_step(source):
    """A step of size lr down the loss of a row raises the margins by lr * score, in the limit of small steps."""
    lr, task = 1e-3, source.recipe.task
    x, y = TARGETS.batch(np.arange(5))
    model = deepcopy(source.model).double()
    before = task.margin(model(x.double()), y)
    own_x, own_y = source.rows.batch(TRAIN[:1])
    task.loss(model(own_x.double()), own_y).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= lr * parameter.grad
    rise = (task.margin(model(x.double()), y) - before).detach().numpy()
    found = GradDot().fit(source).scores(TARGETS, TRAIN[:1])[0]
    np.testing.assert_allclose(lr * found, rise, rtol=0.05, atol=2e-5)
    assert np.abs(rise).max() > 1e-4


def test_a_target_that_is_the_row_itself_is_raised(source):
    own = source.rows.take(TRAIN)
    assert (np.diag(GradDot().fit(source).scores(own, TRAIN)) > 0).all()
    assert GradDot(cosine=True).fit(source).scores(own, TRAIN).max() <= 1 + 1e-6


def test_stream_is_scores_and_few_targets_at_once_change_nothing(source, monkeypatch):
    fitted = GradDot().fit(source)
    whole = fitted.scores(TARGETS, np.arange(60))
    monkeypatch.setattr("expunge.attribution.grad_dot.KEPT", 2 * fitted.projection.dimension)
    streamed = np.concatenate([part for _, part in fitted.stream(TARGETS, chunk=13)])
    np.testing.assert_allclose(streamed, whole, rtol=1e-5, atol=1e-6)


def test_a_visit_is_counted_for_each_gradient(source):
    found = GradDot().fit(source)
    assert found.cost.visits == 0
    found.scores(TARGETS, TRAIN)
    assert found.cost.backward == {"attribution": len(TARGETS) + len(TRAIN)}


def test_projected_scores_lie_near(source):
    exact = GradDot().fit(source).scores(TARGETS, np.arange(60))
    near = GradDot(dimension=200).fit(source).scores(TARGETS, np.arange(60))
    assert np.corrcoef(exact.ravel(), near.ravel())[0, 1] > 0.95
    assert not np.allclose(exact, near)


def test_what_has_no_scale_says_so(source):
    fitted = GradDot().fit(source)
    for ask in (lambda: fitted.removal(TRAIN, TARGETS), lambda: fitted.counterfactual(TRAIN)):
        with pytest.raises(NeedsError, match=r"has no scale.*\n?.*influence"):
            ask()
    assert fitted.notes["unit"] == "nats per unit of step size"
    with pytest.raises(ConfigError, match=r"dimension: expected >= 0, got -1"):
        GradDot(dimension=-1)
