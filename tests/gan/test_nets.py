"""Shapes, spans and independence of rows, for both architectures, with labels and without."""

import math

import pytest
import torch

from expunge.errors import ConfigError
from expunge.gan.nets import build_pair
from expunge.training import set_mode

MLP = {"generator": [16], "discriminator": [16]}
CASES = [
    ("mlp", (5,), MLP),
    ("mlp", (1, 8, 8), MLP),
    ("mlp", (1, 3, 7), MLP),
    ("dcgan", (1, 28, 28), {"widths": [4, 8]}),
    ("dcgan", (3, 32, 32), {"widths": [4, 8, 16]}),
    ("dcgan", (1, 16, 24), {"widths": [4, 8]}),
]


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("name", "shape", "arguments"), CASES)
def test_shapes(name, shape, arguments, classes):
    generator, discriminator = build_pair(name, shape=shape, latent=6, classes=classes, **arguments)
    z, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0]) if classes else None
    made = generator(z, y)
    assert made.shape == (4, *shape)
    assert discriminator(made, y).shape == (4,)


def test_pictures_fill_the_span_and_never_leave_it():
    generator, _ = build_pair("mlp", shape=(2, 4, 4), latent=3, classes=0, **MLP)
    generator.low.copy_(torch.tensor([-3.0, 1.0]).view(2, 1, 1))
    generator.high.copy_(torch.tensor([-1.0, 5.0]).view(2, 1, 1))
    with torch.no_grad():
        made = generator(1e4 * torch.randn(200, 3))
    for channel, (low, high) in enumerate([(-3, -1), (1, 5)]):
        assert made[:, channel].min() == pytest.approx(low)
        assert made[:, channel].max() == pytest.approx(high)


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize(("name", "shape", "arguments"), CASES)
def test_what_a_discriminator_says_of_a_row_does_not_depend_on_its_neighbours(name, shape, arguments, classes):
    _, net = build_pair(name, shape=shape, latent=6, classes=classes, **arguments)
    x, y = torch.randn(6, *shape), torch.arange(6) % 2 if classes else None
    for statistics in ("running", "frozen"):
        set_mode(net, statistics)
        alone = torch.cat([net(x[i : i + 1], None if y is None else y[i : i + 1]) for i in range(6)])
        assert torch.allclose(net(x, y), alone, atol=1e-5)


def test_labels_change_what_is_drawn_and_what_is_said():
    generator, discriminator = build_pair("dcgan", shape=(1, 16, 16), latent=4, classes=2, widths=[4, 8])
    z = torch.randn(3, 4)
    zero, one = torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)
    assert not torch.equal(generator(z, zero), generator(z, one))
    x = torch.randn(3, 1, 16, 16)
    assert not torch.equal(discriminator(x, zero), discriminator(x, one))


def test_a_conditional_net_asks_for_its_labels():
    for net, given in zip(
        build_pair("mlp", shape=(4,), latent=4, classes=2, **MLP), (torch.randn(3, 4), torch.randn(3, 4)), strict=True
    ):
        with pytest.raises(ConfigError, match="labels: expected one for each row"):
            net(given)


def test_dcgan_starts_narrow():
    net, _ = build_pair("dcgan", shape=(1, 28, 28), latent=100, classes=0, widths=[16, 32])
    first = net.body[0].weight.detach()
    assert float(first.std()) == pytest.approx(0.02, rel=5 / math.sqrt(first.numel()))


def test_unknown_architecture_and_argument_are_named():
    with pytest.raises(ConfigError, match="model: expected one of mlp, dcgan, got 'unet'"):
        build_pair("unet", shape=(1, 8, 8), latent=4, classes=0)
    with pytest.raises(ConfigError, match="depth"):
        build_pair("dcgan", shape=(1, 28, 28), latent=4, classes=0, widths=[4], depth=3)


@pytest.mark.parametrize("shape", [(1, 30, 28), (1, 8, 8)])
def test_pictures_that_cannot_be_halved_are_refused_with_the_way_out(shape):
    with pytest.raises(ConfigError, match=f"got {shape[1]} x {shape[2]}") as caught:
        build_pair("dcgan", shape=shape, latent=4, classes=0, widths=[4, 8])
    assert "mlp" in caught.value.hint


def test_rows_that_are_no_pictures_are_refused():
    with pytest.raises(ConfigError, match="dcgan: expected rows of shape"):
        build_pair("dcgan", shape=(64,), latent=4, classes=0, widths=[4])
