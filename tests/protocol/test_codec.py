"""What goes on the wire comes back the same; everything else is refused by a named reason."""

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol import messages as m
from protocol.codec import DTYPES, MAX_ARRAYS, MAX_HEADER_BYTES
from protocol.errors import DecodeError, EncodeError
from protocol.topics import TOPICS

Make = Callable[..., m.Message]
Examples = dict[str, tuple[m.Body, dict[str, np.ndarray]]]
REASONS = {"parts", "topic", "header_size", "msgpack", "version", "header", "size", "arrays", "body", "dtype", "shape", "length"}
FUZZ = settings(max_examples=1500, deadline=None, database=None)


def through(message: m.Message) -> m.Message:
    return codec.decode([bytes(part) for part in codec.encode(message)])


def same(a: m.Message, b: m.Message) -> bool:
    arrays = [
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(a.arrays.values(), b.arrays.values(), strict=True)
    ]
    return (a.envelope, a.body, list(a.arrays)) == (b.envelope, b.body, list(b.arrays)) and all(arrays)


def wire(**changes: Any) -> list[bytes]:
    """A frame as it stands on the wire, with parts of its header changed."""
    envelope = {"topic": "frame/r", "source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1}
    plain = {"v": 1, "envelope": envelope, "body": {}, "arrays": [["image/top", "uint8", [2, 2, 3]]], **changes}
    return [b"frame/r", msgpack.packb(plain), bytes(12)]


def reason(parts: list[Any]) -> str:
    with pytest.raises(DecodeError) as caught:
        codec.decode(parts)
    assert str(caught.value)
    return caught.value.reason


def lives(parts: list[bytes]) -> None:
    """Decoding gives a message or a DecodeError, and nothing else ever."""
    try:
        message = codec.decode(parts)
    except DecodeError as error:
        refused = error
    else:
        assert isinstance(message, m.Message)
        return
    assert refused.reason in REASONS
    assert str(refused)


@pytest.mark.parametrize("kind", TOPICS)
def test_every_body_comes_back(kind: str, examples: Examples, make: Make) -> None:
    body, arrays = examples[kind]
    message = make(kind, body, arrays, session="s", episode=2, step=3)
    assert same(through(message), message)
    assert type(through(message).body) is TOPICS[kind].body


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4, 1)])
def test_every_array_comes_back(dtype: str, shape: tuple[int, ...], make: Make) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    message = make("frame", m.Frame(), {"image/top": array})
    assert same(through(message), message)


def test_arrays_that_are_not_contiguous_come_back(make: Make) -> None:
    whole = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    for array in (whole[::2, ::-1], whole.T, np.broadcast_to(np.uint8(7), (3, 3))):
        assert np.array_equal(through(make("frame", m.Frame(), {"a": array})).arrays["a"], array)


def test_decoded_arrays_are_read_only_views(make: Make) -> None:
    array = through(make("frame", m.Frame(), {"a": np.zeros(3, np.uint8)})).arrays["a"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_contiguous_arrays_are_not_copied(make: Make) -> None:
    array = np.zeros((8, 8, 3), np.uint8)
    buffer = codec.encode(make("frame", m.Frame(), {"a": array}))[2]
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), array)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], dtype=object), np.zeros(2, ">f4"), np.zeros(2, "complex64"), np.array(["a"]),
        np.zeros(2, "datetime64[s]"), np.zeros(2, [("a", "u1")]), np.zeros((1,) * 9, np.uint8),
    ],
)  # fmt: skip
def test_sender_refuses_arrays_the_wire_does_not_carry(array: np.ndarray, make: Make) -> None:
    with pytest.raises(EncodeError, match="array 'a'"):
        codec.encode(make("frame", m.Frame(), {"a": array}))


def test_sender_refuses_at_the_limit_plus_one(make: Make) -> None:
    limit = TOPICS["metrics"].max_bytes
    assert codec.encode(make("metrics", m.Metrics(values={}), {"a": np.zeros(limit, np.uint8)}))
    with pytest.raises(EncodeError, match="the limit of this topic"):
        codec.encode(make("metrics", m.Metrics(values={}), {"a": np.zeros(limit + 1, np.uint8)}))
    with pytest.raises(EncodeError, match=f"limit is {MAX_ARRAYS}"):
        codec.encode(make("frame", m.Frame(), {str(i): np.zeros(1, np.uint8) for i in range(MAX_ARRAYS + 1)}))
    with pytest.raises(EncodeError, match=f"limit is {MAX_HEADER_BYTES}"):
        codec.encode(make("log", m.LogRecord(level="INFO", logger="x", text="x" * MAX_HEADER_BYTES)))


@pytest.mark.parametrize("value", [object(), 2**70, {1: 2}.keys(), np.zeros(2)])
def test_sender_refuses_values_the_wire_does_not_carry(value: Any, make: Make) -> None:
    with pytest.raises(EncodeError):
        codec.encode(make("control", m.Control(command="c", args={"a": value}, by="x")))


def test_sender_refuses_another_body_and_unknown_topics(make: Make) -> None:
    with pytest.raises(EncodeError, match="body is Frame, expected Metrics"):
        codec.encode(make("metrics", m.Frame()))
    with pytest.raises(EncodeError, match="unknown topic"):
        codec.encode(make("fram", m.Frame()))


def test_numbers_of_numpy_become_plain_ones(make: Make) -> None:
    body = m.Metrics(values={"a": np.float32(0.5), "b": np.float64(1.5), "c": np.int64(3)})  # type: ignore[dict-item]
    assert through(make("metrics", body)).body.values == {"a": 0.5, "b": 1.5, "c": 3.0}


@pytest.mark.parametrize(
    ("expected", "parts"),
    [
        ("parts", []),
        ("parts", [b"frame/r"]),
        ("parts", wire()[:2]),
        ("parts", [*wire(), b""]),
        ("topic", [b"\xff\xfe", *wire()[1:]]),
        ("topic", [b"frame/other", *wire()[1:]]),
        ("topic", [b"wat/r", wire(envelope={"topic": "wat/r", "source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1})[1], b""]),
        ("header_size", [b"frame/r", bytes(MAX_HEADER_BYTES + 1)]),
        ("msgpack", [b"frame/r", b""]),
        ("msgpack", [b"frame/r", b"\xc1"]),
        ("msgpack", [b"frame/r", pickle.dumps({"v": 1})]),
        ("msgpack", [b"frame/r", b"\x91" * 60_000 + b"\xc0"]),
        ("msgpack", [b"frame/r", b"\xdd\xff\xff\xff\xff"]),
        ("msgpack", [b"frame/r", b"\xdf\xff\xff\xff\xff"]),
        ("msgpack", [b"frame/r", b"\xc6\xff\xff\xff\xff"]),
        ("msgpack", [b"frame/r", msgpack.packb({"v": 1, "x": msgpack.ExtType(5, b"12")})]),
        ("msgpack", [b"frame/r", msgpack.packb({1: 2})]),
        ("version", [b"frame/r", msgpack.packb([1])]),
        ("version", wire(v=2)),
        ("version", wire(v=None)),
        ("header", wire(v=True)),
        ("header", wire(extra=1)),
        ("header", wire(envelope={"topic": "frame/r"})),
        ("header", wire(envelope={"topic": "frame/r", "source": "r", "run": "q", "seq": -1, "t_ns": 1, "mono_ns": 1})),
        ("header", wire(arrays=[["a", "uint8"]])),
        ("header", wire(arrays=[["a", "uint8", ["2"]]])),
        ("body", wire(body={"held_out": 1})),
        ("body", wire(body={"unknown": 1})),
        ("dtype", wire(arrays=[["a", "object", [12]]])),
        ("dtype", wire(arrays=[["a", "O", [12]]])),
        ("dtype", wire(arrays=[["a", "V12", [1]]])),
        ("shape", wire(arrays=[["a", "uint8", [-12]]])),
        ("shape", wire(arrays=[["a", "uint8", [1] * 9]])),
        ("shape", [*wire(arrays=[["a", "uint8", [0, 2**63]]])[:2], b""]),
        ("length", wire(arrays=[["a", "uint8", [13]]])),
        ("length", wire(arrays=[["a", "float64", [12]]])),
        ("length", wire(arrays=[["a", "uint8", [2**62, 2**62, 2**62]]])),
        ("arrays", [*wire(arrays=[["a", "uint8", [12]], ["a", "uint8", [1]]]), b"1"]),
    ],
)  # fmt: skip
def test_each_lie_has_its_reason(expected: str, parts: list[bytes]) -> None:
    assert reason(parts) == expected


def test_receiver_refuses_over_the_topics_limit() -> None:
    limit = TOPICS["metrics"].max_bytes
    envelope = {"topic": "metrics/r", "source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1}
    header = wire(envelope=envelope, body={"values": {}}, arrays=[["a", "uint8", [limit + 1]]])[1]
    assert reason([b"metrics/r", header, bytes(limit + 1)]) == "size"


BOMBS = [b"\xdc\xff\xff" * 1023, b"\xdc\x20\x00" * 1023, b"\xde\xff\xff\xa1a" * 1000, b"\xdd\x00\x00\x1f\xff" * 1023]


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_cost_little_memory(bomb: bytes) -> None:
    tracemalloc.start()
    assert reason([b"frame/r", bomb]) == "msgpack"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


@FUZZ
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_are_refused(parts: list[bytes]) -> None:
    lives(parts)


def _real() -> list[list[bytes]]:
    envelope = {"source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1}
    bodies = {
        "frame/r": m.Frame(), "status/r": m.Status(state="ready", kind="robot", last_seq={"a": 1}),
        "action/r": m.ActionTaken(action={"a": 1.0}, by="x", start_ns=1, end_ns=2),
        "prediction/r": m.Prediction(candidates=[{"a": 1.0}], weights_version=1, latency_ms=0.5),
    }  # fmt: skip
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((0, 3), np.uint8)}
    messages = [
        m.Message(envelope=m.Envelope(topic=topic, **envelope), body=body, arrays=arrays if topic == "frame/r" else {})  # type: ignore[arg-type]
        for topic, body in bodies.items()
    ]
    return [[bytes(part) for part in codec.encode(message)] for message in messages]


@FUZZ
@given(st.sampled_from(_real()), st.data())
def test_mutated_messages_are_refused_or_whole(parts: list[bytes], data: st.DataObject) -> None:
    parts = list(parts)
    for _ in range(data.draw(st.integers(1, 4))):
        which = data.draw(st.integers(0, len(parts) - 1))
        part = bytearray(parts[which])
        change = data.draw(st.sampled_from(["flip", "cut", "drop", "double", "insert"]))
        place = data.draw(st.integers(0, max(len(part) - 1, 0)))
        if change == "flip" and part:
            part[place] ^= data.draw(st.integers(1, 255))
        elif change == "cut":
            del part[place:]
        elif change == "insert":
            part[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        parts[which] = bytes(part)
        if change == "drop" and len(parts) > 1:
            del parts[which]
        elif change == "double":
            parts.insert(which, parts[which])
    lives(parts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12,
)  # fmt: skip


@FUZZ
@given(st.sampled_from(["v", "envelope", "body", "arrays"]), JSON, st.lists(st.binary(max_size=16), max_size=2))
def test_headers_of_other_shapes_are_refused(field: str, value: Any, buffers: list[bytes]) -> None:
    lives([*wire(**{field: value})[:2], *buffers])


@FUZZ
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*DTYPES, "object", "U1"]),
                       st.lists(st.integers(-2, 3) | st.sampled_from([2**31, 2**63, 2**64 - 1]), max_size=9)), max_size=3),
    st.lists(st.binary(max_size=24), max_size=3),
)  # fmt: skip
def test_arrays_that_lie_are_refused(described: list[Any], buffers: list[bytes]) -> None:
    lives([*wire(arrays=described)[:2], *buffers])


def test_envelope_keeps_what_is_optional(make: Make) -> None:
    message = through(make("frame", m.Frame()))
    assert (message.envelope.session, message.envelope.episode, message.envelope.step) == (None, None, None)
    assert msgspec.structs.asdict(message.envelope)["seq"] == 0
