"""Distances between two sets of pictures, on features: Frechet distance, KID, precision and recall.

Source:     Heusel et al., NeurIPS 2017, arXiv:1706.08500 (Frechet distance); Binkowski et al., ICLR 2018,
            arXiv:1801.01401 (KID); Kynkaanniemi et al., NeurIPS 2019, arXiv:1904.06991 (precision and recall).
Objective:  FD = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2))
            KID = unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3
Deviations: none in the formulas; features are what the caller gives. Only on Inception features may the first be called
            FID, and then only where pictures, resizing and sample counts are those of others who print it.

All are on `[n, d]` arrays and float64. FD falls as n grows: compare at equal n only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from expunge.errors import NeedsError, ShapeError, check

Features = npt.NDArray[np.floating]
NEIGHBOURS = 3
"""k of precision and recall. (arXiv:1904.06991)"""


def frechet(one: Features, other: Features, *, unequal: bool = False) -> float:
    """Frechet distance between two normal laws with the means and covariances of two sets.

    Args:
        one: `[n, d]` features.
        other: `[n, d]` features.
        unequal: Allow different n, whose bias then differs.

    Returns:
        >= 0, in squared units of a feature; 0 for equal moments. Finite for n <= d too, where covariances are singular.

    Raises:
        ShapeError: another d, or another n and not `unequal`. NeedsError: fewer than 2 rows.

    Example:
        >>> x = np.array([[0.0], [2.0]])
        >>> round(frechet(x, x + 3), 6)
        9.0
    """
    x, y = _checked(one, other, least=2, unequal=unequal)
    first, second = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (x, y))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    inner = np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)
    apart = np.square(x.mean(0) - y.mean(0)).sum()
    return max(0.0, float(apart + np.trace(first) + np.trace(second) - 2 * np.sqrt(inner).sum()))


def kid(one: Features, other: Features) -> float:
    """Kernel inception distance's formula on any features: unbiased, and so perhaps below 0.

    Args:
        one: `[n, d]` features.
        other: `[m, d]` features.

    Raises:
        ShapeError: another d. NeedsError: fewer than 2 rows.
    """
    x, y = _checked(one, other, least=2, unequal=True)
    n, m = len(x), len(y)
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (_kernel(x, x), _kernel(y, y))]
    return float(sum(within) - 2 * _kernel(x, y).sum() / (n * m))


def precision_recall(real: Features, made: Features, *, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of made pictures that lie among real ones, and share of real ones that lie among made ones.

    A picture lies among others where it is within the distance of one of them to that one's k-th neighbour.

    Args:
        real: `[n, d]` features of real rows.
        made: `[m, d]` features of drawn pictures.
        neighbours: k, >= 1.

    Returns:
        precision and recall in [0, 1].

    Raises:
        ConfigError: k out of range. ShapeError: another d. NeedsError: not more than k rows.

    Example:
        >>> line = np.arange(5.0)[:, None]
        >>> precision_recall(line, line + 100, neighbours=1)
        (0.0, 0.0)
    """
    check("neighbours", neighbours, ">= 1", neighbours >= 1)
    x, y = _checked(real, made, least=neighbours + 1, unequal=True)
    return _among(y, x, neighbours), _among(x, y, neighbours)


def _among(points: Features, others: Features, k: int) -> float:
    """Share of `points` that lie within the k-th neighbour's distance of one of `others`."""
    radius = np.partition(cdist(others, others), k, axis=1)[:, k]  # position 0 is the row itself
    return float((cdist(points, others) <= radius).any(axis=1).mean())


def _kernel(x: Features, y: Features) -> npt.NDArray[np.float64]:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _checked(
    one: Features, other: Features, *, least: int, unequal: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x, y = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ShapeError(f"features: expected [n, d] twice, got {list(x.shape)} and {list(y.shape)}")
    if min(len(x), len(y)) < least:
        raise NeedsError(f"features: expected at least {least} rows, got {len(x)} and {len(y)}")
    if len(x) != len(y) and not unequal:
        raise ShapeError(
            f"features: expected as many rows on both sides, as the distance falls with their number, "
            f"got {len(x)} and {len(y)}"
        )
    return x, y
