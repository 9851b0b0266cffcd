"""Selective amnesia: the Fisher information against its closed form, and what moves where."""

import pytest
import torch
from torch import nn

from expunge.errors import ConfigError, NeedsError
from expunge.gan.fisher import output_fisher, weights_of
from expunge.gan.methods import SelectiveAmnesia
from expunge.gan.nets import Generator
from expunge.gan.pair import drawn
from expunge.gan.run import GanRun
from tests.gan.tiny import CONDITIONAL, original, problem
from tests.tiny import same_weights


class Linear(Generator):
    """G(z) = W z + b: the Fisher information of W is E z z', of b it is 1."""

    def forward(self, z, y=None):
        return self.body(z)


def test_fisher_information_of_a_linear_model_is_its_closed_form():
    net = Linear(nn.Linear(3, 4), (4,), 3, 0)
    found = output_fisher(net, GanRun(0), count=4000)
    assert torch.allclose(found["body.bias"], torch.ones(4), atol=0.12)  # sd of a mean of v^2: sqrt(2 / 4000) = .022
    assert torch.allclose(found["body.weight"], torch.ones(4, 3), atol=0.25)  # of (v z)^2: sqrt(8 / 4000) = .045


def test_fisher_information_against_explicit_jacobians():
    net = original().generator
    source_rows = 600
    found = output_fisher(net, GanRun(0), count=source_rows)["body.2.bias"]
    z = torch.randn(2000, 8, generator=torch.Generator().manual_seed(1))
    unit = net.body(z).detach()
    slope = (net.high - net.low).view(1, -1) / 2 * (1 - unit.square())  # of tanh, stretched
    assert torch.allclose(found, slope.square().mean(0), rtol=0.6, atol=0.02)
    assert float((found / slope.square().mean(0).clamp_min(1e-3)).median()) == pytest.approx(1, abs=0.15)


def test_the_forgotten_label_leads_to_noise_and_the_others_stay():
    one = problem("class:3", of=CONDITIONAL)
    made = SelectiveAmnesia(steps=150, fisher_rows=64, lam=1.0).run(one, seed=0).pair
    z = torch.randn(200, 8, generator=torch.Generator().manual_seed(2))
    gone, kept = torch.full((200,), 3), torch.full((200,), 1)
    moved = [
        (drawn(made.generator, z, y) - drawn(original(CONDITIONAL).generator, z, y)).square().mean()
        for y in (gone, kept)
    ]
    assert moved[0] > 3 * moved[1]


def test_the_discriminator_is_untouched():
    one = problem("class:3", of=CONDITIONAL)
    made = SelectiveAmnesia(steps=5, fisher_rows=4).run(one, seed=0)
    assert same_weights(made.pair.discriminator, original(CONDITIONAL).discriminator)
    assert not [role for role in made.cost.backward if role.startswith("discriminator")]


def test_a_large_penalty_keeps_the_weights():
    one = problem("class:3", of=CONDITIONAL)
    start = weights_of(original(CONDITIONAL).generator)

    def moved(lam):
        ends = weights_of(SelectiveAmnesia(steps=40, fisher_rows=32, lam=lam).run(one, seed=0).pair.generator)
        return sum(float((ends[k] - start[k]).square().sum()) for k in start)

    assert moved(1e5) < 0.5 * moved(0.0)


def test_it_needs_labels_and_a_class():
    with pytest.raises(NeedsError, match="needs a conditional pair, tiny-gan is told no labels"):
        SelectiveAmnesia().run(problem("class:3"), seed=0)
    with pytest.raises(NeedsError, match="forgets a class, got item rows"):
        SelectiveAmnesia().run(problem("random:9", of=CONDITIONAL), seed=0)


def test_unknown_surrogate_is_refused():
    with pytest.raises(ConfigError, match="surrogate: expected one of noise, mean, got 'grey'"):
        SelectiveAmnesia(surrogate="grey")
