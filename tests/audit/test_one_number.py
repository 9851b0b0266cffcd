"""Tug of war, AUS and ZRF: published formulas by hand, gold as the target."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from expunge.audit.aus import aus, aus_per_model
from expunge.audit.margins import probabilities
from expunge.audit.tug_of_war import tow, tug_of_war
from expunge.audit.zrf import zrf
from expunge.errors import ConfigError, NeedsError, ShapeError

RANDOM = np.random.default_rng(0)
GOLD, OURS, BEFORE = RANDOM.random((6, 4)), RANDOM.random((3, 4)), RANDOM.random((2, 4))


def test_tow_is_one_for_gold_against_itself():
    assert tow(GOLD, GOLD).tolist() == [1.0] * 6
    assert tow(GOLD, GOLD, mia=True).tolist() == [1.0] * 6


def test_tug_of_war_by_hand():
    found = tug_of_war(OURS, GOLD, BEFORE)
    centre = GOLD.mean(axis=0)

    def slow(one, reference, columns=(0, 1, 2)):
        return np.prod([1 - abs(one[k] - reference[k]) for k in columns])

    ours = [slow(one, centre) for one in OURS]
    golds = [slow(GOLD[k], np.delete(GOLD, k, axis=0).mean(axis=0)) for k in range(6)]
    assert found.value == pytest.approx(1 - np.mean(ours))
    assert found.null == pytest.approx(1 - np.mean(golds))
    assert found.start == pytest.approx(1 - np.mean([slow(one, centre) for one in BEFORE]))
    assert found.extra["tow_mia"] == pytest.approx(np.mean([slow(one, centre, (3, 1, 2)) for one in OURS]))
    assert found.interval[0] < found.value < found.interval[1]
    three = tug_of_war(OURS[:, :3], GOLD[:, :3], None)
    assert three.value == found.value
    assert "tow_mia" not in three.extra


def test_tug_of_war_refuses():
    with pytest.raises(ShapeError, match="unlearned: expected \\[models, 3 or 4\\]"):
        tug_of_war(OURS[:, :3], GOLD, None)
    with pytest.raises(ShapeError, match="shares in \\[0, 1\\]"):
        tug_of_war(100 * OURS, GOLD, None)
    with pytest.raises(ShapeError, match="groups"):
        tug_of_war(OURS, GOLD, None, groups=np.arange(2))
    with pytest.raises(NeedsError, match="gold: needs at least 2 models, got 1"):
        tug_of_war(OURS, GOLD[:1], None)


def test_aus_by_hand():
    before, ours = np.array([[1.0, 0.9]]), np.array([[0.2, 0.8], [0.6, 0.85]])
    gold = np.array([[0.5, 0.88], [0.55, 0.86], [0.5, 0.87]])
    by_class = [(1 - (0.9 - 0.8)) / 1.2, (1 - (0.9 - 0.85)) / 1.6]
    by_gap = [(1 - (0.9 - 0.8)) / (1 + 0.6), (1 - (0.9 - 0.85)) / (1 + 0.25)]
    assert aus_per_model(ours, 0.9, kind="class") == pytest.approx(by_class)
    assert aus_per_model(ours, 0.9) == pytest.approx(by_gap)
    found = aus(ours, gold, before)
    golds = aus_per_model(gold, 0.9)
    assert found.value == pytest.approx(np.abs(np.array(by_gap) - golds.mean()).mean())
    assert found.start == pytest.approx(abs(1 / 1.1 - golds.mean()))
    with pytest.raises(ConfigError, match="kind: expected random or class"):
        aus(ours, gold, before, kind="subject")
    with pytest.raises(ShapeError, match="original: expected"):
        aus(ours, gold, before[:, :1])


def test_zrf_equals_a_loop_and_does_not_depend_on_the_batch():
    sides = [2 * RANDOM.normal(size=(models, 7, 4)) for models in (3, 5, 2, 4)]
    found = zrf(*sides[:3], random=sides[3])
    shares = [probabilities(side) for side in sides]

    def slow(one):
        return 1 - np.mean([jensenshannon(one, other, 2, axis=1) ** 2 for other in shares[3]])

    ours, golds, before = ([slow(one) for one in side] for side in shares[:3])
    assert found.extra["unlearned_mean"] == pytest.approx(np.mean(ours))
    assert found.value == pytest.approx(np.abs(ours - np.mean(golds)).mean())
    assert found.start == pytest.approx(np.abs(before - np.mean(golds)).mean())
    alone = [zrf(*(side[:, [x]] for side in sides[:3]), random=sides[3][:, [x]]).rows[0] for x in range(7)]
    assert found.rows == pytest.approx(alone)


def test_zrf_is_zero_on_disjoint_and_one_on_equal_outputs():
    sure = np.array([[[900.0, 0.0]], [[900.0, 0.0]]])
    found = zrf(-sure, sure, None, random=sure)
    assert (found.extra["unlearned_mean"], found.extra["gold_mean"]) == (0.0, 1.0)
    with pytest.raises(ShapeError, match="random: expected"):
        zrf(sure, sure, None, random=sure[:, :, :1])
