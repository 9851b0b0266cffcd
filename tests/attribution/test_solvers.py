"""Iterative solvers and the dense matrix, against NumPy."""

import numpy as np
import pytest
import torch

from expunge.attribution.dense import FLOOR, Dense
from expunge.attribution.solvers import conjugate_gradients, largest, lissa
from expunge.errors import ConfigError, NeedsError


def matrix(values, *, seed=0):
    """Symmetric, with these eigenvalues."""
    draw = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(len(values), len(values), generator=draw, dtype=torch.float64))[0]
    return turn @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ turn.T


def right(size, count=3):
    return torch.randn(size, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


H = matrix(np.geomspace(0.1, 10, 12))


def test_conjugate_gradients_solve_every_column():
    columns = right(12)
    columns[:, 1] = 0.0
    columns[:, 2] *= 1e-8  # smaller by far, and solved as well
    found, error, steps = conjugate_gradients(lambda c: H @ c, columns, tolerance=1e-12, iterations=100)
    exact = np.linalg.solve(H.numpy(), columns.numpy())
    np.testing.assert_allclose(found.numpy()[:, [0, 2]], exact[:, [0, 2]], rtol=1e-9)
    assert not found[:, 1].any()
    assert error <= 1e-12
    assert 2 <= steps <= 20


def test_conjugate_gradients_say_how_far_they_got():
    columns = right(12)
    found, error, steps = conjugate_gradients(lambda c: H @ c, columns, tolerance=1e-12, iterations=3)
    assert steps == 3
    assert error == pytest.approx(float(((columns - H @ found).norm(dim=0) / columns.norm(dim=0)).max()), rel=1e-6)
    assert error > 1e-3


def test_conjugate_gradients_meet_a_negative_curvature():
    bent = matrix([-1.0, *np.geomspace(0.1, 10, 11)])
    with pytest.raises(NeedsError, match=r"(?s)positive definite matrix, got -.*hint: .*damping"):
        conjugate_gradients(lambda c: bent @ c, right(12), tolerance=1e-12, iterations=100)


def test_lissa_solves_and_says_how_far_it_got():
    columns = right(12)
    found, error, steps = lissa(lambda c, step: H @ c, columns, scale=11, tolerance=1e-9, iterations=5000)
    np.testing.assert_allclose(found.numpy(), np.linalg.solve(H.numpy(), columns.numpy()), rtol=1e-6)
    assert error <= 1e-9
    assert lissa(lambda c, step: H @ c, columns, scale=11, tolerance=1e-9, iterations=7)[2] == 7 < steps


def test_lissa_takes_steps_by_number():
    seen = []
    lissa(lambda c, step: seen.append(step) or H @ c, right(12), scale=11, tolerance=1e-9, iterations=4)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("values", [[-1.0, 1.0, 2.0], [1.0, 2.0, 30.0]])
def test_a_series_that_grows_is_explained(values):
    bent = matrix(values)
    with pytest.raises(NeedsError, match=r"(?s)the series grows.*hint: more damping"):
        lissa(lambda c, step: bent @ c, right(3), scale=3, tolerance=1e-9, iterations=5000)


@pytest.mark.parametrize("values", [[1.0, 2.0, 5.0], [-7.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
def test_largest_eigenvalue_keeps_its_sign(values):
    bent = matrix(values)
    found = largest(lambda c: bent @ c, 3, seed=0, like=bent)
    assert found == pytest.approx(max(values, key=abs), rel=0.03, abs=1e-12)


def test_dense_is_the_inverse_with_its_penalty():
    plain, columns = matrix(np.geomspace(0.1, 10, 12)), right(12)
    dense = Dense(plain.clone(), rows=5, decay=0.1, damping=0.02)
    exact = plain.numpy() + 5 * 0.12 * np.eye(12)
    for less in (0.0, 0.3, 0.0):
        expected = np.linalg.solve(exact - less * np.eye(12), columns.numpy())
        np.testing.assert_allclose(dense.solve(columns, less).numpy(), expected, rtol=1e-10)
    lost = matrix(np.geomspace(0.01, 0.05, 12), seed=3)
    expected = np.linalg.solve(exact - lost.numpy() - 0.3 * np.eye(12), columns.numpy())
    np.testing.assert_allclose(dense.solve_without(columns, lost, 0.3).numpy(), expected, rtol=1e-10)
    assert dense.notes["condition"] == pytest.approx(np.linalg.cond(exact), rel=0.05)
    assert "warning" not in dense.notes


@pytest.mark.parametrize(("lowest", "word"), [(0.0, "rank-deficient"), (-0.5, "indefinite")])
def test_damping_that_it_takes_is_added_and_noted(lowest, word):
    plain, columns = matrix([lowest, 1.0, 4.0]), right(3)
    dense = Dense(plain.clone(), rows=10, decay=0.0, damping=0.0)
    added = FLOOR * 4 - lowest
    assert dense.notes["damping"] == pytest.approx(added / 10)
    assert word in dense.notes["warning"]
    assert dense.notes["condition"] == pytest.approx(1 / FLOOR)
    expected = np.linalg.solve(plain.numpy() + added * np.eye(3), columns.numpy())
    np.testing.assert_allclose(dense.solve(columns).numpy(), expected, rtol=1e-4)


def test_damping_that_was_asked_for_is_never_changed():
    assert Dense(matrix([0.0, 1.0, 4.0]), rows=10, decay=0.0, damping=1e-3).notes["damping"] == 1e-3
    with pytest.raises(NeedsError, match=r"positive definite matrix, got -0\.4 along"):
        Dense(matrix([-0.5, 1.0, 4.0]), rows=10, decay=0.0, damping=1e-2)


def test_what_is_left_may_be_indefinite():
    dense = Dense(matrix([1.0, 2.0, 4.0]), rows=10, decay=0.0, damping=0.0)
    with pytest.raises(NeedsError, match="positive definite matrix, got -1"):
        dense.solve(right(3), 2.0)


def test_too_many_parameters_for_a_matrix():
    from expunge.attribution.dense import MOST, check_size

    check_size(MOST)
    with pytest.raises(ConfigError, match=r"solver: expected another one, such as cg, for 20001 parameters"):
        check_size(MOST + 1)
