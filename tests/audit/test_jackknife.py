"""Delete-group jackknife against the closed form of a mean."""

import numpy as np
import pytest

from expunge.audit.jackknife import groups_of, replicates, two_sided, variance


def test_variance_of_a_mean_is_its_squared_standard_error():
    values = np.random.default_rng(0).normal(size=10)
    found = variance(replicates(lambda keep: values[keep].mean(), 10, groups_of(10)))
    assert float(found) == pytest.approx(values.var(ddof=1) / 10)


def test_clusters_stay_whole_and_widen_the_interval():
    effect = np.repeat(np.random.default_rng(1).normal(size=12), 5)
    gold = np.zeros(20)
    alone = two_sided(lambda u, g: effect[u].mean() - gold[g].mean(), (60, 20))
    whole = two_sided(
        lambda u, g: effect[u].mean() - gold[g].mean(),
        (60, 20),
        clusters=np.random.default_rng(2).permutation(60),
    )
    clustered = two_sided(
        lambda u, g: effect[u].mean() - gold[g].mean(), (60, 20), clusters=np.repeat(np.arange(12), 5)
    )
    assert clustered > 1.3 * whole
    assert alone > 0


def test_too_few_models_give_no_interval():
    assert two_sided(lambda u, g: 0.0, (2, 20)) is None
    assert two_sided(lambda u, g: 0.0, (20, 2)) is None
    assert two_sided(lambda u, g: 0.0, (1, 20)) == 0.0


def test_missing_replicates_do_not_count():
    assert np.isnan(variance(np.array([1.0, 2.0, np.nan])))
    assert float(variance(np.array([1.0, 2.0, 3.0, np.nan]))) == pytest.approx(4 / 3)
