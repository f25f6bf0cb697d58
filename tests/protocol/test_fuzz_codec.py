"""Whatever bytes come, decoding gives a valid message or a refusal with a reason of the closed set, in bounded memory."""

import collections
import pickle
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec
from protocol import messages as m
from protocol.codec import DTYPES, MAX_HEADER_BYTES
from protocol.errors import MAX_LINE, REASONS, DecodeError, EncodeError
from protocol.topics import TOPICS

from .mutations import HUGE, NAMES, PICKLE, SHAPES, Mutator, Parts, messages

ROOT = Path(__file__).parents[2]
FUZZ = settings(max_examples=600, deadline=None, database=None)
CODEC_REASONS = {"parts", "topic", "header_size", "msgpack", "version", "header", "size", "arrays", "body", "dtype", "shape", "length"}


def judge(parts: Parts) -> str:
    """`valid`, or the reason of the refusal; fails when it is neither."""
    try:
        message = codec.decode([memoryview(part) for part in parts])
    except DecodeError as error:
        refused = error
    else:
        check(message, parts)
        return "valid"
    assert refused.reason in CODEC_REASONS
    assert str(refused).isprintable()
    assert len(str(refused)) < MAX_LINE + 100
    return refused.reason


def check(message: m.Message, parts: Parts) -> None:
    """A message that was taken is what its topic's row says, holds what came, and can be passed on and recorded."""
    assert message.topic.encode() == parts[0]
    assert type(message.body) is TOPICS[message.kind].body
    assert [array.nbytes for array in message.arrays.values()] == [len(part) for part in parts[2:]]
    assert all(array.dtype.name in DTYPES and not array.flags.writeable for array in message.arrays.values())
    careful = codec.decode_header(parts[1])  # what reads the kinds that come often takes nothing that this one refuses
    assert [msgspec.msgpack.encode(one) for one in (careful.envelope, careful.body)] == [
        msgspec.msgpack.encode(one) for one in (message.envelope, message.body)
    ]
    again = [bytes(part) for part in codec.encode(message)]
    assert [bytes(part) for part in codec.encode(codec.decode(again))] == again


# -- by mutation of real messages -------------------------------------------------------------------


@pytest.mark.parametrize("cases", [20_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_mutated_messages_are_whole_or_refused_by_name(cases: int) -> None:
    """Half a minute for a million. The seed is new in every run and is told, with the parts, when it finds something."""
    seed = random.getrandbits(32)
    mutated = Mutator(seed)
    verdicts: collections.Counter[str] = collections.Counter()
    for number in range(cases):
        parts = mutated()
        try:
            verdicts[judge(parts)] += 1
        except Exception as error:
            raise AssertionError(f"case {number} of seed {seed}, {type(error).__name__}: {error}\n{parts}") from error
    assert verdicts.total() == cases
    assert verdicts["valid"] > cases / 100, "mutations that change nothing that matters are still taken"
    often = CODEC_REASONS - {"size", "header_size", "arrays"}  # one case in 5,000 has two arrays of one name
    assert set(verdicts) >= often | {"valid"}, "every check is reached but those of size"


@pytest.mark.parametrize("kind", TOPICS)
def test_every_byte_of_a_header_may_be_wrong(kind: str) -> None:
    parts = messages()[kind]
    assert judge(parts) == "valid"
    for at in range(len(parts[1])):
        for value in {0x00, 0xC1, 0xFF, 0xDD, parts[1][at] ^ 1, parts[1][at] ^ 0x80}:
            judge([parts[0], parts[1][:at] + bytes([value]) + parts[1][at + 1 :], *parts[2:]])


@pytest.mark.parametrize("kind", TOPICS)
def test_a_message_cut_at_any_place_is_refused(kind: str) -> None:
    parts = messages()[kind]
    for which, part in enumerate(parts):
        for at in range(0, len(part), 1 if which < 2 else 7):
            assert judge([*parts[:which], part[:at], *parts[which + 1 :]]) in REASONS
            assert judge([*parts[:which], part + part[: at + 1], *parts[which + 1 :]]) in REASONS
    for count in range(len(parts)):
        assert judge(parts[:count]) == "parts"
        assert judge([*parts, *parts[:count], b""]) == "parts"


def test_headers_of_one_topic_do_not_pass_for_another() -> None:
    whole = messages()
    for kind, parts in whole.items():
        for other, others in whole.items():
            if kind != other:
                assert judge([parts[0], *others[1:]]) == "topic"


# -- by structure, where a finding shrinks to its core ------------------------------------------------

SCALAR = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.sampled_from(HUGE) | st.floats()
    | st.text(max_size=8) | st.binary(max_size=8) | st.sampled_from(sorted(TOPICS))
)  # fmt: skip
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | SCALAR, inner, max_size=4), max_leaves=15
)
SHAPE = st.lists(st.integers(-2, 5) | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64 - 1]), max_size=9) | st.sampled_from(SHAPES)
ARRAY = st.tuples(st.sampled_from(["a", "b", "image/top"]), st.sampled_from([*DTYPES, *NAMES]), SHAPE).map(list)


def headers(**changes: Any) -> dict[str, Any]:
    envelope = {"topic": "frame/r", "source": "r", "run": "q", "seq": 0, "t_ns": 1, "mono_ns": 1}
    return {"v": 1, "envelope": envelope, "body": {}, "arrays": [], **changes}


@FUZZ
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes(parts: Parts) -> None:
    judge(parts)


@FUZZ
@given(ANYTHING, st.lists(st.binary(max_size=16), max_size=2))
def test_any_structure(value: Any, buffers: Parts) -> None:
    judge([b"frame/r", msgpack.packb(value), *buffers])


@FUZZ
@given(st.sampled_from(["v", "envelope", "body", "arrays"]), ANYTHING, st.lists(st.binary(max_size=16), max_size=2))
def test_headers_with_a_field_of_another_shape(field: str, value: Any, buffers: Parts) -> None:
    judge([b"frame/r", msgpack.packb(headers(**{field: value})), *buffers])


@FUZZ
@given(st.sampled_from(sorted(TOPICS)), st.data())
def test_bodies_with_fields_of_another_shape(kind: str, data: st.DataObject) -> None:
    header = msgpack.unpackb(messages()[kind][1])
    field = data.draw(st.sampled_from([*header["body"], "unknown"]) if header["body"] else st.just("unknown"))
    header["body"][field] = data.draw(ANYTHING)
    judge([f"{kind}/r".encode(), msgpack.packb(header), *messages()[kind][2:]])


@FUZZ
@given(st.sampled_from(["topic", "source", "run", "seq", "t_ns", "mono_ns", "session", "episode", "step", "unknown"]), ANYTHING)
def test_envelopes_with_fields_of_another_shape(field: str, value: Any) -> None:
    header = headers()
    header["envelope"][field] = value
    judge([b"frame/r", msgpack.packb(header)])


@FUZZ
@given(st.lists(ARRAY, max_size=3), st.lists(st.binary(max_size=60), max_size=3))
def test_arrays_that_lie(described: list[Any], buffers: Parts) -> None:
    judge([b"frame/r", msgpack.packb(headers(arrays=described)), *buffers])


# -- what must not cost memory, time or more ------------------------------------------------------------

DEEP = 100_000
BOMBS: dict[str, bytes] = {
    "array32 of 2^32-1": b"\xdd\xff\xff\xff\xff",
    "map32 of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "str32 of 2^32-1": b"\xdb\xff\xff\xff\xff" + b"x" * 100,
    "bin32 of 2^32-1": b"\xc6\xff\xff\xff\xff" + b"x" * 100,
    "ext32 of 2^32-1": b"\xc9\xff\xff\xff\xff\x05" + b"x" * 100,
    "arrays of 65535 in arrays": b"\xdc\xff\xff" * 20_000,
    "arrays of 8192 in arrays": b"\xdc\x20\x00" * 20_000,
    "maps of 65535 in maps": b"\xde\xff\xff\xa1a" * 12_000,
    "maps of 8191 in maps": b"\xde\x1f\xff\xa1a" * 12_000,
    "deep arrays": b"\x91" * DEEP + b"\xc0",
    "deep arrays that fit": b"\x91" * (MAX_HEADER_BYTES - 1) + b"\xc0",
    "deep maps": b"\x81\xa1a" * DEEP + b"\xc0",
    "deep maps that fit": b"\x81\xa1a" * (MAX_HEADER_BYTES // 3 - 1) + b"\xc0",
    "deep keys": b"\x81" * 60_000 + b"\xc0",
    "deep as version": b"\x81\xa1v" + b"\x91" * 900 + b"\xc0",
    "deep as body": msgpack.packb(headers())[:-9] + b"\x91" * 900 + b"\xc0",
    "long as version": msgpack.packb({"v": [None] * 8000}),
    "ext of any kind": msgpack.packb(headers(x=msgpack.ExtType(5, b"12"))),
    "timestamp 32": b"\x81\xa1v\xd6\xff\x00\x00\x00\x00",
    "timestamp 64": b"\x81\xa1v\xd7\xff" + b"\xff" * 8,
    "timestamp 96": b"\x81\xa1v\xc7\x0c\xff" + b"\xff" * 12,
    "keys that are numbers": b"\x81\x01\x01",
    "keys that are bytes": b"\x81\xc4\x01v\x01",
    "keys that are lists": b"\x81\x91\x01\x01",
    "a key twice": b"\x82\xa1v\x01\xa1v\x02",
    "never used type": b"\xc1",
    "pickle": PICKLE,
    "pickle of protocol 0": pickle.dumps({"v": 1}, protocol=0),
    "not UTF-8": b"\x81\xa1\xff\x01",
    "surrogates": b"\x81\xa3\xed\xa0\x80\x01",
    "more behind": msgpack.packb(headers()) + b"\xc0",
}
CHILD = """
import resource, sys
import msgpack, msgspec, numpy
from protocol import codec
from protocol.errors import DecodeError
data = sys.stdin.buffer.read()
free = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (128 << 20)
resource.setrlimit(resource.RLIMIT_AS, (free, free))
for size in msgpack.unpackb(data):
    try:
        codec.decode([memoryview(part) for part in size])
        print("valid")
    except DecodeError as error:
        print(error.reason)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str) -> None:
    assert judge([b"frame/r", BOMBS[name]]) in {"msgpack", "header_size", "version", "header"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of a process's memory is Linux's")
def test_bombs_and_lies_fit_into_128_mb() -> None:
    """A process that may not take more than that lives through all of them, and takes the next good message."""
    lies = [[b"frame/r", msgpack.packb(headers(arrays=[["a", name, shape]])), b""] for name in NAMES for shape in SHAPES]
    good = messages()["frame"]
    wires = [[b"frame/r", bomb] for bomb in BOMBS.values()] + lies + [[PICKLE, PICKLE, PICKLE], [PICKLE * 10_000, good[1]], good]
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=msgpack.packb(wires), capture_output=True, cwd=ROOT, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode().split()
    assert len(said) == len(wires)
    assert said[-1] == "valid"
    assert set(said[:-1]) <= CODEC_REASONS


@pytest.mark.parametrize("depth", [10, 400, 900])
def test_values_nested_deep_are_passed_on_or_refused(depth: int) -> None:
    """Params of a robot may hold anything; what is nested too deep for the next sender is an EncodeError there."""
    header = msgpack.unpackb(messages()["robot"][1])
    header["body"]["params"] = {}
    packed = msgpack.packb(header).replace(b"\xa6params\x80", b"\xa6params" + b"\x81\xa1a" * depth + b"\xc0")
    message = codec.decode([b"robot/r", packed])
    try:
        assert codec.encode(message)[1] == packed
    except EncodeError:
        assert depth > 400


def test_a_flood_of_garbage_leaves_nothing_behind() -> None:
    """The memory of ten thousand refusals is given back: the same again needs no more."""
    mutated = Mutator(3)
    cases = [mutated() for _ in range(10_000)] + [[b"frame/r", bomb] for bomb in BOMBS.values()]

    def peak_kb() -> int:
        for parts in cases:
            judge(parts)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    first = peak_kb()
    assert max(peak_kb() for _ in range(3)) - first < 20_000


@pytest.mark.parametrize("which", range(3))
def test_pickle_in_the_place_of_any_part_is_bytes(which: int) -> None:
    """In the place of a buffer of the right length it is pixels, and nothing but pixels."""
    parts = messages()["frame"]
    parts[which] = PICKLE
    assert judge(parts) in {"topic", "msgpack", "length"}
    header = msgpack.packb(headers(arrays=[["image/top", "uint8", [len(PICKLE)]]]))
    message = codec.decode([b"frame/r", header, PICKLE])
    assert np.array_equal(message.arrays["image/top"], np.frombuffer(PICKLE, np.uint8))
