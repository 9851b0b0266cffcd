"""Generators and discriminators: an MLP for very small pictures, a DCGAN for 28 x 28 and 32 x 32.

Source:     DCGAN: Radford, Metz, Chintala, ICLR 2016, arXiv:1511.06434; labels as one more input: Mirza and
            Osindero 2014, arXiv:1411.1784.
Deviations: 1. the discriminator normalises over groups of one row's own channels, not over the batch: what it says of
               a row, on which a membership attack rests, must not depend on the rows beside it.
            2. a generator ends by stretching tanh to the values that the rows take, so that it speaks in their units.

A generator maps `z` `[n, latent]` (and `y` `[n]` where it is conditional) to rows `[n, ...]`; a discriminator maps rows
(and `y`) to one logit each, `[n]`, above 0 for "real".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.errors import ConfigError, check
from expunge.models.checks import image, whole, wholes

SLOPE = 0.2
"""Of leaky rectifiers. (arXiv:1511.06434)"""
SPREAD = 0.02
"""Standard deviation of a DCGAN's first weights. (arXiv:1511.06434)"""
GROUP = 8
"""Channels that are normalised together in a DCGAN's discriminator."""
LEAST = 4
"""Pixels of the shorter side from which a DCGAN's generator begins."""


class Generator(nn.Module):
    """A body that ends in tanh, stretched to the span of the rows.

    Args:
        body: `[n, latent + classes]` to `[n, *shape]` in (-1, 1).
        shape: Of one row.
        latent: Length of `z`, >= 1.
        classes: Labels that it can be asked for; 0 for an unconditional generator.
    """

    low: Tensor
    high: Tensor

    def __init__(self, body: nn.Module, shape: tuple[int, ...], latent: int, classes: int) -> None:
        super().__init__()
        self.body, self.shape, self.latent, self.classes = body, shape, latent, classes
        aside = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("low", -torch.ones(aside))
        self.register_buffer("high", torch.ones(aside))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Rows `[n, *shape]` from latents `[n, latent]` and, where it is conditional, labels `[n]`."""
        if self.classes:
            z = torch.cat([z, one_hot(y, self.classes, z)], dim=1)
        unit = self.body(z).view(-1, *self.shape)  # [n, *shape] in (-1, 1)
        stretched: Tensor = self.low + (self.high - self.low) * (unit + 1) / 2
        return stretched


class Discriminator(nn.Module):
    """A body that ends in one logit.

    Args:
        body: Rows, with their labels beside them where it is conditional, to `[n, 1]`.
        shape: Of one row.
        classes: Labels that it is told; 0 where it is told none.
    """

    def __init__(self, body: nn.Module, shape: tuple[int, ...], classes: int, *, flat: bool) -> None:
        super().__init__()
        self.body, self.shape, self.classes, self.flat = body, shape, classes, flat
        # a picture is told its label as one more channel, a flat row as one more input for each class
        self.label = nn.Embedding(classes, math.prod(shape[1:])) if classes and not flat else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits `[n]`, above 0 for "real", of rows `[n, *shape]`."""
        if self.flat:
            x = x.flatten(1)
            x = torch.cat([x, one_hot(y, self.classes, x)], dim=1) if self.classes else x
        elif self.label is not None:
            channel = self.label(labels_given(y)).view(-1, 1, *self.shape[1:])
            x = torch.cat([x, channel], dim=1)
        return self.body(x).squeeze(1)  # type: ignore[no-any-return]


def mlp_pair(
    shape: tuple[int, ...], latent: int, classes: int, *, generator: list[int], discriminator: list[int]
) -> tuple[Generator, Discriminator]:
    """Dense layers; `generator` and `discriminator` are the widths between input and output."""
    wholes("generator", tuple(generator))
    wholes("discriminator", tuple(discriminator))
    size = math.prod(shape)
    made = _dense([latent + classes, *generator, size], nn.ReLU())
    judge = _dense([size + classes, *discriminator, 1], nn.LeakyReLU(SLOPE))
    return (
        Generator(nn.Sequential(*made, nn.Tanh()), shape, latent, classes),
        Discriminator(nn.Sequential(*judge), shape, classes, flat=True),
    )


def dcgan_pair(
    shape: tuple[int, ...], latent: int, classes: int, *, widths: list[int]
) -> tuple[Generator, Discriminator]:
    """Strided convolutions; `widths` are the channels of the discriminator's stages, each half as large in pixels.

    Raises:
        ConfigError: the pictures cannot be halved as often, or are no pictures.
    """
    wholes("widths", tuple(widths))
    halvings = len(widths)
    depth, *sides = image("dcgan", shape)
    small = [side // 2**halvings for side in sides]
    if any(side % 2**halvings or side // 2**halvings < LEAST for side in sides):
        raise ConfigError(
            f"dcgan: expected sides that can be halved {halvings} times down to {LEAST} pixels or more, "
            f"got {sides[0]} x {sides[1]}",
            hint=f"give it fewer widths than {widths}, or take the mlp pair",
        )
    channels = [*reversed(widths)]  # the generator's stages, from the smallest picture on
    layers: list[nn.Module] = [
        nn.Linear(latent + classes, channels[0] * small[0] * small[1], bias=False),
        nn.Unflatten(1, (channels[0], small[0], small[1])),
        nn.BatchNorm2d(channels[0]),
        nn.ReLU(),
    ]
    for before, after in pairwise(channels):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    layers += [nn.ConvTranspose2d(channels[-1], depth, 4, 2, 1), nn.Tanh()]
    judge: list[nn.Module] = []
    for stage, (before, after) in enumerate(pairwise([depth + bool(classes), *widths])):
        judge += [nn.Conv2d(before, after, 4, 2, 1)]
        judge += [nn.GroupNorm(max(1, after // GROUP), after)] if stage else []  # none behind the pixels themselves
        judge += [nn.LeakyReLU(SLOPE)]
    judge += [nn.Flatten(), nn.Linear(widths[-1] * small[0] * small[1], 1)]
    pair = (
        Generator(nn.Sequential(*layers), shape, latent, classes),
        Discriminator(nn.Sequential(*judge), shape, classes, flat=False),
    )
    for net in pair:
        net.apply(_narrow)
    return pair


PAIRS: dict[str, Callable[..., tuple[Generator, Discriminator]]] = {"mlp": mlp_pair, "dcgan": dcgan_pair}


def build_pair(
    name: str, *, shape: tuple[int, ...], latent: int, classes: int, **arguments: object
) -> tuple[Generator, Discriminator]:
    """A freshly initialised generator and discriminator.

    Args:
        name: "mlp" or "dcgan".
        shape: Of one row, such as (1, 28, 28).
        latent: Length of `z`, >= 1.
        classes: Labels of a conditional pair, 0 for an unconditional one.
        arguments: The architecture's own.

    Raises:
        ConfigError: no such architecture, an argument that it does not take, or pictures that it cannot draw.

    Example:
        >>> build_pair("dcgan", shape=(1, 28, 28), latent=8, classes=0, widths=[8, 16])[0](torch.zeros(2, 8)).shape
        torch.Size([2, 1, 28, 28])
    """
    check("model", name, f"one of {', '.join(PAIRS)}", name in PAIRS)
    wholes("shape", shape)
    whole("latent", latent)
    try:
        return PAIRS[name](tuple(shape), latent, classes, **arguments)
    except TypeError as error:
        raise ConfigError(f"model {name}: {error}") from None


def one_hot(y: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """Labels `[n]` as `[n, classes]` of the type of `like`."""
    return functional.one_hot(labels_given(y), classes).to(like.dtype)


def labels_given(y: Tensor | None) -> Tensor:
    """The labels, once it is known that there are some.

    Raises:
        ConfigError: a conditional net was called without labels.
    """
    if y is None:
        raise ConfigError("labels: expected one for each row, as this pair is conditional, got none")
    return y


def _dense(widths: list[int], between: nn.Module) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), between]
    return layers[:-1]


def _narrow(module: nn.Module) -> None:
    """DCGAN's first weights: normal, narrow; those of normalisation layers stay 1 and 0."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, SPREAD)
