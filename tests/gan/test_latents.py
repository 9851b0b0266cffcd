"""Latents of what has to go, and what is put in their place."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.data import MemoryRows
from expunge.errors import ProblemError
from expunge.gan.latents import mean_picture, of_classes, search
from expunge.gan.nets import Generator
from expunge.gan.pair import drawn
from expunge.gan.problem import called
from expunge.gan.run import GanRun
from expunge.gan.substitutes import nearest, noise_pictures, shifted
from tests.gan.tiny import CONDITIONAL, classifier, digits, original, problem
from tests.tiny import same_weights


def linear_generator(latent=3, size=12):
    """Over-determined and linear, but for the tanh: its rows can be found exactly."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(latent, size), nn.Tanh())
    nn.init.normal_(body[0].weight, 0, 0.3)
    return Generator(body, (size,), latent, 0)


def test_search_finds_what_the_generator_drew():
    net = linear_generator()
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    rows = MemoryRows(drawn(net, z), torch.zeros(5))
    found = search(net, rows, np.arange(5), torch.zeros(12), GanRun(0), steps=400, lr=0.05)
    assert float(found.error.max()) < 1e-4
    assert torch.allclose(found.z, z, atol=0.05)


def test_search_moves_no_weight_and_counts_its_visits():
    net = linear_generator()
    rows, run = MemoryRows(torch.randn(5, 12), torch.zeros(5)), GanRun(0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    search(net, rows, np.array([1, 3]), torch.zeros(12), run, steps=7, lr=0.05)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert run.meter.cost().backward == {"generator/search": 14}


def test_error_is_one_for_the_mean_picture():
    class Constant(Generator):
        def forward(self, z, y=None):
            return 0 * z.sum(1, keepdim=True) + torch.ones(12)

    net = Constant(nn.Linear(3, 12), (12,), 3, 0)
    rows = MemoryRows(torch.randn(4, 12), torch.zeros(4))
    found = search(net, rows, np.arange(4), torch.ones(12), GanRun(0), steps=1, lr=0.1)
    assert found.error.tolist() == pytest.approx([1.0] * 4)


def test_rows_are_searched_each_for_itself():
    net = linear_generator()
    rows = MemoryRows(torch.randn(9, 12, generator=torch.Generator().manual_seed(2)), torch.zeros(9))
    one, other = (
        search(net, rows, np.array([0, *beside]), torch.zeros(12), GanRun(0), steps=30, lr=0.05)
        for beside in ((1, 2, 3, 4), (5, 6, 7, 8))
    )
    assert torch.allclose(one.z[0], other.z[0], atol=1e-5)
    assert not torch.allclose(one.z[1], other.z[1], atol=1e-2)


@pytest.mark.parametrize("wanted", [True, False])
def test_latents_of_a_class_are_surely_of_it_or_surely_not(wanted):
    one, run = problem("class:3"), GanRun(0)
    z, y, looked = of_classes(one, run, wanted=wanted, count=40, who="test", sure=0.7)
    assert y is None
    assert 1 <= len(z) <= 40
    probability = called(classifier(), drawn(original().generator, z))[:, 3]
    assert bool((probability >= 0.7).all() if wanted else (probability <= 0.3 + 1e-6).all())
    role = "forgotten" if wanted else "others"
    assert run.meter.cost().forward == {f"generator/{role}": looked, f"classifier/{role}": looked}


def test_labels_come_with_the_latents_of_a_conditional_pair():
    one = problem("class:3", of=CONDITIONAL)
    z, y, _ = of_classes(one, GanRun(0), wanted=True, count=30, who="test", sure=0.5)
    assert len(y) == len(z)
    assert (y == 3).float().mean() > 0.5  # most, but not only, of what looks like a 3 was asked for as one


def test_a_class_that_is_never_drawn_is_an_error_that_says_so():
    never = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        never[1].weight.zero_()
        never[1].bias.copy_(torch.tensor([9.0] + 9 * [0.0]))  # everything is a 0
    one = problem("class:3", classifier=never)
    with pytest.raises(ProblemError, match="expected pictures of class 3, got none in 2,500 drawn") as caught:
        of_classes(one, GanRun(0), wanted=True, count=5, who="cascade", most=2500)
    assert "need not forget" in caught.value.hint


def test_mean_picture_is_the_mean_whatever_the_batch():
    train = digits().train
    at = np.arange(0, 300, 7)
    assert torch.allclose(mean_picture(train, at, batch=10), train.x[at].mean(0), atol=1e-5)


def test_nearest_is_the_nearest_by_brute_force():
    draw = torch.Generator().manual_seed(3)
    z, others = torch.randn(20, 4, generator=draw), torch.randn(50, 4, generator=draw)
    by_hand = [min(range(50), key=lambda j: float((z[i] - others[j]).square().sum())) for i in range(20)]
    assert nearest(z, others).tolist() == by_hand


def test_shifted_latents_keep_their_length_and_move():
    z = torch.randn(30, 8, generator=torch.Generator().manual_seed(4))
    moved = shifted(z, noise=0.7, seed=0)
    assert torch.allclose(moved.norm(dim=1), z.norm(dim=1), rtol=1e-5)
    assert float((moved - z).norm(dim=1).min()) > 0.1
    assert torch.equal(moved, shifted(z, noise=0.7, seed=0))
    assert not torch.equal(moved, shifted(z, noise=0.7, seed=1))


def test_noise_pictures_are_those_of_the_frozen_generator():
    net = original().generator
    z = torch.randn(5, 8)
    assert torch.equal(noise_pictures(net, z, None, noise=1.0, seed=2), drawn(net, shifted(z, noise=1.0, seed=2)))
    assert same_weights(net, original().generator)
