"""Whatever is asked on a control endpoint is a request or refused; whatever answers is an answer or a ControlError."""

import random
import threading
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import control
from protocol.control import MAX_REPLY_BYTES, MAX_REQUEST_BYTES, ControlRequest, parse_request
from protocol.errors import MAX_LINE, ControlError, DecodeError

from .mutations import HUGE, ODD, PICKLE, SNIPPETS

FUZZ = settings(max_examples=600, deadline=None, database=None)
REQUEST = {"v": 1, "id": "1", "command": "pause", "args": {"a": [1, 2.5, None]}, "by": "test"}
SCALAR = st.none() | st.booleans() | st.sampled_from(HUGE) | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12
)


def judge(payload: bytes) -> ControlRequest | None:
    """The request, which can be answered; None when it was refused."""
    sent: list[bytes] = []
    try:
        request = parse_request(payload, sent.append)
    except DecodeError as error:
        refused = error
    else:
        assert request.by.isprintable() or not request.by
        request.refuse("no\nreally " + request.command)
        answer = msgpack.unpackb(sent[0])
        assert answer["error"].isprintable()
        assert len(answer["error"]) <= MAX_LINE
        return request
    assert refused.reason == "control"
    assert str(refused).isprintable()
    return None


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes(payload: bytes) -> None:
    judge(payload)


@FUZZ
@given(st.sampled_from([*REQUEST, "unknown"]), ANYTHING)
def test_requests_with_a_field_of_another_shape(field: str, value: Any) -> None:
    request = judge(msgpack.packb({**REQUEST, field: value}))
    if request is not None:
        assert isinstance(request.args, dict)
        assert isinstance(request.command, str)


@pytest.mark.parametrize("cases", [10_000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_mutated_requests(cases: int) -> None:
    noise = random.Random(21)
    whole = [msgpack.packb({**REQUEST, "args": args}) for args in ({}, {"index": 1}, {"mark": "success"}, {"a": {"b": [1, "x"]}})]
    taken = 0
    for _ in range(cases):
        payload = bytearray(noise.choice(whole))
        for _ in range(noise.choice((1, 1, 2, 4))):
            at = noise.randrange(len(payload) + 1)
            what = noise.randrange(4)
            if what == 0:
                payload[at:at] = noise.choice(SNIPPETS)
            elif what == 1:
                del payload[at : at + noise.randrange(4)]
            elif payload:
                payload[min(at, len(payload) - 1)] ^= 1 << noise.randrange(8)
        taken += judge(bytes(payload)) is not None
    assert cases / 100 < taken < cases


@pytest.mark.parametrize(
    "payload",
    [
        b"", PICKLE, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 60_000 + b"\xc0", bytes(MAX_REQUEST_BYTES + 1),
        b"\xd7\xff" + bytes(8), msgpack.packb({**REQUEST, "v": msgpack.ExtType(5, b"x")}), msgpack.packb([REQUEST]),
        msgpack.packb({**REQUEST, "args": None}), msgpack.packb({k: v for k, v in REQUEST.items() if k != "by"}),
    ],
)  # fmt: skip
def test_what_is_no_request(payload: bytes) -> None:
    assert judge(payload) is None


def test_an_answer_that_is_too_large_is_for_the_node_to_refuse() -> None:
    sent: list[bytes] = []
    request = parse_request(msgpack.packb(REQUEST), sent.append)
    with pytest.raises(ValueError, match="the limit is"):
        request.reply({"a": "x" * MAX_REPLY_BYTES})
    for odd in (object(), 2**70):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            request.reply({"a": odd})
    assert sent == []


REPLIES = [b"", b"\xc1", PICKLE, b"\xdd\xff\xff\xff\xff", bytes(MAX_REPLY_BYTES), msgpack.packb({"v": 1, "id": "1", "ok": "yes"})]


@pytest.mark.parametrize("reply", [*REPLIES, *(msgpack.packb(odd) for odd in ODD[:12])])
def test_answers_that_are_none(reply: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as node:
        node.linger = 0
        port = node.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            identity, _ = node.recv_multipart()
            node.send_multipart([identity, reply])

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(ControlError, match="is no control reply") as caught:
            control.ask(context, f"tcp://127.0.0.1:{port}", "pause", {}, "test", 20.0)
        answering.join()
    assert str(caught.value).isprintable()


def test_an_answer_without_end_is_not_taken() -> None:
    """Its sender is cut off; the question stays without an answer."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as node:
        node.linger = 0
        port = node.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            identity, _ = node.recv_multipart()
            node.send_multipart([identity, bytes(MAX_REPLY_BYTES + 1)])

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(ControlError, match="no answer"):
            control.ask(context, f"tcp://127.0.0.1:{port}", "pause", {}, "test", 0.5)
        answering.join()
