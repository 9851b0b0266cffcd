"""Margins beside the softmax form, and what they refuse."""

import numpy as np
import pytest

from expunge.audit.margins import margins, probabilities
from expunge.errors import ShapeError


def test_equal_to_the_softmax_form_and_input_unchanged():
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 20, 5)).astype(np.float32)
    before, labels = logits.copy(), random.integers(0, 5, 20)
    p = np.exp(logits.astype(np.float64))
    p = (p / p.sum(-1, keepdims=True))[:, np.arange(20), labels]
    found = margins(logits, labels)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.log(p) - np.log1p(-p), abs=1e-6)
    assert np.array_equal(logits, before)
    assert probabilities(logits).sum(-1) == pytest.approx(1.0)


def test_finite_for_huge_logits():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    assert margins(logits, np.array([0, 0])).tolist() == [1e4, -2e4]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_refuses_what_is_not_finite(bad):
    logits = np.zeros((2, 3, 2))
    logits[1, 2, 0] = bad
    with pytest.raises(ShapeError, match=r"finite values, got (inf|nan) at \(1, 2, 0\)"):
        margins(logits, np.zeros(3, int))


@pytest.mark.parametrize("labels", [np.array([0, 2]), np.array([0, -1]), np.array([0.0, 1.0]), np.array([0])])
def test_refuses_labels_that_do_not_fit(labels):
    with pytest.raises(ShapeError):
        margins(np.zeros((2, 2)), labels)
