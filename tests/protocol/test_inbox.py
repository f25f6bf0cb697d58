"""The inbox: who comes first, what is and what is overtaken."""

from collections.abc import Callable

from protocol import messages as m
from protocol.control import ControlRequest
from protocol.inbox import Inbox, Taken

Make = Callable[..., m.Message]


def test_control_first_then_reliable_then_latest_by_arrival(make: Make) -> None:
    inbox = Inbox()
    latest = [make("metrics", m.Metrics(values={})), make("frame", m.Frame())]
    for message in latest:
        inbox.put_latest(message, 1)
    reliable = [Taken("r", n, make("action", m.Frame(), seq=n), 5) for n in range(2)]
    for taken in reliable:
        inbox.put_reliable(taken)
    request = ControlRequest("stop", {}, "me", lambda payload: None)
    inbox.put_control(request)
    assert [inbox.take() for _ in range(6)] == [request, *reliable, *latest, None]


def test_the_newest_win_and_the_others_are_counted(make: Make) -> None:
    inbox = Inbox()
    pushed = [inbox.put_latest(make("frame", m.Frame(), seq=n), 2) for n in range(5)]
    assert pushed == [0, 0, 1, 1, 1]
    left = [inbox.take(), inbox.take()]
    assert [message.envelope.seq for message in left if isinstance(message, m.Message)] == [3, 4]


def test_what_was_never_taken_is_told(make: Make) -> None:
    inbox = Inbox()
    inbox.put_latest(make("frame", m.Frame()), 1)
    inbox.put_reliable(Taken("r", 0, make("action", m.Frame()), 5))
    inbox.put_control(ControlRequest("x", {}, "me", lambda payload: None))
    assert sorted(message.kind for message in inbox.left_over()) == ["action", "frame"]
    assert inbox.control_waiting == 1
    assert [request.command for request in inbox.left_requests()] == ["x"]
    assert inbox.take() is None
    assert inbox.reliable_bytes == 0
