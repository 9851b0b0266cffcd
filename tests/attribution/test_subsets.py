"""Subset models: which rows they see, that none is trained twice, and forget sets that they cannot answer for."""

import numpy as np
import pytest

from expunge.attribution.calibration import calibrate
from expunge.attribution.datamodel import Datamodel
from expunge.attribution.estimator import Source
from expunge.attribution.subsets import (
    by_mask,
    check_left_out,
    held_out_removals,
    part,
    removal_masks,
    subset_masks,
    total,
    train_subsets,
)
from expunge.attribution.watched import watched_rows
from expunge.errors import ConfigError, NeedsError
from expunge.store import Store
from expunge.training import Cost, fit, predict
from tests.tiny import tiny_recipe, tiny_rows

RECIPE = tiny_recipe(model="linear", epochs=2, batch_size=16)
ROWS, WATCH = tiny_rows(30, seed=0), tiny_rows(6, seed=1)


def test_each_row_is_drawn_on_its_own():
    masks = subset_masks(4000, 20, share=0.3, seed=0)
    assert masks.mean(axis=0) == pytest.approx(np.full(20, 0.3), abs=0.04)
    assert np.abs(np.corrcoef(masks.T) - np.eye(20)).max() < 0.07
    assert masks.sum(axis=1).std() == pytest.approx(np.sqrt(20 * 0.3 * 0.7), rel=0.05)


def test_equal_subsets_have_the_same_size_and_every_row_its_turn():
    masks = subset_masks(2000, 20, share=0.3, equal=True, seed=0)
    assert set(masks.sum(axis=1).tolist()) == {6}
    assert masks.mean(axis=0) == pytest.approx(np.full(20, 0.3), abs=0.05)


def test_more_subsets_begin_with_the_same_ones():
    few, many = subset_masks(3, 50, seed=4), subset_masks(9, 50, seed=4)
    assert np.array_equal(many[:3], few)
    assert not np.array_equal(few, subset_masks(3, 50, seed=5))


def test_a_subset_is_never_empty():
    assert subset_masks(500, 2, share=0.5, seed=0).any(axis=1).all()


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01, float("nan")])
def test_a_share_that_splits_nothing_is_refused(share):
    with pytest.raises(ConfigError, match="share: expected"):
        subset_masks(2, 10, share=share, seed=0)


def test_models_are_those_of_fit_and_none_is_trained_twice(tmp_path):
    store, seen = Store(tmp_path), []

    def train(models):
        return train_subsets(
            RECIPE, ROWS, [WATCH, ROWS], models, seed=1, store=store, progress=lambda *told: seen.append(told)
        )

    first = train(2)
    assert seen[0] == ("train subset models", 0, 2)
    seen.clear()
    more = train(3)
    assert seen[0] == ("train subset models", 2, 3), "a larger fleet begins with the smaller one"
    assert [folder.path for folder in more.folders[:2]] == [folder.path for folder in first.folders]
    assert np.array_equal(more.masks, subset_masks(3, 30, seed=1))
    assert more.watched == WATCH.ids + ROWS.ids
    task = more.folders[1].facts["task"]
    alone = fit(RECIPE, ROWS, np.flatnonzero(more.masks[1]), seed=task["seed"]).model
    assert more.logits()[1, :6] == pytest.approx(predict(alone, WATCH).numpy(), abs=1e-5)
    assert [rows.ids for rows in watched_rows(more)] == [WATCH.ids, ROWS.ids]


def test_repeats_share_a_subset_but_no_seed(tmp_path):
    fleet = train_subsets(RECIPE, ROWS, [WATCH], 4, repeats=2, seed=1, store=Store(tmp_path))
    assert [at.tolist() for at in by_mask(fleet.masks)] == [[0, 1], [2, 3]]
    assert len({folder.facts["task"]["seed"] for folder in fleet.folders}) == 4
    assert len({folder.path.name for folder in fleet.folders}) == 4


def test_held_out_models_leave_out_so_many_rows_and_share_no_seed(tmp_path):
    store = Store(tmp_path)
    fleet = held_out_removals(RECIPE, ROWS, [WATCH], 4, size=3, repeats=2, seed=1, store=store)
    assert (~fleet.masks).sum(axis=1).tolist() == [3, 3, 3, 3]
    assert len(by_mask(fleet.masks)) == 2
    subsets = train_subsets(RECIPE, ROWS, [WATCH], 4, seed=1, store=store)
    seeds = [{folder.facts["task"]["seed"] for folder in some.folders} for some in (fleet, subsets)]
    assert not seeds[0] & seeds[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": 21, "size": 3}, r"models: expected in 1..20, got 21"),
        ({"models": 4, "size": 30}, r"size: expected in 1..29, got 30"),
        ({"models": 4, "size": 3, "repeats": 0}, r"repeats: expected >= 1, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        held_out_removals(RECIPE, ROWS, [WATCH], settings.pop("models"), **settings, seed=0, store=Store(tmp_path))


def test_a_row_never_left_out_is_named():
    masks = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], dtype=bool)
    check_left_out(masks, np.array([1, 2]))
    with pytest.raises(NeedsError, match="row 0 was left out of 0 of 3 subset models, expected at least 1; 1 of 2"):
        check_left_out(masks, np.array([2, 0]))
    with pytest.raises(NeedsError, match="row 0 was in 0 of 3 subset models"):
        check_left_out(~masks, np.array([0]))
    with pytest.raises(NeedsError, match="row 2 was left out of 1 of 3 subset models, expected at least 2"):
        check_left_out(masks, np.array([2]), least=2)


def test_costs_are_added_under_one_role():
    both = total([Cost({}, {"train": 10}, 1.0), Cost({"a": 3}, {"b": 5}, 0.5, threads=2)])
    assert both == Cost({"attribution": 3}, {"attribution": 15}, 1.5, 2)


def test_the_whole_way_on_trained_models(tmp_path):
    """Datamodels of a small linear net, calibrated: they foretell removals of 8 of 40 rows that they never saw."""
    recipe, rows, watch = tiny_recipe(model="linear", epochs=6), tiny_rows(40, seed=2), tiny_rows(12, seed=3)
    store = Store(tmp_path)
    subsets = train_subsets(recipe, rows, [watch], 60, share=0.8, seed=0, store=store)
    source = Source(recipe=recipe, rows=rows, model=fit(recipe, rows, seed=7).model, subsets=subsets)
    held = held_out_removals(recipe, rows, [watch], 12, size=8, seed=0, store=store)
    fitted = Datamodel().fit(source)
    line = calibrate(fitted, part(held, np.arange(6)), watch).line
    assert 0.5 < line.slope < 1.5
    assert line.r2 > 0.3
    other = calibrate(fitted, part(held, np.arange(6, 12)), watch).line
    assert other.slope == pytest.approx(line.slope, abs=0.3), "other sets say the same"


def test_sets_are_drawn_from_groups_in_turn_and_no_group_is_too_small():
    groups = [np.arange(6), np.arange(10, 14)]
    masks = removal_masks(5, 20, size=4, groups=groups, seed=3)
    for index, mask in enumerate(masks):
        gone = np.flatnonzero(~mask)
        assert len(gone) == 4
        assert set(gone) <= set(groups[index % 2])
    assert len({mask.tobytes() for mask in masks[::2]}) > 1
    with pytest.raises(ConfigError, match="groups: expected of at least 5 rows, got 4"):
        removal_masks(2, 20, size=5, groups=groups, seed=3)
