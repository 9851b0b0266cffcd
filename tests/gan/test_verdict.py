"""Interval, power and verdict, by hand and by simulation."""

import numpy as np
import pytest
from scipy.stats import t as student

from expunge.audit.population_attack import auc
from expunge.errors import NeedsError
from expunge.gan.measures import MEASURES
from expunge.gan.verdict import auc_error, controls, decided, scored

NAMES = ("discriminator_auc", "frechet")


def numbers(attack, distance):
    return {"discriminator_auc": attack, "frechet": distance}


GOLD = [numbers(0.5 + 0.01 * i, 2.0 + 0.1 * i) for i in (-2, -1, 0, 1, 2)]
ORIGINAL = numbers(0.9, 2.0)


def table(original=ORIGINAL, gold=GOLD, errors=None):
    return scored(original, gold, errors=errors or {"discriminator_auc": 0.02}, judged=NAMES)


def test_interval_by_hand():
    line = table()[0]
    sd = np.std([0.48, 0.49, 0.5, 0.51, 0.52], ddof=1)
    half = student.ppf(1 - 0.05 / 2 / 2, 4) * sd * np.sqrt(1 + 1 / 5)
    assert (line.low, line.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert line.null == pytest.approx(np.mean([0.025, 0.0125, 0, 0.0125, 0.025]))


def test_one_more_gold_lies_inside_as_often_as_promised():
    draw = np.random.default_rng(0)
    outside = 0
    for _ in range(2000):
        values = 0.5 + 0.02 * draw.normal(size=(7, 2))
        attack = table(gold=[numbers(*row) for row in values[:6]], original=numbers(0, 0))[0]
        outside += attack.outside(values[6, 0])
    assert abs(outside / 2000 - 0.025) < 4 * np.sqrt(0.025 * 0.975 / 2000)  # alpha shared by two judged measures


@pytest.mark.parametrize(
    ("unlearned", "state"),
    [
        (numbers(0.5, 2.1), "pass"),
        (numbers(0.9, 2.1), "fail"),
        (numbers(0.1, 2.1), "fail"),  # found again with the other sign
        (numbers(0.5, 9.0), "fail"),
        (numbers(0.5, 0.1), "pass"),  # better than gold is no fault
    ],
)
def test_verdicts(unlearned, state):
    found, reasons = decided(table(), unlearned)
    assert found == state
    assert reasons


def test_equal_original_and_gold_are_inconclusive_whatever_the_method_did():
    lines = table(original=numbers(0.505, 2.0))
    for attack in (0.5, 0.99, 0.01):
        state, reasons = decided(lines, numbers(attack, 2.0))
        assert state == "inconclusive"
        assert "nothing to forget" in reasons[0]


def test_a_difference_within_the_attacks_own_error_has_no_power():
    assert table()[0].power
    assert not table(errors={"discriminator_auc": 0.2})[0].power
    tight = [numbers(0.5 + 1e-4 * i, 2.0) for i in range(4)]
    assert not table(original=numbers(0.55, 2.0), gold=tight, errors={"discriminator_auc": 0.038})[0].power


def test_controls_hold_where_the_measure_works_and_say_so_where_it_does_not():
    held, original = controls(table(), ORIGINAL, GOLD)
    assert held["holds"]
    assert held["detail"] == "5 of 5"
    assert original["holds"]
    held, original = controls(table(original=numbers(0.5, 2.0)), numbers(0.5, 2.0), GOLD)
    assert not original["holds"]
    assert not controls(table(gold=GOLD[:2]), ORIGINAL, GOLD[:2])[0]["holds"]


def test_two_golds_are_the_least():
    with pytest.raises(NeedsError, match="at least 2 golds, got 1"):
        table(gold=GOLD[:1])


def test_error_of_an_auc_by_simulation():
    draw = np.random.default_rng(1)
    found = auc(draw.normal(size=(4000, 12)), draw.normal(size=(4000, 30)))
    assert found.std(ddof=1) == pytest.approx(auc_error(12, 30), rel=0.06)


def test_every_measure_says_what_it_is():
    for name, one in MEASURES.items():
        assert one.name == name
        assert one.better in ("gold", "low", "high")
        assert one.meaning.endswith(".")
