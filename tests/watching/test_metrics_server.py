"""What clients do to the page of a node, and that the next scrape works all the same."""

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import metrics_server
from protocol.metrics_server import MAX_CLIENTS, MetricsServer, judge, response

PAGE = b"a 1\n" * 1000
LIMIT_S = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {LIMIT_S:g} s for {what}"
        threading.Event().wait(0.01)


class Served:
    """A server, and clients for it."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        self.answers: Counter[str] = Counter()
        self.server = MetricsServer(render, self.answers)
        self.port = urlsplit(self.server.url).port or 0

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)

    def says(self, data: bytes) -> bytes:
        """Everything that comes back; a reset ends it."""
        got = b""
        with self.dial() as client, suppress(OSError):
            client.sendall(data)
            while part := client.recv(65536):
                got += part
        return got

    def scrape(self) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        with connection.getresponse() as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return answer.read()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a good client may be slow too."""
    monkeypatch.setattr(metrics_server, "PATIENCE_S", LIMIT_S)


@pytest.fixture
def served(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    made = Served(lambda: PAGE)
    threads = threading.active_count()
    yield made
    monkeypatch.setattr(metrics_server, "PATIENCE_S", LIMIT_S)
    assert made.scrape() == PAGE, "the next good scrape works"
    assert threading.active_count() <= threads, "no client has a thread of its own"
    made.server.close()
    assert capfd.readouterr() == ("", ""), "nothing on the terminal, no traceback"
    with pytest.raises(ConnectionRefusedError):
        made.dial()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET http://other.example/metrics HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\x80\x04\x95K.\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"X-Header: value\r\n" * 10_000 + b"\r\n", 431),
        (b"\x00" * 100_000, 431),
    ],
)
def test_a_request_gets_the_answer_it_deserves(served: Served, request_bytes: bytes, expected: int) -> None:
    answer = served.says(request_bytes)
    assert status(answer) == expected
    if expected == 200:
        assert answer.endswith(b"\r\n\r\n" if request_bytes.startswith(b"HEAD") else PAGE)
    assert served.answers == {str(expected): 1}


def test_a_request_may_come_in_pieces(served: Served) -> None:
    with served.dial() as client:
        for byte in b"GET /metrics HTTP/1.1\r\n\r\n":
            client.sendall(bytes([byte]))
        assert status(client.recv(100)) == 200


def test_who_is_too_slow_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with served.dial() as deaf:  # has its answer and does not hang up
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert status(deaf.recv(100)) == 200
        monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.2)
        with served.dial() as silent, served.dial() as half, suppress(OSError):
            half.sendall(b"GET /metrics HTTP/1.1\r\nX-A: b\r\n")
            assert silent.recv(1) == b"" and half.recv(1) == b""
        wait_for(lambda: served.answers == {"200": 1, "late": 2}, "both to be cut off")


def test_who_trickles_is_cut_off_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.3)

    def trickle() -> bool:
        try:
            client.sendall(b"X-A: b\r\n")
        except OSError:
            return True
        return False

    with served.dial() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        wait_for(trickle, "the server to lose its patience")
    assert served.answers["late"] == 1


def test_many_who_say_nothing_do_not_keep_a_scrape_out(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(10 * MAX_CLIENTS):
            stack.enter_context(served.dial())
        assert served.scrape() == PAGE
        assert len(served.server._clients) <= MAX_CLIENTS


def test_many_at_once_are_served_by_one_thread(served: Served) -> None:
    good: list[bytes] = []

    def client() -> None:
        for _ in range(10):
            with suppress(OSError):  # one that waits behind many may be sent away
                good.append(served.says(b"GET /metrics HTTP/1.1\r\n\r\n"))

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good
    assert all(not answer or answer.endswith(PAGE) for answer in good)


def test_a_large_page_reaches_a_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    large = b"x" * 5_000_000
    served = Served(lambda: large)
    try:
        answer = served.says(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert answer.endswith(large[:1000]) and len(answer) > len(large)
    finally:
        served.server.close()


def test_a_page_that_fails_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError("as asked")

    served = Served(broken)
    try:
        assert [status(served.says(b"GET /metrics HTTP/1.1\r\n\r\n")) for _ in range(3)] == [500] * 3
    finally:
        served.server.close()
    assert [record.getMessage() for record in caplog.records] == ["/metrics cannot be shown: ZeroDivisionError: as asked"]
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_loopback_and_leaves_nothing_behind() -> None:
    process = psutil.Process()
    threads, files = threading.active_count(), process.num_fds()
    for _ in range(20):
        served = Served(lambda: PAGE)
        assert {one.laddr.ip for one in process.net_connections("tcp") if one.laddr.port == served.port} == {"127.0.0.1"}
        with served.dial() as client:
            client.sendall(b"GET /metr")
            served.scrape()
            served.server.close()
            served.server.close()
    assert (threading.active_count(), process.num_fds()) == (threads, files)


def test_it_sleeps_while_nobody_asks(served: Served) -> None:
    assert served.server._wait_s() is None


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_get_a_status(head: bytes) -> None:
    assert judge(head) in (200, 400, 404, 405)
    assert response(judge(head), PAGE).startswith(b"HTTP/1.1 ")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_any_bytes_in_any_pieces_leave_it_serving(fuzzed: Served, pieces: list[bytes]) -> None:
    with fuzzed.dial() as client, suppress(OSError):
        for piece in pieces:
            client.sendall(piece)
    assert fuzzed.scrape() == PAGE


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Served]:
    made = Served(lambda: PAGE)
    yield made
    made.server.close()
