"""The life of a node in a real process: start, commands, errors, signals, orphans, logs."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from protocol import control
from protocol import messages as m
from protocol.bus import Bus
from protocol.errors import ControlError
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


class Run:
    """One tiny node, and a launcher's bus that hears it."""

    def __init__(self, folder: Path, wait: Callable[..., Any], params: dict[str, Any], inputs: list[Peer] | None = None) -> None:
        self.folder, self.wait = folder, wait
        self.ends = {name: Endpoints(*(f"ipc://{folder}/{name}.{lane}" for lane in "lrc")) for name in ("tiny", "view", "robot")}
        self.wiring = self._wiring("tiny", "recorder", params=params, subscribers=[Subscriber("view", "viewer")], inputs=inputs or [])
        self.wiring.write(folder / "tiny.json")
        self.bus = Bus(self._wiring("view", "viewer", inputs=[Peer("tiny", "recorder", self.ends["tiny"])]))
        self.bus.start()
        self.bus.subscribe()
        self.statuses: list[m.Status] = []
        self.others: list[m.Message] = []

    def _wiring(self, name: str, kind: str, **fields: Any) -> Wiring:
        return Wiring(run="t", run_dir=str(self.folder), name=name, kind=kind, endpoints=self.ends[name], **fields)

    def start(self) -> None:
        argv = [sys.executable, str(HERE / "tiny.py"), str(self.folder / "tiny.json")]
        self.process = subprocess.Popen(argv, cwd=ROOT, env=ENV, stderr=subprocess.PIPE, text=True)

    def hears(self, condition: Callable[[m.Status], bool], what: str) -> m.Status:
        """The first heartbeat for which this is true."""

        def heard() -> m.Status | None:
            while (thing := self.bus.next(0.02)) is not None:
                if isinstance(thing, m.Message) and isinstance(thing.body, m.Status):
                    self.statuses.append(thing.body)
                    if condition(thing.body):
                        return thing.body
                elif isinstance(thing, m.Message):
                    self.others.append(thing)
            return None

        found: m.Status = self.wait(heard, what)
        return found

    def state(self, name: str) -> m.Status:
        return self.hears(lambda status: status.state == name, f"state {name}")

    def ask(self, command: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.bus.request("tiny", command, args, 20.0)

    def ends_with(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "logs" / "tiny.jsonl").read_text().splitlines()]

    def close(self) -> None:
        if hasattr(self, "process"):
            self.process.kill()
            self.process.communicate()
        self.bus.abandon()
        self.bus.close(drain_s=0)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def run(short_folder: Path, wait: Callable[..., Any]) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(*, start: bool = True, inputs: list[Peer] | None = None, **params: Any) -> Run:
        made.append(Run(short_folder, wait, params, inputs))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_ready_go_status_stop(run: Callable[..., Run]) -> None:
    tiny = run()
    tiny.state("ready")
    assert tiny.ask("go") == {}
    tiny.state("running")
    assert tiny.ask("status")["status"]["kind"] == "recorder"
    assert tiny.ask("echo", {"a": [1, "b"]}) == {"a": [1, "b"]}
    assert tiny.ask("stop") == {}
    final = tiny.hears(lambda status: status.final, "the last word")
    assert (final.state, final.outcome) == ("stopped", "")
    assert tiny.ends_with() == (0, "closed\n")
    assert [one.body.values for one in tiny.others if one.kind == "metrics"] == [{"one": 1.0}]
    assert final.last_seq["control/tiny"] == 2  # go, echo and stop are on the record, a question is not


def test_log_lines_are_json_and_on_the_topic(run: Callable[..., Run]) -> None:
    tiny = run()
    tiny.state("ready")
    tiny.ask("go")
    tiny.state("running")
    tiny.ask("fail", {"how": "wrong log"})  # a wrong call of the logger is no reason to die
    tiny.ask("stop")
    final = tiny.hears(lambda status: status.final, "the last word")
    assert final.last_seq["log/tiny"] >= 0
    assert tiny.ends_with()[0] == 0
    line = tiny.log()[0]
    assert (line["level"], line["node"], line["text"]) == ("INFO", "tiny", "goes, 100 %")
    assert abs(line["t"] - time.time()) < 600


def test_commands_that_are_refused_leave_it_running(run: Callable[..., Run]) -> None:
    tiny = run()
    tiny.state("ready")
    with pytest.raises(ControlError, match="came before the run has begun"):
        tiny.ask("echo")
    tiny.ask("go")
    with pytest.raises(ControlError, match="unknown command 'wat'; it knows echo, fail, go, odd, status, stop"):
        tiny.ask("wat")
    with pytest.raises(ControlError, match="tiny: cannot fail softly"):
        tiny.ask("fail", {"how": "softly"})
    with pytest.raises(ControlError, match="missing argument 'how'"):
        tiny.ask("fail")
    with pytest.raises(ControlError, match="unsupported"):
        tiny.ask("odd")
    assert tiny.ask("echo", {"a": 1}) == {"a": 1}


def test_an_unexpected_error_ends_it_with_a_traceback_in_the_log(run: Callable[..., Run]) -> None:
    tiny = run()
    tiny.state("ready")
    tiny.ask("go")
    with zmq.Context() as context, pytest.raises(ControlError):
        control.ask(context, tiny.ends["tiny"].control, "fail", {"how": "badly"}, "test", 0.5)
    final = tiny.hears(lambda status: status.final, "the last word")
    assert (final.outcome, final.detail) == ("failed", "unexpected error, see its log")
    code, errors = tiny.ends_with()
    assert code == 1
    assert "closed" in errors
    assert "ZeroDivisionError: as asked" in tiny.log()[-1]["traceback"]


def test_a_broken_handler_is_the_same(run: Callable[..., Run], short_folder: Path, wait: Callable[..., Any]) -> None:
    ends = Endpoints(*(f"ipc://{short_folder}/robot.{lane}" for lane in "lrc"))
    tiny = run(inputs=[Peer("robot", "robot", ends)])
    robot = Bus(tiny._wiring("robot", "robot", subscribers=[Subscriber("tiny", "recorder")]))
    robot.start()
    try:
        tiny.state("ready")
        wait(lambda: not robot.status().missing)
        robot.publish("frame", m.Frame())
        assert tiny.hears(lambda status: status.final, "the last word").outcome == "failed"
        assert tiny.ends_with()[0] == 1
        assert "this handler is broken" in tiny.log()[-1]["traceback"]
    finally:
        robot.abandon()
        robot.close(drain_s=0)


def test_nobody_waits_for_a_last_message_until_its_taker_has_closed(
    run: Callable[..., Run], short_folder: Path, wait: Callable[..., Any]
) -> None:
    """A trainer may write its last checkpoint for longer than a robot waits for its last frame to be taken."""
    ends = Endpoints(*(f"ipc://{short_folder}/robot.{lane}" for lane in "lrc"))
    tiny = run(inputs=[Peer("robot", "robot", ends)], holds=["handling", "closing"])
    robot = Bus(tiny._wiring("robot", "robot", subscribers=[Subscriber("tiny", "recorder")]))
    robot.start()
    tiny.state("ready")
    wait(lambda: not robot.status().missing)
    robot.publish("action", m.ActionTaken(action={"action": 1.0}, by="test", start_ns=0, end_ns=0))
    wait((short_folder / "handling").exists)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(robot.close, 60.0)
        tiny.hears(lambda status: status.counts["status/robot"].end_known, "the robot's last word has come")
        tiny.process.send_signal(signal.SIGTERM)
        (short_folder / "handling.done").touch()
        wait((short_folder / "closing").exists)
        try:
            wait(closing.done, "the robot hears that all was handled")
        finally:
            (short_folder / "closing.done").touch()
        assert closing.result()
    assert tiny.ends_with() == (0, "closed\n")


def test_a_node_error_is_one_line_and_its_own_code(run: Callable[..., Run]) -> None:
    tiny = run(fail="setup", setup_s=1.0)
    tiny.state("starting")
    final = tiny.hears(lambda status: status.final, "the last word")
    assert (final.outcome, final.detail) == ("failed", "the camera is not there; plug it in")
    assert tiny.ends_with()[0] == 4
    assert [line["text"] for line in tiny.log()] == ["the camera is not there; plug it in"]
    assert "traceback" not in tiny.log()[0]


@pytest.mark.parametrize(
    ("params", "says"),
    [({"wat": 1}, "unknown field `wat`"), ({"ticks": "x"}, "Expected `int`"), ({"ticks": -1}, "ticks must be 0 or more")],
)
def test_a_bad_config_is_one_line(run: Callable[..., Run], params: dict[str, Any], says: str) -> None:
    code, errors = run(**params).ends_with()
    assert code == 2
    assert says in errors
    assert errors.startswith("tiny: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("text", [None, "", "{", '{"run": 1}', '{"name": "tiny"}'])
def test_a_bad_wiring_is_one_line(short_folder: Path, text: str | None) -> None:
    path = short_folder / "w.json"
    if text is not None:
        path.write_text(text)
    done = subprocess.run([sys.executable, str(HERE / "tiny.py"), str(path)], env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr


def test_a_taken_endpoint_is_one_line(run: Callable[..., Run]) -> None:
    tiny = run()
    tiny.state("ready")
    second = subprocess.run(
        [sys.executable, str(HERE / "tiny.py"), str(tiny.folder / "tiny.json")], env=ENV, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert second.stderr.startswith("tiny: cannot bind ipc://")
    assert second.stderr.count("\n") == 1
    assert tiny.ask("go") == {}  # the first one has lost nothing


def test_the_end_of_the_work_is_said(run: Callable[..., Run]) -> None:
    tiny = run(ticks=3)
    tiny.state("ready")
    tiny.ask("go")
    status = tiny.hears(lambda status: bool(status.outcome), "an outcome")
    assert (status.outcome, status.detail) == ("ended", "ticked enough")
    tiny.ask("stop")
    assert tiny.ends_with()[0] == 0


def test_heartbeats_go_on_while_setup_is_busy(run: Callable[..., Run]) -> None:
    tiny = run(setup_s=2.5)
    tiny.state("ready")
    starting = [status for status in tiny.statuses if status.state == "starting"]
    assert len(starting) >= 2
    assert starting[-1].loop_age_s > starting[0].loop_age_s


def test_its_numbers_can_be_scraped_from_the_start_to_the_end(run: Callable[..., Run]) -> None:
    tiny = run(setup_s=1.0)
    url = tiny.hears(lambda status: bool(status.metrics_url), "where its metrics are").metrics_url
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert b'toddle_node_state{state="starting"} 1.0' in answer.read()
    place = urllib.parse.urlsplit(url)
    for rubbish in (b"\x00" * 9000, b"GET " * 3000, b"POST /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
        with socket.create_connection((place.hostname, place.port), timeout=30) as client, contextlib.suppress(OSError):
            client.sendall(rubbish)
    tiny.state("ready")
    tiny.ask("go")
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert b'toddle_node_state{state="running"} 1.0' in answer.read()
    tiny.ask("stop")
    assert tiny.ends_with() == (0, "closed\n"), "nothing on its standard error"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=30)


@pytest.mark.parametrize("when", ["starting", "ready", "running"])
def test_sigterm_ends_it_in_order(run: Callable[..., Run], when: str) -> None:
    tiny = run(setup_s=1.0 if when == "starting" else 0.0)
    tiny.state("starting" if when == "starting" else "ready")
    if when == "running":
        tiny.ask("go")
    tiny.process.send_signal(signal.SIGINT)  # the launcher's business
    tiny.process.send_signal(signal.SIGTERM)
    assert tiny.hears(lambda status: status.final, "the last word").state == "stopped"
    assert tiny.ends_with() == (0, "closed\n")


def test_no_orphan_is_left_when_the_launcher_is_killed(run: Callable[..., Run], wait: Callable[..., Any]) -> None:
    tiny = run(start=False)
    script = textwrap.dedent("""
        import os, subprocess, sys, time
        env = {**os.environ, "TODDLE_PARENT_PID": str(os.getpid())}
        print(subprocess.Popen(sys.argv[1:], env=env).pid, flush=True)
        time.sleep(600)
    """)
    argv = [sys.executable, "-c", script, sys.executable, str(HERE / "tiny.py"), str(tiny.folder / "tiny.json")]
    launcher = subprocess.Popen(argv, cwd=ROOT, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert launcher.stdout is not None
    child = int(launcher.stdout.readline())
    tiny.state("ready")
    launcher.kill()
    assert launcher.wait() == -signal.SIGKILL
    launcher.stdout.close()
    assert tiny.hears(lambda status: status.final, "the last word").state == "stopped"

    wait(lambda: not alive(child), "the child to end")


ORPHAN = """
import os, signal, subprocess, sys, threading
from nodes import process
told = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: told.set())
process.die_with_parent()
print(os.getpid(), subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
told.wait()
"""

DYING = """
import ctypes, os, subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
env = {**os.environ, "TODDLE_PARENT_PID": str(os.getpid())}
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=env, start_new_session=True)
sys.stdin.readline()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody is told")
def test_what_a_node_started_ends_while_the_launcher_is_still_dying(wait: Callable[..., Any]) -> None:
    """A killed process ends thread by thread: nodes are told when the first is gone, and their parent is the same until the last is."""
    argv = [sys.executable, "-c", DYING, ORPHAN]
    launcher = subprocess.Popen(argv, cwd=ROOT, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert launcher.stdin is not None and launcher.stdout is not None
    node, child = map(int, launcher.stdout.readline().split())
    launcher.stdin.close()
    try:
        wait(lambda: not alive(node), "the node to end")
        assert launcher.poll() is None
        wait(lambda: not alive(child), "what it started to end")
    finally:
        launcher.kill()
        launcher.wait()
        launcher.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
