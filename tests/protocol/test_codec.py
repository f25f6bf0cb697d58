"""What goes on the wire comes back the same; everything else is refused by a named reason."""

import pickle
from collections.abc import Callable
from typing import Any, get_type_hints

import msgpack
import msgspec
import numpy as np
import pytest

from protocol import codec
from protocol import messages as m
from protocol.codec import DTYPES, MAX_ARRAYS, MAX_HEADER_BYTES
from protocol.errors import DecodeError, EncodeError
from protocol.topics import TOPICS

Make = Callable[..., m.Message]
Examples = dict[str, tuple[m.Body, dict[str, np.ndarray]]]


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


def test_a_message_knows_the_header_it_came_with(make: Make) -> None:
    sent = make("frame/r", m.Frame(last=True), {"image/top": np.zeros((2, 2, 3), np.uint8)})
    came = codec.decode(codec.encode(sent))
    assert came.wire is not None
    assert codec.header_of(came) is came.wire.header
    assert bytes(codec.header_of(came)) == codec.encode_header(came) == codec.header_of(sent)


@pytest.mark.parametrize(
    "change",
    [
        lambda came: {"envelope": msgspec.structs.replace(came.envelope, seq=77)},
        lambda came: {"body": m.Frame(held_out=True)},
        lambda came: {"arrays": {"image/top": np.zeros((4, 4, 3), np.uint8)}},
        lambda came: {"arrays": {}},
    ],
)
def test_a_changed_message_has_a_header_of_its_own(change: Callable[[m.Message], dict[str, Any]], make: Make) -> None:
    came = codec.decode(codec.encode(make("frame/r", m.Frame(last=True), {"image/top": np.zeros((2, 2, 3), np.uint8)})))
    changed = msgspec.structs.replace(came, **change(came))
    assert codec.header_of(changed) == codec.encode_header(changed) != came.wire.header


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


@pytest.mark.parametrize("kind", codec.OFTEN)
def test_what_comes_often_has_no_field_of_any_type(kind: str) -> None:
    assert "Any" not in str(get_type_hints(TOPICS[kind].body))


def test_a_list_too_long_for_the_careful_reader_is_refused_of_what_comes_often_too() -> None:
    envelope = {"topic": "metrics/r", "source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1}
    header = wire(envelope=envelope, body={"values": {f"{i:x}": 1 for i in range(codec.MAX_ITEMS + 1)}}, arrays=[])[1]
    assert len(header) < MAX_HEADER_BYTES
    assert reason([b"metrics/r", header]) == "msgpack"


def test_receiver_refuses_over_the_topics_limit() -> None:
    limit = TOPICS["metrics"].max_bytes
    envelope = {"topic": "metrics/r", "source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1}
    header = wire(envelope=envelope, body={"values": {}}, arrays=[["a", "uint8", [limit + 1]]])[1]
    assert reason([b"metrics/r", header, bytes(limit + 1)]) == "size"


def test_envelope_keeps_what_is_optional(make: Make) -> None:
    message = through(make("frame", m.Frame()))
    assert (message.envelope.session, message.envelope.episode, message.envelope.step) == (None, None, None)
    assert msgspec.structs.asdict(message.envelope)["seq"] == 0
