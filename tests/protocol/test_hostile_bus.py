"""Garbage on every socket of a running bus: refused by name, counted, and the next good message is taken."""

import pickle
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from protocol import codec, control
from protocol import messages as m
from protocol.bus import Bus
from protocol.codec import MAX_HEADER_BYTES
from protocol.control import MAX_REQUEST_BYTES
from protocol.errors import REASONS, ControlError, EncodeError
from protocol.messages import MAX_NUMBER
from protocol.ports import free_ports
from protocol.publishing import DATA, WHO
from protocol.sockets import MARGIN_BYTES
from protocol.topics import TOPICS
from protocol.wiring import Endpoints

from . import zmtp
from .mutations import EXAMPLES, PICKLE, Mutator, Parts

ROBOT, RECORDER, TRAINER, PREDICTOR = [("robot", "robot")], [("rec", "recorder")], [("train", "trainer")], [("pred", "predictor")]
CASES = 400
GIB = 1 << 30
GARBAGE = [b"", b"garbage", b"\x80", b"\x00", b"\x01" * 900, b"\x02topic", b"\xdd\xff\xff\xff\xff", b"\xff" * 64, PICKLE]


def wire(kind: str, name: str, seq: int = 0, run: str = "good") -> Parts:
    """A good message as it stands on the wire."""
    body, arrays = EXAMPLES[kind]
    envelope = m.Envelope(topic=f"{kind}/{name}", source=name, run=run, seq=seq, t_ns=time.time_ns(), mono_ns=5, episode=0, step=seq)
    return [bytes(part) for part in codec.encode(m.Message(envelope=envelope, body=body, arrays=arrays))]


def status(name: str, kind: str, seq: int, run: str) -> Parts:
    envelope = m.Envelope(topic=f"status/{name}", source=name, run=run, seq=seq, t_ns=10**18, mono_ns=5)
    return [bytes(part) for part in codec.encode(m.Message(envelope=envelope, body=m.Status(state="running", kind=kind)))]


def huge(kind: str, name: str, nbytes: int) -> Parts:
    """A message over its topic's limit, well formed otherwise."""
    header = msgpack.unpackb(wire(kind, name, seq=1)[1])
    header["arrays"] = [["a", "uint8", [nbytes]]]
    return [f"{kind}/{name}".encode(), msgpack.packb(header), bytes(nbytes)]


class Hostile:
    """In the place of a publisher: both of its data sockets, bound, to send anything from."""

    def __init__(self, ends: Endpoints, context: zmq.Context[Any], wait: Callable[..., Any]) -> None:
        self.wait = wait
        self.latest, self.reliable = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        for socket, endpoint in ((self.latest, ends.latest), (self.reliable, ends.reliable)):
            socket.linger = 0
            socket.set_hwm(0)
            socket.bind(endpoint)
        self.latest.setsockopt(zmq.XPUB_VERBOSE, 1)

    def subscribed(self, name: str) -> None:
        """Waits until a node has subscribed."""
        self.wait(lambda: self.latest.poll(10) and self.latest.recv() == b"\x01~hello/" + name.encode(), "the subscription")

    def greeted(self) -> bytes:
        """Waits for a hello on the reliable lane; the identity it came from."""

        def hello() -> bytes | None:
            if not self.reliable.poll(10):
                return None
            identity, word = self.reliable.recv_multipart()
            return identity if msgpack.unpackb(word)["t"] == "hello" else None

        found: bytes = self.wait(hello, "hello")
        return found

    def data(self, identity: bytes, index: int, parts: Parts) -> None:
        self.reliable.send_multipart([identity, DATA + index.to_bytes(8, "big"), *parts])


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def hostile(graph: Any, context: zmq.Context[Any], wait: Any) -> Iterator[Callable[[str], Hostile]]:
    made: list[Hostile] = []

    def make(name: str) -> Hostile:
        made.append(Hostile(graph.endpoints(name), context, wait))
        return made[-1]

    yield make
    for one in made:
        one.latest.close()
        one.reliable.close()


def beats(bus: Bus, wait: Callable[..., Any]) -> None:
    """It goes on beating, and counts what it refused by reasons of the closed set."""
    before = bus.status().last_seq.get(f"status/{bus.wiring.name}", -1)
    bus.set_state("running")
    wait(lambda: bus.next(0) is None or True)
    wait(lambda: bus.status().last_seq[f"status/{bus.wiring.name}"] > before, "a heartbeat")
    assert set(bus.status().refused) <= REASONS


# -- a publisher that this node takes topics from ------------------------------------------------------


def test_garbage_from_a_publisher_on_the_latest_lane(graph: Any, take: Any, wait: Any, hostile: Any) -> None:
    predictor = graph.bus("pred", "predictor", inputs=ROBOT, subscribe=False)
    robot = hostile("robot")
    predictor.subscribe()
    robot.subscribed("pred")
    mutated = Mutator(11)
    for number in range(CASES):
        parts = mutated()
        name = random.choice([b"frame/robot", b"status/robot", b"action/robot"])
        robot.latest.send_multipart([name, *parts[1:]] if number % 4 else [name + parts[0] if parts else name])
    robot.latest.send_multipart([b"frame/robot" + bytes(300), *wire("frame", "robot")[1:]])
    for parts in ([b"frame/robot"], wire("frame", "robot")[:2], [b"frame/robot", b"\xc1"], [b"frame/robot", *wire("action", "robot")[1:]]):
        robot.latest.send_multipart(parts)
    robot.latest.send_multipart(wire("frame", "robot"))
    assert take(predictor, "frame", until=lambda found: bool(found) and found[-1].envelope.run == "good")
    refused = predictor.status().refused
    assert sum(refused.values()) >= CASES // 2
    assert {"parts", "topic", "msgpack"} <= set(refused) <= REASONS
    beats(predictor, wait)


def test_garbage_from_a_publisher_on_the_reliable_lane(graph: Any, take: Any, wait: Any, hostile: Any) -> None:
    recorder = graph.bus("rec", "recorder", inputs=ROBOT, subscribe=False)
    robot = hostile("robot")
    recorder.subscribe()
    robot.subscribed("rec")
    robot.latest.send_multipart(status("robot", "robot", 0, "bad"))
    identity = robot.greeted()
    mutated = Mutator(12)
    for number in range(CASES):
        if number % 3:
            robot.data(identity, number, mutated())
        else:
            robot.reliable.send_multipart([identity, *mutated()])
    for parts in (
        [b""],
        [DATA],
        [DATA, b"1"],
        [DATA + bytes(8)],
        [DATA + bytes(8), b"x"],
        [WHO],
        [WHO, b"x"],
        [DATA + bytes(9), b"a", b"b"],
    ):
        robot.reliable.send_multipart([identity, *parts])
    robot.data(identity, 1, wire("frame", "other"))  # another's topic
    robot.data(identity, 2, wire("frame", "robot"))
    assert take(recorder, "frame", until=lambda found: bool(found) and found[-1].envelope.run == "good")
    refused = recorder.status().refused
    assert sum(refused.values()) >= CASES // 2
    assert {"reliable", "parts", "topic", "msgpack", "header"} <= set(refused) <= REASONS
    beats(recorder, wait)


def test_valid_messages_with_absurd_numbers_do_not_stop_the_heart(graph: Any, take: Any, wait: Any, hostile: Any) -> None:
    """The books then hold numbers that no heartbeat can carry; it goes on without them."""
    recorder = graph.bus("rec", "recorder", inputs=ROBOT, subscribe=False)
    robot = hostile("robot")
    recorder.subscribe()
    robot.subscribed("rec")
    robot.latest.send_multipart(status("robot", "robot", 0, "bad"))
    identity = robot.greeted()
    for index, run in enumerate("abcdef"):
        for kind in ("frame", "action"):
            robot.data(identity, 2**64 - 1, wire(kind, "robot", seq=MAX_NUMBER, run=run))
        header = msgpack.unpackb(status("robot", "robot", index, run)[1])
        header["body"] |= {"last_seq": {"frame/robot": MAX_NUMBER, "frame/" + "x" * 5000: MAX_NUMBER, "\0": -1}, "final": index % 2 == 0}
        robot.latest.send_multipart([b"status/robot", msgpack.packb(header)])
    take(recorder, "frame", 6)
    beats(recorder, wait)
    robot.data(identity, 0, wire("frame", "robot"))
    assert take(recorder, "frame")[0].envelope.run == "good"


# -- clients of the sockets that this node binds -----------------------------------------------------


@pytest.mark.parametrize("lane", ["latest", "reliable", "control"])
def test_garbage_from_clients(graph: Any, ready: Any, take: Any, wait: Any, context: zmq.Context[Any], lane: str) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    reason = {"latest": "subscription", "reliable": "reliable", "control": "control"}[lane]
    mutated = Mutator(13)
    with context.socket(zmq.XSUB if lane == "latest" else zmq.DEALER) as socket:
        socket.linger = 5000
        socket.connect(getattr(graph.endpoints("robot"), lane))
        for one in GARBAGE:
            socket.send(b"x" + one)
            socket.send_multipart([one, b"more", b"parts"])
        for _ in range(CASES):
            socket.send_multipart([part[:1000] for part in mutated()] or [b""])
        wait(lambda: robot.status().refused.get(reason, 0) >= CASES // 2, f"{reason} to be counted")
    assert set(robot.status().refused) == {reason}
    _serves(robot, recorder, graph, take)
    beats(robot, wait)


WORD = {"t": "hello", "name": "rec", "run": "", "kinds": ["frame"], "resume": {}, "index": 0}
ODD_WORDS = [
    {"t": "wat"}, {"t": None}, {"t": []}, {"name": "stranger"}, {"name": "x" * 60_000}, {"name": {"a": 1}}, {"index": "9" * 5000},
    {"index": float("nan")}, {"index": float("inf")}, {"index": None}, {"index": [1]}, {"kinds": 5}, {"kinds": [None] * 100},
    {"resume": 5}, {"resume": {"frame/robot": "x"}}, {"resume": {"frame/robot": None}}, {"resume": [1]}, {"run": None, "t": 1},
]  # fmt: skip


def test_odd_words_on_the_reliable_lane(graph: Any, ready: Any, take: Any, wait: Any, context: zmq.Context[Any]) -> None:
    """Also from one who gives another's name, or a name that nobody declared: nothing is held back for a stranger."""
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=30_000)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(graph.endpoints("robot").reliable)
        for odd in ODD_WORDS:
            socket.send(msgpack.packb({**WORD, **odd}))
        wait(lambda: robot.status().refused.get("reliable", 0) >= len(ODD_WORDS), "all of them to be counted")
        for verb in ("ack", "bye"):  # in the name of another
            for index in (-1, 2**63, -(2**63)):
                socket.send(msgpack.packb({**WORD, "t": verb, "index": index, "run": robot.run_id}))
                assert socket.poll(20_000)
                assert socket.recv() == WHO
    assert list(robot.ring.readers) == ["rec"]
    _serves(robot, recorder, graph, take)


def _serves(robot: Bus, recorder: Bus, graph: Any, take: Any) -> None:
    """Everybody gets what is theirs: frames for the recorder, answers for who asks."""
    robot.publish("frame", m.Frame(), {"image/top": np.zeros((2, 2, 3), np.uint8)}, episode=0, step=77)
    assert take(recorder, "frame")[-1].envelope.step == 77
    with zmq.Context() as context:
        assert control.ask(context, graph.endpoints("robot").control, "detach", {"name": "nobody"}, "test", 20.0) == {}


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_plain_connections_that_speak_no_zmtp_or_nothing(graph: Any, ready: Any, take: Any, transport: str) -> None:
    ends = graph.endpoints("robot")
    if transport == "tcp":
        ends = Endpoints(*(f"tcp://127.0.0.1:{port}" for port in free_ports(3)))
        graph.endpoints = {"robot": ends, "rec": graph.endpoints("rec")}.__getitem__
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    noise = random.Random(14)
    says = [
        b"", b"\n", b"GET / HTTP/1.1\r\n\r\n", PICKLE, noise.randbytes(4000), zmtp.GREETING[:20], zmtp.GREETING + noise.randbytes(500),
        zmtp.GREETING.replace(b"NULL", b"WHAT") + bytes(64), zmtp.GREETING.replace(b"NULL", b"CURV"), b"\xff" + bytes(200),
        zmtp.GREETING + zmtp.ready("PUSH"), zmtp.GREETING + zmtp.ready("X" * 200),
        *(zmtp.GREETING + zmtp.ready(kind) + noise.randbytes(300) for kind in ("DEALER", "SUB", "XSUB", "REQ")),
        *(zmtp.GREETING + zmtp.ready(kind) + zmtp.frame_of(size) for kind in ("DEALER", "SUB") for size in (2**31, 2**62, 2**64 - 1)),
    ]  # fmt: skip
    open_ones = []
    for endpoint in (ends.latest, ends.reliable, ends.control):
        for one in says:
            connection = zmtp.dial(endpoint)
            connection.sendall(one)
            open_ones.append(connection)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)  # while all of them stay connected, and silent
    ready(robot)
    _serves(robot, recorder, graph, take)
    for connection in open_ones:
        connection.close()
    _serves(robot, recorder, graph, take)


@pytest.mark.parametrize(("lane", "kind"), [("latest", "SUB"), ("reliable", "DEALER"), ("control", "DEALER")])
def test_a_client_that_sends_a_gigabyte_is_cut_off_at_once(graph: Any, ready: Any, take: Any, lane: str, kind: str) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    with zmtp.dial(getattr(graph.endpoints("robot"), lane)) as connection:
        zmtp.greet(connection, kind)
        connection.sendall(zmtp.frame_of(GIB))
        assert zmtp.pour(connection, GIB) < 16 << 20
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    _serves(robot, recorder, graph, take)


# -- pickle ------------------------------------------------------------------------------------------


class Touch:
    """Makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickle_on_every_socket_is_never_loaded(
    graph: Any, ready: Any, take: Any, wait: Any, hostile: Any, context: zmq.Context[Any]
) -> None:
    """As topic, header and buffer, as a word, a subscription and a request, plain and in msgpack; then a good message."""
    made = graph.folder / "made"
    loads = [pickle.dumps(Touch(made), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    loads += [
        msgpack.packb({"v": 1, "id": "1", "command": load, "args": {"a": load}, "by": load, "t": load, "name": load}) for load in loads
    ]
    robot = graph.bus("robot", "robot", inputs=PREDICTOR, subscribers=RECORDER, subscribe=False)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    predictor = hostile("pred")
    robot.subscribe()
    predictor.subscribed("robot")
    predictor.latest.send_multipart(status("pred", "predictor", 0, "bad"))
    identity = predictor.greeted()
    ready(robot)
    ends = graph.endpoints("robot")
    with context.socket(zmq.XSUB) as latest, context.socket(zmq.DEALER) as reliable, context.socket(zmq.DEALER) as asking:
        for socket, endpoint in ((latest, ends.latest), (reliable, ends.reliable), (asking, ends.control)):
            socket.linger = 5000
            socket.connect(endpoint)
        for number, load in enumerate(loads):
            good = wire("command", "pred")
            for parts in ([load], [good[0], load], [load, good[1]], [*good, load], [load] * 3):
                predictor.latest.send_multipart([b"status/pred", *parts])
                predictor.data(identity, number, parts)
                predictor.reliable.send_multipart([identity, *parts])
            for socket in (latest, reliable, asking):
                socket.send(load)
                socket.send_multipart([load, load])
            for endpoint in (ends.latest, ends.reliable, ends.control):
                with zmtp.dial(endpoint) as connection:
                    connection.sendall(load)
        reasons = {"subscription", "reliable", "control", "parts", "msgpack"}
        wait(lambda: reasons <= set(robot.status().refused), f"{reasons} in {robot.status().refused}")
        wait(lambda: robot.status().refused["control"] >= 2 * len(loads), "all of them")
    predictor.data(identity, 99, wire("command", "pred"))
    assert take(robot, "command")[0].envelope.run == "good"
    _serves(robot, recorder, graph, take)
    assert not made.exists()
    pickle.loads(loads[0])  # noqa: S301 - the bait is good
    assert made.exists()


# -- sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind, row in TOPICS.items() if row.arrays])
def test_a_sender_refuses_what_is_too_large_before_it_copies_anything(kind: str, make: Any) -> None:
    limit = TOPICS[kind].max_bytes
    body, _ = EXAMPLES[kind]
    for nbytes in (limit + 1, 2 * GIB, 2 * GIB + 1, 2**62):
        array = np.broadcast_to(np.uint8(0), (nbytes,))  # takes one byte
        tracemalloc.start()
        with pytest.raises(EncodeError, match="the limit of this topic"):
            codec.encode(make(kind, body, {"a": array}))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20
    halves = {name: np.broadcast_to(np.uint8(0), (limit // 2 + 1,)) for name in "ab"}
    with pytest.raises(EncodeError, match="the limit of this topic"):
        codec.encode(make(kind, body, halves))


def test_a_message_at_the_limit_is_sent_one_above_is_not_and_the_next_one_comes(graph: Any, ready: Any, take: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    limit = TOPICS["frame"].max_bytes
    for step, nbytes in enumerate((12, limit, limit + 1, 2 * GIB, 12)):
        array = np.broadcast_to(np.uint8(7), (nbytes,))
        if nbytes <= limit:
            robot.publish("frame", m.Frame(), {"image/top": array}, step=step)
        else:
            with pytest.raises(EncodeError, match="the limit of this topic"):
                robot.publish("frame", m.Frame(), {"image/top": array}, step=step)
    found = take(recorder, "frame", 3)
    assert [(one.envelope.seq, one.envelope.step, one.nbytes) for one in found] == [(0, 0, 12), (1, 1, limit), (2, 4, 12)]


def test_a_request_that_is_too_large_is_refused_before_the_wire(graph: Any, context: zmq.Context[Any]) -> None:
    robot = graph.bus("robot", "robot")
    with pytest.raises(ControlError, match=f"the limit is {MAX_REQUEST_BYTES}$"):
        control.ask(context, graph.endpoints("robot").control, "echo", {"a": "x" * MAX_REQUEST_BYTES}, "test", 20.0)
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(graph.endpoints("robot").control)
        socket.send(bytes(MAX_REQUEST_BYTES + 1))
        socket.send(msgpack.packb({"v": 1, "id": "1", "command": "detach", "args": {}, "by": "t"}))
        assert socket.poll(20_000)
        assert msgpack.unpackb(socket.recv())["ok"] is True
    assert robot.status().refused == {"control": 1}


def test_a_little_over_the_limit_is_refused_by_name(graph: Any, take: Any, wait: Any, hostile: Any) -> None:
    """On both lanes; the connection stays, so the next good message follows at once."""
    robot = graph.bus("robot", "robot", inputs=PREDICTOR, subscribe=False)
    predictor = hostile("pred")
    robot.subscribe()
    predictor.subscribed("robot")
    predictor.latest.send_multipart(status("pred", "predictor", 0, "bad"))
    identity = predictor.greeted()
    for nbytes in (MAX_HEADER_BYTES + 1, MARGIN_BYTES):
        predictor.data(identity, 0, huge("command", "pred", nbytes))
        predictor.latest.send_multipart(huge("status", "pred", nbytes))
    predictor.data(identity, 1, wire("command", "pred"))
    assert take(robot, "command")
    wait(lambda: robot.status().refused == {"size": 4}, "four refusals")


def test_a_publisher_far_over_the_limit_is_cut_off_and_taken_again(graph: Any, take: Any, wait: Any, hostile: Any) -> None:
    """zmq would never connect again to who broke its limit; the bus does, and is told by the next good messages."""
    robot = graph.bus("robot", "robot", inputs=PREDICTOR, subscribe=False)
    predictor = hostile("pred")
    robot.subscribe()
    predictor.subscribed("robot")
    predictor.latest.send_multipart(status("pred", "predictor", 0, "bad"))
    identity = predictor.greeted()
    predictor.data(identity, 0, huge("command", "pred", 3 * MARGIN_BYTES))
    predictor.latest.send_multipart(huge("status", "pred", 3 * MARGIN_BYTES))
    predictor.subscribed("robot")  # again, after three silent heartbeats
    predictor.latest.send_multipart(status("pred", "predictor", 1, "good"))
    identity = predictor.greeted()
    predictor.data(identity, 1, wire("command", "pred"))
    assert take(robot, "command")[0].envelope.run == "good"
    assert robot.status().refused == {"cut": 1}
    beats(robot, wait)


@pytest.mark.parametrize("size", [2**62, *(pytest.param(size, marks=pytest.mark.slow) for size in (GIB, 2**64 - 1))])
def test_a_publisher_that_says_it_sends_a_gigabyte_is_cut_off_at_once(graph: Any, ready: Any, take: Any, size: int) -> None:
    """The real one comes to the same place, and is taken."""
    trainer = graph.endpoints("train")
    viewer = graph.bus("view", "viewer", inputs=TRAINER, subscribe=False)
    server, address = zmtp.plain(trainer.latest)
    with server:
        server.bind(address)
        server.listen()
        viewer.subscribe()
        connection, _ = server.accept()
        connection.settimeout(20)
        with connection:
            zmtp.greet(connection, "XPUB")
            connection.sendall(zmtp.frame_of(size))
            assert zmtp.pour(connection, GIB) < 16 << 20
    (graph.folder / "train.l").unlink()
    real = graph.bus("train", "trainer", subscribers=[("view", "viewer")])
    ready(real)
    real.publish("metrics", m.Metrics(values={"loss": 0.5}))
    assert take(viewer, "metrics")[0].body.values == {"loss": 0.5}
