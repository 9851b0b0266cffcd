"""LiRA beside a loop over rows with scipy's normal law, the half-sampled design, and a known attack."""

import sys
import time

import numpy as np
import pytest
from scipy.stats import norm

from expunge.audit import half_masks, lira, lira_scores
from expunge.audit.lira import MODES
from expunge.audit.normal_law import VARIANCES
from expunge.audit.population_attack import auc
from expunge.audit.roc import tpr_at_fpr
from expunge.errors import ConfigError, NeedsError, ShapeError


def fleet(shadows=21, queries=2, rows=25, seed=0):
    """Unequal in and out counts, float32 margins, one constant row."""
    random = np.random.default_rng(seed)
    membership = random.random((shadows, rows)) < 0.4
    membership[:3], membership[3:6] = True, False
    margins = random.normal(size=(shadows, queries, rows)) * 2 + membership[:, None]
    targets = random.normal(0.5, 2, (2, queries, rows))
    margins[:, :, 7] = 1.5
    targets[:, :, 7] = 1.5
    return targets.astype(np.float32), margins.astype(np.float32), membership


def slow(targets, shadows, membership, mode, variance, center):
    targets, shadows = targets.astype(float), shadows.astype(float)
    middle = {"median": np.median, "mean": np.mean}[center]
    queries, rows = shadows.shape[1:]
    residuals = {True: [], False: []}
    raw = {True: [], False: []}
    for row in range(rows):
        for query in range(queries):
            for side in (True, False):
                part = shadows[membership[:, row] == side, query, row]
                residuals[side].extend(part - middle(part))
                raw[side].extend(part)
    pooled = {side: {"pooled_centered": np.std(residuals[side]), "pooled_raw": np.std(raw[side])} for side in raw}
    if mode == "online":
        pooled[False]["pooled_raw"] = pooled[True]["pooled_raw"]
    out = np.zeros((len(targets), rows))
    for target in range(len(targets)):
        for row in range(rows):
            for query in range(queries):
                law = {}
                for side in (True, False):
                    part = shadows[membership[:, row] == side, query, row]
                    sd = np.std(part) if variance == "per_row" else pooled[side][variance]
                    law[side] = middle(part), sd + 1e-30
                at = targets[target, query, row]
                out[target, row] += {
                    "online": lambda law=law, at=at: norm.logpdf(at, *law[True]) - norm.logpdf(at, *law[False]),
                    "offline_cdf": lambda law=law, at=at: norm.cdf(at, *law[False]),
                    "offline_logpdf": lambda law=law, at=at: -norm.logpdf(at, *law[False]),
                }[mode]()
    return out / queries


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("center", ["median", "mean"])
def test_equals_a_loop_over_rows(mode, variance, center):
    targets, shadows, membership = fleet()
    found = lira_scores(targets, shadows, membership=membership, mode=mode, variance=variance, center=center)
    assert np.isfinite(found).all()
    expected = slow(targets, shadows, membership, mode, variance, center)
    assert np.abs(found - expected).max() < 1e-10


def test_one_query_needs_no_axis_and_blocks_do_not_matter(monkeypatch):
    targets, shadows, membership = fleet(queries=1)
    with_axis = lira_scores(targets, shadows, membership=membership)
    assert np.array_equal(lira_scores(targets[:, 0], shadows[:, 0], membership=membership), with_axis)
    monkeypatch.setattr(sys.modules["expunge.audit.normal_law"], "BLOCK", 100)
    assert lira_scores(targets, shadows, membership=membership) == pytest.approx(with_axis, abs=1e-12)


def test_default_variance_depends_on_the_smaller_side():
    random = np.random.default_rng(1)
    shadows, targets = random.normal(size=(64, 9)), random.normal(size=(1, 9))
    for membership, expected in (
        (half_masks(64, 9, seed=0), "per_row"),
        (np.arange(64)[:, None] < 31, "pooled_centered"),
    ):
        told = {"membership": np.broadcast_to(membership, (64, 9)).copy()}
        chosen = lira_scores(targets, shadows, variance=expected, **told)
        assert np.array_equal(lira_scores(targets, shadows, **told), chosen)


def test_offline_needs_no_shadow_with_the_row():
    random = np.random.default_rng(2)
    shadows, targets = random.normal(size=(16, 5)), random.normal(size=(1, 5))
    out = np.zeros((16, 5), bool)
    assert np.isfinite(lira_scores(targets, shadows, membership=out, mode="offline_cdf")).all()
    with pytest.raises(NeedsError, match="at least 2 shadow models with each row in, got 0 for row 0"):
        lira_scores(targets, shadows, membership=out)


def test_offline_readings_differ_on_unconfident_rows():
    shadows = np.random.default_rng(3).normal(size=(32, 3))
    told = {"membership": np.zeros((32, 3), bool)}
    low, middle, high = -6.0, 0.0, 6.0
    cdf, logpdf = (lira_scores(np.array([[low, middle, high]]), shadows, mode=mode, **told)[0] for mode in MODES[1:])
    assert cdf[0] < cdf[1] < cdf[2]
    assert logpdf[1] < min(logpdf[0], logpdf[2])


def test_design_puts_every_row_in_exactly_half_the_models():
    masks = half_masks(32, 3_000, seed=0)
    assert (masks.sum(axis=0) == 16).all()
    assert masks.mean(axis=1) == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(masks[:, 0], masks[:, 1])[0, 1]) < 0.7
    assert np.array_equal(masks, half_masks(32, 3_000, seed=0))
    assert not np.array_equal(masks, half_masks(32, 3_000, seed=1))
    with pytest.raises(ConfigError, match="even"):
        half_masks(7, 3, seed=0)


def test_attack_on_normal_margins_has_the_known_power():
    random = np.random.default_rng(4)
    masks = half_masks(256, 8_000, seed=1)
    shadows = random.normal(size=(256, 8_000)) + 2 * masks
    member = np.arange(8_000) < 4_000
    target = random.normal(size=(1, 8_000)) + 2 * member
    found = lira_scores(target, shadows, membership=masks)
    assert auc(found[:, member], found[:, ~member])[0] == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.01)
    assert tpr_at_fpr(found[:, member], found[:, ~member])[0] == pytest.approx(0.372, abs=0.04)
    arbitrary = random.permutation(member)
    assert auc(found[:, arbitrary], found[:, ~arbitrary])[0] == pytest.approx(0.5, abs=0.02)


def test_audit_is_against_gold():
    random = np.random.default_rng(5)
    forget = np.arange(1_500) < 400
    masks = half_masks(32, 1_500, seed=2)
    shadows = random.normal(size=(32, 1_500)) + 1.5 * masks
    gold, unlearned = random.normal(size=(12, 1_500)), random.normal(size=(3, 1_500))
    original = random.normal(size=(3, 1_500)) + 1.5 * forget
    told = {"shadows": shadows, "membership": masks, "forget": forget}
    for statistic in ("auc", "tpr"):
        found = lira(unlearned, gold, original, statistic=statistic, **told)
        assert found.value < 0.04 < 0.1 < found.start
        ours = lira_scores(unlearned, shadows, membership=masks)
        golds = lira_scores(gold, shadows, membership=masks)
        rate = {"auc": auc, "tpr": tpr_at_fpr}[statistic]
        gap = rate(ours[:, forget], ours[:, ~forget]) - rate(golds[:, forget], golds[:, ~forget]).mean()
        assert found.value == pytest.approx(np.abs(gap).mean())
    queries = {"shadows": shadows[:, None], "membership": masks, "forget": forget}
    assert lira(unlearned[:, None], gold[:, None], None, statistic="tpr", **queries).value == pytest.approx(found.value)


def test_refusals():
    targets, shadows, membership = fleet()
    with pytest.raises(ConfigError, match="mode"):
        lira_scores(targets, shadows, membership=membership, mode="offline")
    with pytest.raises(ConfigError, match="variance"):
        lira_scores(targets, shadows, membership=membership, variance="fixed")
    with pytest.raises(ShapeError, match="membership"):
        lira_scores(targets, shadows, membership=membership[:, :5])
    with pytest.raises(ShapeError, match="targets and shadows"):
        lira_scores(targets[:, 0], shadows, membership=membership)
    membership[:, 2] = np.arange(21) == 5
    with pytest.raises(NeedsError, match="got 1 for row 2"):
        lira_scores(targets, shadows, membership=membership)
    with pytest.raises(ShapeError, match="finite"):
        lira_scores(np.full_like(targets, np.nan), shadows, membership=membership)


@pytest.mark.slow
def test_speed_and_equality_on_255_models_and_10_000_rows():
    random = np.random.default_rng(6)
    membership = random.random((255, 10_000)) < 0.5
    shadows = random.normal(size=(255, 10_000)).astype(np.float32)
    target = random.normal(size=(1, 10_000)).astype(np.float32)
    lira_scores(target[:, :50], shadows[:, :50], membership=membership[:, :50])
    start = time.process_time()
    found = lira_scores(target, shadows, membership=membership)
    assert time.process_time() - start < 0.5
    expected = slow(target[:, None], shadows[:, None], membership, "online", "per_row", "median")
    assert np.abs(found - expected).max() < 1e-10
