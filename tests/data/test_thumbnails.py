"""Pictures of rows: what comes out of the PNG is what went in, and what is no picture gives none."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from expunge.data import MemoryRows
from expunge.data.thumbnails import HEAD, LARGEST, thumbnails

DRAW = np.random.default_rng(0)


def rows_of(x):
    return MemoryRows(x, np.zeros(len(x), dtype=np.int64), ids=[str(at) for at in range(len(x))])


def pixels(text):
    assert text.startswith(HEAD)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.removeprefix(HEAD)))))


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_back_whatever_scale_and_shift_each_channel_had(channels):
    raw = DRAW.integers(0, 256, size=(4, channels, 6, 5)).astype(np.float32)
    raw[0, :, 0, 0], raw[1, :, 0, 0] = 0, 255  # every channel reaches both ends
    scaled = raw * np.array([0.02, 3.0, 0.5])[:channels, None, None] - np.array([1.0, 7.0, 0.0])[:channels, None, None]
    for text, expected in zip(thumbnails(rows_of(scaled), np.arange(4)), raw, strict=True):
        shown = pixels(text)
        assert np.abs(shown - expected.transpose(1, 2, 0).squeeze().astype(float)).max() <= 1


def test_only_the_rows_asked_for_in_their_order():
    x = np.zeros((3, 1, 4, 4))
    x[1], x[2] = 0.5, 1.0
    assert [int(pixels(text)[0, 0]) for text in thumbnails(rows_of(x), np.array([2, 0]))] == [255, 0]


def test_large_pictures_become_small():
    (text,) = thumbnails(rows_of(DRAW.random((1, 3, 300, 150))), np.arange(1))
    assert pixels(text).shape == (LARGEST, LARGEST // 2, 3)


def test_a_channel_that_never_varies_is_black():
    assert pixels(thumbnails(rows_of(np.full((1, 1, 4, 4), 7.0)), np.arange(1))[0]).max() == 0


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 4), (2, 2, 4, 4), (2, 1, 1, 9)])
def test_other_inputs_have_no_picture(shape):
    assert thumbnails(rows_of(np.zeros(shape)), np.arange(2)) == []


def test_no_rows_no_pictures():
    assert thumbnails(rows_of(np.zeros((2, 1, 4, 4))), np.arange(0)) == []
