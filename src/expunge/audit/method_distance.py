"""Method distance: how far the rows' margins of a method's models lie from gold's, in place and in spread.

Source:     own construction from the closed form of the KL divergence between normal laws; no published origin.
Objective:  mean over rows of (KL(U || G) + KL(G || U)) / 2
            = mean of (v_u / v_g + v_g / v_u - 2) / 4 + (m_u - m_g)^2 (1 / v_u + 1 / v_g) / 4,   variances with n - 1;
            a shift of s gold standard deviations at gold's spread is s^2 / 2 nats, half of gold's spread 0.56 nats.
Deviations: a row counts at most CAP nats, so that one row on which a side never varies decides no interval. Both
            directions are taken because either alone hardly sees one kind of wrong spread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray
from expunge.errors import NeedsError

LEAST = {"unlearned": 2, "gold": 2}
FLOOR = 1e-6  # smallest sd, as a fraction of the models' median sd over rows
TINY = 1e-12  # nats; the floor where no row varies
CAP = 25.0  # nats a row: a shift of seven gold standard deviations
BLOCK = 1 << 22  # numbers handled at once

Choice = npt.NDArray[np.bool_]
"""`[choices, models]`: which models stand on a side, for many comparisons at once."""


def method_distances(models: FloatArray, ours: Choice, golds: Choice) -> FloatArray:
    """The distance for many choices of the two sides from one stack of models, by two matrix products.

    Args:
        models: [models, rows] margins, nats.
        ours: [choices, models] true for the models in place of the unlearned, at least 2 in each choice.
        golds: [choices, models] true for the gold models, at least 2 in each choice.

    Returns:
        [choices] float64, nats, in [0, 25].

    Raises:
        NeedsError: a side with fewer than 2 models.

    Example:
        >>> models = np.array([[0.0], [2.0], [1.0], [3.0]])
        >>> side = np.array([[True, True, False, False]])
        >>> method_distances(models, side, ~side).tolist()
        [0.25]
    """
    return _blocks(models, ours, golds, mean=True)


def row_distances(models: FloatArray, ours: npt.NDArray[np.bool_], golds: npt.NDArray[np.bool_]) -> FloatArray:
    """The distance of every row for one choice of the two sides `[models]` each: [rows] float64, nats.

    Example:
        >>> constant = np.array([[1.0], [1.0], [0.0], [2.0]])
        >>> row_distances(constant, np.array([True, True, False, False]), np.array([False, False, True, True])).tolist()
        [25.0]
    """
    return np.asarray(_blocks(models, ours[None], golds[None], mean=False)[0])


def _blocks(models: FloatArray, ours: Choice, golds: Choice, *, mean: bool) -> FloatArray:
    for name, side in (("unlearned", ours), ("gold", golds)):
        if side.sum(axis=1).min(initial=LEAST[name]) < LEAST[name]:
            raise NeedsError(f"method distance: {name}: needs at least {LEAST[name]} models, got {side.sum(1).min()}")
    centred = models - models.mean(axis=0, dtype=np.float64)  # near 0, so that squares lose nothing
    squares = centred**2
    deviation = np.sqrt(squares.sum(axis=0) / (len(models) - 1))
    floor = max(FLOOR * float(np.median(deviation)), TINY)
    step = max(1, BLOCK // models.shape[1])
    parts = []
    for cut in range(0, len(ours), step):
        sides = (_moments(side[cut : cut + step], centred, squares, floor) for side in (ours, golds))
        found = _divergence(*next(sides), *next(sides))
        parts.append(found.mean(axis=1) if mean else found)
    return np.concatenate(parts)


def _moments(side: Choice, centred: FloatArray, squares: FloatArray, floor: float) -> tuple[FloatArray, FloatArray]:
    """Mean and floored variance, [choices, rows] each."""
    weights = side.astype(np.float64)
    count = weights.sum(axis=1, keepdims=True)
    mean = weights @ centred / count
    variance = (weights @ squares - count * mean**2) / (count - 1)
    return mean, np.maximum(variance, floor**2)


def _divergence(m_u: FloatArray, v_u: FloatArray, m_g: FloatArray, v_g: FloatArray) -> FloatArray:
    apart = (m_u - m_g) ** 2
    both = ((v_u + apart) / v_g + (v_g + apart) / v_u - 2) / 4
    return np.asarray(np.clip(both, 0.0, CAP))
