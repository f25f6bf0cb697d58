"""The inbox: who comes first, what is overtaken, and who wakes up."""

import threading
import time
from collections.abc import Callable

import pytest

from protocol import messages as m
from protocol.control import ControlRequest
from protocol.errors import BusClosed
from protocol.inbox import Inbox, Taken
from protocol.outbox import Outbox

Make = Callable[..., m.Message]


def test_control_first_then_reliable_then_latest_by_arrival(make: Make) -> None:
    inbox = Inbox()
    latest = [make("metrics", m.Metrics(values={})), make("frame", m.Frame())]
    for message in latest:
        inbox.put_latest(message, 1)
    reliable = [Taken("r", n, make("action", m.Frame(), seq=n)) for n in range(2)]
    for taken in reliable:
        inbox.put_reliable(taken)
    request = ControlRequest("stop", {}, "me", lambda payload: None)
    inbox.put_control(request)
    assert [inbox.take(0) for _ in range(6)] == [request, *reliable, *latest, None]


def test_the_newest_win_and_the_others_are_counted(make: Make) -> None:
    inbox = Inbox()
    pushed = [inbox.put_latest(make("frame", m.Frame(), seq=n), 2) for n in range(5)]
    assert pushed == [0, 0, 1, 1, 1]
    left = [inbox.take(0), inbox.take(0)]
    assert [message.envelope.seq for message in left if isinstance(message, m.Message)] == [3, 4]


def test_what_was_never_taken_is_told(make: Make) -> None:
    inbox = Inbox()
    inbox.put_latest(make("frame", m.Frame()), 1)
    inbox.put_reliable(Taken("r", 0, make("action", m.Frame())))
    inbox.put_control(ControlRequest("x", {}, "me", lambda payload: None))
    assert sorted(message.kind for message in inbox.left_over()) == ["action", "frame"]
    assert inbox.control_waiting() == 1
    assert [request.command for request in inbox.left_requests()] == ["x"]
    assert inbox.take(0) is None
    assert inbox.reliable_bytes == 0


def test_closing_and_failing_wake_a_waiter(make: Make) -> None:
    for end, error in ((Inbox.close, BusClosed), (lambda inbox: inbox.fail(OSError("gone")), OSError)):
        inbox = Inbox()
        threading.Timer(0.01, end, [inbox]).start()  # type: ignore[list-item]
        with pytest.raises(error):
            inbox.take(60)


def test_what_came_before_the_end_is_still_taken(make: Make) -> None:
    inbox = Inbox()
    inbox.put_latest(make("frame", m.Frame()), 1)
    inbox.close()
    assert inbox.take(60) is not None
    with pytest.raises(BusClosed):
        inbox.take(60)


def test_putting_wakes_a_waiter(make: Make) -> None:
    inbox = Inbox()
    message = make("frame", m.Frame())
    threading.Timer(0.01, inbox.put_latest, [message, 1]).start()
    before_s = time.monotonic()
    assert inbox.take(60) is message
    assert time.monotonic() - before_s < 50


def test_the_outbox_keeps_the_newest_few_in_order() -> None:
    outbox = Outbox()
    assert not outbox
    for n in range(4):
        outbox.put("frame/r", [bytes([n])], 2)
        outbox.put("log/r", [b"log", bytes([n])], 3)
    outbox.put_reply([b"reply"])
    waiting = outbox.take()
    assert [topic for topic, _ in waiting] == ["log/r", "frame/r", "log/r", "frame/r", "log/r"]
    assert [parts[-1] for _, parts in waiting] == [b"\x01", b"\x02", b"\x02", b"\x03", b"\x03"]
    assert outbox
    assert outbox.take_replies() == [[b"reply"]]
    assert not outbox
