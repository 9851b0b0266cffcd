"""Calibration: a known scale is found, errors are the residuals', and models that may not judge are refused."""

import numpy as np
import pytest
import torch
from scipy.stats import linregress
from torch import nn

from expunge.attribution.calibration import Calibrated, calibrate, fit_line
from expunge.attribution.datamodel import Datamodel
from expunge.attribution.estimator import Fitted, Prediction, Removal, Source
from expunge.attribution.subsets import MOST, part
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.training import Cost, predict
from tests.attribution.planted import RECIPE, fleet_of, planted
from tests.tiny import tiny_recipe, tiny_rows

ROWS, WATCH = tiny_rows(60, seed=0), tiny_rows(30, seed=1)
EFFECTS = np.random.default_rng(0).normal(size=(60, 30, 3))
SLOPE, INTERCEPT, NOISE = 2.5, 0.4, 0.3


class Foretold(Fitted):
    """Predicts the planted effects; what really happens is SLOPE times as much, plus INTERCEPT."""

    def __init__(self):
        self.source = Source(recipe=RECIPE, rows=ROWS, model=RECIPE.fresh((6,), 0))
        self.cost, self.notes = Cost({}, {"attribution": 7}, 1.0), {"damping": 0.5}

    def removal(self, forget, rows):
        at = [WATCH.ids.index(row_id) for row_id in rows.ids]
        original = predict(self.source.model, rows).double().numpy()
        return Removal(original - EFFECTS[forget].sum(axis=0)[at], original, np.full_like(original, np.nan))

    def scores(self, rows, train):
        return np.ones((len(train), len(rows)), dtype=np.float32)

    def counterfactual(self, forget):
        return Moved(self.source.model)


class Moved(Prediction):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x) + torch.tensor([1.0, 0.0, -2.0])


def held_out(folder, *, sets=10, repeats=2, size=5, noise=NOISE, first=1000, seed=3):
    """Models without random sets, as the line says plus noise of the seed."""
    draw = np.random.default_rng(seed)
    masks = np.ones((sets, 60), dtype=bool)
    for mask in masks:
        mask[draw.choice(60, size, replace=False)] = False
    change = SLOPE * -np.einsum("mn,nwo->mwo", ~masks, EFFECTS) + INTERCEPT
    base = predict(Foretold().source.model, WATCH).numpy()
    outputs = np.repeat(base + change, repeats, axis=0)
    return fleet_of(
        folder,
        ROWS,
        WATCH,
        np.repeat(masks, repeats, axis=0),
        outputs + noise * draw.normal(size=outputs.shape),
        first=first,
    )


def test_the_scale_is_found(tmp_path):
    fleet = held_out(tmp_path)
    found = calibrate(Foretold(), fleet, WATCH)
    line = found.line
    assert line.slope == pytest.approx(SLOPE, abs=3 * line.slope_error)
    assert 0 < line.slope_error < 0.05
    assert line.intercept == pytest.approx(INTERCEPT, abs=0.05)
    assert line.seed_sd == pytest.approx(NOISE, rel=0.1)
    assert line.residual_sd == pytest.approx(NOISE / np.sqrt(2), rel=0.1), "of the mean over two models"
    assert (line.models, line.sets, line.sizes) == (20, 10, (5, 5))
    assert found.notes == {"damping": 0.5, "calibration": line.to_dict()}
    assert found.cost.visits == 7 + 20 * 55


def test_line_is_that_of_a_second_library():
    draw = np.random.default_rng(0)
    predicted, actual = draw.normal(size=(2, 5, 40))
    line = fit_line(predicted, actual + predicted, seed_sd=None, models=5, sizes=(1, 1))
    theirs = linregress(predicted.reshape(-1), (actual + predicted).reshape(-1))
    assert (line.slope, line.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    assert line.r2 == pytest.approx(theirs.rvalue**2)
    off = (actual + predicted).reshape(-1) - theirs.intercept - theirs.slope * predicted.reshape(-1)
    assert line.residual_sd == pytest.approx(np.sqrt((off**2).sum() / 198))


def test_calibrated_removal_is_on_the_line_with_the_spread_as_error(tmp_path):
    plain, forget = Foretold(), np.array([4, 9])
    found = calibrate(plain, held_out(tmp_path), WATCH)
    removal, before = found.removal(forget, WATCH), plain.removal(forget, WATCH)
    assert removal.change == pytest.approx(found.line.intercept + found.line.slope * before.change)
    assert np.array_equal(removal.original, before.original)
    assert (removal.error == found.line.residual_sd).all()
    truth = SLOPE * -EFFECTS[forget].sum(axis=0) + INTERCEPT
    assert np.abs(removal.change - truth).max() < 0.2 < np.abs(before.change - truth).max()


def test_calibrated_scores_and_module_are_scaled_too(tmp_path):
    found = calibrate(Foretold(), held_out(tmp_path), WATCH)
    assert found.scores(WATCH, np.arange(2)) == pytest.approx(np.full((2, 30), found.line.slope))
    module = found.counterfactual(np.array([4]))
    assert isinstance(module, Prediction)
    moved = module(WATCH.x) - found.source.model(WATCH.x)
    expected = found.line.intercept + found.line.slope * torch.tensor([1.0, 0.0, -2.0])
    assert torch.allclose(moved, expected.float().expand(30, 3), atol=1e-5)
    ours = {id(tensor) for tensor in module.original.parameters()}
    assert not ours & {id(tensor) for tensor in found.source.model.parameters()}


def test_without_repeats_nothing_tells_the_noise_of_seeds(tmp_path):
    line = calibrate(Foretold(), held_out(tmp_path, repeats=1), WATCH).line
    assert line.seed_sd is None
    assert line.residual_sd == pytest.approx(NOISE, rel=0.1)


def test_noise_of_the_one_model_compared_with_is_in_the_error(tmp_path):
    """The same held-out models, an original that is off by its own seed: the residuals grow by as much."""
    plain, off = Foretold(), 0.5 * np.random.default_rng(9).normal(size=(30, 3))
    asked = plain.removal

    def shifted(forget, rows):
        found = asked(forget, rows)
        return Removal(found.logits + off, found.original + off, found.error)

    plain.removal = shifted
    line = calibrate(plain, held_out(tmp_path), WATCH).line
    assert line.residual_sd == pytest.approx(np.hypot(NOISE / np.sqrt(2), off.std()), rel=0.1)


def test_a_datamodel_is_calibrated_on_models_it_never_saw(tmp_path):
    """Effects at the subsets' share are twice those near the full set: the slope is one half."""
    found = planted(tmp_path, models=300, rows=60, watched=20, noise=0.2)
    fit = Datamodel().fit(found.source)
    draw, base = np.random.default_rng(1), predict(found.source.model, found.watch).numpy()
    masks = np.ones((12, 60), dtype=bool)
    for mask in masks:
        mask[draw.choice(60, 6, replace=False)] = False
    outputs = base - 0.5 * np.einsum("mn,nwo->mwo", ~masks, found.effects)
    fleet = fleet_of(tmp_path, found.source.rows, found.watch, masks, outputs, first=5000)
    line = calibrate(fit, fleet, found.watch).line
    assert line.slope == pytest.approx(0.5, abs=0.03)
    assert line.r2 > 0.95


def test_more_than_20_models_are_refused(tmp_path):
    fleet = held_out(tmp_path, sets=21, repeats=1)
    with pytest.raises(ConfigError, match="expected at most 20 models, got 21") as error:
        calibrate(Foretold(), fleet, WATCH)
    assert "part(fleet, np.arange(20))" in error.value.hint
    assert calibrate(Foretold(), part(fleet, np.arange(MOST)), WATCH).line.models == 20


def test_models_that_were_fitted_on_are_refused(tmp_path):
    found = planted(tmp_path, models=30, rows=20)
    with pytest.raises(ProblemError, match="3 of 3 models are among those that the estimator was fitted on"):
        calibrate(Datamodel().fit(found.source), part(found.source.subsets, np.arange(3)), found.watch)


def test_two_sets_are_too_few(tmp_path):
    with pytest.raises(NeedsError, match="at least 3 different sets of rows, got 2"):
        calibrate(Foretold(), held_out(tmp_path, sets=2), WATCH)


def test_models_of_other_rows_or_another_recipe_are_refused(tmp_path):
    plain, fleet = Foretold(), held_out(tmp_path)
    plain.source = Source(recipe=RECIPE, rows=tiny_rows(60, seed=5), model=nn.Identity())
    with pytest.raises(ProblemError, match="a fleet of other rows"):
        calibrate(plain, fleet, WATCH)
    plain.source = Source(recipe=tiny_recipe(model="linear", epochs=2), rows=ROWS, model=nn.Identity())
    with pytest.raises(ProblemError, match="epochs is 1 there, 2 here"):
        calibrate(plain, fleet, WATCH)


def test_nothing_foretold_has_the_slope_0(tmp_path):
    plain = Foretold()
    original = predict(plain.source.model, WATCH).double().numpy()
    plain.removal = lambda forget, rows: Removal(original, original, original)
    found = calibrate(plain, held_out(tmp_path), WATCH)
    assert isinstance(found, Calibrated)
    assert (found.line.slope, found.line.slope_error) == (0, 0)
    assert found.line.r2 == pytest.approx(0)
