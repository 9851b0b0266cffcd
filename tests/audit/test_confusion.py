"""Interclass confusion against scikit-learn's confusion matrix."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from expunge.audit.confusion import confusion
from expunge.errors import ConfigError, NeedsError

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 4, 200)
FORGET = np.arange(200) < 60


def models(count, seed, swapped=0.0):
    logits = 1.5 * np.eye(4)[LABELS] + np.random.default_rng(seed).normal(size=(count, 200, 4))
    exchanged = logits[:, :, [0, 3, 2, 1]]  # classes 1 and 3
    return (1 - swapped) * logits + swapped * exchanged


def test_equals_the_confusion_matrix():
    u, g = models(3, 1, swapped=0.7), models(5, 2)
    found = confusion(u, g, u, labels=LABELS, forget=FORGET, classes=(1, 3))
    errors = []
    for one in (*u, *g):
        table = confusion_matrix(LABELS[~FORGET], one[~FORGET].argmax(-1), labels=range(4))
        errors.append((table[1, 3] + table[3, 1]) / table[[1, 3]].sum())
    assert found.extra["unlearned_mean"] == pytest.approx(np.mean(errors[:3]))
    assert found.value == pytest.approx(np.abs(np.array(errors[:3]) - np.mean(errors[3:])).mean())
    assert found.start == found.value
    wrong = [(one[FORGET].argmax(-1) != LABELS[FORGET]).mean() for one in u]
    assert found.extra["forget_unlearned"] == pytest.approx(np.mean(wrong))
    assert found.extra["forget_gap"] == found.extra["forget_unlearned"] - found.extra["forget_gold"] > 0
    assert len(found.rows) == (np.isin(LABELS, (1, 3)) & ~FORGET).sum()


def test_gold_stays_in_its_band_and_the_original_leaves_it():
    found = confusion(
        models(1, 3), models(20, 4), models(1, 5, swapped=0.8), labels=LABELS, forget=FORGET, classes=(3, 1)
    )
    assert found.extra["rank_p"] > 0.05
    assert found.value < 2 * found.extra["null_high"] < found.start


def test_refusals():
    u = models(2, 6)
    with pytest.raises(ConfigError, match="classes: expected two of"):
        confusion(u, u, None, labels=LABELS, forget=FORGET, classes=(1, 4))
    with pytest.raises(NeedsError, match="got 60 and 0"):
        confusion(u, u, None, labels=np.where(FORGET, LABELS, 2), forget=FORGET, classes=(1, 3))
