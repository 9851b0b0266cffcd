"""A linearised network: the step that all answers come from, against one system of equations written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.attribution import Influence, Source, gradients, linearised
from expunge.attribution.curvature import Curvature, derivatives
from expunge.training import fit, predict
from tests.attribution.linear import relative
from tests.tiny import tiny_recipe, tiny_rows

FORGET = np.array([3, 40, 11, 59])
DECAY, DAMPING = 0.05, 0.03


def net(model="mlp", shape=(6,), **arguments):
    arguments = arguments or {"hidden": (4,)}
    recipe = replace(tiny_recipe(model=model, **arguments), weight_decay=DECAY)
    rows = tiny_rows(60, seed=0, shape=shape)
    return Source(recipe=recipe, rows=rows, model=fit(recipe, rows, seed=0).model)


def fitted(source, **settings):
    return Influence(solver="explicit", damping=DAMPING, **settings).fit(source)


def by_equations(one, forget, *, loses_curvature=True):
    """(H - |F| decay - H_F) step = J_F' r_F + |F| decay theta, with every matrix written out."""
    source, network = one.source, one.network
    curvature = Curvature(network, source.rows, source.recipe.task, one.run)
    eye = torch.eye(network.size, dtype=torch.float64)
    matrix = curvature.matrix() + 60 * (DECAY + DAMPING) * eye
    if loses_curvature:
        matrix = matrix - len(forget) * DECAY * eye - curvature.matrix(forget)
    x, y = source.rows.batch(forget)
    residual = derivatives(source.recipe.task, network.outputs(x), y)[0]
    slope = torch.einsum("ioq,io->q", network.jacobian(x), residual)
    return torch.linalg.solve(matrix, slope + len(forget) * DECAY * network.weights).numpy()


@pytest.mark.parametrize("forget", [FORGET, np.arange(1, 60, 3)], ids=["in outputs", "in parameters"])
def test_group_step_solves_the_equations_of_the_retain_rows(forget):
    one = fitted(net())
    assert relative(one.step(forget).numpy(), by_equations(one, forget)) < 1e-9
    assert ("group_condition" in one.notes) == (3 * len(forget) <= one.network.size)


def test_the_last_answer_is_kept_and_no_other():
    one, test = fitted(net()), tiny_rows(3, seed=3)
    first = one.removal(FORGET, test)
    visits = one.cost.backward["attribution"]
    assert np.array_equal(one.removal(FORGET, test).logits, first.logits)
    assert one.cost.backward["attribution"] == visits, "nothing was solved again"
    assert not np.array_equal(one.removal(FORGET[:2], test).logits, first.logits)
    assert np.array_equal(one.removal(FORGET, test).logits, first.logits)


def test_first_order_step_solves_those_of_all_rows():
    one = fitted(net(), correction="none")
    assert relative(one.step(FORGET).numpy(), by_equations(one, FORGET, loses_curvature=False)) < 1e-9


def test_single_step_is_the_sum_of_leave_one_out():
    one = fitted(net(), correction="single")
    alone = sum(by_equations(one, FORGET[at : at + 1]) for at in range(4))
    assert relative(one.step(FORGET).numpy(), alone) < 1e-9
    assert relative(one.step(FORGET[:1]).numpy(), by_equations(one, FORGET[:1])) < 1e-9


@pytest.mark.parametrize("correction", ["group", "single", "none"])
def test_nothing_depends_on_how_much_is_in_hand(correction, monkeypatch):
    source, test = net(), tiny_rows(7, seed=3)
    whole = fitted(source, correction=correction)
    expected = whole.removal(FORGET, test).logits, whole.scores(test, FORGET)
    monkeypatch.setattr(linearised, "COLUMNS", 2 * whole.network.size)
    monkeypatch.setattr(gradients, "HELD", 2 * whole.network.size)
    monkeypatch.setattr(gradients, "AT_ONCE", 3)
    again = fitted(source, correction=correction)
    np.testing.assert_allclose(again.removal(FORGET, test).logits, expected[0], rtol=1e-10)
    np.testing.assert_allclose(again.scores(test, FORGET), expected[1], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("correction", ["group", "none"])
def test_scores_are_what_the_margins_lose_by_the_step_of_a_row(correction):
    one, test = fitted(net(), correction=correction), tiny_rows(7, seed=3)
    slopes = one.network.gradients(test.x, test.labels, one.source.recipe.task, "margin")
    lost = [-(slopes @ one.step(FORGET[at : at + 1])).numpy() for at in range(4)]
    np.testing.assert_allclose(one.scores(test, FORGET), lost, rtol=1e-4, atol=1e-7)
    streamed = np.concatenate([part for _, part in one.stream(test, chunk=25)])
    np.testing.assert_allclose(streamed[FORGET], lost, rtol=1e-4, atol=1e-7)


def test_scores_have_the_sign_of_training_again():
    """A row with a wrong label pulls the margins of the rows of its true class down: its score there is negative."""
    source = net()
    labels = source.rows.labels.clone()
    labels[0] = (labels[0] + 1) % 3
    rows = type(source.rows)(source.rows.x, labels)
    model = fit(source.recipe, rows, seed=0).model
    one = fitted(replace(source, rows=rows, model=model))
    true = rows.take(np.array([0]))
    true.labels[0] = source.rows.labels[0]
    assert one.scores(true, np.array([0]))[0, 0] < 0
    assert one.scores(rows.take(np.array([0])), np.array([0]))[0, 0] > 0


@pytest.mark.parametrize(
    ("model", "shape", "arguments"), [("mlp", (6,), {}), ("cnn", (1, 4, 4), {"widths": (2,), "hidden": 3})]
)
def test_counterfactual_answers_any_rows_as_removal_does(model, shape, arguments):
    one, test = fitted(net(model, shape, **arguments)), tiny_rows(7, seed=3, shape=shape)
    found = one.removal(FORGET, test)
    module = one.counterfactual(FORGET)
    np.testing.assert_allclose(predict(module, test).numpy(), found.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(module(test.x).detach().numpy(), found.logits, rtol=1e-5, atol=1e-5)
    assert np.abs(found.change).max() > 1e-3
    np.testing.assert_array_equal(found.original, predict(one.source.model, test).double().numpy())
