"""A convex problem, solved exactly: there the twin orders settings as the truth does.

Binary logistic regression with a ridge, by Newton steps in NumPy; nothing of it is this library's but `compare`. Rows
are taken off by one Newton step of damping d, w + (H + d I)^-1 g, and 24 dampings are the settings.
"""

import numpy as np
from scipy.stats import spearmanr

from expunge.tuning.trial import Scene, compare
from expunge.tuning.twins import Seen
from tests.tiny import tiny_problem

RIDGE, WIDTH = 1.0, 8


def drawn(rows, draw):
    """Two Gaussian classes with a constant input, labels -1 and 1."""
    y = np.sign(draw.standard_normal(rows))
    x = draw.standard_normal((rows, WIDTH)) + 0.4 * y[:, None]
    return np.hstack([x, np.ones((rows, 1))]), y


def gradient(w, x, y):
    return -(x * (y / (1 + np.exp(y * (x @ w))))[:, None]).sum(0)


def hessian(w, x, y):
    p = 1 / (1 + np.exp(-x @ w))
    return (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(w))


def solved(x, y):
    w = np.zeros(x.shape[1])
    for _ in range(30):
        w = w - np.linalg.solve(hessian(w, x, y), gradient(w, x, y) + RIDGE * w)
    assert np.abs(gradient(w, x, y) + RIDGE * w).max() < 1e-9
    return w


def taken_off(w, kept, gone, damping):
    return w + np.linalg.solve(hessian(w, *kept) + damping * np.eye(len(w)), gradient(w, *gone))


def objective(start, gold, kept, gone, unseen, damping):
    """J of one damping, as `compare` works it out from the margins."""
    x, y = (np.concatenate([ours, theirs]) for ours, theirs in zip(gone, unseen, strict=True))
    shown = [Seen(y * (x @ w), y * (x @ w) > 0) for w in (gold, start, taken_off(start, kept, gone, damping))]
    scene = Scene(tiny_problem(seed=0, forget=len(gone[1])), "", shown[0], shown[1], 0)
    return compare(scene, shown[2], 0, objective="twin").value


def test_the_twin_orders_dampings_as_the_truth_does():
    draw = np.random.default_rng(0)
    rows, auxiliary, check, test = (drawn(count, draw) for count in (300, 40, 200, 200))
    gone, kept = ((rows[0][part], rows[1][part]) for part in (slice(0, 36), slice(36, None)))
    both = tuple(np.concatenate([ours, theirs]) for ours, theirs in zip(rows, auxiliary, strict=True))
    original, gold, twin = solved(*rows), solved(*kept), solved(*both)
    dampings = np.geomspace(1e-2, 1e4, 24)
    ours = [objective(twin, original, rows, auxiliary, check, one) for one in dampings]
    truth = [objective(original, gold, kept, gone, test, one) for one in dampings]
    assert spearmanr(ours, truth).statistic > 0.95
    assert abs(int(np.argmin(ours)) - int(np.argmin(truth))) <= 1
    assert 0 < np.argmin(truth) < 23  # neither as far as the step goes nor no step is best
    assert min(truth) < 0.2 * max(truth)
