"""ROC numbers beside brute force and scikit-learn, and the floor on non-members."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from expunge.audit.roc import attack_gap, enough, tpr_at_fpr
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
