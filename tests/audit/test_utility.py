"""Utility guard: terms against scikit-learn and loops, its false alarms on gold, and models that must not pass."""

import json

import numpy as np
import pytest
from sklearn.metrics import recall_score

from expunge.audit.margins import probabilities
from expunge.audit.utility import calibration_error, utility
from expunge.errors import ConfigError, NeedsError

LABELS = np.arange(600) % 4
TEST = np.arange(600) >= 300


def models(count, seed, strength=2.0):
    """Calibrated: the logits are the true log-posterior of the class."""
    return strength * (strength * np.eye(4)[LABELS] + np.random.default_rng(seed).normal(size=(count, 600, 4)))


def ask(unlearned, golds=20, original=None):
    return utility(unlearned, models(golds, 99), original, labels=LABELS, test=TEST)


def test_terms_equal_sklearn():
    u, g = models(3, 1, 1.0), models(20, 99)
    found = ask(u, original=u[:1])
    recalls = [[recall_score(LABELS[TEST], one[TEST].argmax(-1), average=None) for one in side] for side in (u, g)]
    worst = (np.array(recalls[0]) - np.mean(recalls[1], axis=0)).min(axis=1)
    terms = found.terms
    assert terms["worst_class"].extra["unlearned_mean"] == pytest.approx(worst.mean())
    assert terms["test_accuracy"].extra["unlearned_mean"] == pytest.approx(np.mean(recalls[0]))  # equal class sizes
    assert terms["retain_accuracy"].extra["unlearned_mean"] == pytest.approx((u.argmax(-1) == LABELS)[:, ~TEST].mean())
    loss = terms["test_accuracy"].extra["gold_mean"] - terms["test_accuracy"].extra["unlearned_mean"]
    assert terms["test_accuracy"].extra["loss"] == pytest.approx(loss)
    assert terms["test_accuracy"].extra["beyond"] == 1
    assert terms["test_accuracy"].start is not None
    json.dumps(found.to_json(), allow_nan=False)


def test_calibration_error_equals_a_loop_over_bins():
    logits = models(2, 2)
    slow = []
    for one in logits:
        p = probabilities(one)
        order = np.argsort(p.max(-1), kind="stable")
        right = one.argmax(-1) == LABELS
        bins = np.array_split(order, 15)
        slow.append(sum(len(b) / 600 * abs(right[b].mean() - p.max(-1)[b].mean()) for b in bins))
    assert calibration_error(logits, LABELS) == pytest.approx(slow)
    assert calibration_error(100 * np.eye(2)[None], np.array([1, 0])).tolist() == [1.0]


def test_overconfident_model_is_beyond_the_band():
    found = ask(3 * models(1, 3))
    assert found.terms["calibration"].extra["beyond"] == 1
    assert found.terms["test_accuracy"].extra["beyond"] == 0


def test_each_band_holds_for_gold():
    found = ask(models(400, 4), golds=40)
    for name, term in found.terms.items():
        assert term.extra["beyond"] <= 0.05 + 0.07, name  # one draw of 40 golds: the band itself varies
    assert not found.constant.any()
    assert not found.destroyed.any()


def test_one_lost_class_is_seen_by_the_worst_class_term():
    lost = models(1, 5)
    lost[:, LABELS == 2, 2] -= 30
    found = ask(lost)
    assert found.terms["worst_class"].extra["loss"] > 0.7
    assert found.terms["worst_class"].extra["beyond"] == 1


@pytest.mark.parametrize("logits", [np.zeros(4), np.array([0.0, 7.0, 1.0, 2.0])])
def test_constant_output_is_named(logits):
    found = ask(np.broadcast_to(logits, (1, 600, 4)))
    assert found.constant.tolist() == [True]
    assert found.destroyed.tolist() == [True]


def test_constant_class_with_varying_logits_and_destroyed_models_are_named():
    single = models(1, 6)
    single[:, :, 1] += 50
    noise = np.random.default_rng(7).normal(size=(1, 600, 4))
    found = ask(np.concatenate([single, noise, models(1, 8)]))
    assert found.constant.tolist() == [True, False, False]
    assert found.destroyed.tolist() == [True, True, False]
    assert found.terms["test_accuracy"].extra["beyond"] == pytest.approx(2 / 3)


def test_refusals():
    with pytest.raises(NeedsError, match="gold: needs at least 3"):
        ask(models(1, 9), golds=2)
    with pytest.raises(NeedsError, match="got 600 and 0"):
        utility(models(1, 9), models(3, 9), None, labels=LABELS, test=np.zeros(600, dtype=bool))
    with pytest.raises(ConfigError, match="alpha"):
        utility(models(1, 9), models(3, 9), None, labels=LABELS, test=TEST, alpha=0.9)
