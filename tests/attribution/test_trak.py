"""TRAK: exact where the projection is the identity, with its scale, and the same whatever the order of checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.attribution import Source
from expunge.attribution.early import early_stopping
from expunge.attribution.influence import Influence
from expunge.attribution.projection import projection
from expunge.attribution.sketch import Sketch
from expunge.attribution.subsets import part, train_subsets
from expunge.attribution.trak import Trak
from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError
from expunge.store import Store
from expunge.tasks import Classification
from expunge.training import Run, fit, predict
from tests.attribution.linear import columns, gold_step, relative, ridge_source, solved
from tests.tiny import tiny_recipe, tiny_rows

EXACT = Trak(projection="identity", early=False)
GONE = np.array([3, 8, 21, 40])
TARGETS = tiny_rows(7, seed=5)


@pytest.fixture(scope="module")
def net():
    recipe, rows = tiny_recipe(epochs=20), tiny_rows(90, seed=0)
    return Source(recipe=recipe, rows=rows, model=fit(recipe, rows, seed=0).model)


@pytest.fixture(scope="module")
def many(net, tmp_path_factory):
    """The same with four subset models, their weights kept."""
    store = Store(tmp_path_factory.mktemp("store"))
    fleet = train_subsets(net.recipe, net.rows, [TARGETS], 4, seed=0, store=store, keep_weights=True)
    return replace(net, subsets=fleet)


# --- exactness -------------------------------------------------------------------------------------------------------


def test_squared_loss_without_projection_is_retraining():
    source = ridge_source(60, 8, penalty=3.0, seed=0, targets=2)
    step = EXACT.fit(source).step(GONE).numpy()
    assert relative(step, gold_step(source, GONE)) < 1e-4  # features are float32
    first = replace(EXACT, correction="none").fit(source).step(GONE).numpy()
    assert 0.05 < relative(first, gold_step(source, GONE)) < 1


def test_first_order_scores_of_squared_loss_have_the_scale_of_influence():
    """By hand: d margin' H^-1 (2 residual x + decay theta), the margin minus the squared error."""
    source = ridge_source(60, 8, penalty=3.0, seed=0)
    x, y, decay = columns(source.rows), source.rows.labels.double().numpy()[:, 0], source.recipe.weight_decay
    theta = solved(source.rows, decay)[:, 0]
    inverse = np.linalg.inv(2 * x.T @ x + 60 * decay * np.eye(9))
    pulls = 2 * (x @ theta - y)[:, None] * x + decay * theta  # [rows, p]
    expected = -(pulls @ inverse @ (-2 * (x @ theta - y)[:, None] * x).T)
    found = replace(EXACT, correction="none").fit(source).scores(source.rows, np.arange(60))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def logistic(rows=80, *, decay=0.01):
    """Two classes, five inputs, at the optimum of the penalised mean loss."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, 5))
    y = (x @ draw.normal(size=5) + draw.normal(size=rows) > 0).astype(np.int64)
    recipe = replace(tiny_recipe(model="linear"), task=Classification(2), weight_decay=decay)
    data, model = MemoryRows(x, y), recipe.fresh((5,), seed=0)
    solver = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12)

    def loss():
        solver.zero_grad()
        penalty = sum(p.square().sum() for p in model.parameters()) * decay / 2
        value = recipe.task.loss(model(data.x), data.labels).mean() + penalty
        value.backward()
        return value

    solver.step(loss)
    return Source(recipe=recipe, rows=data, model=model)


def test_weighted_form_on_logistic_loss_is_influence():
    source = logistic()
    ours, theirs = (one.fit(source) for one in (EXACT, Influence(solver="explicit")))
    for answer in (lambda one: one.removal(GONE, source.rows).change, lambda one: one.scores(source.rows, GONE)):
        np.testing.assert_allclose(answer(ours), answer(theirs), rtol=2e-3, atol=1e-5)
    assert np.abs(ours.removal(GONE, source.rows).change).max() > 0.01


def test_paper_form_by_hand_and_without_the_weights_of_the_loss():
    """Its curvature counts each row fully, that of the loss by 2 p (1 - p): so it is not influence."""
    source = logistic()
    x = columns(source.rows)
    margins = source.recipe.task.margin(predict(source.model, source.rows), source.rows.labels).double().numpy()
    sign = 2 * source.rows.labels.numpy() - 1.0
    slopes = np.hstack([-sign[:, None] * x, sign[:, None] * x])  # [rows, 2 p], the weights of both outputs
    gram = slopes.T @ slopes + 80 * source.recipe.weight_decay * np.eye(12)
    doubt = 1 - 1 / (1 + np.exp(-margins))
    expected = (slopes @ np.linalg.solve(gram, slopes.T)) * doubt[:, None]
    found = replace(EXACT, form="margin").fit(source)
    np.testing.assert_allclose(found.scores(source.rows, np.arange(80)), expected, rtol=1e-3, atol=1e-5)
    weighted = replace(EXACT, correction="none").fit(source).scores(source.rows, np.arange(80))
    assert np.corrcoef(weighted.ravel(), expected.ravel())[0, 1] > 0.8
    assert np.abs(weighted).mean() / np.abs(expected).mean() > 2
    assert found.notes["unit"] == "ranks only"


class Doubled:
    """A projection whose features are twice as large."""

    def __init__(self, plain):
        self.plain, self.dimension = plain, plain.dimension

    def down(self, vectors):
        return 2 * self.plain.down(vectors)

    def up(self, features):
        return 2 * self.plain.up(features)


@pytest.mark.parametrize("form", ["logits", "margin"])
def test_features_twice_as_large_change_nothing_without_a_penalty(net, form, monkeypatch):
    source = replace(net, recipe=replace(net.recipe, weight_decay=0.0))
    estimator = Trak(form=form, dimension=12, early=False)
    before = estimator.fit(source)
    monkeypatch.setattr("expunge.attribution.sketch.projection", lambda *a, **k: Doubled(projection(*a, **k)))
    after = estimator.fit(source)
    np.testing.assert_allclose(after.scores(TARGETS, GONE), before.scores(TARGETS, GONE), rtol=1e-3, atol=1e-6)
    if form == "logits":
        changes = [one.removal(GONE, TARGETS).change for one in (after, before)]
        np.testing.assert_allclose(*changes, rtol=1e-3, atol=1e-6)
        assert np.abs(changes[0]).max() > 1e-3


# --- several checkpoints ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["logits", "margin"])
def test_order_of_checkpoints_does_not_matter(many, form):
    shuffled = replace(many, subsets=part(many.subsets, np.array([2, 0, 3, 1])))
    fits = [Trak(form=form, dimension=64, checkpoints=5).fit(source) for source in (many, shuffled)]
    np.testing.assert_allclose(*(one.scores(TARGETS, GONE) for one in fits), rtol=1e-5, atol=1e-7)
    if form == "logits":
        one, other = (each.removal(GONE, TARGETS) for each in fits)
        np.testing.assert_allclose(one.change, other.change, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.error, other.error, rtol=1e-4, atol=1e-6)


def test_mean_and_error_over_checkpoints_by_hand(many):
    fitted = Trak(dimension=64, checkpoints=3).fit(many)
    each = [
        torch.cat([sketch.network.jvp(TARGETS.x, sketch.direction(sketch.step(GONE, "group")))]).double().numpy()
        for sketch in fitted.sketches
    ]
    found = fitted.removal(GONE, TARGETS)
    np.testing.assert_allclose(found.change, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.error, np.std(each, axis=0, ddof=1) / 3**0.5, rtol=1e-4, atol=1e-6)
    assert np.isnan(Trak(dimension=64).fit(many).removal(GONE, TARGETS).error).all()


def test_a_checkpoint_knows_the_residual_of_rows_that_are_left_out():
    """Ridge on a subset: of rows that it saw as if trained without them, of others as they are."""
    source = ridge_source(60, 8, penalty=3.0, seed=0)
    seen = np.arange(60) % 3 > 0
    decay, x, y = source.recipe.weight_decay, columns(source.rows), source.rows.labels.double().numpy()[:, 0]
    model = source.recipe.fresh((8,), seed=0)
    of_subset = solved(source.rows, decay, np.flatnonzero(seen))[:, 0]
    torch.nn.utils.vector_to_parameters(torch.from_numpy(of_subset).float(), model.parameters())
    sketch = Sketch(
        model, seen, source.rows, source.recipe.task, Run(0), kind="identity", dimension=1, decay=decay, damping=0.0
    )
    sketch.measure("")
    kept = np.setdiff1d(np.flatnonzero(seen), GONE)  # 3 and 21 were not seen, 8 and 40 were
    assert seen[GONE].tolist() == [False, True, False, True]
    left_out = solved(source.rows, decay, kept)[:, 0]
    found = sketch._left_out(GONE, *sketch.gathered(GONE))[:, 0]
    np.testing.assert_allclose(found, 2 * (x @ left_out - y)[GONE], rtol=1e-4)
    alone = sketch._alone(GONE, *sketch.gathered(GONE))[:, 0]
    for row, residual in zip(GONE, alone, strict=True):
        one = solved(source.rows, decay, np.setdiff1d(np.flatnonzero(seen), [row]))[:, 0]
        assert residual.item() == pytest.approx(2 * (x[row] @ one - y[row]), rel=1e-4)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answers_agree_with_each_other(many):
    for checkpoints in (1, 3):
        fitted = Trak(dimension=64, checkpoints=checkpoints).fit(many)
        found = fitted.removal(GONE, TARGETS)
        np.testing.assert_allclose(found.original, predict(many.model, TARGETS), rtol=1e-6)
        module = fitted.counterfactual(GONE)
        np.testing.assert_allclose(module.train()(TARGETS.x).detach(), found.logits, atol=1e-4)
        assert not any(own is other for own in module.parameters() for other in many.model.parameters())
        streamed = np.concatenate([values for _, values in fitted.stream(TARGETS, chunk=17)])
        np.testing.assert_allclose(streamed, fitted.scores(TARGETS, np.arange(90)), rtol=1e-4, atol=1e-6)
        assert fitted.notes["checkpoints"] == checkpoints
        assert fitted.cost.backward["attribution"] >= checkpoints * 3 * 90


def test_paper_form_streams_what_it_scores(many):
    fitted = Trak(form="margin", dimension=64, checkpoints=3).fit(many)
    streamed = np.concatenate([values for _, values in fitted.stream(TARGETS, chunk=17)])
    np.testing.assert_allclose(streamed, fitted.scores(TARGETS, np.arange(90)), rtol=1e-4, atol=1e-6)


def test_the_step_is_one_of_the_models_own_parameters(net):
    fitted = Trak(dimension=64).fit(net)
    moved = fitted.sketches[0].network.jvp(TARGETS.x, fitted.step(GONE)).numpy()
    np.testing.assert_allclose(fitted.removal(GONE, TARGETS).change, moved, rtol=1e-4, atol=1e-6)


def test_single_row_removal_is_its_score(net):
    """To first order in the change: the margin's slope times the predicted change of the outputs."""
    fitted = replace(EXACT, early=True).fit(net)
    found = fitted.removal(GONE[:1], TARGETS)
    before = torch.from_numpy(found.original).requires_grad_()
    (slope,) = torch.autograd.grad(net.recipe.task.margin(before, TARGETS.labels).sum(), before)
    expected = -(slope.numpy() * found.change).sum(-1)
    np.testing.assert_allclose(fitted.scores(TARGETS, GONE[:1])[0], expected, rtol=1e-3, atol=1e-5)


def test_many_features_come_near_all_of_them(net):
    exact, near, far = (
        one.fit(net).scores(net.rows, np.arange(90)).ravel()
        for one in (replace(EXACT, early=True), Trak(dimension=1024), Trak(dimension=16))
    )
    assert np.corrcoef(exact, near)[0, 1] > 0.95
    assert np.corrcoef(exact, near)[0, 1] > np.corrcoef(exact, far)[0, 1]


def test_same_seed_same_answer_another_seed_another_projection(net):
    first, again, other = (Trak(dimension=32).fit(net, seed=seed).scores(TARGETS, GONE) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_early_stopping_is_the_length_of_the_training():
    recipe = replace(tiny_recipe(epochs=4, batch_size=30), lr=0.1, momentum=0.9, schedule="cosine")
    steps = [0.5 * (1 + np.cos(np.pi * (step + 0.5) / 12)) for step in range(12)]  # 4 epochs of 3 steps
    assert early_stopping(recipe, 90) == pytest.approx(90 / (sum(steps) * 0.1 / 0.1))
    assert early_stopping(replace(recipe, optimizer="adam"), 90) == 0.0


def test_early_stopping_of_least_squares_is_close_to_ridge():
    """A linear model, descended from zero for a while: the answer with `early` beats the one without.

    Gold takes 28 steps where the model took 30: as many fewer as it has rows, which is so for batches of a few rows.
    """
    source = ridge_source(60, 8, penalty=0.0, seed=0)
    recipe = replace(source.recipe, epochs=30, lr=0.03, momentum=0.0, batch_size=60, schedule="constant")
    x, y = columns(source.rows), source.rows.labels.double().numpy()[:, 0]

    def descended(kept):
        theta = np.zeros(9)
        for _ in range(len(kept) // 2):
            theta = theta - 0.03 * 2 * x[kept].T @ (x[kept] @ theta - y[kept]) / len(kept)
        return theta

    model = recipe.fresh((8,), seed=0)
    before, after = descended(np.arange(60)), descended(np.setdiff1d(np.arange(60), GONE))
    torch.nn.utils.vector_to_parameters(torch.from_numpy(before).float(), model.parameters())
    stopped = replace(source, recipe=recipe, model=model)
    away = [
        relative(replace(EXACT, early=early).fit(stopped).step(GONE).numpy(), after - before) for early in (True, False)
    ]
    assert away[0] < 0.3 * away[1]


# --- what is refused -------------------------------------------------------------------------------------------------


def test_too_few_checkpoints_and_lost_weights_are_named(net, many, tmp_path):
    with pytest.raises(
        NeedsError, match=r"3 checkpoints are the model and 2 subset models, got 0 of these\nhint.*keep"
    ):
        Trak(checkpoints=3).fit(net)
    bare = train_subsets(net.recipe, net.rows, [TARGETS], 2, seed=0, store=Store(tmp_path))
    with pytest.raises(NeedsError, match="keep_weights=True"):
        Trak(checkpoints=2, dimension=16).fit(replace(net, subsets=bare))


def test_a_curvature_without_an_inverse_is_named(net):
    source = replace(net, recipe=replace(net.recipe, weight_decay=0.0))
    for form in ("logits", "margin"):
        fitted = Trak(form=form, dimension=400, early=False).fit(source)
        with pytest.raises(
            NeedsError, match=r"of 90 rows among 400 features has no inverse\nhint: a smaller dimension"
        ):
            fitted.scores(TARGETS, GONE)


def test_paper_form_predicts_no_output(net):
    fitted = Trak(form="margin", dimension=16).fit(net)
    for ask in (lambda: fitted.removal(GONE, TARGETS), lambda: fitted.counterfactual(GONE)):
        with pytest.raises(NeedsError, match=r"the margin form ranks .*\nhint: form=logits"):
            ask()
    with pytest.raises(ConfigError, match=r"form: expected logits for regression, got 'margin'"):
        Trak(form="margin", dimension=4).fit(ridge_source(60, 8, penalty=3.0, seed=0))


@pytest.mark.parametrize(
    ("field", "value", "range_"),
    [
        ("form", "logit", "one of logits, margin"),
        ("checkpoints", 0, ">= 1"),
        ("projection", "dct", "one of count_sketch"),
        ("damping", -1.0, ">= 0"),
        ("correction", "all", "one of group, single, none"),
    ],
)
def test_bad_values_name_the_range(field, value, range_):
    with pytest.raises(ConfigError, match=rf"{field}: expected {range_}.*got {value!r}"):
        Trak(**{field: value})
