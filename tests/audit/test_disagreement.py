"""Disagreement by hand, and what accuracy alone would hide."""

import numpy as np
import pytest

from expunge.audit import accuracy_gap, disagreement
from expunge.errors import NeedsError


def logits(right):
    """Two-class logits of models that are right `[models, rows]` on rows of class 0."""
    side = np.asarray(right, dtype=float)
    return np.stack([side, 1 - side], axis=-1)


def test_by_hand():
    """Unlearned right on rows 0 and 1; gold A on 0 and 1, gold B on 0 and 2."""
    gold = logits([[1, 1, 0, 0], [1, 0, 1, 0]])
    found = disagreement(logits([[1, 1, 0, 0]]), gold, None, labels=np.zeros(4, int), seed=0)
    assert found.value == pytest.approx((0 + 2 / 4) / 2)
    assert found.rows.tolist() == [0, 0.5, 0.5, 0]


def test_equal_accuracies_on_other_rows_are_seen():
    gold, ours = logits([[1, 1, 0, 0]] * 3), logits([[0, 0, 1, 1]])
    labels = np.zeros(4, int)
    assert accuracy_gap(ours, gold, None, labels=labels).value == 0
    assert disagreement(ours, gold, None, labels=labels, seed=0).value == 1


def test_gold_against_gold_is_at_its_null():
    draw = np.random.default_rng(0)
    models = logits(draw.random((48, 200)) < draw.random(200))
    found = disagreement(
        models[:16], models[16:32], models[:16], labels=np.zeros(200, int), heldout=models[32:], seed=0
    )
    assert found.extra["ratio"] == pytest.approx(1, abs=0.05)
    assert found.start == pytest.approx(found.value)
    assert found.interval[0] < found.null < found.interval[1]


def test_one_gold_model_is_too_few():
    with pytest.raises(NeedsError, match="gold: needs at least 2 models, got 1"):
        disagreement(logits([[1]]), logits([[1]]), None, labels=np.zeros(1, int), seed=0)
