"""Logistic regression on one feature, and its cross-validated accuracy: the attack of the challenge's starting kit.

Source:     NeurIPS 2023 unlearning challenge, starting kit: scikit-learn's LogisticRegression on the rows' loss,
            10 stratified shuffle splits, a tenth of the rows held out each time.
Objective:  min_{w, b} w^2 / 2 + sum_i log(1 + exp(-s_i (w x_i + b))), s_i = 1 for members, -1 otherwise.
Deviations: solved by Newton steps; the splits are our own draws, so single numbers differ from the kit's by chance.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from expunge.audit.jackknife import FloatArray

DRAWS = 10  # shuffle splits
HELD = 0.1  # share of the rows held out in each
STEPS = 100  # Newton steps at most; 6 are usual
CLOSE = 1e-10  # largest step at which it stops


def fit_logistic(feature: FloatArray, member: FloatArray) -> tuple[float, float]:
    """Slope and intercept of the logistic regression with penalty w^2 / 2 on the slope.

    Args:
        feature: [rows].
        member: [rows] 1.0 or 0.0, both present.

    Returns:
        Slope and intercept; a row is called member where slope * x + intercept > 0.

    Example:
        >>> slope, cut = fit_logistic(np.array([-1.0, 1.0]), np.array([0.0, 1.0]))
        >>> round(slope, 4), round(cut, 4)
        (0.6748, 0.0)
    """
    shift, scale = float(feature.mean()), max(float(feature.std()), 1e-300)
    x = np.stack([(feature - shift) / scale, np.ones_like(feature)], axis=1)
    penalty = np.diag([1 / scale**2, 0.0]) if scale > 1e-150 else np.diag([1.0, 0.0])
    weight = np.zeros(2)

    def loss(at: FloatArray) -> float:
        return float(np.logaddexp(0, (1 - 2 * member) * (x @ at)).sum() + at @ penalty @ at / 2)

    for _ in range(STEPS):
        p = expit(x @ weight)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + penalty + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (member - p) - penalty @ weight)
        size = 1.0
        while loss(weight + size * step) > loss(weight) and size > 1e-6:
            size /= 2  # a full step can overshoot where the classes are far apart
        weight = weight + size * step
        if np.abs(size * step).max() < CLOSE:
            break
    return float(weight[0] / scale), float(weight[1] - weight[0] * shift / scale)


def cross_validated(forget: FloatArray, test: FloatArray, *, seed: int) -> float:
    """Mean accuracy of telling forget rows from test rows on rows held out, over 10 shuffle splits.

    Args:
        forget: [forget rows] feature; the longer side is subsampled to the length of the shorter.
        test: [test rows] feature.
        seed: of the subsample and of the splits.

    Returns:
        Accuracy in [0, 1].

    Example:
        >>> cross_validated(np.arange(20.0) + 90, np.arange(20.0), seed=0)
        1.0
    """
    random = np.random.default_rng(abs(seed))
    count = min(len(forget), len(test))
    held = max(1, round(HELD * count))
    sides = [random.permutation(side)[:count] for side in (forget, test)]
    member = np.repeat([1.0, 0.0], count - held)
    right = np.empty(DRAWS)
    for draw in range(DRAWS):
        drawn = [random.permutation(side) for side in sides]
        slope, intercept = fit_logistic(np.concatenate([side[held:] for side in drawn]), member)
        called = [slope * side[:held] + intercept > 0 for side in drawn]
        right[draw] = (called[0].mean() + 1 - called[1].mean()) / 2
    return float(right.mean())
