"""Pictures as files have them, to arrays and back."""

import numpy as np
import pytest

from storage.exchange.images import decode_image, encode_image, read_image

cv2 = pytest.importorskip("cv2")
RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (12, 16, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (12, 16), np.uint16)


def png(array: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", array)[1])


def test_png_is_exact_and_jpeg_is_near():
    assert np.array_equal(decode_image(encode_image(RGB, ".png"), "x"), RGB)
    smooth = np.add.outer(np.arange(48), np.arange(64))[:, :, None].repeat(3, 2).astype(np.uint8)
    assert np.abs(decode_image(encode_image(smooth), "x").astype(int) - smooth).mean() < 1


@pytest.mark.parametrize("depth", [False, True])
def test_whatever_channels_it_has_it_is_rgb(depth):
    grey = RGB[:, :, 0]
    assert np.array_equal(decode_image(png(grey), "x", depth=depth), np.dstack([grey] * 3))
    assert np.array_equal(decode_image(png(np.dstack([RGB[:, :, ::-1], grey])), "x", depth=depth), RGB)
    assert decode_image(png(RGB.astype(np.uint16) * 257), "x", depth=depth).dtype == np.uint8


def test_depth_is_kept_where_it_is_asked_for():
    assert np.array_equal(decode_image(png(DEEP), "x", depth=True), DEEP)
    assert decode_image(png(DEEP), "x").shape == (12, 16, 3)


def test_what_is_wrong_is_said(tmp_path):
    for data, words in ((encode_image(RGB)[:-20], "x is cut off"), (b"none", "x cannot be decoded"), (b"", "x cannot be decoded")):
        with pytest.raises(ValueError, match=words):
            decode_image(data, "x")
    with pytest.raises(ValueError, match=r"image a\.png is missing"):
        read_image(tmp_path / "a.png")
