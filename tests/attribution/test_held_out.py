"""How sure an answer is: lines and spreads planted in the outputs of held-out models are found again."""

import numpy as np
import pytest

from expunge.attribution.effect import effect
from expunge.attribution.estimator import Removal, Source
from expunge.attribution.held_out import calibrated_for, removals
from expunge.attribution.subsets import held_out_removals, removal_masks
from expunge.data import joined
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.fleet import Fleet
from expunge.store import Contents, Store
from expunge.training import Cost, fit, predict
from tests.attribution.known import LOST, KnownFit
from tests.tiny import tiny_recipe, tiny_rows

ROWS, TEST = tiny_rows(120, seed=1), tiny_rows(60, seed=2)
RECIPE = tiny_recipe(epochs=2)
SOURCE = Source(recipe=RECIPE, rows=ROWS, model=fit(RECIPE, ROWS, np.arange(120), seed=0).model)
WATCHED = joined(ROWS, TEST)
ORIGINAL = predict(SOURCE.model, WATCHED).double().numpy()
SIZE, SETS = 10, 20
SLOPE, SHIFT = 1.7, 0.4


class Foretold(KnownFit):
    """A change that depends on the rows that go, the row that is asked about, and the output."""

    def removal(self, forget, rows):
        self.seen += 1
        original = predict(self.source.model, rows).double().numpy()
        where = np.array([WATCHED.ids.index(one) for one in rows.ids])
        change = foretold(forget)[where]
        return Removal(original + change, original, np.full_like(original, np.nan))


def foretold(forget):
    """`[watched, 3]`."""
    at = np.arange(len(WATCHED))[:, None] * 3 + np.arange(3)
    return np.sin(at + float(forget.sum()))


def fleet_in(store, noise, masks=None):
    """Models whose outputs lie on a line about what is foretold, with noise `[models, watched, 3]`."""
    masks = removal_masks(SETS, len(ROWS), size=SIZE, seed=0) if masks is None else masks
    folders = []
    for index, mask in enumerate(masks):
        outputs = ORIGINAL + SHIFT + SLOPE * foretold(np.flatnonzero(~mask)) + noise[index]
        facts = {"cost": Cost({}, {"train": 100}, 0.1).to_dict()}
        folders.append(store.put(f"{index}", Contents("model", facts, arrays={"logits": outputs})))
    return Fleet(RECIPE, (6,), tuple(folders), masks, ROWS.fingerprint, WATCHED.ids)


def noise_of(sd, *, common=False, seed=0):
    draw = np.random.default_rng(seed)
    shape = (SETS, len(WATCHED), 1 if common else 3)
    return np.broadcast_to(draw.normal(scale=sd, size=shape), (SETS, len(WATCHED), 3))


@pytest.mark.parametrize("rows", [None, TEST], ids=["the rows that go", "test rows"])
def test_a_planted_line_and_its_spread_are_found(tmp_path, rows):
    sure = calibrated_for(Foretold(SOURCE), fleet_in(Store(tmp_path), noise_of(0.3)), {"asked": rows})["asked"]
    count = SIZE if rows is None else len(TEST)
    for scale, values in ((sure.output, count), (sure.outputs, 3 * count)):
        line = scale.line
        assert line.slope == pytest.approx(SLOPE, abs=0.1)
        assert line.intercept == pytest.approx(SHIFT, abs=0.1)
        assert (line.models, line.sets, line.sizes) == (SETS, SETS, (SIZE, SIZE))
        assert scale.error == pytest.approx(0.3, rel=0.25)
        assert scale.mean_error == pytest.approx(0.3 / np.sqrt(values), rel=0.45)  # of 20 means


def test_what_all_outputs_have_in_common_leaves_the_margin_sure(tmp_path):
    noisy, still = (
        calibrated_for(Foretold(SOURCE), fleet_in(Store(tmp_path / str(sd)), noise_of(sd, common=True)), {"test": TEST})
        for sd in (0.5, 0.0)
    )
    assert noisy["test"].output.error == pytest.approx(0.5, rel=0.2)
    ours, theirs = noisy["test"].margin, still["test"].margin
    assert (ours.line.slope, ours.error) == pytest.approx((theirs.line.slope, theirs.error), 1e-5)
    assert ours.mean_error == pytest.approx(theirs.mean_error, rel=1e-4)


def test_rows_that_err_together_are_not_surer_on_average(tmp_path):
    noise = np.broadcast_to(np.random.default_rng(1).normal(scale=0.3, size=(SETS, 1, 1)), (SETS, len(WATCHED), 3))
    sure = calibrated_for(Foretold(SOURCE), fleet_in(Store(tmp_path), noise), {"test": TEST})["test"]
    assert sure.output.mean_error == pytest.approx(sure.output.error, rel=0.1)


def test_what_the_original_owes_to_its_seed_is_in_the_intercept_of_what_is_said(tmp_path):
    own = np.zeros((SETS, len(WATCHED), 3))
    own[:, np.arange(len(WATCHED)), WATCHED.labels] = 0.7  # models trained again are surer of every label
    sure = calibrated_for(Foretold(SOURCE), fleet_in(Store(tmp_path), own), {"test": TEST})["test"]
    assert sure.output.line.intercept == pytest.approx(SHIFT + 0.7, abs=1e-6)
    assert sure.output.mean_error < 1e-6
    assert sure.margin.line.intercept > 0.6


def test_the_effect_is_on_the_line_and_carries_the_spread(tmp_path):
    sure = calibrated_for(Foretold(SOURCE), fleet_in(Store(tmp_path), noise_of(0.0)), {"test": TEST})["test"]
    forget = np.array([4, 9, 77])
    found = sure.effect(Foretold(SOURCE).removal(forget, TEST), TEST, RECIPE.task)
    outputs = predict(SOURCE.model, TEST).double().numpy()
    after = outputs + SHIFT + SLOPE * foretold(forget)[len(ROWS) :]
    expected = effect(Removal(after, outputs, np.zeros_like(outputs)), TEST.labels, RECIPE.task)
    np.testing.assert_allclose(found.after, expected.after, atol=1e-6)
    np.testing.assert_array_equal(found.right_after, expected.right_after)
    plain = effect(Foretold(SOURCE).removal(forget, TEST), TEST.labels, RECIPE.task)
    line = sure.margin.line
    np.testing.assert_allclose(found.margin_change, line.intercept + line.slope * plain.margin_change, atol=1e-9)
    assert set(found.error) == {sure.output.error}
    assert set(found.margin_error) == {sure.margin.error}


def test_a_set_is_judged_by_the_line_through_the_others(tmp_path):
    noise = np.array(noise_of(0.3))
    noise[7] += 5.0
    fleet = fleet_in(Store(tmp_path), noise)
    sure = calibrated_for(Foretold(SOURCE), fleet, {"test": TEST})["test"]
    outputs = fleet.logits(np.arange(len(ROWS), len(WATCHED)))
    at = np.arange(len(TEST)), TEST.labels.numpy()
    came = np.stack([(one - ORIGINAL[len(ROWS) :])[at] for one in outputs])
    said = np.stack([foretold(np.flatnonzero(~mask))[len(ROWS) :][at] for mask in fleet.masks])
    away = []
    for out in range(SETS):
        slope, intercept = np.polyfit(np.delete(said, out, 0).ravel(), np.delete(came, out, 0).ravel(), 1)
        away.append(came[out] - intercept - slope * said[out])
    assert sure.output.error == pytest.approx(np.sqrt(np.mean(np.square(away))), rel=1e-4)
    assert sure.output.mean_error == pytest.approx(np.sqrt(np.mean(np.square(np.mean(away, axis=1)))), rel=1e-4)
    assert sure.output.error > sure.output.line.residual_sd


def test_several_kinds_of_rows_take_one_prediction_a_set(tmp_path):
    fitted = Foretold(SOURCE)
    fleet = fleet_in(Store(tmp_path), noise_of(0.2))
    found = calibrated_for(fitted, fleet, {"forget": None, "test": TEST, "retain": ROWS})
    assert fitted.seen == SETS
    for name, rows in (("forget", None), ("test", TEST), ("retain", ROWS)):
        alone = calibrated_for(Foretold(SOURCE), fleet, {name: rows})[name]
        assert found[name] == alone
    assert found["forget"] != found["test"]


def test_one_prediction_is_split_among_its_rows():
    fitted, forget = Foretold(SOURCE), np.array([2, 50])
    parts = {"test": TEST, "some": ROWS.take(np.array([7, 3])), "more": ROWS.take(np.array([3, 90]))}
    found = removals(fitted, forget, parts)
    assert fitted.seen == 1
    for name, rows in parts.items():
        alone = Foretold(SOURCE).removal(forget, rows)
        np.testing.assert_allclose(found[name].logits, alone.logits, atol=1e-6)
        np.testing.assert_allclose(found[name].original, alone.original, atol=1e-6)


def test_too_few_sets_and_sets_of_several_sizes_are_refused(tmp_path):
    masks = removal_masks(2, len(ROWS), size=SIZE, seed=0)
    few = fleet_in(Store(tmp_path / "few"), noise_of(0.1), masks)
    with pytest.raises(NeedsError, match="at least 3 different sets of rows, got 2"):
        calibrated_for(Foretold(SOURCE), few, {"forget": None})
    uneven = removal_masks(4, len(ROWS), size=SIZE, seed=0)
    uneven[0, np.flatnonzero(~uneven[0])[0]] = True
    with pytest.raises(ConfigError, match=r"sets of one size, got \[9, 10\]"):
        calibrated_for(Foretold(SOURCE), fleet_in(Store(tmp_path / "uneven"), noise_of(0.1), uneven), {"forget": None})


def test_models_of_another_recipe_are_refused(tmp_path):
    other = tiny_recipe(epochs=3)
    source = Source(recipe=other, rows=ROWS, model=SOURCE.model)
    with pytest.raises(ProblemError, match="epochs is 2 there, 3 here"):
        calibrated_for(Foretold(source), fleet_in(Store(tmp_path), noise_of(0.1)), {"forget": None})


def test_trained_models_end_to_end(tmp_path):
    fleet = held_out_removals(RECIPE, ROWS, (ROWS, TEST), 4, size=SIZE, seed=0, store=Store(tmp_path))
    sure = calibrated_for(KnownFit(SOURCE), fleet, {"forget": None})["forget"]
    rows, line = ROWS.take(np.arange(SIZE)), sure.output.line
    found = sure.effect(KnownFit(SOURCE).removal(np.arange(SIZE), rows), rows, RECIPE.task)
    np.testing.assert_allclose(found.change, line.intercept - line.slope * LOST, atol=1e-6)
    assert sure.output.mean_error > 0
