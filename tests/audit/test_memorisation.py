"""Memorisation scores beside a loop, their errors beside repetition, and strata by rank, size and cuts."""

import json

import numpy as np
import pytest

from expunge.audit import half_masks, memorisation, strata
from expunge.errors import ConfigError, NeedsError, ShapeError


def test_scores_equal_a_loop():
    random = np.random.default_rng(0)
    correct, membership = random.random((20, 30)) < 0.6, random.random((20, 30)) < 0.4
    membership[0], membership[1] = True, False
    found = memorisation(correct, membership)
    for row in range(30):
        inside, outside = correct[membership[:, row], row], correct[~membership[:, row], row]
        assert found.scores[row] == pytest.approx(inside.mean() - outside.mean())
        assert (found.inside[row], found.outside[row]) == (len(inside), len(outside))
        variance = 0
        for side in (inside, outside):
            share = (side.sum() + 1) / (len(side) + 2)
            variance += share * (1 - share) / (len(side) + 2)
        assert found.errors[row] == pytest.approx(np.sqrt(variance))
    assert found.stats["mean"] == pytest.approx(found.scores.mean())


def test_known_memorisation_is_recovered_within_its_error():
    random = np.random.default_rng(1)
    truth = random.random(3_000)
    masks = half_masks(128, 3_000, seed=0)
    correct = random.random((128, 3_000)) < np.where(masks, 1.0, 1 - truth)
    found = memorisation(correct, masks)
    off = (found.scores - truth) / found.errors
    assert found.scores.mean() == pytest.approx(truth.mean(), abs=0.005)
    assert off.std() == pytest.approx(1, abs=0.12)
    assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.03)


def test_sure_rows_have_an_error_above_zero():
    masks = half_masks(8, 3, seed=0)
    found = memorisation(np.ones((8, 3), bool), masks)
    assert found.scores.tolist() == [0, 0, 0]
    assert (found.errors > 0.15).all()


def test_rows_never_in_or_never_left_out_are_refused_by_number():
    masks = half_masks(6, 4, seed=0)
    correct = np.ones((6, 4), bool)
    masks[:, 2] = True
    with pytest.raises(NeedsError, match="row 2 is never left out"):
        memorisation(correct, masks)
    masks[:, 2] = False
    with pytest.raises(NeedsError, match="row 2 is never in"):
        memorisation(correct, masks)
    with pytest.raises(ShapeError, match="correct"):
        memorisation(correct.astype(float), masks)
    with pytest.raises(ShapeError, match="membership"):
        memorisation(correct, masks[:3])


def test_json_keeps_rows_to_itself_unless_asked():
    found = memorisation(np.ones((8, 3), bool), half_masks(8, 3, seed=0))
    assert "scores" not in json.loads(json.dumps(found.to_json()))
    plain = json.loads(json.dumps(found.to_json(rows=True)))
    assert plain["inside"] == [4, 4, 4]
    assert plain["models"] == 8


def test_thirds_are_equal_and_ordered():
    scores = np.random.default_rng(2).permutation(31) / 31
    found = strata(scores)
    sizes = [int((found == name).sum()) for name in ("low", "medium", "high")]
    assert sizes == [11, 10, 10]
    assert scores[found == "low"].max() < scores[found == "medium"].min()
    assert scores[found == "medium"].max() < scores[found == "high"].min()


def test_size_takes_lowest_middle_and_highest():
    scores = np.arange(20.0)[::-1]
    found = strata(scores, size=4)
    assert sorted(scores[found == "low"]) == [0, 1, 2, 3]
    assert sorted(scores[found == "medium"]) == [8, 9, 10, 11]
    assert sorted(scores[found == "high"]) == [16, 17, 18, 19]
    assert (found == "").sum() == 8


def test_cuts_are_on_the_scores():
    found = strata(np.array([-0.1, 0.1, 0.25, 0.7, 0.8, 1.0]), cuts=(0.25, 0.8))
    assert found.tolist() == ["low", "low", "medium", "medium", "high", "high"]


def test_refusals_of_strata():
    scores = np.arange(8.0)
    with pytest.raises(ConfigError, match="size"):
        strata(scores, size=2, cuts=(0.1, 0.2))
    with pytest.raises(ConfigError, match="cuts"):
        strata(scores, cuts=(0.5, 0.2))
    with pytest.raises(ConfigError, match="size"):
        strata(scores, size=0)
    with pytest.raises(NeedsError, match="3 x 3 rows, got 8"):
        strata(scores, size=3)
    with pytest.raises(ShapeError, match="finite"):
        strata(np.array([0.0, np.nan, 1.0]))
