"""Projections: what they are by hand, that inner products are unbiased, and how far off they are."""

import numpy as np
import pytest
import torch

from expunge.attribution.projection import BLOCK, HELD, KINDS, CountSketch, Dense, projection
from expunge.errors import ConfigError, ShapeError

SIZE = 2 * BLOCK + 37  # several blocks, the last one not full


def explicit(drawn):
    """P itself, from what it does to each unit vector."""
    return drawn.down(torch.eye(drawn.size))


@pytest.mark.parametrize("kind", KINDS)
def test_down_and_up_are_one_matrix_and_its_transpose(kind):
    drawn = projection(kind, 60, 8, seed=3)
    matrix = explicit(drawn)
    torch.testing.assert_close(drawn.up(torch.eye(drawn.dimension)), matrix.T)


def test_count_sketch_has_one_sign_in_each_row():
    matrix = explicit(CountSketch(500, 16, seed=0))
    assert (matrix.abs().sum(1) == 1).all()
    assert (matrix.count_nonzero(1) == 1).all()
    assert 200 < (matrix.sum(1) > 0).sum() < 300  # 500 fair signs: outside in one of 10^5 draws
    assert (matrix.abs().sum(0) > 0).all()  # an empty bucket: 16 * (15/16)^500 < 10^-12


def test_signs_are_signs_and_normals_are_normal():
    signs = explicit(Dense(300, 20, seed=0, kind="rademacher")) * 20**0.5
    assert signs.abs().allclose(torch.ones(()))
    normals = explicit(Dense(300, 20, seed=0, kind="normal")) * 20**0.5
    assert normals.mean().abs() < 0.07  # 6,000 draws, 5 standard errors
    assert (normals.var() - 1).abs() < 0.1


@pytest.mark.parametrize("kind", ["count_sketch", "rademacher", "normal"])
def test_drawn_by_seed_and_checkpoint_alone(kind):
    vectors = torch.randn(7, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = torch.get_rng_state()
    found = projection(kind, SIZE, 32, seed=1, checkpoint=2).down(vectors)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(int(before[0]) + 1)  # the global generator has no say
    again = projection(kind, SIZE, 32, seed=1, checkpoint=2)
    one_by_one = torch.stack([again.down(vector) for vector in vectors])
    torch.set_rng_state(before)
    torch.testing.assert_close(one_by_one, found)
    for other in (projection(kind, SIZE, 32, seed=2, checkpoint=2), projection(kind, SIZE, 32, seed=1, checkpoint=3)):
        assert not other.down(vectors).allclose(found)


def test_count_sketch_is_bit_equal_for_any_number_of_vectors():
    vectors = torch.randn(5, SIZE, generator=torch.Generator().manual_seed(0))
    drawn = projection("count_sketch", SIZE, 32, seed=0)
    assert torch.equal(drawn.down(vectors), torch.stack([drawn.down(vector) for vector in vectors]))


def test_a_dense_projection_too_large_to_keep_is_the_same_one(monkeypatch):
    vectors = torch.randn(2, SIZE, generator=torch.Generator().manual_seed(0))
    kept = projection("normal", SIZE, 16, seed=0).down(vectors)
    monkeypatch.setattr("expunge.attribution.projection.HELD", 10)
    assert HELD > 16 * SIZE  # so that the first one was kept
    assert torch.equal(projection("normal", SIZE, 16, seed=0).down(vectors), kept)


@pytest.mark.parametrize("kind", ["count_sketch", "rademacher", "normal"])
@pytest.mark.parametrize("angle", [0.0, 0.6, 1.0])
def test_inner_products_are_unbiased_with_the_stated_error(kind, angle):
    """400 projections; the mean within 4.5 standard errors, the variance within 4.5 of its own (by Gaussian law)."""
    draws, dimension = 400, 24
    a, b = torch.randn(2, 300, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    a, b = a / a.norm(), b - (a @ b) / (a @ a) * a
    b = angle * a + (1 - angle**2) ** 0.5 * b / b.norm()
    both = torch.stack([a, b])
    found = np.array(
        [
            (float(low[0] @ low[1]))
            for low in (projection(kind, 300, dimension, seed=0, checkpoint=one).down(both) for one in range(draws))
        ]
    )
    expected = variance(kind, a, b, dimension)
    assert abs(found.mean() - angle) < 4.5 * (expected / draws) ** 0.5
    assert found.var(ddof=1) / expected == pytest.approx(1, abs=4.5 * (2 / draws) ** 0.5)


def variance(kind, a, b, dimension):
    """(|a|^2 |b|^2 + <a, b>^2) / k for normals; signs lack the fourth moment, 2 sum a^2 b^2."""
    normal = float(a @ a * (b @ b) + (a @ b) ** 2)
    return (normal - (0 if kind == "normal" else 2 * float((a * b).square().sum()))) / dimension


def test_dtype_and_leading_axes_are_kept():
    drawn = projection("count_sketch", 50, 4, seed=0)
    assert drawn.down(torch.ones(2, 3, 50, dtype=torch.float64)).dtype == torch.float64
    assert drawn.down(torch.ones(2, 3, 50)).shape == (2, 3, 4)
    assert drawn.up(torch.ones(2, 3, 4)).shape == (2, 3, 50)
    assert drawn.down(torch.ones(0, 50)).shape == (0, 4)


def test_what_does_not_fit_is_named():
    drawn = projection("count_sketch", 50, 4, seed=0)
    with pytest.raises(ShapeError, match=r"expected size 50 on the last axis, got \[3, 49\]"):
        drawn.down(torch.ones(3, 49))
    with pytest.raises(ShapeError, match=r"expected dimension 4 on the last axis, got \[5\]"):
        drawn.up(torch.ones(5))
    with pytest.raises(ConfigError, match=r"projection: expected one of count_sketch, .*got 'dct'"):
        projection("dct", 50, 4, seed=0)
    with pytest.raises(ConfigError, match=r"dimension: expected >= 1, got 0"):
        projection("normal", 50, 0, seed=0)
