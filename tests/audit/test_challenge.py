"""Challenge score beside the published definition, threshold by threshold; its null, speed and memory."""

import math
import subprocess
import sys
import time

import numpy as np
import pytest

from expunge.audit.challenge import challenge, challenge_rows, final_score, row_points
from expunge.errors import NeedsError, ShapeError

D = 1e-5


def slow_threshold(fpr, fnr):
    """Epsilon of one threshold, None where it is discarded."""
    if fpr == 0 and fnr == 0:
        return math.inf
    if fpr == 0 or fnr == 0:
        return None
    terms = [0.0]
    if 1 - D - fpr > 0:
        terms.append(math.log(1 - D - fpr) - math.log(fnr))
    if 1 - D - fnr > 0:
        terms.append(math.log(1 - D - fnr) - math.log(fpr))
    return max(terms)


def slow_row(u, g):
    """Every threshold of both families, one right threshold after the other, no sorting."""
    spans = sorted([u.max() - u.min(), g.max() - g.min()])
    if spans[1] > 0 and spans[0] / spans[1] < 0.01:
        return 50.0
    above, under = (u, g) if np.median(u) >= np.median(g) else (g, u)
    low, high = min(u.min(), g.min()), max(u.max(), g.max())
    pairs = set()
    for t in np.linspace(low, high, math.ceil((high - low) * 100)):
        pairs.add((np.mean(under >= t), np.mean(~(above >= t))))
    narrow, wide = above, under
    if not np.ptp(above) < np.ptp(under):
        narrow, wide = under, above
    w = narrow.max() - narrow.min()
    first, last = narrow.min() + w - 2, narrow.max() + 2
    for right in np.linspace(first, last, math.ceil((last - first) * 100)):
        left = np.linspace(right - w - 2, right - w + 2, 400)[:, None]
        fprs = ((left <= wide) & (wide <= right)).mean(axis=1)
        fnrs = 1 - ((left <= narrow) & (narrow <= right)).sum(axis=1) / len(narrow)
        fnrs = np.rint(fnrs * len(narrow)) / len(narrow)
        pairs.update(zip(fprs.tolist(), fnrs.tolist(), strict=True))
    found = [slow_threshold(fpr, fnr) for fpr, fnr in pairs]
    return min(50.0, max([0.0, *[value for value in found if value is not None]]))


def cases(rows, models, seed):
    """[2, models, rows]: normal, shifted, other spread, peaky, disjoint, tied, constant and swapped rows in turn."""
    random = np.random.default_rng(seed)
    u, g = random.normal(size=(2, models, rows))
    for x in range(rows):
        kind = x % 10
        if kind == 1:
            u[:, x] += 1
        elif kind == 2:
            u[:, x] = 0.5 * u[:, x] - 0.3
        elif kind == 3:
            u[:, x] *= 0.002
        elif kind == 4:
            u[:, x] += 30
        elif kind == 5:
            u[:, x], g[:, x] = u[:, x].round(), g[:, x].round()
        elif kind == 6:
            u[:, x], g[:, x] = 2.0, (2.0 if x % 20 == 6 else 3.5)
        elif kind == 7:
            g[:, x] = u[random.permutation(models), x]
        elif kind == 8:
            u[:, x], g[:, x] = 3 * u[:, x] - 4, 2 * g[:, x]
        elif kind == 9:
            u[:, x], g[:, x] = (u[:, x] > 0) * 1.0, (g[:, x] > 0) * 1.0
    return u, g


def compare(rows, models, seed, golds=None):
    u, g = cases(rows, models, seed)
    g = g[:golds]
    assert challenge_rows(u, g) == pytest.approx([slow_row(a, b) for a, b in zip(u.T, g.T, strict=True)], abs=1e-6)


@pytest.mark.parametrize("models", [8, 15, 40])
def test_equals_the_published_definition(models):
    compare(20, models, seed=models)


def test_equals_the_definition_at_unequal_numbers_of_models():
    compare(10, 24, seed=1, golds=11)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_published_definition_at_full_size(seed):
    compare(50, 512, seed)


def test_special_rows_by_hand():
    models = np.linspace(-1, 1, 16)[:, None]
    peaky, disjoint = challenge_rows(models * 0.001, models)[0], challenge_rows(models + 9, models)[0]
    constant = np.zeros((16, 1))
    assert (peaky, disjoint) == (50, 50)
    assert challenge_rows(constant, constant)[0] == 0  # every threshold calls all or none: all discarded
    assert challenge_rows(constant, constant + 1)[0] == 50
    assert challenge_rows(np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]]))[0] == 0


def test_points():
    assert row_points(np.array([0.0, 0.49, 0.5, 1.2, 6.24, 50.0]), 512).tolist() == [1, 1, 0.5, 0.25, 2.0**-12, 0]


def test_perfect_unlearner_scores_a_fifth():
    u, g = np.random.default_rng(0).normal(size=(2, 512, 160))
    assert row_points(challenge_rows(u, g), 512).mean() == pytest.approx(0.19, abs=0.02)


def test_scale_changes_the_score_and_order_does_not():
    u, g = np.random.default_rng(1).normal(size=(2, 256, 60))
    quality = [row_points(challenge_rows(s * u, s * g), 256).mean() for s in (0.3, 1.0)]
    assert quality[0] < quality[1]
    assert np.array_equal(challenge_rows(u[::-1], g), challenge_rows(u, g))


def test_estimate():
    random = np.random.default_rng(2)
    u, g, h = random.normal(size=(3, 40, 12))
    found = challenge(u, g, u + 3, heldout=h, seed=0)
    assert found.extra["quality"] == 1 - found.value == pytest.approx(row_points(found.rows, 40).mean())
    assert found.null == 1 - row_points(challenge_rows(h, g), 40).mean() == 1 - found.extra["quality_null"]
    assert found.extra["quality_ratio"] == pytest.approx(found.extra["quality"] / found.extra["quality_null"])
    assert found.start > found.value
    assert found.interval[0] < found.value < found.interval[1]
    assert found.extra["variance_ratio"] == pytest.approx(np.median(u.var(0) / g.var(0)))
    assert found.extra["underpowered"] == 1


def test_parity_wants_equal_numbers():
    u = np.random.default_rng(3).normal(size=(10, 3))
    with pytest.raises(ShapeError, match="10 and 9"):
        challenge(u, u[:9], None, seed=0)
    assert challenge(u, u[:9] + 0.1, None, parity=False, seed=0).extra["null_heldout"] == 0
    with pytest.raises(NeedsError, match="gold: needs at least 8"):
        challenge(u[:7], u[:7], None, seed=0)


def test_ranges_beyond_the_grid_are_refused():
    with pytest.raises(ShapeError, match="row 1 spans 2e"):
        challenge_rows(np.array([[0.0, 2e6], [1.0, 1.0]]), np.zeros((2, 2)))


def test_final_score_is_not_clipped():
    ra, ta = (np.array([0.9, 0.7]), np.array([1.0])), (np.array([0.8]), np.array([0.5, 0.3]))
    assert final_score(0.1, retain=ra, test=ta) == pytest.approx(0.1 * 0.8 * 2.0)


@pytest.mark.slow
def test_null_at_full_size():
    u, g = np.random.default_rng(4).normal(size=(2, 512, 1000))
    assert row_points(challenge_rows(u, g), 512).mean() == pytest.approx(0.190, abs=0.012)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_speed_and_memory():
    code = """
import time
from pathlib import Path
import numpy as np
from expunge.audit.challenge import challenge_rows
u, g = (np.random.default_rng(seed).normal(size=(512, 500)).astype(np.float32) for seed in range(2))
start = time.process_time()
challenge_rows(u, g)
seconds = (time.process_time() - start) / 500
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024)
"""
    seconds, mib = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(seconds) < 0.05
    assert float(mib) < 300
    start = time.process_time()
    challenge_rows(*np.random.default_rng(5).normal(size=(2, 512, 20)))
    assert time.process_time() - start < 20 * 0.05
