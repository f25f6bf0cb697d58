"""Both lanes end to end over real sockets: nothing lost, the newest wins, latched, ready, counted, closed."""

import os
import socket as stdlib_socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zmq

from protocol import control
from protocol import messages as m
from protocol.bus import Bus
from protocol.clock import SystemClock
from protocol.errors import BindError, BusClosed, ControlError, EncodeError
from protocol.wiring import Endpoints

ROBOT, RECORDER, PREDICTOR = [("robot", "robot")], [("rec", "recorder")], [("pred", "predictor")]


def frame(bus: Bus, step: int, nbytes: int = 12, **fields: Any) -> None:
    bus.publish("frame", m.Frame(), {"image/top": np.full((nbytes // 3, 1, 3), step % 256, np.uint8)}, episode=0, step=step, **fields)


def steps(messages: list[m.Message]) -> list[int | None]:
    return [message.envelope.step for message in messages]


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_reliable_lane_brings_everything_in_order(graph: Any, take: Any, ready: Any, settled: Any, transport: str) -> None:
    ends = graph.endpoints("robot")
    if transport == "tcp":
        with zmq.Context() as context:
            ports = []
            for _ in range(3):
                with context.socket(zmq.REP) as free:
                    ports.append(free.bind_to_random_port("tcp://127.0.0.1"))
        ends = Endpoints(*(f"tcp://127.0.0.1:{port}" for port in ports))
    graph.endpoints = {"robot": ends, "rec": graph.endpoints("rec")}.__getitem__
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    for step in range(600):
        frame(robot, step)
    frames = take(recorder, "frame", 600)
    assert steps(frames) == list(range(600))
    assert [one.envelope.seq for one in frames] == list(range(600))
    assert all((one.arrays["image/top"] == step % 256).all() for step, one in enumerate(frames))
    closing = threading.Thread(target=robot.close)
    closing.start()
    settled(robot, recorder)
    closing.join()
    counts = recorder.status().counts
    assert counts["frame/robot"] == m.TopicCount(published=600, received=600, skipped=0, lost=0, lane="reliable", end_known=True)
    assert not any(count.lost for count in counts.values())
    assert robot.close() is True


def test_the_last_word_is_said_once(graph: Any, wait: Any, ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a heartbeat is due in that very moment: who has heard the last word leaves, and would miss another."""
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    finish = robot._thread.finish

    def beat_first(drain_s: float) -> bool:
        robot._thread.beat_now.set()
        robot._thread._beat()
        return finish(drain_s)

    monkeypatch.setattr(robot._thread, "finish", beat_first)
    closing = threading.Thread(target=robot.close)
    closing.start()
    finals: list[bool] = []

    def ended() -> bool:
        thing = recorder.next(0.01)
        if isinstance(thing, m.Message) and thing.kind == "status":
            finals.append(thing.body.final)
        return recorder.inputs_ended()

    wait(ended)
    recorder.close()
    closing.join()
    assert finals[-2:] == [False, True]


def test_latest_lane_brings_the_newest_and_counts_the_rest(graph: Any, take: Any, ready: Any, settled: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=PREDICTOR)
    predictor = graph.bus("pred", "predictor", inputs=ROBOT)
    ready(robot)
    for step in range(3000):
        frame(robot, step)
    frames = take(predictor, "frame", until=lambda found: bool(found) and found[-1].envelope.step == 2999)
    assert steps(frames) == sorted(set(steps(frames)))
    closing = threading.Thread(target=robot.close)
    closing.start()
    settled(robot, predictor)
    closing.join()
    count = predictor.status().counts["frame/robot"]
    assert (count.published, count.lost, count.received) == (3000, 0, len(frames))
    assert count.end_known


@pytest.mark.parametrize("nbytes", [12, 99_999, 600_000])
def test_whoever_takes_a_frame_by_whatever_lane_gets_it_whole_and_the_ring_keeps_no_copy(
    graph: Any, take: Any, ready: Any, nbytes: int
) -> None:
    """Small parts are copied for each, middling ones once for all, large ones for nobody."""
    robot = graph.bus("robot", "robot", subscribers=[*RECORDER, ("trainer", "trainer"), *PREDICTOR])
    takers = [graph.bus(*who, inputs=ROBOT) for who in (("rec", "recorder"), ("trainer", "trainer"), ("pred", "predictor"))]
    ready(robot)
    picture = np.random.default_rng(nbytes).integers(0, 255, (nbytes // 3, 1, 3), np.uint8)
    robot.publish("frame", m.Frame(), {"image/top": picture}, episode=0, step=0)
    for taker in takers:
        assert np.array_equal(take(taker, "frame")[0].arrays["image/top"], picture)
    entry = next(entry for entry in robot.ring._entries if entry.kind == "frame")
    assert entry.shared is None
    assert np.shares_memory(np.frombuffer(entry.parts[2], np.uint8), picture)


def test_a_burst_ends_with_its_newest_message_also_for_who_had_no_room(graph: Any, take: Any, ready: Any) -> None:
    """A subscriber stands still while its queues fill; with the next heartbeat it gets the last one."""
    robot = graph.bus("robot", "robot", subscribers=PREDICTOR)
    predictor = graph.bus("pred", "predictor", inputs=ROBOT)
    ready(robot)
    with predictor.lock:  # nobody books what comes
        for step in range(400):
            frame(robot, step, nbytes=300_000)
    frames = take(predictor, "frame", until=lambda found: bool(found) and found[-1].envelope.step == 399)
    count = predictor.status().counts["frame/robot"]
    assert (count.published, count.received) == (400, len(frames))
    assert len(frames) < 400


def test_a_late_joiner_gets_what_is_latched_on_both_lanes(graph: Any, take: Any, examples: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=1000, on_full="count")
    robot.publish("robot", examples["robot"][0])
    robot.publish("episode", m.EpisodeMark(mark="start"), episode=7, step=0)
    for step in range(50):
        frame(robot, step, nbytes=300)
    robot.publish("episode", m.EpisodeMark(mark="end"), episode=7, step=50)
    predictor = graph.bus("pred", "predictor", inputs=ROBOT)
    assert take(predictor, "robot")[0].body == examples["robot"][0]
    viewer = graph.bus("view", "viewer", inputs=ROBOT)
    assert take(viewer, "episode")[0].body.mark == "end"
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    assert take(recorder, "robot")[0].body == examples["robot"][0]
    assert take(recorder, "episode", until=lambda found: any(one.body.mark == "end" for one in found))


class Later(SystemClock):
    """A clock that can be put forward."""

    ahead_s = 0

    def mono_ns(self) -> int:
        return super().mono_ns() + self.ahead_s * 10**9


def test_too_old_is_refused_and_counted(graph: Any, take: Any, ready: Any, wait: Any) -> None:
    """Old is what has waited here for long: what the sender's clocks say is compared with nothing but themselves."""
    clock = Later()
    robot = graph.bus("robot", "robot", subscribers=PREDICTOR)
    predictor = graph.bus("pred", "predictor", inputs=ROBOT, max_age_s=60.0, clock=clock)
    ready(robot)
    frame(robot, 0, t_ns=1)
    wait(lambda: predictor.status().counts["frame/robot"].published == 1)
    clock.ahead_s = 61
    wait(lambda: predictor.next(0.01) is None and predictor.status().counts["frame/robot"].skipped == 1)
    clock.ahead_s = 0
    frame(robot, 1, t_ns=1)
    assert steps(take(predictor, "frame")) == [1]
    count = predictor.status().counts["frame/robot"]
    assert (count.published, count.received, count.skipped) == (2, 1, 1)


def test_next_returns_in_time_though_old_messages_keep_coming(graph: Any, ready: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=PREDICTOR)
    predictor = graph.bus("pred", "predictor", inputs=ROBOT, max_age_s=-1e9)  # so that all are too old
    ready(robot)
    stop = threading.Event()

    def old() -> None:
        while not stop.wait(0.005):
            frame(robot, 0)

    sender = threading.Thread(target=old)
    sender.start()
    try:
        wait(lambda: predictor.status().counts["frame/robot"].published > 2)
        assert predictor.next(0.1) is None
    finally:
        stop.set()
        sender.join()


def test_block_waits_for_a_slow_subscriber_and_keeps_beating(graph: Any, ready: Any, take: Any, wait: Any, settled: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=20_000, on_full="block")
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    published = []

    def all_of_them() -> None:
        for step in range(60):
            frame(robot, step, nbytes=3000)
            published.append(step)

    publisher = threading.Thread(target=all_of_them)
    publisher.start()
    wait(lambda: len(published) >= 4)
    beats = robot.status().last_seq.get("status/robot", 0)
    wait(lambda: robot.status().last_seq["status/robot"] >= beats + 2, "heartbeats while the publisher waits")
    assert len(published) < 10
    assert publisher.is_alive()
    assert steps(take(recorder, "frame", 60)) == list(range(60))
    recorder.next(0.01)
    publisher.join(30)
    assert not publisher.is_alive()
    count = recorder.status().counts["frame/robot"]
    assert (count.published, count.received, count.lost) == (60, 60, 0)


def test_blocking_with_large_messages_is_not_paced_by_the_heartbeat(graph: Any, ready: Any, take: Any) -> None:
    """Each acknowledgement makes room at once: 30 messages through a ring of two, far below one a second."""
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=20_000)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    publisher = threading.Thread(target=lambda: [frame(robot, step, nbytes=9000) for step in range(30)])
    publisher.start()
    before_s = time.monotonic()
    assert steps(take(recorder, "frame", 30)) == list(range(30))
    assert time.monotonic() - before_s < 10
    publisher.join()


def test_count_loses_the_oldest_and_both_sides_say_how_many(graph: Any, ready: Any, take: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=20_000, on_full="count")
    recorder = graph.bus("rec", "recorder", inputs=ROBOT, subscribe=False)
    for step in range(60):
        frame(robot, step, nbytes=3000)
    assert robot.ring.readers["rec"].lost >= 50
    lost_frames = 60 - sum(entry.kind == "frame" for entry in robot.ring._entries)
    recorder.subscribe()
    ready(robot)
    for step in range(60, 64):
        frame(robot, step, nbytes=10)
    frames = take(recorder, "frame", until=lambda found: bool(found) and found[-1].envelope.step == 63)
    count = recorder.status().counts["frame/robot"]
    assert (count.published, count.received, count.lost) == (64, len(frames), lost_frames)
    before_ns = frames[0].envelope.t_ns
    assert recorder.gaps()[0] == m.Gap(topic="frame/robot", run=robot.run_id, first=0, last=lost_frames - 1, before_ns=before_ns)


def test_abandoning_frees_a_blocked_publisher(graph: Any, ready: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=10_000)
    publisher = threading.Thread(target=lambda: [frame(robot, step, nbytes=3000) for step in range(20)])
    publisher.start()
    robot.abandon()
    publisher.join(30)
    assert not publisher.is_alive()


def test_detaching_frees_a_blocked_publisher_though_its_thread_is_busy(graph: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=10_000)
    publisher = threading.Thread(target=lambda: [frame(robot, step, nbytes=3000) for step in range(20)])
    publisher.start()
    with zmq.Context() as context:
        assert control.ask(context, graph.endpoints("robot").control, "detach", {"name": "rec"}, "test", 20.0) == {}
    publisher.join(30)
    assert not publisher.is_alive()


def test_a_dead_bus_thread_frees_the_publisher_and_raises(graph: Any, wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=10_000)
    publisher = threading.Thread(target=lambda: [frame(robot, step, nbytes=3000) for step in range(20)])
    publisher.start()
    monkeypatch.setattr(robot, "beat", lambda: 1 / 0)
    robot.set_state("running")
    publisher.join(30)
    assert not publisher.is_alive()
    with pytest.raises(ZeroDivisionError):
        wait(lambda: robot.next(0.1))


def test_ready_needs_both_lanes_of_everybody(graph: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=[*RECORDER, *PREDICTOR])
    assert robot.status().missing == ["pred", "rec"]
    recorder = graph.bus("rec", "recorder", inputs=ROBOT, subscribe=False)
    wait(lambda: robot.next(0.05) is None)
    assert robot.status().missing == ["pred", "rec"]
    recorder.subscribe()
    wait(lambda: robot.status().missing == ["pred"])
    graph.bus("pred", "predictor", inputs=ROBOT)
    wait(lambda: robot.status().confirmed == ["pred", "rec"])


def test_closing_is_idempotent_and_wakes_who_waits(graph: Any) -> None:
    robot = graph.bus("robot", "robot")
    waiting: list[Any] = []

    def wait() -> None:
        try:
            robot.next(60)
        except BusClosed as error:
            waiting.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert robot.close() is True
    assert robot.close() is True
    waiter.join(30)
    assert waiting


def test_a_bus_that_never_started_closes(graph: Any) -> None:
    assert Bus(graph.wiring("robot", "robot")).close() is True


def test_what_nobody_handled_is_booked_as_skipped(graph: Any, ready: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    for step in range(5):
        frame(robot, step)
    wait(lambda: recorder.status().counts["frame/robot"].published == 5)
    recorder.close()
    count = recorder.status().counts["frame/robot"]
    assert (count.received, count.skipped, count.lost) == (0, 5, 0)
    assert robot.close() is True  # it does not wait for one who said goodbye


def test_two_that_wait_for_each_other_both_end(graph: Any, ready: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", inputs=PREDICTOR, subscribers=PREDICTOR)
    predictor = graph.bus("pred", "predictor", inputs=ROBOT, subscribers=ROBOT)
    ready(robot)
    ready(predictor)
    predictor.publish("command", m.Command(action={}, by="x", deadline_mono_ns=0), episode=0, step=0)
    wait(lambda: robot.status().counts["command/pred"].published == 1)
    ended: list[bool] = []
    closing = [threading.Thread(target=lambda bus=bus: ended.append(bus.close(20.0))) for bus in (robot, predictor)]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join(15)
    assert ended == [True, True]


def test_a_taken_endpoint_is_one_line(graph: Any, wait: Any) -> None:
    first = graph.bus("robot", "robot")
    again = Bus(graph.wiring("robot", "robot"))
    with pytest.raises(BindError, match=r"cannot bind ipc://.*already in use; is another run using it\?$"):
        again.start()
    assert first.close()
    with stdlib_socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ends = Endpoints(f"tcp://127.0.0.1:{port}", *(f"ipc://{graph.folder}/{lane}" for lane in "rc"))
        with pytest.raises(BindError, match=r"already in use; is another run using it\?$"):
            Bus(graph.wiring("robot", "robot", endpoints=ends)).start()


def test_an_ipc_file_of_the_dead_is_bound_again(graph: Any, wait: Any) -> None:
    dead = graph.process("robot", "robot", "publish", "0")
    wait(lambda: os.path.exists(f"{graph.folder}/robot.c"))
    dead.kill()
    assert dead.wait() == -9
    assert os.path.exists(f"{graph.folder}/robot.c")
    graph.bus("robot", "robot")


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.168.1.7", "example.org", "[::]"])
def test_off_this_machine_is_refused(graph: Any, host: str) -> None:
    local = [f"ipc://{graph.folder}/{lane}" for lane in "rc"]
    with pytest.raises(BindError, match="can be reached from other machines, which takes a key"):
        Bus(graph.wiring("robot", "robot", endpoints=Endpoints(f"tcp://{host}:5999", *local))).start()


@pytest.mark.parametrize("endpoint", ["udp://127.0.0.1:9", "nonsense", "ws://127.0.0.1:9", "tcp://[:9", "ipc://" + "x" * 200])
def test_an_endpoint_that_cannot_be_is_refused(graph: Any, endpoint: str) -> None:
    local = [f"ipc://{graph.folder}/{lane}" for lane in "rc"]
    with pytest.raises(BindError) as caught:
        Bus(graph.wiring("robot", "robot", endpoints=Endpoints(endpoint, *local))).start()
    assert "\n" not in str(caught.value)


def test_too_large_is_refused_before_the_wire_and_leaves_no_hole(graph: Any, ready: Any, take: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=RECORDER)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    frame(robot, 0)
    with pytest.raises(EncodeError):
        robot.publish("frame", m.Frame(), {"image/top": np.zeros((64 << 20) + 1, np.uint8)})
    frame(robot, 1)
    assert [one.envelope.seq for one in take(recorder, "frame", 2)] == [0, 1]


def test_one_request_one_reply(graph: Any, answering: Any) -> None:
    robot = graph.bus("robot", "robot")
    viewer = graph.bus("view", "viewer", inputs=ROBOT)
    answer = answering(robot)
    got: list[Any] = []
    asker = threading.Thread(target=lambda: got.extend(viewer.request("robot", word, {"n": 1}, 20.0) for word in ("pause", "resume")))
    asker.start()
    while asker.is_alive():
        answer()
    assert got == [{"did": "pause"}, {"did": "resume"}]
    with pytest.raises(ControlError, match="no node 'wat'"):
        viewer.request("wat", "pause")
    with pytest.raises(ControlError, match=r"no answer to 'pause'.*is the node running\?"):
        viewer.request("robot", "pause", timeout_s=0.01)
    with pytest.raises(ControlError, match="cannot be sent"):
        viewer.request("robot", "pause", {"x": object()})


def test_stop_is_seen_at_once_and_answered_though_nobody_takes_it(graph: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot")
    got: list[Any] = []
    with zmq.Context() as context:
        ask = [
            threading.Thread(target=lambda word=word: got.append((word, _answer(context, graph.endpoints("robot").control, word))))
            for word in ("stop", "pause")
        ]
        for thread in ask:
            thread.start()
        wait(lambda: robot.stop_requested and robot.inbox.control_waiting == 2)
        robot.close()
        for thread in ask:
            thread.join(30)
    assert sorted(got) == [("pause", "'pause' was not done: the node has stopped"), ("stop", "{}")]


def _answer(context: zmq.Context[Any], endpoint: str, word: str) -> str:
    try:
        return str(control.ask(context, endpoint, word, {}, "test", 20.0))
    except ControlError as error:
        return str(error)


def test_a_flood_of_requests_is_refused_not_kept(graph: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot")
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(graph.endpoints("robot").control)
        import msgpack

        for n in range(300):
            socket.send(msgpack.packb({"v": 1, "id": str(n), "command": "x", "args": {}, "by": "t"}))
        assert socket.poll(20_000)
        assert "is busy" in msgpack.unpackb(socket.recv())["error"]
    assert robot.inbox.control_waiting <= 256


def test_heartbeats_say_state_and_numbers(graph: Any, take: Any, wait: Any) -> None:
    robot = graph.bus("robot", "robot", subscribers=[("view", "viewer")])
    viewer = graph.bus("view", "viewer", inputs=ROBOT)
    robot.set_state("running", detail="x" * 70_000 + "\udcff", outcome="learned")
    frame(robot, 0)
    said: Callable[[list[m.Message]], bool] = lambda found: bool(found) and found[-1].body.last_seq.get("frame/robot") == 0  # noqa: E731
    status = take(viewer, "status", until=said)[-1].body
    assert (status.state, status.outcome, status.kind, len(status.detail)) == ("running", "learned", "robot", 500)
    assert not status.final


def test_publishing_from_several_threads_leaves_no_hole(graph: Any, ready: Any, take: Any) -> None:
    """A driver may log from a thread of its own, also while the publisher waits for room."""
    robot = graph.bus("robot", "robot", subscribers=RECORDER, ring_bytes=5_000)
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    record = m.LogRecord(level="INFO", logger="x", text="x" * 300)
    threads = [threading.Thread(target=lambda: [robot.publish("log", record) for _ in range(50)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert [one.envelope.seq for one in take(recorder, "log", 150)] == list(range(150))
    for thread in threads:
        thread.join()
