"""Stored arrays come back whatever their shape and content."""

import sys

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.codec import DTYPES
from storage.arrays import CODEC_IDS, LEFT_DELTA, LOSSY, ArrayCodec, codecs_for
from storage.errors import MissingPackage, StorageError

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12)


def there_and_back(codec: str, array: np.ndarray) -> np.ndarray:
    arrays = ArrayCodec(codecs_for(codec))
    number, stored = arrays.encode("frame", array)
    raw = arrays.decode(number, memoryview(stored), array.dtype, list(array.shape))
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


@settings(deadline=None, max_examples=100)
@given(
    codec=st.sampled_from([name for name in CODEC_IDS if name not in LOSSY]),
    dtype=st.sampled_from(list(DTYPES)),
    shape=SHAPES,
    seed=st.integers(0, 99),
    high=st.sampled_from([1, 3, 256]),
)
def test_any_array(codec, dtype, shape, seed, high):
    array = np.random.default_rng(seed).integers(0, high, shape).astype(dtype)
    assert there_and_back(codec, array).tobytes() == array.tobytes()


@settings(deadline=None, max_examples=60)
@given(lead=st.lists(st.integers(1, 3), max_size=2), height=st.integers(1, 50), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_any_image_or_stack(lead, height, width, seed):
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] * np.array([1, 3, 7])
    noise = np.random.default_rng(seed).integers(0, 4, (*lead, height, width, 3))
    array = (ramp + noise).astype(np.uint8)
    assert np.array_equal(there_and_back("delta-zstd", array), array)
    canvas = np.full((*array.shape[:-2], array.shape[-2] + 5, 3), 9, np.uint8)  # decoded between other things
    arrays = ArrayCodec(codecs_for("delta-zstd"))
    number, stored = arrays.encode("frame", array)
    arrays.decode_into(number, memoryview(stored), canvas[..., 2:-3, :])
    assert np.array_equal(canvas[..., 2:-3, :], array)
    assert (canvas[..., :2, :] == 9).all() and (canvas[..., -3:, :] == 9).all()


def test_smooth_images_shrink_and_noise_stays_raw():
    arrays = ArrayCodec(codecs_for("delta-zstd"))
    smooth = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    assert arrays.encode("frame", smooth)[0] == CODEC_IDS["delta-zstd"]
    assert len(arrays.encode("frame", smooth)[1]) < 3000
    assert arrays.encode("frame", noise)[0] == CODEC_IDS["raw"]
    assert arrays.encode("probe", smooth)[0] == CODEC_IDS["zstd"]
    assert arrays.encode("frame", smooth[:5, :5])[0] == CODEC_IDS["raw"]  # small


def test_stored_bytes_that_do_not_fit_are_refused_before_memory_is_taken():
    arrays = ArrayCodec(codecs_for("zstd"))
    _, stored = arrays.encode("frame", np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(ValueError, match="frame of 30000 bytes, expected 3"):
        arrays.decode(CODEC_IDS["zstd"], memoryview(stored), np.dtype("uint8"), [3])
    with pytest.raises(ValueError, match="content size"):
        arrays.decode(CODEC_IDS["zstd"], memoryview(b"nonsense"), np.dtype("uint8"), [3])
    with pytest.raises(ValueError, match="unknown codec number 9"):
        arrays.decode(9, memoryview(stored), np.dtype("uint8"), [3])
    with pytest.raises(StorageError, match="one of raw, zstd, delta-zstd, jpeg"):
        codecs_for("png")


def smooth_image() -> np.ndarray:
    return (np.add.outer(np.arange(90) * 2, np.arange(120))[..., None] + np.array([0, 30, 60])).clip(0, 255).astype(np.uint8)


def test_what_was_stored_as_differences_to_the_left_is_read_for_ever():
    image = smooth_image()
    left = image.copy()
    left[:, 1:] -= image[:, :-1]
    stored = zstandard.ZstdCompressor().compress(left.data)
    raw = ArrayCodec({}).decode(LEFT_DELTA, memoryview(stored), image.dtype, list(image.shape))
    assert bytes(raw) == image.tobytes()


def test_jpeg_is_for_single_images_of_frames_and_near_to_them():
    arrays = ArrayCodec(codecs_for("jpeg"))
    image = smooth_image()
    image[:45, :, 0] = 250  # red stays red
    number, stored = arrays.encode("frame", image)
    assert number == CODEC_IDS["jpeg"] and bytes(stored[:2]) == b"\xff\xd8" and len(stored) < image.nbytes / 5
    back = np.frombuffer(arrays.decode(number, memoryview(stored), image.dtype, list(image.shape)), np.uint8).reshape(image.shape)
    assert 0 < np.abs(back.astype(int) - image).mean() < 3
    depth = np.arange(9000, dtype=np.uint16).reshape(90, 100)
    for kind, array in (("frame", depth), ("frame", np.stack([image, image])), ("prediction", image), ("probe", image)):
        number, stored = arrays.encode(kind, array)
        assert number != CODEC_IDS["jpeg"]
        assert bytes(arrays.decode(number, memoryview(stored), array.dtype, list(array.shape))) == array.tobytes()


@pytest.mark.parametrize("stored", [b"", b"nonsense", b"\xff\xd8\xff\xe0"])
def test_bytes_that_are_no_jpeg_are_refused(stored):
    with pytest.raises(ValueError, match="JPEG"):
        ArrayCodec({}).decode(CODEC_IDS["jpeg"], memoryview(stored), np.dtype("uint8"), [4, 4, 3])


def test_a_jpeg_of_another_shape_is_refused():
    number, stored = ArrayCodec(codecs_for("jpeg")).encode("frame", smooth_image())
    with pytest.raises(ValueError, match=r"JPEG of \(90, 120, 3\), expected \(120, 90, 3\)"):
        ArrayCodec({}).decode(number, memoryview(stored), np.dtype("uint8"), [120, 90, 3])


def test_without_opencv_jpeg_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match=r"codec jpeg needs OpenCV.*\[viewer\]"):
        codecs_for("jpeg")
    with pytest.raises(MissingPackage):
        ArrayCodec({}).decode(CODEC_IDS["jpeg"], memoryview(b"x"), np.dtype("uint8"), [4, 4, 3])
    assert codecs_for("raw")["frame"] == "raw"
