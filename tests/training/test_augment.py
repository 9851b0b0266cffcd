"""Augmentation of a batch beside the same done image by image."""

import pytest
import torch

from expunge.seeds import generator
from expunge.training.augment import AUGMENTATIONS, crop, flip


def images(count=64, channels=2, height=16, width=24):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) + 1


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
    x = images(400)
    changed = flip(x, generator(0, "augment"))
    kept = [bool(torch.equal(after, before)) for after, before in zip(changed, x, strict=True)]
    mirrored = [bool(torch.equal(after, before.flip(-1))) for after, before in zip(changed, x, strict=True)]
    assert all(one != other for one, other in zip(kept, mirrored, strict=True))
    assert 150 < sum(kept) < 250  # a fair coin leaves this range once in a million


def test_every_crop_is_the_image_shifted_with_zeros_outside():
    x = images(height=16, width=24)
    shifts = []
    for after, before in zip(crop(x, generator(0, "augment")), x, strict=True):
        padded = torch.zeros(2, 16 + 4, 24 + 6)
        padded[:, 2:18, 3:27] = before
        found = [
            (top, left)
            for top in range(5)
            for left in range(7)
            if torch.equal(after, padded[:, top : top + 16, left : left + 24])
        ]
        assert len(found) == 1
        shifts += found
    assert {top for top, _ in shifts} == set(range(5))
    assert {left for _, left in shifts} == set(range(7))


def test_an_image_smaller_than_eight_pixels_cannot_be_shifted():
    x = images(height=7, width=7)
    assert torch.equal(crop(x, generator(0, "augment")), x)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_the_generator_alone_decides(name):
    x, change = images(), AUGMENTATIONS[name]
    torch.rand(3)
    before = torch.get_rng_state()
    first = change(x, generator(0, "augment"))
    assert torch.equal(first, change(x, generator(0, "augment")))
    assert not torch.equal(first, change(x, generator(1, "augment")))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_the_input_and_its_shape_are_kept(name):
    x = images(5)
    copy = x.clone()
    assert AUGMENTATIONS[name](x, generator(0, "augment")).shape == x.shape
    assert torch.equal(x, copy)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_a_batch_of_none_stays_one(name):
    assert len(AUGMENTATIONS[name](images(0), generator(0, "augment"))) == 0
