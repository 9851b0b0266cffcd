"""Leave-one-out statistics: every model of a stack against all others, in closed form.

Source:     own construction from standard parts (leave-one-out prediction, conformal ranks,
            Benjamini-Hochberg).
Objective:  if the unlearned model is exchangeable with the gold models, its rank among all is uniform; because
            each model meets the same number of others, the unlearned one included, that is exact at any number
            of models and for any dependence between rows.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray
from expunge.errors import NeedsError, check

FLOOR = 1e-3  # smallest leave-one-out sd, as a fraction of the median over rows
TINY = 1e-12  # nats; the floor where no row varies
STATISTICS = ("shift", "size", "largest")  # T1 = |mean z|, T2 = mean z^2, T3 = max |z|


def loo_z(models: FloatArray) -> FloatArray:
    """Standardised deviation of every model from all the others, row by row.

    z = (X_k - m_-k) / (s_-k * sqrt(1 + 1 / (M - 1))), with mean and sd of the other M - 1 models: a prediction
    error in units of its own spread. Closed form: no loop over models.

    Args:
        models: [M >= 3, rows] margins, nats: the unlearned model and the gold models, or gold alone.

    Returns:
        [M, rows] float64; finite, also on rows where all models agree.

    Raises:
        NeedsError: fewer than 3 models.

    Example:
        >>> loo_z(np.array([[0.0], [0.0], [2.0], [4.0]])).round(3)[3, 0].item()
        2.5
    """
    count = len(models)
    if count < 3:
        raise NeedsError(f"leave-one-out needs at least 3 models, got {count}")
    off = models - models.mean(axis=0, dtype=np.float64)  # [M, rows]; X_k - m_-k = off * M / (M - 1)
    squares = np.einsum("kr,kr->r", off, off)
    floor = max(FLOOR * math.sqrt(float(np.median(squares)) / (count - 1)), TINY)
    spread = off**2
    spread *= -count / (count - 1)
    spread += squares  # (M - 2) * s_-k^2
    np.maximum(spread, (count - 2) * floor**2, out=spread)
    np.sqrt(spread, out=spread)
    off *= count / (count - 1) / math.sqrt(1 + 1 / (count - 1)) * math.sqrt(count - 2)
    off /= spread
    return np.asarray(off)


def centred(z: FloatArray, test: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Centre z: less its mean over test rows, and that mean: removes the confidence drift that every seed has.

    Args:
        z: [models, rows].
        test: [rows] true on test rows.

    Returns:
        [models, rows] and [models].

    Example:
        >>> centred(np.array([[3.0, 1.0]]), np.array([False, True]))[0].tolist()
        [[2.0, 0.0]]
    """
    drift = z[:, test].mean(axis=1)
    return z - drift[:, None], drift


def joint_statistics(z: FloatArray) -> FloatArray:
    """T1 = |mean z|, T2 = mean z^2, T3 = max |z| over rows: [models, 3] from [models, rows].

    Example:
        >>> joint_statistics(np.array([[1.0, -3.0]])).tolist()
        [[1.0, 5.0, 3.0]]
    """
    size = np.einsum("kr,kr->k", z, z) / z.shape[1]
    largest = np.maximum(z.max(axis=1), -z.min(axis=1))
    return np.stack([np.abs(z.mean(axis=1)), size, largest], axis=1).round(12)  # rounding must not break ties


def exact_p(statistic: FloatArray) -> FloatArray:
    """Share of models, itself counted, whose statistic is at least as large: exact p of every model.

    Args:
        statistic: [models] or [models, statistics]; larger = less like the others.

    Returns:
        Same shape, in [1 / models, 1].

    Example:
        >>> exact_p(np.array([5.0, 1.0, 5.0, 0.0])).tolist()
        [0.5, 0.75, 0.5, 1.0]
    """
    if statistic.ndim == 2:
        return np.stack([exact_p(column) for column in statistic.T], axis=1)
    count = len(statistic)  # 1 / 20 must be 0.05, which 1 - 19 / 20 is not
    return np.asarray((count - np.searchsorted(np.sort(statistic), statistic)) / count)


def omnibus_p(statistics: FloatArray) -> FloatArray:
    """One exact p from several statistics: -sum of the logs of their p, ranked again over the models.

    Args:
        statistics: [models, statistics].

    Returns:
        [models] in [1 / models, 1].

    Example:
        >>> omnibus_p(np.array([[9.0, 9.0], [1.0, 2.0], [2.0, 1.0], [0.0, 0.0]])).tolist()
        [0.25, 0.75, 0.75, 1.0]
    """
    return exact_p(-np.log(exact_p(statistics)).sum(axis=1).round(12))


def pooled_p(z: FloatArray, gold: FloatArray, *, tails: str = "signed", own: bool = False) -> FloatArray:
    """Rank p of every z within the pool of all leave-one-out values of the gold models.

    Calibrated on average over rows, not for each row alone: it over-flags heavy-tailed rows.

    Args:
        z: [models, rows] or [rows], centred.
        gold: [models_g, rows] centred leave-one-out values of the same split.
        tails: "signed" doubles the smaller tail; "abs" pools |z|: a lower floor, blind to skew.
        own: whether every z stands in the pool itself, as when gold is rated.

    Returns:
        Shape of z, in (0, 1]; at least 2 / (1 + models_g * rows), with "abs" half of that.

    Raises:
        ConfigError: unknown tails.

    Example:
        >>> pooled_p(np.array([9.0]), np.arange(7.0)[:, None], tails="abs").tolist()
        [0.125]
    """
    check("tails", tails, "signed or abs", tails in {"signed", "abs"})
    if tails == "abs":
        z, gold = np.abs(z), np.abs(gold)
    pool = np.sort(gold, axis=None)
    total = len(pool) + (0 if own else 1)
    extra = 0 if own else 1
    up = (len(pool) - np.searchsorted(pool, z, side="left") + extra) / total
    if tails == "abs":
        return np.asarray(up)
    down = (np.searchsorted(pool, z, side="right") + extra) / total
    return np.asarray(np.minimum(1.0, 2 * np.minimum(up, down)))


def flag(p: FloatArray, alpha: float) -> npt.NDArray[np.bool_]:
    """Rows that Benjamini-Hochberg flags at false discovery rate alpha.

    Args:
        p: [..., rows]; every leading index is a family of its own.
        alpha: in (0, 1).

    Returns:
        [..., rows] bool.

    Source: Benjamini & Hochberg 1995.

    Example:
        >>> flag(np.array([0.04, 0.001, 0.03, 0.9]), 0.05).tolist()
        [False, True, False, False]
    """
    rows = p.shape[-1]
    ordered = np.sort(p, axis=-1)
    under = ordered <= alpha * np.arange(1, rows + 1) / rows
    last = np.where(under.any(axis=-1), rows - 1 - under[..., ::-1].argmax(axis=-1), -1)
    cut = np.where(last >= 0, np.take_along_axis(ordered, np.maximum(last, 0)[..., None], axis=-1)[..., 0], -1.0)
    return np.asarray(p <= cut[..., None])
