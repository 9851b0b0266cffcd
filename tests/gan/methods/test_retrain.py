"""Retraining is what gold is."""

from dataclasses import replace

import numpy as np
import pytest

from expunge.errors import ConfigError
from expunge.gan.fit import fit_pair
from expunge.gan.methods import Retrain
from expunge.seeds import derive
from tests.gan.tiny import RECIPE, problem, same_pair


def test_it_is_a_training_on_retain_alone():
    one = problem("class:3")
    gold = fit_pair(RECIPE, one.rows, one.retain, seed=derive(4, "retrain"), role="retain").pair
    made = Retrain().run(one, seed=4)
    assert same_pair(made.pair, gold)
    assert made.cost.backward["discriminator/retain"] == RECIPE.epochs * len(one.retain)


def test_a_share_trains_a_share_of_the_epochs():
    one = problem("class:3")
    made = Retrain(share=0.1).run(one, seed=0)
    assert made.cost.backward["discriminator/retain"] == 4 * len(one.retain)
    short = replace(RECIPE, epochs=4)
    assert same_pair(made.pair, fit_pair(short, one.rows, one.retain, seed=derive(0, "retrain"), role="retain").pair)


def test_no_tensor_is_shared_with_the_original():
    one = problem("class:3")
    made = Retrain(share=0.1).run(one, seed=0).pair
    ours = {p.data_ptr() for p in made.generator.parameters()}
    assert not ours & {p.data_ptr() for p in one.original.generator.parameters()}
    assert np.setdiff1d(one.forget, one.retain).size == len(one.forget)


def test_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"share: expected in \(0, 1\], got 0"):
        Retrain(share=0)
