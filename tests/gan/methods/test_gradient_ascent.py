"""Gradient ascent climbs the discriminator's loss on forget rows, and reads no other row."""

import pytest

from expunge.errors import ConfigError
from expunge.gan.duel import real
from expunge.gan.methods import GradientAscent
from expunge.gan.pair import judged
from tests.gan.tiny import original, problem


def test_the_loss_on_forget_rows_rises():
    one = problem("random:30")
    made = GradientAscent(steps=10).run(one, seed=0)
    before, after = (real(judged(pair.discriminator, one.rows, one.forget)) for pair in (original(), made.pair))
    assert after > 1.2 * before
    assert not [role for role in made.cost.backward if "retain" in role]


def test_one_row_is_climbed_step_by_step():
    assert GradientAscent(steps=7).run(problem("random:1"), seed=0).cost.backward["discriminator/forget"] == 7


def test_values_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="lr: expected > 0, got 0"):
        GradientAscent(lr=0)
