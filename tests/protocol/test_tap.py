"""A tap hears a publisher, and the publisher, its readers and its books do not know of it."""

import msgpack
import numpy as np
import pytest
import zmq

from protocol import messages as m
from protocol.errors import ProtocolError
from protocol.ports import free_ports
from protocol.tap import Heard, Tap
from protocol.wiring import Endpoints, Peer

FRAME = np.zeros((8, 8, 3), np.uint8)


def publish(bus, step):
    return bus.publish("frame", m.Frame(), {"image/top": FRAME}, episode=0, step=step)


def next_of(tap: Tap, topic: str, wait) -> Heard:
    def one() -> Heard | None:
        heard = tap.next(0.01)
        return heard if heard is not None and heard.message.topic == topic else None

    return wait(one, topic)


def listening(tap: Tap, bus, wait) -> Heard:
    """The first frame that comes: frames are published until one does."""

    def one() -> Heard | None:
        publish(bus, 0)
        return tap.next(0.01)

    return wait(one, "a frame")


@pytest.mark.parametrize("tcp", [False, True])
def test_it_hears_and_is_not_known(graph, wait, take, tcp: bool) -> None:
    options = {"endpoints": Endpoints(*(f"tcp://127.0.0.1:{free_ports(1)[0]}" for _ in range(3)))} if tcp else {}
    robot = graph.bus("robot", "robot", **options)
    with Tap([Peer("robot", "robot", robot.wiring.endpoints)], ["frame/robot"]) as tap:
        first = listening(tap, robot, wait)
        assert first.message.body == m.Frame() and first.nbytes > FRAME.nbytes
        assert first.mono_ns >= first.message.envelope.mono_ns
        status = robot.status()
        assert status.confirmed == [] and status.refused == {}
        assert tap.refused == {}


def test_the_newest_of_a_latched_topic_comes_at_once_and_only_once(graph, wait, take) -> None:
    robot = graph.bus("robot", "robot")
    viewer = graph.bus("viewer", "viewer", inputs=[("robot", "robot")])
    wait(lambda: robot.status().confirmed == ["viewer"], "the viewer")
    robot.publish("episode", m.EpisodeMark(mark="start"), episode=3)
    take(viewer, "episode")
    with Tap([graph.peer("robot", "robot")], ["episode/robot"], newest=["episode/robot"]) as tap:
        assert next_of(tap, "episode/robot", wait).message.envelope.episode == 3
        with Tap([graph.peer("robot", "robot")], ["episode/robot"], newest=["episode/robot"]) as other:
            next_of(other, "episode/robot", wait)
        robot.publish("episode", m.EpisodeMark(mark="end"), episode=3)
        assert next_of(tap, "episode/robot", wait).message.body.mark == "end", "what was sent again is passed over"
        assert tap.skipped.get("episode/robot", 0) == 0
    take(viewer, "episode")
    books = viewer.status().counts["episode/robot"]
    assert (books.published, books.received, books.skipped, books.lost) == (2, 2, 0, 0), "a repetition is not booked"


def test_what_a_tap_misses_is_counted_and_holds_nobody(graph, wait, take) -> None:
    robot = graph.bus("robot", "robot", subscribers=[("recorder", "recorder")])
    recorder = graph.bus("recorder", "recorder", inputs=[("robot", "robot")])
    wait(lambda: not robot.status().missing, "the recorder")
    large = np.zeros((256, 256, 3), np.uint8)
    with Tap([graph.peer("robot", "robot")], ["frame/robot"]) as tap:
        first = listening(tap, robot, wait)
        for step in range(200):  # more than all queues between the two hold
            robot.publish("frame", m.Frame(), {"image/top": large}, step=step)
        last = robot.status().last_seq["frame/robot"]
        take(recorder, "frame", count=last + 1)
        assert recorder.status().counts["frame/robot"].lost == 0
        heard = [first]

        def newer() -> bool:
            publish(robot, 0)
            if (one := tap.next(0.01)) is not None:
                heard.append(one)
            return heard[-1].message.envelope.seq > last

        wait(newer, "a frame that was published later")
        told = heard[-1].message.envelope.seq - heard[0].message.envelope.seq + 1
        assert tap.skipped["frame/robot"] == told - len(heard) > 0


def test_what_is_no_message_is_counted(wait, tmp_path) -> None:
    end = f"ipc://{tmp_path}/x"
    with zmq.Context() as context, context.socket(zmq.PUB) as rogue:
        rogue.linger = 0
        rogue.bind(end)
        with Tap([Peer("robot", "robot", Endpoints(end, end, end))], ["frame/robot"]) as tap:

            def refused() -> bool:
                rogue.send_multipart([b"frame/robot", b"\x80\x04pickle"])
                rogue.send_multipart([b"frame/robot2", msgpack.packb({"v": 1})])
                assert tap.next(0.01) is None
                return set(tap.refused) >= {"msgpack", "header"}

            wait(refused, "both kinds of nonsense")


def test_an_endpoint_that_is_none() -> None:
    with pytest.raises(ProtocolError, match="robot cannot be reached at 'nonsense'"):
        Tap([Peer("robot", "robot", Endpoints("nonsense", "", ""))], ["frame/robot"])


def test_it_leaves_nothing(graph, wait) -> None:
    robot = graph.bus("robot", "robot")
    tap = Tap([graph.peer("robot", "robot")], ["frame/robot", "status/robot"])
    listening(tap, robot, wait)
    tap.close()
    tap.close()
    assert publish(robot, 1) > 0
