"""Distances of picture sets against closed forms, double loops and a second library."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from expunge.errors import ConfigError, NeedsError, ShapeError
from expunge.gan.distances import frechet, kid, precision_recall


def draw(n, d, seed, scale=1.0, shift=0.0):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d))


def with_moments(x, mean, root):
    """`x` moved so that its sample mean and covariance are exactly these."""
    x = x - x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return mean + x @ root.T


def test_frechet_of_known_moments():
    x = with_moments(draw(50, 3, 0), np.zeros(3), np.diag([1.0, 2.0, 3.0]))
    y = with_moments(draw(50, 3, 1), np.array([1.0, 2.0, 2.0]), np.diag([3.0, 2.0, 1.0]))
    assert frechet(x, y) == pytest.approx(9 + (1 - 3) ** 2 + 0 + (3 - 1) ** 2, rel=1e-9)


def test_frechet_against_a_matrix_square_root():
    x, y = draw(200, 5, 2), draw(200, 5, 3) @ draw(5, 5, 4) + 1
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    apart = np.square(x.mean(0) - y.mean(0)).sum()
    expected = apart + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-6)


def test_frechet_is_a_distance():
    x, y = draw(60, 4, 5), draw(60, 4, 6, scale=2)
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet(x, y) == pytest.approx(frechet(y, x))
    assert frechet(x, y) == pytest.approx(frechet(x[::-1], y[np.random.default_rng(0).permutation(60)]))


def test_frechet_of_fewer_rows_than_features_is_finite_and_biased():
    few, many = (frechet(draw(n, 40, 7), draw(n, 40, 8)) for n in (10, 4000))
    assert np.isfinite(few)
    assert few > 10 * many  # both sides follow one law: all of it is bias


def test_unequal_numbers_are_refused_unless_asked_for():
    x, y = draw(30, 2, 0), draw(31, 2, 1)
    with pytest.raises(ShapeError, match="got 30 and 31"):
        frechet(x, y)
    assert np.isfinite(frechet(x, y, unequal=True))


def test_kid_against_a_double_loop_and_a_second_library():
    x, y = draw(12, 3, 0), draw(9, 3, 1, shift=0.5)
    k = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    within = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (12 * 11)
    other = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (9 * 8)
    across = np.mean([k(a, b) for a in x for b in y])
    assert kid(x, y) == pytest.approx(within + other - 2 * across)
    gram = polynomial_kernel(x, y, degree=3, gamma=1 / 3, coef0=1)
    assert across == pytest.approx(gram.mean())


def test_kid_is_unbiased_over_splits_of_one_set():
    x = draw(4000, 4, 9)
    found = np.array([kid(x[at : at + 50], x[at + 50 : at + 100]) for at in range(0, 4000, 100)])
    assert abs(found.mean()) < 4 * found.std(ddof=1) / np.sqrt(len(found))  # false alarm 1 in 16,000
    assert found.min() < 0


def test_precision_and_recall_against_a_second_library():
    real, made = draw(80, 3, 10), draw(70, 3, 11, scale=0.5, shift=0.3)
    expected = []
    for points, others in ((made, real), (real, made)):
        radius = NearestNeighbors(n_neighbors=4).fit(others).kneighbors(others)[0][:, 3]
        gaps = np.linalg.norm(points[:, None] - others[None], axis=2)
        expected.append((gaps <= radius).any(1).mean())
    assert precision_recall(real, made) == pytest.approx(tuple(expected))
    assert precision_recall(real, made)[0] > precision_recall(real, made)[1]  # narrow pictures are precise


def test_precision_and_recall_of_a_copy_are_one():
    x = draw(20, 2, 12)
    assert precision_recall(x, x) == (1.0, 1.0)


def test_bad_features_are_told_apart():
    with pytest.raises(ShapeError, match=r"expected \[n, d\] twice"):
        frechet(draw(5, 2, 0), draw(5, 3, 0))
    with pytest.raises(NeedsError, match="at least 2 rows, got 1"):
        kid(draw(1, 2, 0), draw(5, 2, 0))
    with pytest.raises(ConfigError, match="neighbours: expected >= 1, got 0"):
        precision_recall(draw(5, 2, 0), draw(5, 2, 0), neighbours=0)
    with pytest.raises(NeedsError, match="at least 4 rows"):
        precision_recall(draw(3, 2, 0), draw(5, 2, 0))
