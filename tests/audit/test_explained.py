"""Share of gold's change, by hand and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from expunge.audit.explained import explained
from expunge.errors import ShapeError


def sides(seed=0, models=6, rows=20, classes=4):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(models, rows, classes)) for _ in range(3)]


def test_gold_explains_all_and_doing_nothing_nothing():
    _, gold, original = sides()
    assert explained(gold, gold, original)["share"] == pytest.approx(1)
    nothing = explained(original, gold, original)
    assert nothing["share"] == pytest.approx(0)
    assert np.isnan(nothing["slope"])


def test_half_of_the_way_is_three_quarters_of_the_squares_with_slope_two():
    _, gold, original = sides()
    middle = (gold.mean(axis=0) + original.mean(axis=0))[None] / 2
    found = explained(middle, gold, original)
    assert found["share"] == pytest.approx(0.75)
    assert found["slope"] == pytest.approx(2)
    assert found["correlation"] == pytest.approx(1)


def test_the_wrong_way_is_below_zero():
    _, gold, original = sides()
    back = (2 * original.mean(axis=0) - gold.mean(axis=0))[None]
    assert explained(back, gold, original)["share"] == pytest.approx(-3)


def test_a_constant_added_to_all_logits_of_a_row_changes_nothing():
    unlearned, gold, original = sides()
    shifted = unlearned + np.random.default_rng(1).normal(size=(1, 20, 1))
    assert explained(shifted, gold, original) == pytest.approx(explained(unlearned, gold, original))


def test_against_the_coefficient_of_determination_about_zero():
    unlearned, gold, original = sides()
    ours, theirs = (side.mean(0) - original.mean(0) for side in (unlearned, gold))
    ours, theirs = ((one - one.mean(1, keepdims=True)).ravel() for one in (ours, theirs))
    both = np.concatenate([theirs, -theirs]), np.concatenate([ours, -ours])  # mean zero, so that R2 is about zero
    assert explained(unlearned, gold, original)["share"] == pytest.approx(r2_score(*both))


def test_other_rows_are_refused():
    unlearned, gold, original = sides()
    with pytest.raises(ShapeError, match="explained: expected"):
        explained(unlearned[:, :5], gold, original)
