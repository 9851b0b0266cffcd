"""KLoM beside slow per-row readings of the table of presets, its null, and its speed."""

import time

import numpy as np
import pytest

from expunge.audit.klom import PRESETS, REVERSE, counts, klom, klom_rows
from expunge.errors import ConfigError

EPS = 1e-5


def entropy(p, q):
    p, q = p / p.sum(), q / q.sum()
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def digitized(values, edges, cells):
    found = np.digitize(values, edges)
    return np.array([(found == cell).sum() for cell in cells]) / np.isin(found, cells).sum()


def slow_default(a, b):
    a, b = np.clip(a, -100, 100), np.clip(b, -100, 100)
    span = min(a.min(), b.min()), max(a.max(), b.max())
    p, q = (np.histogram(side, bins=20, range=span)[0] / len(side) for side in (a, b))
    return entropy(p, np.where(p > 0, np.maximum(q, EPS), q))


def slow_paper(a, b):
    a = np.clip(a, -100, 100)
    edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 20)
    if edges[0] == edges[-1]:
        return np.nan
    p, q = (digitized(side, edges, range(20)) for side in (a, b))
    return entropy(p, np.maximum(q, EPS))


def slow_bench(a, b, *, renormalise=True):
    a, b = np.clip(a, -100, 100), np.clip(b, -100, 100)
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    edges = np.linspace(low, high if high > low else low + 1, 21)
    p, q = (digitized(side, edges, range(1, 21)) for side in (a, b))
    q = np.where(p > 0, np.maximum(q, EPS), q)
    return entropy(p, q) if renormalise else sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))


def slow_fixed(a, b):
    p, q = (np.histogram(np.clip(side, -100, 100), bins=20, range=(-100, 100))[0] / len(side) for side in (a, b))
    return sum((p + EPS) * np.log((p + EPS) / (q + EPS)))


SLOW = {
    "default": slow_default,
    "paper": slow_paper,
    "bench": lambda a, b: slow_bench(b, a),
    "easydub": lambda a, b: slow_bench(a, b, renormalise=False),
    "fixed": lambda a, b: slow_fixed(b, a),
}


def golden():
    """300 rows: normal, far beyond the clip, rounded (ties on edges), and constant."""
    random = np.random.default_rng(0)
    a, b = random.normal(2, 1, (37, 300)), random.normal(1, 2, (52, 300))
    a[:, 40:60] *= 90
    b[:, 40:60] *= 90
    a[:, 60:160], b[:, 60:160] = a[:, 60:160].round(1), b[:, 60:160].round(1)
    a[:, 160:200], b[:, 160:200] = a[:, 160:200].round(), b[:, 160:200].round()
    a[:, 200:210] = b[:, 200:210] = 3.0
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_equals_its_slow_reading(preset):
    a, b = golden()
    with np.errstate(invalid="ignore"):
        wide = zip(a.T.astype(float), b.T.astype(float), strict=True)
        slow = np.array([SLOW[preset](u, g) for u, g in wide])
    assert klom_rows(a, b, preset=preset) == pytest.approx(slow, abs=1e-12, nan_ok=True)


def test_histograms_equal_numpys_on_every_edge():
    random = np.random.default_rng(1)
    low = random.normal(size=500) * 10.0 ** random.integers(-6, 3, 500)
    edges = np.linspace(low, low + 10.0 ** random.integers(-5, 3, 500), 21)
    values = np.concatenate([edges, np.nextafter(edges, -np.inf)[1:], np.nextafter(edges, np.inf)[:-1]])
    found = counts(values, edges)
    for row in range(500):
        expected = np.histogram(values[:, row], bins=20, range=(edges[0, row], edges[-1, row]))[0]
        assert np.array_equal(found[row], expected)


def test_maximum_is_dropped_only_where_published():
    values, edges = np.array([[0.0], [0.3], [1.0]]), np.linspace([0.0], [1.0], 21)
    assert counts(values, edges).sum() == 3
    assert counts(values, edges, drop_max=True).sum() == 2
    assert np.isnan(klom_rows(np.zeros((3, 1)), np.zeros((3, 1)), preset="paper")[0])
    assert klom_rows(np.zeros((3, 1)), np.zeros((3, 1)), preset="easydub")[0] == 0


@pytest.mark.parametrize(("models", "expected"), [(100, 0.683), (200, 0.286)])
def test_null_on_normal_margins(models, expected):
    random = np.random.default_rng(models)
    rows = klom_rows(random.normal(size=(models, 20_000)), random.normal(size=(models, 20_000)))
    assert np.percentile(rows, 95) == pytest.approx(expected, rel=0.05)


def test_direction():
    random = np.random.default_rng(0)
    gold, unlearned = random.normal(2, 1.5, (100, 20_000)), random.normal(4, 1, (100, 20_000))
    assert np.percentile(klom_rows(unlearned, gold), 95) == pytest.approx(2.87, abs=0.1)
    assert np.percentile(klom_rows(unlearned, gold, direction=REVERSE), 95) == pytest.approx(4.62, abs=0.1)
    assert np.percentile(klom_rows(unlearned, gold, preset="bench"), 95) == pytest.approx(4.62, abs=0.1)


def test_more_gold_lowers_the_null():
    random = np.random.default_rng(3)
    rows = klom_rows(random.normal(size=(100, 4_000)), random.normal(size=(1000, 4_000)))
    assert np.percentile(rows, 95) == pytest.approx(0.18, abs=0.02)


def test_invariances():
    a, b = (side[:, :40].astype(float) for side in golden())
    order = np.random.default_rng(5).permutation(len(a))
    assert np.array_equal(klom_rows(a[order], b), klom_rows(a, b))
    assert klom_rows(4 * a + 8, 4 * b + 8) == pytest.approx(klom_rows(a, b), abs=0.2)
    assert np.mean(klom_rows(4 * a + 8, 4 * b + 8) == klom_rows(a, b)) > 0.9  # rounding moves a few to other bins


def test_constant_unlearner_is_finite_and_large():
    gold = np.random.default_rng(0).normal(size=(100, 50))
    found = klom(np.full((100, 50), gold.max() + 1), gold, None, seed=0)
    assert 9 < found.value <= found.extra["ceiling"] < 11.52


def test_estimate_of_gold_against_gold_covers_the_null():
    random = np.random.default_rng(7)
    unlearned, gold, heldout = (random.normal(size=(60, 300)) for _ in range(3))
    found = klom(unlearned, gold, unlearned + 3, heldout=heldout, seed=0)
    assert found.interval[0] < found.null < found.interval[1]
    assert abs(found.extra["debiased"]) < 0.3 < found.start
    assert found.extra["underpowered"] == 0
    assert klom(unlearned[:9], gold, None, seed=0).extra["underpowered"] == 1


def test_unknown_names():
    with pytest.raises(ConfigError, match="preset"):
        klom_rows(np.zeros((2, 1)), np.zeros((2, 1)), preset="other")
    with pytest.raises(ConfigError, match="direction"):
        klom_rows(np.zeros((2, 1)), np.zeros((2, 1)), direction="down")


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "seconds"), [(1_000, 0.04), (10_000, 1.0), (60_000, 2.0)])
def test_speed(rows, seconds):
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(100, rows)).astype(np.float32) for _ in range(2))
    klom_rows(a[:, :100], b[:, :100])
    start = time.process_time()
    klom_rows(a, b)
    assert time.process_time() - start < seconds
