"""Ridge datamodels: planted effects, the primal solution, cross-validation by hand, and what they refuse."""

import numpy as np
import pytest
import torch

from expunge.attribution import watched
from expunge.attribution.datamodel import CANDIDATES, Datamodel, Dual
from expunge.attribution.estimator import Prediction, Source
from expunge.attribution.subsets import subset_masks
from expunge.audit.margins import margins
from expunge.errors import ConfigError, NeedsError
from expunge.training import predict
from tests.attribution.planted import planted
from tests.tiny import tiny_rows

FORGET = np.array([3, 0, 7])


def primal(masks, targets, ridge, *, common=True):
    """Effects, hat matrix without the mean, and the posterior's covariance over noise, the slow way."""
    z, y = masks - masks.mean(axis=0), targets - targets.mean(axis=0)
    rows = z.shape[1]
    penalty, to_effects = ridge * np.eye(rows), np.eye(rows)
    if common:  # one more column, the number of rows seen, free of the penalty
        z = np.column_stack([z, z.sum(axis=1)])
        penalty = np.diag([ridge] * rows + [0.0])
        to_effects = np.column_stack([to_effects, np.ones(rows)])
    inverse = np.linalg.inv(z.T @ z + penalty)
    return to_effects @ inverse @ z.T @ y, z @ inverse @ z.T, to_effects @ inverse @ to_effects.T


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize(("models", "rows"), [(40, 60), (60, 40)])
def test_dual_equals_primal(models, rows, common):
    masks = subset_masks(models, rows, seed=1)
    targets = np.random.default_rng(0).normal(size=(models, 7))
    effects, hat, covariance = primal(masks, targets, 2.5, common=common)
    dual, at = Dual(masks, common=common), np.arange(rows)
    assert np.abs(dual.effects(targets, 2.5, at) - effects).max() < 1e-8
    assert np.abs(dual.effects(targets, 2.5, FORGET) - effects[FORGET]).max() < 1e-8
    sums, error = dual.summed(targets, 2.5, FORGET)
    residual = (targets - targets.mean(axis=0)) - hat @ targets
    assert dual.freedom(2.5) == pytest.approx(models - 1 - np.trace(hat))
    noise = (residual**2).sum(axis=0) / (models - 1 - np.trace(hat))
    one = np.isin(at, FORGET)
    assert np.abs(sums - effects[FORGET].sum(axis=0)).max() < 1e-8
    assert np.abs(error - np.sqrt(noise * (one @ covariance @ one))).max() < 1e-8


def test_subsets_of_one_size_tell_no_mean_effect():
    masks, targets = subset_masks(30, 45, equal=True, seed=1), np.random.default_rng(0).normal(size=(30, 4))
    effects, _, covariance = primal(masks, targets, 2.5, common=False)
    dual = Dual(masks)
    assert np.abs(dual.effects(targets, 2.5, np.arange(45)) - effects).max() < 1e-8
    assert np.abs(effects.mean(axis=0)).max() < 1e-12
    noise = (dual.summed(targets, 2.5, FORGET)[1] ** 2) / covariance[np.ix_(FORGET, FORGET)].sum()
    assert (noise > 0).all()
    assert np.ptp(noise / (dual.summed(targets, 2.5, FORGET[:1])[1] ** 2 / covariance[3, 3])) < 1e-8


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize(("models", "rows"), [(30, 45), (30, 12)])
def test_cross_validation_against_the_hat_matrix(models, rows, common):
    masks, targets = subset_masks(models, rows, seed=2), np.random.default_rng(0).normal(size=(models, 4))
    dual = Dual(masks, common=common)
    for ridge in (0.3, 20.0):
        whole = primal(masks, targets, ridge, common=common)[1] + 1 / models  # the mean is fitted too
        residual = targets - whole @ targets
        by_hand = ((residual**2).sum(axis=1) / models / (np.trace(np.eye(models) - whole) / models) ** 2).sum()
        assert dual.validated(dual.moments(targets), ridge) == pytest.approx(by_hand, rel=1e-9)


def test_chosen_penalty_is_the_best_on_models_that_were_left_out():
    """Leave-one-out in closed form over a few candidates: generalised cross-validation is within a step of it."""
    draw = np.random.default_rng(3)
    masks, tried = subset_masks(60, 40, seed=3), CANDIDATES[::5]
    targets = masks @ draw.normal(size=(40, 30)) + 2 * draw.normal(size=(60, 30))
    dual = Dual(masks)

    def left_out(ridge):
        whole = primal(masks, targets, ridge)[1] + 1 / 60
        return ((((targets - whole @ targets).T) / (1 - np.diag(whole))) ** 2).sum()

    slow = tried[np.argmin([left_out(ridge * dual.mean_value) for ridge in tried])]
    fast = dual.choose(dual.moments(targets)) / dual.mean_value
    assert tried[0] < slow < tried[-1], "neither end"
    assert abs(np.log(fast / slow)) <= np.log(tried[1] / tried[0]) * 1.01


def test_a_mean_effect_is_not_shrunk(tmp_path):
    """Few models: every row helps by 1, and what is penalised sees little of it."""
    found = planted(tmp_path, models=40, rows=80, watched=50, noise=2.0, mean=1.0)
    changes = {
        common: Datamodel(common=common).fit(found.source).removal(np.arange(20), found.watch).change
        for common in (True, False)
    }
    truth = found.lost(np.arange(20)).mean()
    assert changes[True].mean() == pytest.approx(truth, rel=0.1)
    assert abs(changes[False].mean()) < 0.7 * abs(truth)


def test_planted_effects_are_recovered(tmp_path):
    found = planted(tmp_path, models=200, rows=30, noise=0.01)
    fit = Datamodel().fit(found.source)
    removal = fit.removal(FORGET, found.watch)
    assert removal.change == pytest.approx(found.lost(FORGET), abs=0.05)
    assert np.array_equal(removal.original, predict(found.source.model, found.watch).double().numpy())
    assert fit.notes["r2_left_out"] > 0.99
    assert fit.cost.visits == sum(cost.visits for cost in found.source.subsets.costs()) > 0


def test_error_says_how_far_off_it_is(tmp_path):
    """3 x 900 removals in a regime where models are fewer than rows: rms of error / standard error within 15%."""
    found = planted(tmp_path, models=60, rows=80, watched=300, noise=2.0)
    fit = Datamodel().fit(found.source)
    for forget in ([5], list(range(8)), list(range(20, 60))):
        removal = fit.removal(np.array(forget), found.watch)
        z = (removal.change - found.lost(np.array(forget))) / removal.error
        assert np.sqrt((z**2).mean()) == pytest.approx(1, abs=0.15), forget


def test_without_effects_it_says_so(tmp_path):
    found = planted(tmp_path, models=40, rows=30, watched=40, noise=1.0, scale=0.0)
    fit = Datamodel().fit(found.source)
    assert abs(fit.notes["r2_left_out"]) < 0.05
    removal = fit.removal(FORGET, found.watch)
    assert np.sqrt(((removal.change / removal.error) ** 2).mean()) == pytest.approx(1, abs=0.25)


def test_scores_are_the_coefficients_of_margins(tmp_path):
    found = planted(tmp_path, models=50, rows=20)
    fit = Datamodel(ridge=3.0).fit(found.source)
    fleet = found.source.subsets
    seen = margins(fleet.logits(), found.watch.labels.numpy()).astype(np.float64)
    slow = primal(fleet.masks, seen, 3.0)[0]
    assert fit.scores(found.watch, np.arange(20)) == pytest.approx(slow, abs=1e-5)
    assert np.concatenate([part for _, part in fit.stream(found.watch, chunk=7)]) == pytest.approx(slow, abs=1e-5)


def test_blocks_do_not_change_the_answer(tmp_path, monkeypatch):
    found = planted(tmp_path, models=30, rows=20, watched=9)
    fit = Datamodel().fit(found.source)
    whole, scores = fit.removal(FORGET, found.watch), fit.scores(found.watch, FORGET)
    monkeypatch.setattr(watched, "BLOCK", 2 * 30 * 3)
    again = Datamodel().fit(found.source)
    assert again.notes["ridge"] == fit.notes["ridge"]
    assert np.allclose(again.removal(FORGET, found.watch).logits, whole.logits, atol=1e-10)
    assert np.allclose(again.removal(FORGET, found.watch).error, whole.error, atol=1e-10)
    assert np.allclose(again.scores(found.watch, FORGET), scores, atol=1e-6)


def test_rows_may_be_asked_in_any_order(tmp_path):
    found = planted(tmp_path, models=30, rows=20)
    fit = Datamodel().fit(found.source)
    turned = fit.removal(FORGET[::-1], found.watch.take(np.array([2, 0])))
    assert np.allclose(turned.logits, fit.removal(FORGET, found.watch).logits[[2, 0]], atol=1e-12)


def test_counterfactual_knows_watched_inputs_alone(tmp_path):
    found = planted(tmp_path, models=30, rows=20)
    fit = Datamodel().fit(found.source)
    module = fit.counterfactual(FORGET)
    assert isinstance(module, Prediction)
    assert list(module.parameters()) == []
    x = found.watch.x[[3, 1]]
    assert torch.equal(module(x), torch.from_numpy(fit.removal(FORGET, found.watch).logits[[3, 1]]).float())
    with pytest.raises(NeedsError, match="1 of 3 inputs were not watched"):
        module(torch.cat([x, x[:1] + 1e-3]))


def test_rows_that_were_not_watched_are_refused(tmp_path):
    found = planted(tmp_path, models=30, rows=20)
    fit = Datamodel().fit(found.source)
    for ask in (lambda rows: fit.removal(FORGET, rows), lambda rows: fit.scores(rows, FORGET)):
        with pytest.raises(NeedsError, match="5 of 5 rows were not watched by the subset models") as error:
            ask(tiny_rows(5, seed=999))
        assert "watch these rows" in error.value.hint


def test_a_row_that_was_hardly_left_out_is_refused(tmp_path):
    found = planted(tmp_path, models=30, rows=20)
    found.source.subsets.masks[1:, 7] = True
    found.source.subsets.masks[0, 7] = False
    with pytest.raises(NeedsError, match="row 7 was left out of 1 of 30 subset models, expected at least 2; 1 of 3"):
        Datamodel().fit(found.source).removal(FORGET, found.watch)


def test_without_subsets_it_says_what_trains_them(tmp_path):
    source = planted(tmp_path, models=4, rows=9).source
    with pytest.raises(NeedsError, match="datamodel needs models trained on random subsets"):
        Datamodel().fit(Source(recipe=source.recipe, rows=source.rows, model=source.model))


def test_negative_penalty_is_refused():
    with pytest.raises(ConfigError, match="ridge: expected >= 0, got -1"):
        Datamodel(ridge=-1)
