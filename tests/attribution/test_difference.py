"""Difference of means: by hand, unbiased on planted effects, shrinkage against a loop, errors against the truth."""

import numpy as np
import pytest

from expunge.attribution.difference import Contrasts, Difference
from expunge.attribution.subsets import subset_masks
from tests.attribution.planted import planted

FORGET = np.array([3, 0, 7])


def test_by_hand():
    masks = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)
    outputs = np.array([[4.0], [6.0], [1.0], [3.0]])
    contrasts = Contrasts(masks)
    assert (contrasts.weights(np.arange(2)).T @ outputs)[:, 0].tolist() == [5 - 2, 3.5 - 3.5]
    assert contrasts.unit.tolist() == [1, 1]


def test_unbiased_on_planted_additive_effects():
    """Mean over 400 draws of the masks; the largest of 12 deviations is below 4 standard errors."""
    effects = np.random.default_rng(0).normal(1.0, 1.0, size=12)
    found = []
    for seed in range(400):
        masks = subset_masks(40, 12, seed=seed)
        found.append(Contrasts(masks).weights(np.arange(12)).T @ (masks @ effects))
    found = np.array(found)
    away = (found.mean(axis=0) - effects) / (found.std(axis=0) / 20)
    assert np.abs(away).max() < 4


def test_subsets_of_one_size_hide_the_mean_effect():
    """As the head of the file says: each row then counts against a row in place of it."""
    effects = np.random.default_rng(0).normal(1.0, 1.0, size=12)
    masks = subset_masks(2000, 12, equal=True, seed=0)
    found = Contrasts(masks).weights(np.arange(12)).T @ (masks @ effects)
    others = (effects.sum() - effects) / 11
    assert found == pytest.approx(effects - others, abs=0.3)
    assert np.abs(found - effects).max() > 0.5


def test_without_shrinkage_the_answer_is_the_sum_of_differences(tmp_path):
    found = planted(tmp_path, models=50, rows=20, noise=0.5)
    fit = Difference(shrink=False).fit(found.source)
    fleet = found.source.subsets
    outputs, masks = fleet.logits().astype(np.float64), fleet.masks
    slow = [outputs[masks[:, j]].mean(axis=0) - outputs[~masks[:, j]].mean(axis=0) for j in FORGET]
    assert fit.removal(FORGET, found.watch).change == pytest.approx(-np.sum(slow, axis=0), abs=1e-9)
    alone = fit.removal(FORGET[:1], found.watch).error
    inside = masks[:, 3].sum()
    assert alone == pytest.approx(outputs.std(axis=0, ddof=1) * np.sqrt(1 / inside + 1 / (50 - inside)), abs=1e-9)


def test_shrinkage_against_a_loop(tmp_path):
    found = planted(tmp_path, models=60, rows=25, noise=0.5)
    fleet, forget = found.source.subsets, np.array([4, 11])
    removal = Difference().fit(found.source).removal(forget, found.watch)
    masks = fleet.masks
    for at in ((0, 0), (3, 2)):
        y = fleet.logits()[:, *at].astype(np.float64)
        noise = y.var(ddof=1)
        raw = np.array([y[masks[:, j]].mean() - y[~masks[:, j]].mean() for j in range(25)])
        variance = np.array([noise * (1 / masks[:, j].sum() + 1 / (~masks[:, j]).sum()) for j in range(25)])
        spread = max(0.0, raw.var() - variance.mean())
        share = spread / (spread + variance)
        posterior = raw.mean() + share * (raw - raw.mean())
        assert removal.change[at] == pytest.approx(-posterior[forget].sum(), abs=1e-9)
        weights = np.stack([masks[:, j] / masks[:, j].sum() - ~masks[:, j] / (~masks[:, j]).sum() for j in range(25)])
        own = (share * variance)[forget].sum()
        mean = noise * (weights.mean(axis=0) ** 2).sum() * (1 - share)[forget].sum() ** 2
        assert removal.error[at] == pytest.approx(np.sqrt(own + mean), abs=1e-9)


@pytest.mark.parametrize("shrink", [True, False])
def test_error_says_how_far_off_it_is(tmp_path, shrink):
    """900 removals of each kind: rms of error / standard error within 20%."""
    found = planted(tmp_path, models=60, rows=80, watched=300, noise=2.0)
    fit = Difference(shrink=shrink).fit(found.source)
    for forget in (np.array([5]), np.arange(8)):
        removal = fit.removal(forget, found.watch)
        z = (removal.change - found.lost(forget)) / removal.error
        assert np.sqrt((z**2).mean()) == pytest.approx(1, abs=0.2), forget


def test_shrinkage_helps_where_models_are_few(tmp_path):
    found = planted(tmp_path, models=60, rows=80, watched=100, noise=2.0)
    off = {
        shrink: np.square(
            Difference(shrink=shrink).fit(found.source).removal(FORGET, found.watch).change - found.lost(FORGET)
        ).mean()
        for shrink in (True, False)
    }
    assert off[True] < 0.6 * off[False]


def test_scores_of_rows_that_every_model_saw_are_nan(tmp_path):
    found = planted(tmp_path, models=30, rows=20)
    found.source.subsets.masks[:, 7] = True
    scores = Difference().fit(found.source).scores(found.watch, FORGET)
    assert np.isnan(scores[2]).all()
    assert np.isfinite(scores[:2]).all()
