"""Fine-tuning is training that goes on, on retain rows alone."""

import pytest

from expunge.errors import ConfigError
from expunge.gan.duel import Duel
from expunge.gan.methods import FineTune
from expunge.gan.run import GanRun
from expunge.gan.steps import retain_steps
from tests.gan.tiny import RECIPE, original, problem, same_pair


def test_it_is_ordinary_steps_from_the_original():
    one = problem("class:3")
    run = GanRun(5, RECIPE.batch_size)
    duel = Duel(original().copy(), RECIPE, run, role="learn")  # 6 steps: an average over one sixth is the last itself
    for (batch,) in retain_steps(one, run, 6).load("cpu"):
        duel.learn(batch)
    assert same_pair(FineTune(steps=6).run(one, seed=5).pair, duel.finished())


def test_steps_and_visits():
    cost = FineTune(steps=20).run(problem("random:9"), seed=0).cost
    assert cost.backward["generator/fake"] == cost.backward["discriminator/retain"]
    assert 20 * 20 < cost.backward["discriminator/retain"] <= 20 * 33
    assert not [role for role in cost.backward if "forget" in role]


def test_no_step_is_the_original():
    assert same_pair(FineTune(steps=0).run(problem("random:9"), seed=0).pair, original())


def test_values_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="steps: expected >= 0, got -1"):
        FineTune(steps=-1)
