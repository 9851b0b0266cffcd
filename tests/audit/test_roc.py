"""ROC numbers beside brute force and scikit-learn, and the floor on non-members."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from expunge.audit.roc import attack_gap, enough, roc_curves, tpr_at_fpr
from expunge.errors import ConfigError, NeedsError, ShapeError


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_tpr_equals_scikit_learns_curve(digits):
    random = np.random.default_rng(0)
    members, nonmembers = random.normal(1, 1, (4, 333)), random.normal(size=(4, 1000))
    if digits is not None:
        members, nonmembers = members.round(digits), nonmembers.round(digits)
    for rate in (0.01, 0.05, 0.3):
        found = tpr_at_fpr(members, nonmembers, rate=rate)
        for one, inside, outside in zip(found, members, nonmembers, strict=True):
            label = np.repeat([1, 0], [333, 1000])
            fpr, tpr, _ = roc_curve(label, np.concatenate([inside, outside]), drop_intermediate=False)
            assert one == pytest.approx(tpr[fpr <= rate].max())


def test_known_tpr_of_two_normals():
    random = np.random.default_rng(1)
    found = tpr_at_fpr(random.normal(2, 1, (1, 200_000)), random.normal(size=(1, 200_000)), rate=0.01)
    assert found[0] == pytest.approx(0.3721, abs=0.01)  # Phi(2 - 2.3263)


def test_rate_zero_is_above_every_nonmember():
    assert tpr_at_fpr(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0]]), rate=0)[0] == pytest.approx(1 / 3)


def test_few_nonmembers_are_an_error_or_nan():
    assert enough(10_000, 0.001)
    assert not enough(9_999, 0.001)
    with pytest.raises(NeedsError, match=r"TPR at 0\.01 FPR needs 1000 non-members, got 999"):
        tpr_at_fpr(np.zeros((1, 5)), np.zeros((1, 999)))
    assert np.isnan(tpr_at_fpr(np.zeros((2, 5)), np.zeros((2, 999)), strict=False)).all()
    with pytest.raises(ConfigError, match="rate"):
        tpr_at_fpr(np.zeros((1, 5)), np.zeros((1, 9)), rate=1.0)


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_curves_equal_brute_force_and_the_single_rates(digits):
    random = np.random.default_rng(3)
    members, nonmembers = random.normal(0.5, 1, (3, 37)), random.normal(size=(3, 250))
    if digits is not None:
        members, nonmembers = members.round(digits), nonmembers.round(digits)
    rates = np.array([0.0, 1e-9, 0.003, 0.004, 0.0079, 0.008, 0.1, 0.29, 0.5, 0.996, 0.999, 1.0])
    found = roc_curves(members, nonmembers, rates)
    assert found.shape == (3, 12)
    for curve, inside, outside in zip(found, members, nonmembers, strict=True):
        for tpr, rate in zip(curve, rates, strict=True):
            cuts = [-np.inf, *outside]
            allowed = [cut for cut in cuts if (outside > cut).sum() <= rate * 250 + 1e-6]
            assert tpr == pytest.approx((inside > min(allowed)).mean())
    for at in (6, 7, 8):  # rates with enough non-members
        assert found[:, at] == pytest.approx(tpr_at_fpr(members, nonmembers, rate=rates[at]))
    assert found[:, 0] == pytest.approx(tpr_at_fpr(members, nonmembers, rate=0))
    assert np.diff(found, axis=1).min() >= 0


def test_curves_stand_on_scikit_learns_and_need_no_number_of_nonmembers():
    random = np.random.default_rng(4)
    members, nonmembers = random.normal(1, 1, (1, 60)), random.normal(size=(1, 9))
    rates = np.logspace(-4, 0, 50)
    label = np.repeat([1, 0], [60, 9])
    fpr, tpr, _ = roc_curve(label, np.concatenate([members[0], nonmembers[0]]), drop_intermediate=False)
    expected = [tpr[fpr <= rate + 1e-12].max() for rate in rates]
    assert roc_curves(members, nonmembers, rates)[0] == pytest.approx(expected)
    alone = roc_curves(members, nonmembers[:, :1], np.array([0.5, 1.0]))
    assert alone[0] == pytest.approx([(members > nonmembers[0, 0]).mean(), 1.0])


def test_a_rate_that_is_a_whole_number_of_rows_allows_that_many():
    ranked = np.arange(100.0)[None]
    rates = np.array([0.29, 0.57, 0.58, 0.07, 1.0])  # 0.29 * 100 is below 29 in floating point
    assert roc_curves(ranked + 0.5, ranked, rates)[0].tolist() == pytest.approx([0.3, 0.58, 0.59, 0.08, 1.0])


def test_curves_do_not_depend_on_the_order_and_leave_their_input_alone():
    random = np.random.default_rng(5)
    members, nonmembers, rates = random.normal(size=(2, 30)), random.normal(size=(2, 40)), np.array([0.3, 0.05, 1.0])
    before = members.copy(), nonmembers.copy()
    found = roc_curves(members, nonmembers, rates)
    assert np.array_equal(members, before[0])
    assert np.array_equal(nonmembers, before[1])
    assert np.array_equal(roc_curves(members[:, ::-1], nonmembers[:, ::-1], rates), found)
    assert np.array_equal(roc_curves(members[::-1], nonmembers[::-1], rates), found[::-1])
    assert np.array_equal(roc_curves(members, nonmembers, rates[::-1]), found[:, ::-1])


def test_gap_is_to_golds_mean():
    random = np.random.default_rng(2)
    forget = np.arange(1200) < 200
    scores = {role: random.normal(size=(3, 1200)) for role in ("unlearned", "gold", "original")}
    scores["original"][:, forget] += 2
    found = attack_gap("any", scores, forget, statistic="tpr")
    tpr = {role: tpr_at_fpr(part[:, forget], part[:, ~forget]) for role, part in scores.items()}
    assert found.value == pytest.approx(np.abs(tpr["unlearned"] - tpr["gold"].mean()).mean())
    assert found.start == pytest.approx(np.abs(tpr["original"] - tpr["gold"].mean()).mean())
    assert found.extra["tpr_gold"] == pytest.approx(tpr["gold"].mean())
    assert found.extra["auc_original"] > 0.9
    few = attack_gap("any", {role: part[:, :300] for role, part in scores.items()}, forget[:300])
    assert np.isnan(few.extra["tpr_gold"])
    assert few.extra["enough_nonmembers"] == 0
    with pytest.raises(NeedsError, match="needs 1000"):
        attack_gap("any", {role: part[:, :300] for role, part in scores.items()}, forget[:300], statistic="tpr")


def test_refusals():
    scores = {"unlearned": np.zeros((1, 4)), "gold": np.zeros((2, 4))}
    with pytest.raises(ConfigError, match="statistic"):
        attack_gap("any", scores, np.array([True, False, False, False]), statistic="accuracy")
    with pytest.raises(ShapeError, match="forget"):
        attack_gap("any", scores, np.array([1, 0, 0, 0]))
    with pytest.raises(NeedsError, match="forget and holdout rows, got 4 and 0"):
        attack_gap("any", scores, np.ones(4, bool))
