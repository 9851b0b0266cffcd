"""Efficacy attacks beside scikit-learn, and beside what their papers say they do."""

import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.svm import SVC

from expunge.audit import efficacy
from expunge.audit.efficacy import FEATURES, called_member, features
from expunge.audit.logistic import cross_validated, fit_logistic
from expunge.audit.margins import probabilities
from expunge.errors import ConfigError, NeedsError, ShapeError

SPLIT = np.repeat(["forget", "retain", "test"], [60, 150, 100])
LABELS = np.random.default_rng(0).integers(0, 4, 310)


def models(count, seed, *, forget=0.0, retain=3.0):
    """Logits whose label gains `forget` and `retain` nats on those splits."""
    logits = np.random.default_rng(seed).normal(size=(count, 310, 4))
    gain = np.select([SPLIT == "forget", SPLIT == "retain"], [forget, retain], 0.0)
    logits[:, np.arange(310), LABELS] += 1 + gain
    return logits


@pytest.mark.parametrize(
    ("scale", "offset", "gap"), [(1, 0, 0.5), (100, 5, 0.1), (1e-3, 0, 3), (1, 1e4, 20), (5, 0, 100), (0, 3, 0)]
)
def test_logistic_equals_scikit_learns(scale, offset, gap):
    random = np.random.default_rng(0)
    x = offset + np.concatenate([random.normal(gap * scale, scale, 300), random.normal(0, scale, 300)])
    member = np.repeat([1.0, 0.0], 300)
    reference = LogisticRegression(tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(x[:, None], member)
    slope, intercept = fit_logistic(x, member)
    assert slope == pytest.approx(reference.coef_[0, 0], rel=1e-6, abs=1e-9)
    assert intercept == pytest.approx(reference.intercept_[0], rel=1e-6, abs=1e-9)


def test_cross_validation_agrees_with_the_kits_on_average():
    random = np.random.default_rng(1)
    forget, test = random.exponential(0.6, 1_500), random.exponential(1, 1_500)
    folds = StratifiedShuffleSplit(n_splits=10, random_state=0)
    values, member = np.concatenate([forget, test])[:, None], np.repeat([1, 0], 1_500)
    reference = cross_val_score(LogisticRegression(), values, member, cv=folds, scoring="accuracy").mean()
    ours = np.mean([cross_validated(forget, test, seed=seed) for seed in range(3)])
    assert ours == pytest.approx(reference, abs=0.015)
    assert cross_validated(forget, test[:700], seed=0) == pytest.approx(reference, abs=0.03)
    assert cross_validated(test, random.exponential(1, 5_000), seed=0) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("feature", FEATURES)
def test_svc_equals_scikit_learn_on_one_feature(feature):
    gold = models(3, 2)
    value = features(gold, LABELS, feature=feature)
    expected = []
    for one in value:
        kept, test = one[SPLIT == "retain"][:100], one[SPLIT == "test"]
        fitted = SVC(C=3, kernel="rbf", gamma="auto").fit(np.r_[kept, test][:, None], np.repeat([1, 0], 100))
        expected.append((fitted.predict(one[SPLIT == "forget"][:, None]) == 0).mean())
    told = {"labels": LABELS, "split": SPLIT, "feature": feature, "classifier": "svc", "seed": 0}
    found = efficacy(gold, gold, None, attack="svc", **told)
    assert found.extra["gold_mean"] == pytest.approx(np.mean(expected))
    assert np.mean(np.abs(expected - np.mean(expected))) == pytest.approx(found.value)


@pytest.mark.parametrize("digits", [None, 0])
def test_threshold_equals_brute_force(digits):
    for seed in range(20):
        random = np.random.default_rng(seed)
        forget, retain, test = (random.normal(at, 1, n) for at, n in ((0.5, 15), (1, 30), (0, 20)))
        if digits is not None:
            forget, retain, test = forget.round(digits), retain.round(digits), test.round(digits)
        cuts = np.unique(np.concatenate([retain[:20], test]))
        right = [(retain[:20] >= cut).mean() + (test < cut).mean() for cut in cuts]
        best = np.flatnonzero(np.isclose(right, max(right)))
        assert called_member(forget, retain, test) in [(forget >= cuts[at]).mean() for at in best]


def test_threshold_and_svc_agree_where_one_cut_is_best():
    random = np.random.default_rng(3)
    forget, retain, test = (random.normal(at, 1, 400) for at in (2, 4, 0))
    both = [called_member(forget, retain, test, classifier=one) for one in ("threshold", "svc")]
    assert both[0] == pytest.approx(both[1], abs=0.12)


@pytest.mark.parametrize("attack", ["starting_kit", "svc", "bad_teacher"])
def test_distance_is_to_gold(attack):
    gold, unlearned = models(8, 4, forget=0), models(2, 5, forget=0)
    original = models(2, 6, forget=3)
    found = efficacy(unlearned, gold, original, labels=LABELS, split=SPLIT, attack=attack, seed=0)
    assert found.value < 0.15 < found.start
    assert found.rows.shape == (60,)
    raised = found.extra["original_mean"] > found.extra["gold_mean"]
    assert raised == (attack != "svc")  # svc counts forget rows called non-members
    again = efficacy(unlearned, gold, original, labels=LABELS, split=SPLIT, attack=attack, seed=0)
    assert again.to_json() == found.to_json()


def test_bad_teacher_looks_at_entropy_alone():
    gold = models(3, 7)
    p = probabilities(gold)
    entropy = (p * np.log(p)).sum(-1)
    cut = [called_member(*(one[name == SPLIT] for name in ("forget", "retain", "test"))) for one in entropy]
    shuffled = np.random.default_rng(0).permutation(LABELS)  # the labels do not matter
    told = {"split": SPLIT, "attack": "bad_teacher", "seed": 0}
    assert efficacy(gold, gold, None, labels=shuffled, **told).extra["gold_mean"] == pytest.approx(np.mean(cut))


def test_starting_kit_needs_no_retain_rows():
    there = SPLIT != "retain"
    gold = models(4, 8)
    told = {"attack": "starting_kit", "seed": 1}
    whole = efficacy(gold[:1], gold, None, labels=LABELS, split=SPLIT, **told)
    part = efficacy(gold[:1, there], gold[:, there], None, labels=LABELS[there], split=SPLIT[there], **told)
    assert part.value == whole.value


def test_scikit_learn_is_loaded_only_for_the_svc():
    code = (
        "import importlib.util, sys, types, numpy as np\n"
        "package = types.ModuleType('expunge'); package.__path__ = ['src/expunge']; sys.modules['expunge'] = package\n"
        "from expunge.audit import efficacy\n"
        "split = np.repeat(['forget', 'retain', 'test'], 2)\n"
        "told = {'labels': np.zeros(6, int), 'split': split, 'seed': 0}\n"
        "logits = np.random.default_rng(0).normal(size=(3, 6, 2))\n"
        "efficacy(logits, logits, None, **told)\n"
        "assert not any(name.startswith(('sklearn', 'torch')) for name in sys.modules)\n"
        "efficacy(logits, logits, None, classifier='svc', **told)\n"
        "assert 'sklearn.svm' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_refusals():
    gold = models(3, 9)
    told = {"labels": LABELS, "split": SPLIT, "seed": 0}
    for option in ("attack", "feature", "classifier"):
        with pytest.raises(ConfigError, match=option):
            efficacy(gold, gold, None, **{option: "mia"}, **told)
    with pytest.raises(ShapeError, match="split"):
        efficacy(gold, gold, None, **(told | {"split": np.where(SPLIT == "test", "holdout", SPLIT)}))
    with pytest.raises(ShapeError, match="split"):
        efficacy(gold, gold, None, **(told | {"split": SPLIT[:5]}))
    with pytest.raises(NeedsError, match="needs 1 retain rows, got 0"):
        efficacy(gold, gold, None, **(told | {"split": np.where(SPLIT == "retain", "test", SPLIT)}))
    few = np.where(np.arange(310) < 5, "forget", "test")
    with pytest.raises(NeedsError, match="starting_kit needs 10 forget rows, got 5"):
        efficacy(gold, gold, None, attack="starting_kit", **(told | {"split": few}))


@pytest.mark.slow
def test_speed_of_the_threshold_on_10_000_rows():
    random = np.random.default_rng(0)
    forget, retain, test = (random.normal(size=n) for n in (1_000, 5_000, 5_000))
    start = time.process_time()
    called_member(forget, retain, test)
    assert time.process_time() - start < 0.05
