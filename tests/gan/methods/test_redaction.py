"""Redaction: forget rows as fakes."""

import pytest
import torch

from expunge.errors import ConfigError
from expunge.gan.latents import of_classes
from expunge.gan.methods import FineTune, Redaction
from expunge.gan.pair import drawn, judged
from expunge.gan.problem import called
from expunge.gan.run import GanRun
from tests.gan.tiny import classifier, original, problem, same_pair


def test_without_forget_rows_it_is_ordinary_training():
    one = problem("class:3")
    ours = Redaction(steps=8, forget_share=0.0).run(one, seed=2)
    theirs = FineTune(steps=8).run(one, seed=2)
    assert same_pair(ours.pair, theirs.pair)
    assert ours.cost.backward == theirs.cost.backward


def test_forget_rows_are_called_fake_and_their_class_is_drawn_less():
    one = problem("class:3")
    made = Redaction(steps=120).run(one, seed=0).pair
    before, after = (judged(pair.discriminator, one.rows, one.forget).sigmoid().mean() for pair in (original(), made))
    assert after < 0.5 * before
    z, _, _ = of_classes(one, GanRun(0), wanted=True, count=60, who="test", sure=0.7)
    assert (called(classifier(), drawn(made.generator, z)).argmax(1) == 3).float().mean() < 0.8
    assert torch.isfinite(drawn(made.generator, z)).all()


def test_visits_of_forget_rows_are_counted_once_a_step():
    cost = Redaction(steps=5).run(problem("random:9"), seed=0).cost
    assert cost.backward["discriminator/forget"] == cost.backward["discriminator/retain"]


def test_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"forget_share: expected in \[0, 1\], got 2"):
        Redaction(forget_share=2)
