"""A node's log: everything in the file, a bounded flow on the topic, and nothing that can end the node."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes.logs import Flood, start_logging
from protocol import messages as m
from protocol.errors import BusClosed
from protocol.wiring import Endpoints, Wiring

ENDS = Endpoints("ipc://l", "ipc://r", "ipc://c")


class Bus:
    """Keeps what is published, or fails as asked."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.sent: list[m.LogRecord] = []
        self.closed = False

    def publish(self, kind: str, body: m.LogRecord, wait: bool = True) -> None:
        assert not wait, "a log line never waits for room"
        if self.closed:
            raise BusClosed("closed")
        self.sent.append(body)

    def texts(self) -> list[str]:
        return [one.text for one in self.sent]


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    bus = Bus(Wiring(run="t", run_dir=str(tmp_path), name="n", kind="robot", endpoints=ENDS))
    stop = start_logging(bus.wiring, bus)  # type: ignore[arg-type]
    yield bus
    stop()


def lines(bus: Bus) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(bus.wiring.run_dir) / "logs" / "n.jsonl").read_text().splitlines()]


def test_so_many_of_each_level_pass_in_a_period() -> None:
    flood = Flood(limit=2, period_s=1.0)
    assert [flood.passes("INFO", 10.0) for _ in range(4)] == [True, True, False, False]
    assert flood.passes("ERROR", 10.5), "chatter does not crowd out errors"
    assert not flood.passes("INFO", 10.9)
    assert flood.passes("INFO", 11.0)
    assert (flood.take(), flood.take()) == (3, 0)


def test_a_flood_is_counted_on_the_topic_and_whole_in_the_file(bus: Bus, wait: Callable[..., Any]) -> None:
    log = logging.getLogger("n")
    for number in range(1000):
        log.info("line %d", number)
    log.error("a real one")
    assert "a real one" in bus.texts()

    def told() -> int:
        """Sent, and said not to have been: one notice, or several where it took longer than a period."""
        notices = [text for text in bus.texts() if "log lines not sent" in text]
        return sum(int(text.split()[0].replace(",", "")) for text in notices) + sum(text.startswith("line") for text in bus.texts())

    wait(lambda: told() == 1000, "the notice")
    assert any("log lines not sent" in text for text in bus.texts())
    assert [line["text"] for line in lines(bus)] == [*(f"line {number}" for number in range(1000)), "a real one"]


def test_the_last_notice_is_not_forgotten_at_the_end(tmp_path: Path) -> None:
    bus = Bus(Wiring(run="t", run_dir=str(tmp_path), name="n", kind="robot", endpoints=ENDS))
    threads = threading.active_count()
    stop = start_logging(bus.wiring, bus)  # type: ignore[arg-type]
    for _ in range(1000):
        logging.getLogger("n").warning("again")
    stop()
    assert "log lines not sent" in bus.sent[-1].text
    assert (len(bus.sent) < 500, threading.active_count() <= threads + 1) == (True, True)


class Unprintable:
    def __str__(self) -> str:
        raise RecursionError("on purpose")


def test_no_call_of_the_log_ends_a_node(bus: Bus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()  # pytest's own handlers raise
    monkeypatch.setattr(root, "handlers", [one for one in root.handlers if not type(one).__module__.startswith("_pytest")])
    log = logging.getLogger("n")
    log.info("%d", "no number")
    log.info(Unprintable())
    log.info("\udcff %s", "\0")
    bus.closed = True
    log.info("after the end")
    bus.closed = False
    assert "on purpose" in capsys.readouterr().err
    assert [line["text"] for line in lines(bus)] == ["\udcff \0", "after the end"]
    assert bus.texts() == ["? \0"]


def test_a_thread_that_breaks_is_in_the_log(bus: Bus) -> None:
    thread = threading.Thread(target=lambda: [][1], name="helper")
    thread.start()
    thread.join(30)
    (line,) = lines(bus)
    assert line["text"].startswith("thread helper has ended: IndexError")
    assert "Traceback" in line["traceback"]
    assert bus.texts() == [line["text"]]
