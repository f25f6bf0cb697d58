"""What is left of a process that crashed or hung: the report, one line on the screen, bounded files."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.written import Written

GRAPH = """
nodes:
  recorder: {{kind: recorder, inputs: [robot]}}
  robot: {{kind: robot, params: {{{params}}}, restart: {{policy: on-failure, backoff_s: 0.1}}, {spec}}}
"""


def report(run: Any, number: int = 1) -> str:
    path = run.path / run.summary()["nodes"]["robot"]["crashes"][number - 1]
    line = next(line for line in run.text().splitlines() if line.endswith(f"crashes/robot-{number}.txt"))
    assert line.startswith(("WARNING: robot ", "ERROR: robot "))
    assert "Traceback" not in run.text() and "Thread 0x" not in run.text(), "stacks are for the report"
    return Path(path).read_text()


def test_a_hung_node_is_ended_and_its_report_says_where_it_hung(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="hang_after: 20, steps: 40", spec="hang_s: 3"), 10, 1)
    assert run.wait() in (0, 3), run.text()
    assert "ALARM: robot is alive but has made no progress for" in run.text()
    robot = run.summary()["nodes"]["robot"]
    assert robot["exit_codes"] == [-signal.SIGKILL, 0] and robot["troubles"] == {"hung": 1}
    assert "robot was alive without progress 1 x" in run.summary()["notes"]
    text = report(run)
    assert text.startswith("robot was ended: it is alive but has made no progress for")
    assert "where_it_hangs" in text
    assert "state     running" in text and "sent      frame/robot up to number 19" in text


def test_a_segmentation_fault_leaves_its_stack(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="segfault_after: 20, steps: 40", spec=""))
    assert run.wait() in (0, 3), run.text()
    assert "WARNING: robot was ended by SIGSEGV; starts again in 0.1 s; see " in run.text()
    assert run.summary()["nodes"]["robot"]["exit_codes"] == [-signal.SIGSEGV, 0]
    text = report(run)
    assert "exit      SIGSEGV" in text and "0 restarts before" in text
    assert "Fatal Python error: Segmentation fault" in text and "in _misbehave" in text
    assert "WARNING robot: about to read what is not there" in text


def test_a_node_that_does_not_stop_says_where_it_is(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="ignore_stop: true", spec=""), 1, 1)
    run.says("running 0:")
    run.signal(signal.SIGINT)
    run.wait()
    assert "robot was ended: it had not stopped within 1 s; see" in run.text()
    assert "in close" in report(run)


def test_a_stopped_node_is_silent_and_then_heard_again(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="", spec=""), 10, 5, 1.5)
    run.says("running 0:")
    pid = run.pid("recorder")
    os.kill(pid, signal.SIGSTOP)
    run.says("WARNING: recorder has been silent for")
    os.kill(pid, signal.SIGCONT)
    run.says("OVER: recorder is heard again")
    run.signal(signal.SIGINT)
    assert run.wait() == 0, run.text()
    recorder = run.summary()["nodes"]["recorder"]
    assert (recorder["exit_codes"], recorder["crashes"]) == ([0], [])
    assert recorder["troubles"]["silent"] >= 1


@pytest.mark.slow
def test_a_node_that_starts_for_more_than_a_minute_is_waited_for(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="setup_s: 65, steps: 5", spec="hang_s: 10"))
    assert run.process.wait(150) == 0, run.text()
    robot = run.summary()["nodes"]["robot"]
    assert (robot["exit_codes"], robot["troubles"]) == ([0], {})


def test_a_thread_that_breaks_is_in_the_log(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="break_thread: true, steps: 10", spec=""))
    assert run.wait() == 0, run.text()
    assert "ERROR: robot: thread helper has ended: IndexError" in run.text() and "Traceback" not in run.text()
    log = (run.path / "logs" / "robot.jsonl").read_text()
    assert "thread helper has ended" in log and "Traceback" in log


def test_a_flood_of_log_lines_is_held_back_and_counted(start: Callable[..., Any]) -> None:
    run = start(GRAPH.format(params="flood: 40000, steps: 100", spec=""))
    assert run.wait() == 0, run.text()
    log = run.path / "logs" / "robot.jsonl"
    assert '"line 39999"' in log.read_text(), "the file has them all"
    topic = run.summary()["topics"]["log/robot"]["recorder"]
    said = [line for line in run.text().splitlines() if "log lines not sent" in line]
    held_back = sum(int(line.split()[2].replace(",", "")) for line in said)
    assert topic["lost"] == 0 and topic["published"] + held_back >= 40000
    assert held_back > 20000
    assert all(line.endswith("see logs/robot.jsonl") for line in said)


# -- what a process has written ---------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def test_last_words_prefer_a_logged_error(logs: Path) -> None:
    written = Written(logs.parent, "a")
    assert written.last_words() == ""
    (logs / "a.stderr").write_text("first\nlast line\n")
    assert written.last_words() == "last line"
    (logs / "a.jsonl").write_text('{"level": "ERROR", "text": "no camera"}\n[]\nbroken\n')
    assert written.last_words() == "no camera"


def test_what_an_earlier_process_wrote_is_not_its_words(logs: Path) -> None:
    for name, text in (("a.stderr", "old\n"), ("a.jsonl", '{"level": "ERROR", "text": "old"}\n')):
        (logs / name).write_text(text)
    written = Written(logs.parent, "a")
    assert (written.last_words(), written.log(), written.stderr()) == ("", [], [])
    with (logs / "a.stderr").open("a") as file:
        file.write("new\n")
    assert written.last_words() == "new"
    (logs / "a.jsonl").write_text('{"level": "ERROR"}\n')  # it has begun a new file
    assert len(written.log()) == 1


def test_standard_error_is_bounded_while_the_process_goes_on(logs: Path) -> None:
    path = logs / "a.stderr"
    path.write_bytes(b"0" * 600)
    with path.open("ab", buffering=0) as process:  # as a child has it
        written = Written(logs.parent, "a")
        for number in range(1, 6):
            process.write(f"line {number}\n".encode() * 100)
            written.bound(limit=1000)
            assert path.stat().st_size <= 1000
        process.write(b"the end\n")
    older = logs / "a.stderr.1"
    assert older.stat().st_size == 1000
    assert written.stderr()[-1] == "the end"
    assert sorted(one.name for one in logs.iterdir()) == ["a.stderr", "a.stderr.1"]
