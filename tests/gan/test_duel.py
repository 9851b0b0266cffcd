"""The ordinary step beside its formulas: who moves, by which loss."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from expunge.gan.duel import Duel, real, towards, unreal
from expunge.gan.run import GanRun
from expunge.training import Batch
from tests.gan.tiny import RECIPE, digits, original
from tests.tiny import same_weights


def duel(**settings):
    return Duel(original().copy(), RECIPE, GanRun(0, 32), role="test", **settings)


def batch(count=32):
    x, y = digits().train.batch(np.arange(count))
    return Batch(x, y, np.arange(count), "real")


def test_losses_by_hand():
    logits = torch.tensor([0.0, 2.0])
    p = 1 / (1 + np.exp(-logits.numpy()))
    assert float(real(logits)) == pytest.approx(float(-np.log(p).mean()), rel=1e-5)
    assert float(unreal(logits)) == pytest.approx(float(-np.log(1 - p).mean()), rel=1e-5)
    by_hand = -(0.3 * np.log(p) + 0.7 * np.log(1 - p)).mean()
    assert float(towards(logits, 0.3)) == pytest.approx(float(by_hand), rel=1e-5)


def test_towards_a_label_is_least_where_the_discriminator_says_it():
    values = torch.linspace(-4, 4, 801)
    losses = torch.stack([towards(value[None], 0.25) for value in values])
    assert float(values[losses.argmin()].sigmoid()) == pytest.approx(0.25, abs=0.005)


def test_each_step_moves_its_own_net_alone():
    one = duel()
    before = deepcopy(one.pair)
    one.training()
    one.move_discriminator(real(one.pair.discriminator(batch().x)), {"real": 32})
    assert same_weights(one.pair.generator, before.generator)
    assert not same_weights(one.pair.discriminator, before.discriminator)
    held = deepcopy(one.pair.discriminator)
    z = one.latents(8)
    one.move_generator(real(one.pair.discriminator(one.pair.generator(z))), {"fake": 8})
    assert same_weights(one.pair.discriminator, held)
    assert not same_weights(one.pair.generator, before.generator)


def test_a_step_equals_two_steps_of_plain_adam():
    ours, theirs = duel(), original().copy()
    generator, discriminator = theirs.generator.train(), theirs.discriminator.train()
    kept = {"lr": RECIPE.lr, "betas": (RECIPE.beta, 0.999)}
    first, second = (torch.optim.Adam(net.parameters(), **kept) for net in (discriminator, generator))
    z, x = ours.latents(32), batch().x
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(32), torch.zeros(32)
    loss = bce(discriminator(x), ones) + bce(discriminator(generator(z).detach()), zeros)
    first.zero_grad()
    loss.backward()
    first.step()
    second.zero_grad()
    bce(discriminator(generator(z)), ones).backward()
    second.step()
    ours.learn(batch())
    for mine, other in ((ours.pair.generator, generator), (ours.pair.discriminator, discriminator)):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_latents_belong_to_the_step_and_the_role():
    one, other = duel(), Duel(original().copy(), RECIPE, GanRun(0, 32), role="other")
    assert torch.equal(one.latents(4), one.latents(4))
    assert not torch.equal(one.latents(4), other.latents(4))
    before = one.latents(4)
    one.learn(batch())
    assert not torch.equal(before, one.latents(4))


def test_the_average_lags_behind_and_ends_in_the_kept_pair():
    one = duel(average=0.5)
    one.learn(batch())
    first = deepcopy(one.pair.generator.state_dict())
    one.learn(batch())
    kept = one.finished().generator.state_dict()
    now = one.pair.generator.state_dict()
    for key in now:
        assert torch.allclose(kept[key], (first[key] + now[key]) / 2, atol=1e-6)


def test_who_watches_is_shown_the_pair_that_would_be_kept():
    seen = []
    run = GanRun(0, 32, watch=lambda step, pair: seen.append((step, pair().hash())))
    one = Duel(original().copy(), RECIPE, run, role="test", average=0.5, watched=True)
    one.learn(batch())
    one.learn(batch())
    assert [step for step, _ in seen] == [1, 2]
    assert seen[-1][1] == one.finished().hash()
