"""LASSO datamodels: scikit-learn's own class target by target, optimality conditions, planted sparse effects."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso as Reference

from expunge.attribution.lasso import GROUPS, Lasso, fitted
from expunge.errors import ConfigError, NeedsError
from tests.attribution.planted import planted

FORGET = np.array([3, 0, 7])


@pytest.fixture
def found(tmp_path):
    return planted(tmp_path, models=80, rows=100, noise=0.3, sparse=4)


def test_every_target_is_that_of_scikit_learn(found):
    fit = Lasso().fit(found.source)
    outputs = found.source.subsets.logits().astype(np.float64).reshape(80, -1)
    masks = found.source.subsets.masks.astype(np.float64)
    ours, penalties = fit._coefficients(outputs)
    for target in range(outputs.shape[1]):
        theirs = Reference(alpha=penalties[target], max_iter=10_000).fit(masks, outputs[:, target]).coef_
        assert ours[[target]].toarray()[0] == pytest.approx(theirs, abs=1e-6)
    removal = fit.removal(FORGET, found.watch)
    assert removal.change.reshape(-1) == pytest.approx(-ours.toarray()[:, FORGET].sum(axis=1), abs=1e-9)


def test_conditions_of_the_optimum(found):
    """The gradient is the penalty where a coefficient is not 0, and no larger elsewhere."""
    masks = found.source.subsets.masks.astype(np.float64)
    target = found.source.subsets.logits()[:, 0, 0].astype(np.float64)
    found_at = fitted(masks, target, 0.05)
    centred = masks - masks.mean(axis=0)
    gradient = centred.T @ (target - target.mean() - centred @ found_at) / 80
    active = found_at != 0
    assert 0 < active.sum() < 100
    assert gradient[active] == pytest.approx(0.05 * np.sign(found_at[active]), abs=2e-3)
    assert np.abs(gradient).max() <= 0.05 + 2e-3


def test_penalty_is_the_best_on_the_models_held_back(found):
    fit = Lasso(penalties=6, least=0.002).fit(found.source, seed=4)
    masks, target = fit.masks, found.source.subsets.logits()[:, 1, 2].astype(np.float64)
    held, seen = fit.drawn[:16], np.sort(fit.drawn[16:])
    largest = np.abs((masks[seen] - masks[seen].mean(axis=0)).T @ (target[seen] - target[seen].mean())).max() / 64
    tried = largest * 0.002 ** (np.arange(6) / 5)
    off = []
    for penalty in tried:
        model = Reference(alpha=penalty, max_iter=10_000).fit(masks[seen], target[seen])
        off.append(np.square(model.predict(masks[held]) - target[held]).mean())
    assert fit.penalty(target) == pytest.approx(tried[np.argmin(off)])
    assert 0 < np.argmin(off) < 5, "neither end"


def test_error_is_the_jackknife_over_groups_of_models(found):
    fit = Lasso().fit(found.source)
    targets = found.source.subsets.logits()[:, 0, :1].astype(np.float64)
    penalty = fit.penalty(targets[:, 0])
    sums = []
    for out in np.array_split(fit.drawn, GROUPS):
        keep = np.setdiff1d(np.arange(80), out)
        model = Reference(alpha=penalty, max_iter=10_000).fit(fit.masks[keep], targets[keep, 0])
        sums.append(model.coef_[FORGET].sum())
    expected = np.sqrt(np.var(sums) * (GROUPS - 1))
    assert fit.lost(targets, FORGET)[1] == pytest.approx([expected], rel=1e-3)


def test_planted_sparse_effects_stand_out(found):
    scores = Lasso().fit(found.source)
    outputs = found.source.subsets.logits().astype(np.float64).reshape(80, -1)
    coefficients = np.abs(scores.effects(outputs, np.arange(100)))
    planted_effects = np.abs(found.effects.reshape(100, -1))
    large = planted_effects > 0.5
    assert coefficients[large].min() > 0.1
    assert (coefficients[4:] < 0.1).mean() > 0.95


def test_shrinkage_predicts_too_little(found):
    """What calibration is for."""
    forget = np.arange(4)
    foretold = Lasso().fit(found.source).removal(forget, found.watch).change.reshape(-1)
    slope = (foretold @ found.lost(forget).reshape(-1)) / (foretold @ foretold)
    assert 1.0 < slope < 1.4


def test_constant_outputs_have_no_effects(tmp_path):
    found = planted(tmp_path, models=30, rows=20, noise=0, scale=0)
    removal = Lasso().fit(found.source).removal(FORGET, found.watch)
    assert (removal.change == 0).all()
    assert (removal.error == 0).all()


def test_too_few_models_are_refused(tmp_path):
    with pytest.raises(NeedsError, match="expected at least 20 subset models, got 10"):
        Lasso().fit(planted(tmp_path, models=10, rows=20).source)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"least: expected in \(0, 1\), got 1"):
        Lasso(least=1)
    with pytest.raises(ConfigError, match="penalties: expected >= 2, got 1"):
        Lasso(penalties=1)
