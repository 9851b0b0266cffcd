"""Effects: the output of the row's own label, the margin's error against finite differences, who changes most."""

import numpy as np
import pytest
import torch

from expunge.attribution.effect import effect
from expunge.attribution.estimator import Removal
from expunge.errors import ShapeError
from expunge.tasks import Classification, Regression

DRAW = np.random.default_rng(3)
BEFORE, CHANGE = DRAW.normal(size=(2, 7, 4))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3])
TASK = Classification(4)


def found(error=None, change=CHANGE):
    return Removal(BEFORE + change, BEFORE, np.full_like(BEFORE, np.nan) if error is None else error)


def test_the_output_spoken_of_is_that_of_the_own_label():
    one = effect(found(), LABELS, TASK)
    rows = np.arange(7)
    np.testing.assert_allclose(one.before, BEFORE[rows, LABELS])
    np.testing.assert_allclose(one.change, CHANGE[rows, LABELS])
    assert len(one) == 7


def test_margins_and_answers_by_the_formula():
    one = effect(found(), LABELS, TASK)
    for row, label in enumerate(LABELS):
        for outputs, margin, right in (
            (BEFORE, one.margin_before, one.right_before),
            (BEFORE + CHANGE, one.margin_after, one.right_after),
        ):
            others = np.delete(outputs[row], label)
            assert margin[row] == pytest.approx(outputs[row, label] - np.log(np.exp(others).sum()), abs=1e-5)
            assert right[row] == (outputs[row].argmax() == label)
    np.testing.assert_allclose(one.margin_change, one.margin_after - one.margin_before)


def test_the_error_of_a_margin_is_the_sum_of_its_slopes_times_the_errors():
    error = DRAW.uniform(0.1, 0.4, size=BEFORE.shape)
    one = effect(found(error), LABELS, TASK)
    after, step = torch.tensor(BEFORE + CHANGE), 1e-6
    slopes = np.empty_like(BEFORE)
    for column in range(4):
        moved = after.clone()
        moved[:, column] += step
        ends = [_margin(side, LABELS) for side in (after, moved)]
        slopes[:, column] = (ends[1] - ends[0]) / step
    np.testing.assert_allclose(one.margin_error, (np.abs(slopes) * error).sum(1), rtol=1e-4)
    np.testing.assert_allclose(one.error, error[np.arange(7), LABELS])


def _margin(outputs, labels):
    right = outputs.gather(1, labels[:, None])[:, 0]
    rest = outputs.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return (right - rest).numpy()


def test_no_row_moves_further_than_its_bound_says():
    error = np.full_like(BEFORE, 1e-4)
    one = effect(found(error), LABELS, TASK)
    for signs in DRAW.choice([-1.0, 1.0], size=(20, *BEFORE.shape)):
        moved = effect(found(error, CHANGE + signs * error), LABELS, TASK)
        assert (np.abs(moved.margin_after - one.margin_after) <= one.margin_error * 1.01 + 1e-6).all()


def test_where_nothing_tells_the_error_it_stays_unknown():
    one = effect(found(), LABELS, TASK)
    assert np.isnan(one.error).all()
    assert np.isnan(one.margin_error).all()
    assert all(np.isnan(one.mean_errors))


def test_the_error_of_a_mean_is_as_if_all_rows_erred_together():
    error = DRAW.uniform(0.1, 0.4, size=BEFORE.shape)
    one = effect(found(error), LABELS, TASK)
    assert one.mean_errors == (pytest.approx(one.error.mean()), pytest.approx(one.margin_error.mean()))
    assert one.mean_errors[0] > one.error.mean() / np.sqrt(7)


def test_regression_speaks_of_the_mean_output():
    task, targets = Regression(2), torch.tensor(DRAW.normal(size=(7, 2)), dtype=torch.float32)
    one = effect(Removal(BEFORE[:, :2] + 1.0, BEFORE[:, :2], np.full((7, 2), 0.5)), targets, task)
    np.testing.assert_allclose(one.before, BEFORE[:, :2].mean(1))
    np.testing.assert_allclose(one.change, 1.0)
    squared = ((BEFORE[:, :2] - targets.numpy()) ** 2).mean(1)
    np.testing.assert_allclose(one.margin_before, -squared, rtol=1e-5)


def test_most_names_the_largest_changes_of_the_margin_in_either_direction():
    one = effect(found(), LABELS, TASK)
    sizes = np.abs(one.margin_change)
    assert one.most(3).tolist() == np.argsort(-sizes)[:3].tolist()
    assert len(one.most(99)) == 7


def test_labels_of_other_rows_are_refused():
    with pytest.raises(ShapeError, match="7 predicted rows, 6 labels"):
        effect(found(), LABELS[:6], TASK)
