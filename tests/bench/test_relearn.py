"""Relearning curves: what they record, and that a model which saw the rows is back sooner."""

import numpy as np
import pytest
import torch

from expunge.audit.relearn import relearn
from expunge.bench.relearn import relearning_curve
from expunge.data import MemoryRows
from expunge.errors import ConfigError
from expunge.training import fit, predict
from tests.tiny import tiny_recipe

RECIPE = tiny_recipe(epochs=30, hidden=(64,))
RANDOM = torch.Generator().manual_seed(0)
ROWS = MemoryRows(torch.randn(60, 40, generator=RANDOM), torch.randint(0, 3, (60,), generator=RANDOM))
FORGET = np.arange(20)


def curve(model, **settings):
    return relearning_curve(
        model, RECIPE, ROWS, FORGET, **{"steps": 12, "lr": 0.01, "batch_size": 8, "seed": 0} | settings
    )


def test_curve_records_every_step_and_leaves_the_model_alone():
    model = fit(RECIPE, ROWS, np.arange(20, 60), seed=1).model
    before = [p.clone() for p in model.parameters()]
    found = curve(model, lr=0.05, steps=40)
    right = predict(model, ROWS, FORGET).argmax(-1) == ROWS.labels[FORGET]
    assert found[0] == pytest.approx(right.float().mean().item())
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert found.shape == (41,)
    assert found[-1] == 1
    assert np.array_equal(found, curve(model, lr=0.05, steps=40))
    assert np.array_equal(curve(model, lr=0.05, steps=7), found[:8])  # a prefix, also within a pass
    with pytest.raises(ConfigError, match="steps"):
        curve(model, steps=0)


def test_original_is_back_before_gold():
    original = fit(RECIPE, ROWS, np.arange(60), seed=0).model
    golds = np.stack([curve(fit(RECIPE, ROWS, np.arange(20, 60), seed=seed).model) for seed in (1, 2, 3)])
    start = curve(original)[None]
    found = relearn(golds[:1], golds[1:], start)
    assert found.start > 3 * found.value
    assert found.extra["steps_gold"] > 1
