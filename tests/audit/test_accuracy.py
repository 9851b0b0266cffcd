"""Accuracy, its gap to gold, and the average gap."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from expunge.audit.accuracy import accuracy, accuracy_gap, average_gap
from expunge.audit.per_model import gold_gaps, rank_p
from expunge.errors import NeedsError


def logits(models, seed):
    return np.random.default_rng(seed).normal(size=(models, 40, 3))


LABELS = np.random.default_rng(9).integers(0, 3, 40)


def test_equals_sklearn():
    found = accuracy(logits(4, 0), LABELS)
    assert found.tolist() == [accuracy_score(LABELS, one.argmax(-1)) for one in logits(4, 0)]


def test_gap_null_and_start_by_hand():
    ours, golds, before = logits(5, 1), logits(8, 2), logits(2, 3)
    found = accuracy_gap(ours, golds, before, labels=LABELS)
    u, g, o = (accuracy(side, LABELS) for side in (ours, golds, before))
    assert found.value == pytest.approx(np.abs(u - g.mean()).mean())
    assert found.start == pytest.approx(np.abs(o - g.mean()).mean())
    assert found.null == pytest.approx(np.mean([abs(g[k] - np.delete(g, k).mean()) for k in range(8)]))
    assert found.extra["gold_sd"] == pytest.approx(g.std(ddof=1))
    assert found.extra["signed"] == pytest.approx(u.mean() - g.mean())
    assert found.rows.shape == (40,)


def test_one_model_gets_a_rank():
    found = accuracy_gap(logits(1, 1), logits(30, 2), None, labels=LABELS)
    golds = accuracy(logits(30, 2), LABELS)
    assert found.extra["rank_p"] == rank_p(float(accuracy(logits(1, 1), LABELS)[0]), golds)
    assert gold_gaps(golds).mean() == found.null


def test_average_gap_lists_its_terms():
    one = accuracy_gap(logits(5, 1), logits(8, 2), logits(2, 3), labels=LABELS)
    two = accuracy_gap(logits(5, 4), logits(8, 5), logits(2, 6), labels=LABELS)
    found = average_gap({"forget": one, "test": two})
    assert found.extra == {"forget": one.value, "test": two.value}
    assert found.value == pytest.approx((one.value + two.value) / 2)
    assert found.interval[1] - found.value == pytest.approx(
        (one.interval[1] - one.value + two.interval[1] - two.value) / 2
    )
    with pytest.raises(NeedsError, match="at least 1 term"):
        average_gap({})
