"""Interval, power and verdict, by hand and by simulation."""

import numpy as np
import pytest
from scipy.stats import t as student

from expunge.audit.population_attack import auc
from expunge.errors import NeedsError
from expunge.gan.measure_table import MEASURES
from expunge.gan.verdict import auc_error, controls, decided, scored, share_error, verdict

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
        assert "nothing to forget" in reasons[-1]


def test_a_difference_within_the_attacks_own_error_has_no_power():
    assert table()[0].power
    assert not table(errors={"discriminator_auc": 0.2})[0].power
    tight = [numbers(0.5 + 1e-4 * i, 2.0) for i in range(4)]
    assert not table(original=numbers(0.55, 2.0), gold=tight, errors={"discriminator_auc": 0.038})[0].power


def test_controls_hold_where_the_measure_works_and_say_so_where_it_does_not():
    held, original = controls(table(), ORIGINAL, GOLD)
    assert held["holds"], held
    assert held["detail"] == "5 of 5"
    assert original["holds"]
    held, original = controls(table(original=numbers(0.5, 2.0)), numbers(0.5, 2.0), GOLD)
    assert not original["holds"]
    assert not controls(table(gold=GOLD[:2]), ORIGINAL, GOLD[:2])[0]["holds"]


def test_nothing_passes_where_a_control_does_not_hold():
    good = numbers(0.5, 2.1)
    assert verdict(table(), ORIGINAL, GOLD, good)[0] == "pass"
    two = table(gold=GOLD[1:3])
    state, reasons, checks = verdict(two, ORIGINAL, GOLD[1:3], numbers(0.495, 1.95))
    assert decided(two, numbers(0.495, 1.95))[0] == "pass"
    assert state == "inconclusive"
    assert "a control does not hold (held-out gold is accepted: not tested: 2 golds" in reasons[0]
    assert not checks[0]["holds"]
    assert verdict(table(), ORIGINAL, GOLD, ORIGINAL)[0] == "fail"


def test_rows_that_were_made_conspicuous_never_pass():
    shares = [{**one, "class_share": 0.01 + 0.001 * at} for at, one in enumerate(GOLD)]
    original = {**numbers(0.505, 2.0), "class_share": 0.2}  # no membership to be seen, but a class to be forgotten
    lines = scored(original, shares, errors={"discriminator_auc": 0.02}, judged=(*NAMES, "class_share"))
    assert decided(lines, {**numbers(0.5, 2.0), "class_share": 0.012})[0] == "pass"
    state, reasons = decided(lines, {**numbers(0.0, 2.0), "class_share": 0.012})
    assert state == "inconclusive"
    assert "made conspicuous" in reasons[0]


def test_a_collapsed_discriminator_never_passes():
    state, reasons = decided(table(), {**numbers(0.5, 2.1), "discriminator_skill": 0.5})
    assert state == "inconclusive"
    assert "collapsed" in reasons[0]


def test_golds_that_all_draw_none_allow_a_picture_or_two():
    none = [{"class_share": 0.0} for _ in range(3)]
    error = share_error(0.0, 400)
    line = scored({"class_share": 0.2}, none, errors={"class_share": error}, judged=["class_share"])[0]
    assert not line.outside(1 / 400)
    assert line.power
    assert scored({"class_share": 0.0025}, none, errors={"class_share": error}, judged=[])[0].power is False


def test_shares_of_golds_lie_inside_as_often_as_promised():
    draw, outside = np.random.default_rng(3), 0
    for _ in range(2000):
        found = draw.binomial(398, 0.001, size=4) / 398
        error = share_error(float(found[:3].mean()), 398)
        one = scored(
            {"class_share": 0.2},
            [{"class_share": value} for value in found[:3]],
            errors={"class_share": error},
            judged=["class_share"],
        )[0]
        outside += one.outside(found[3])
    assert outside / 2000 <= 0.05


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
