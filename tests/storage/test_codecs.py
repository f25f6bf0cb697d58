"""Stored arrays come back whatever their shape and content."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.codec import DTYPES
from storage.arrays import CODEC_IDS, ArrayCodec, codecs_for
from storage.errors import StorageError

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12)


def there_and_back(codec: str, array: np.ndarray) -> np.ndarray:
    arrays = ArrayCodec(codecs_for(codec))
    number, stored = arrays.encode("frame", array)
    raw = arrays.decode(number, memoryview(stored), array.dtype, list(array.shape))
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


@settings(deadline=None, max_examples=100)
@given(
    codec=st.sampled_from(list(CODEC_IDS)),
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
    with pytest.raises(StorageError, match="one of raw, zstd, delta-zstd"):
        codecs_for("png")
