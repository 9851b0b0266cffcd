"""Population attack: scores against closed forms, AUC against scikit-learn, threshold against brute force."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from expunge.audit.margins import probabilities
from expunge.audit.population_attack import SCORES, auc, holdout_weights, population_attack, scores, threshold
from expunge.errors import ConfigError, NeedsError, ShapeError

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(3, 50, 4))
LABELS = RANDOM.integers(0, 4, 50)
FORGET = np.arange(50) < 20


def test_modified_entropy_and_entropy_equal_their_closed_forms():
    p = probabilities(LOGITS)
    entropy = (p * np.log(p)).sum(-1)
    modified = np.empty((3, 50))
    for model in range(3):
        for row, label in enumerate(LABELS):
            q = p[model, row]
            rest = sum(q[j] * np.log(1 - q[j]) for j in range(4) if j != label)
            modified[model, row] = (1 - q[label]) * np.log(q[label]) + rest
    assert scores(LOGITS, LABELS, score="entropy") == pytest.approx(entropy)
    assert scores(LOGITS, LABELS, score="modified_entropy") == pytest.approx(modified)


@pytest.mark.parametrize("score", SCORES)
def test_scores_do_not_depend_on_the_batch(score):
    batch = scores(LOGITS, LABELS, score=score)
    alone = np.stack([scores(LOGITS[:, [row]], LABELS[[row]], score=score)[:, 0] for row in range(50)], axis=1)
    assert np.array_equal(batch, alone)


@pytest.mark.parametrize("score", SCORES)
def test_scores_of_sure_models_are_finite(score):
    sure = np.array([[[1e4, 0.0, 0.0], [0.0, 1e4, 0.0], [800.0, 0.0, 0.0]]])
    assert np.isfinite(scores(sure, np.array([0, 0, 1]), score=score)).all()


def test_auc_equals_sklearn_with_ties_and_weights():
    values = RANDOM.integers(0, 6, (4, 50)).astype(float)
    weights = RANDOM.random(30)
    weights /= weights.sum()
    plain = [roc_auc_score(FORGET, one) for one in values]
    shares = np.concatenate([np.full(20, 1 / 20), weights])
    weighted = [roc_auc_score(FORGET, one, sample_weight=shares) for one in values]
    assert auc(values[:, FORGET], values[:, ~FORGET]) == pytest.approx(plain)
    assert auc(values[:, FORGET], values[:, ~FORGET], weights=weights) == pytest.approx(weighted)


@pytest.mark.parametrize("ties", [False, True])
def test_threshold_equals_brute_force(ties):
    for seed in range(20):
        random = np.random.default_rng(seed)
        inside, outside = random.normal(0.5, 1, 15), random.normal(size=11)
        if ties:
            inside, outside = inside.round(), outside.round()
        cuts = np.concatenate([inside, outside, [np.inf]])
        brute = max(((inside >= cut).mean() + (outside < cut).mean()) / 2 for cut in cuts)
        assert threshold(inside, outside)[0] == pytest.approx(brute)


def test_class_matching_gives_forget_classes_their_weight():
    weights = holdout_weights(LABELS, FORGET, match="class")
    for label in range(4):
        assert weights[LABELS[~FORGET] == label].sum() == pytest.approx((LABELS[FORGET] == label).mean())


def test_class_matching_removes_a_difference_between_classes():
    labels = np.array([0] * 20 + [1] * 20 + [0] * 20)
    logits = np.zeros((5, 60, 2))
    logits[:, labels == 0, 0] = 3.0 + RANDOM.normal(size=(5, 40))
    ask = {"labels": labels, "forget": np.arange(60) < 20}
    plain = population_attack(logits[:1], logits[1:], None, **ask)
    matched = population_attack(logits[:1], logits[1:], None, match="class", **ask)
    assert plain.extra["gold_mean"] > 0.7
    assert matched.extra["gold_mean"] == pytest.approx(0.5, abs=0.15)


def test_distance_is_to_gold():
    logits = np.random.default_rng(1).normal(size=(12, 50, 4))
    member = logits[:2].copy()
    member[:, np.arange(20), LABELS[:20]] += 4
    found = population_attack(logits[:2], logits[2:], member, labels=LABELS, forget=FORGET)
    golds = auc(*(scores(logits[2:], LABELS)[:, side] for side in (FORGET, ~FORGET)))
    ours = auc(*(scores(logits[:2], LABELS)[:, side] for side in (FORGET, ~FORGET)))
    assert found.value == pytest.approx(np.abs(ours - golds.mean()).mean())
    assert found.extra["unlearned_mean"] == pytest.approx(ours.mean())
    assert found.null == pytest.approx(np.mean([abs(golds[k] - np.delete(golds, k).mean()) for k in range(10)]))
    assert found.start > 0.2 > found.value


def test_refusals():
    ask = {"labels": LABELS, "forget": FORGET}
    with pytest.raises(ConfigError, match="score"):
        population_attack(LOGITS, LOGITS, None, score="svc", **ask)
    with pytest.raises(NeedsError, match="forget and holdout"):
        population_attack(LOGITS, LOGITS, None, labels=LABELS, forget=np.ones(50, bool))
    with pytest.raises(NeedsError, match="class 3"):
        holdout_weights(np.array([3, 0]), np.array([True, False]), match="class")
    with pytest.raises(ShapeError, match="bool"):
        holdout_weights(LABELS, FORGET.astype(int))
