"""Foretold by hand, beside scikit-learn, and where there is nothing to tell apart."""

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from expunge.audit import foretold
from expunge.audit.foretold import mostly_right
from expunge.errors import NeedsError, ShapeError

GOLD = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]], dtype=bool)
"""Most get rows 0 and 1 right, and neither of the others."""


def drawn(models=6, golds=9, rows=200, seed=0, skill=1.0):
    """Scores that know something of what gold gets right, what they call easy, and gold."""
    draw = np.random.default_rng(seed)
    chance = draw.random(rows)
    scores = skill * chance + draw.normal(size=(models, rows)).round(1) / 2
    return scores, scores > 0.3, draw.random((golds, rows)) < chance


def test_by_hand():
    scores = np.array([[4.0, 1.0, 2.0, 1.0]])
    found = foretold(scores, scores > 1.5, GOLD)
    assert found.rows.tolist() == [0, 1, 1, 0]
    assert found.value == 0.5
    assert found.start == 0.5, "two of four rows are hard"
    # of the pairs (easy, hard): 4 over 2, 4 over 1, 1 under 2, 1 level with 1
    assert found.extra["auroc"] == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert found.extra["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found.extra["gain"] == 0
    # called easy: rows 0 and 2; against the gold models in turn, 2, 2 and 2 of 4 agree
    assert found.extra["one_gold"] == pytest.approx((2 + 2 + 2) / 12)
    assert found.extra["one_gold_gain"] == pytest.approx(6 / 12 - 6 / 12)
    assert (found.extra["easy"], found.extra["called_easy"]) == (0.5, 0.5)
    # each gold model against both others: a tie counts as right
    first = [[1, 1, 0, 1], [1, 1, 0, 0], [1, 1, 0, 1]]
    assert found.null == pytest.approx(np.mean(np.array(first, dtype=bool) != GOLD))


def test_a_row_that_half_of_gold_get_right_is_easy():
    assert mostly_right(np.array([[True], [False]])).tolist() == [True]
    assert mostly_right(np.array([[True], [False], [False]])).tolist() == [False]


@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_balanced_accuracy_are_scikit_learn_s(seed):
    scores, called, gold = drawn(seed=seed)
    found, easy = foretold(scores, called, gold), mostly_right(gold)
    assert len(np.unique(scores)) < scores.size, "there are ties"
    assert found.extra["auroc"] == pytest.approx(np.mean([roc_auc_score(easy, one) for one in scores]))
    slow = np.mean([balanced_accuracy_score(easy, one) for one in called])
    assert found.extra["balanced_accuracy"] == pytest.approx(slow)
    assert found.value == pytest.approx(np.mean([np.mean(one != easy) for one in called]))
    slow = np.mean([np.mean(one == other) for one in called for other in gold])
    assert found.extra["one_gold"] == pytest.approx(slow)
    assert found.extra["auroc_low"] < found.extra["auroc"] < found.extra["auroc_high"]
    assert found.interval[0] < found.value < found.interval[1]


def test_what_knows_nothing_gains_nothing():
    _, _, gold = drawn()
    found = foretold(np.ones((4, 200)), np.ones((4, 200), dtype=bool), gold)
    assert (found.extra["auroc"], found.extra["balanced_accuracy"]) == (pytest.approx(0.5), 0.5)
    assert found.extra["gain"] == found.extra["one_gold_gain"] == 0


def test_gold_itself_is_at_its_null():
    _, _, gold = drawn(golds=60, rows=1000)
    found = foretold(gold[:30].astype(float), gold[:30], gold[30:])
    assert found.value == pytest.approx(found.null, abs=0.01)
    assert found.extra["gain"] > 0


@pytest.mark.parametrize("value", [True, False])
def test_rows_of_one_kind_have_no_auroc(value):
    scores, called, gold = drawn(rows=10)
    found = foretold(scores, called, np.full_like(gold, value))
    assert math.isnan(found.extra["auroc"])
    assert math.isnan(found.extra["auroc_low"])
    assert math.isnan(found.extra["auroc_high"])
    assert math.isnan(found.extra["balanced_accuracy"])
    assert found.value == pytest.approx(np.mean(called != value))
    assert found.null == 0
    assert found.to_json()["extra"]["auroc"] is None


def test_the_interval_deletes_whole_originals():
    """Two models behind each of three originals that call everything alike: the models' spread is that of three."""
    scores, called, gold = drawn(models=3)
    twice = foretold(scores.repeat(2, axis=0), called.repeat(2, axis=0), gold, groups=np.arange(3).repeat(2))
    assert twice.interval == pytest.approx(foretold(scores, called, gold).interval)


def test_what_does_not_fit_is_refused():
    scores, called, gold = drawn()
    with pytest.raises(NeedsError, match="gold: needs at least 2 models, got 1"):
        foretold(scores, called, gold[:1])
    with pytest.raises(ShapeError, match=r"gold \(9, 199\)"):
        foretold(scores, called, gold[:, 1:])
    with pytest.raises(ShapeError, match=r"scores \(5, 200\), called \(6, 200\)"):
        foretold(scores[1:], called, gold)
    with pytest.raises(ShapeError, match="called: expected bool, got float64"):
        foretold(scores, called.astype(float), gold)
    with pytest.raises(ShapeError, match="at least 1 model and 1 row"):
        foretold(scores[:0], called[:0], gold)
    with pytest.raises(ShapeError, match="scores: expected finite values, got nan at model 0, row 3"):
        foretold(np.where(np.arange(200) == 3, np.nan, scores), called, gold)
