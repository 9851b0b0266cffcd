"""Relearn: times by hand, gold in the denominator, censored curves."""

import numpy as np
import pytest

from expunge.audit.relearn import relearn, steps_to
from expunge.errors import ConfigError, NeedsError, ShapeError


def curves(*times, length=40):
    """Accuracy 0.2 before the step and 1 from it on."""
    return np.where(np.arange(length + 1) >= np.array(times)[:, None], 1.0, 0.2)


ORIGINAL = np.array([[1.0]])


def test_times_by_hand():
    assert steps_to(curves(0, 3, 40, 41), 0.95).tolist() == [0, 3, 40, 41]


def test_published_ratio_of_one_unlearned_model():
    found = relearn(curves(3), curves(7, 7), ORIGINAL)
    assert found.extra["ain"] == pytest.approx(4 / 8)
    assert found.value == pytest.approx(np.log(2))
    assert (found.null, found.start) == (0, pytest.approx(np.log(8)))
    assert (found.extra["steps_unlearned"], found.extra["steps_gold"]) == (3, 7)


def test_ratio_changes_with_gold_and_slow_is_as_far_as_fast():
    assert relearn(curves(7), curves(3, 3), ORIGINAL).extra["ain"] == pytest.approx(2)
    assert relearn(curves(7), curves(3, 3), ORIGINAL).value == relearn(curves(3), curves(7, 7), ORIGINAL).value
    assert relearn(curves(0), curves(0, 0), ORIGINAL).value == 0


def test_slack_is_relative_to_the_original():
    slow = np.linspace(0, 1, 11)[None].repeat(2, axis=0)
    found = relearn(slow[:1], slow, np.array([[0.6, 0.9]]), slack=0.5)
    assert found.extra["target"] == pytest.approx(0.3)
    assert found.extra["steps_unlearned"] == 3


def test_curves_that_end_early_and_the_cap():
    found = relearn(curves(99), curves(1, 2, 3, 4), ORIGINAL)
    assert (found.extra["steps_unlearned"], found.extra["unfinished_unlearned"]) == (41, 1)
    capped = relearn(curves(99), curves(1, 2, 3, 4), ORIGINAL, cap=3)
    assert capped.extra["ain"] == pytest.approx(3)
    assert found.extra["ain"] > 10
    assert found.extra["rank_p"] == pytest.approx(2 / 5)


def test_refusals():
    with pytest.raises(ShapeError, match="unlearned: expected curves"):
        relearn(curves(3, length=5), curves(3, 3), ORIGINAL)
    with pytest.raises(ShapeError, match="in \\[0, 1\\]"):
        relearn(2 * curves(3), curves(3, 3), ORIGINAL)
    with pytest.raises(NeedsError, match="gold: needs at least 2"):
        relearn(curves(3), curves(3), ORIGINAL)
    with pytest.raises(ConfigError, match="cap"):
        relearn(curves(3), curves(3, 3), ORIGINAL, cap=1)
