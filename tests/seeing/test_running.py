"""Commands at a real graph that runs: they find it by themselves, and it does not notice them."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from .conftest import Run, start, wait_for


def frames(run: Run) -> int:
    return run.status("robot").get("last_seq", {}).get("frame/robot", -1)


def connections(run: Run) -> int:
    """How many hear the robot's latest lane."""
    table = json.loads((run.path / "graph.json").read_bytes())
    end = next(node["endpoints"]["latest"] for node in table["nodes"] if node["name"] == "robot").removeprefix("ipc://")
    robot = run.node("robot")
    return sum(one.laddr == end for one in robot.net_connections("unix")) if robot else -1


def untouched(run: Run) -> dict:
    """What would show that somebody has been here."""
    found = [path for path in run.path.rglob("*") if path.is_file() and "viewer" not in path.parts]
    files = sorted(str(path) for path in found if not path.name.endswith(".part"))  # nodes replace what they leave behind
    return {"confirmed": run.status("robot")["confirmed"], "refused": run.status("robot")["refused"], "files": files}


@pytest.fixture
def runs(running: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the graph's run; one look takes as long as it needs."""
    monkeypatch.setattr("toddle.top.ONCE_S", 60.0)
    monkeypatch.setattr("toddle.graph.LISTEN_S", 60.0)
    return running.path.parent


def test_topic_list(toddle, runs, running) -> None:
    before = untouched(running)
    rows = {row["topic"]: row for row in json.loads(toddle(runs, "topic", "list", "--json", "--seconds", "60").stdout)}
    frame = rows["frame/robot"]
    assert frame["takers"] == {"recorder": "reliable", "predictor": "latest", "viewer": "latest"}
    assert frame["rate_hz"] > 0 and frame["messages"] > 0 and frame["bytes"] > 64 * 64 * 3 and frame["age_s"] >= 0
    assert rows["robot/robot"]["messages"] == 1 and rows["robot/robot"]["age_s"] > 0, "latched: it comes to late joiners"
    assert rows["alarm/viewer"]["messages"] == 0 and rows["alarm/viewer"]["age_s"] is None
    assert {row["publisher"] for row in rows.values()} == {"robot", "predictor", "recorder", "viewer"}
    table = toddle(runs, "topic", "list", "--seconds", "60").stdout
    assert table.startswith("run shared") and "frame/robot" in table
    assert untouched(running) == before


def test_topic_echo(toddle, runs) -> None:
    said = toddle(runs, "topic", "echo", "frame", "--count", "2", "--json")
    first, second = map(json.loads, said.stdout.splitlines())
    assert (
        second["seq"] > first["seq"]
        and first["topic"] == "frame/robot"
        and first["body"] == {"held_out": False, "last": first["body"]["last"], "origin_t_ns": None}
    )
    picture = first["arrays"]["image/top"]
    assert (picture["dtype"], picture["shape"], "values" in picture) == ("uint8", [64, 64, 3], False)
    full = json.loads(toddle(runs, "topic", "echo", "frame", "--count", "1", "--json", "--full").stdout)
    assert len(full["arrays"]["image/top"]["values"]) == 64
    text = toddle(runs, "topic", "echo", "frame/robot", "--count", "1")
    assert re.search(r"image/top +uint8 64x64x3  min ", text.stdout) and "step " in text.stdout and text.exit_code == 0
    assert "1 of frame/robot" in text.stderr
    latched = toddle(runs, "topic", "echo", "robot/robot", "--count", "1", "--seconds", "60")
    assert '"toroidal_dot"' in latched.stdout


@pytest.mark.parametrize(("verb", "word"), [("hz", " Hz  interval "), ("bw", "/s  a message "), ("latency", "publish to receive p50 ")])
def test_topic_measures(toddle, runs, verb, word) -> None:
    result = toddle(runs, "topic", verb, "frame", "--count", "10")
    assert result.exit_code == 0 and result.stdout.splitlines()[-1].startswith("frame/robot  ") and word in result.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fram", "did you mean 'frame/robot'?"),
        ("frame/robt", "did you mean 'frame/robot'?"),
        ("status", "published by several nodes: "),
        ("weights", "no node of run 'shared' publishes 'weights'; a trainer does"),
        ("", "no topic ''"),
        ("\x1b[2J", "no topic "),
    ],
)
def test_a_wrong_topic_gets_one_line(toddle, runs, name, words) -> None:
    for verb in ("echo", "hz", "bw", "latency"):
        result = toddle(runs, "topic", verb, name)
        assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1 and "\x1b" not in result.stderr


def test_a_quiet_topic_says_why(toddle, runs, running, monkeypatch) -> None:
    monkeypatch.setattr("toddle.listen.QUIET_S", 0.2)
    never = toddle(runs, "topic", "hz", "alarm/viewer", "--seconds", "1")
    assert "nothing on alarm/viewer for 0.2 s: viewer has published nothing on it yet" in never.stderr and never.exit_code == 0
    running.ask("robot", "pause")
    try:
        wait_for(lambda: running.status("robot").get("state") == "paused", "a pause")
        paused = toddle(runs, "topic", "echo", "frame", "--seconds", "1")
        assert "robot is paused" in paused.stderr
    finally:
        running.ask("robot", "resume")
        running.running()


def test_topics_are_completed(runs) -> None:
    env = {"_TODDLE_COMPLETE": "bash_complete", "COMP_WORDS": "toddle topic hz fr", "COMP_CWORD": "3", "TODDLE_RUNS": str(runs)}
    done = subprocess.run(
        [sys.executable, "-m", "toddle"], env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "plain,frame/robot\n", done.stderr


def test_top(toddle, runs, running) -> None:
    look = json.loads(toddle(runs, "top", "--json").stdout)
    nodes = {node["node"]: node for node in look["nodes"]}
    assert set(nodes) == {"robot", "predictor", "recorder", "viewer"} and look["run"] == "shared"
    assert all(node["state"] == "running" and node["memory_mb"] > 1 and node["lost"] == 0 for node in nodes.values())
    assert nodes["robot"]["rate_hz"] > 0 and look["topics"]["frame/robot"] > 0
    once = toddle(runs, "top").stdout
    assert "robot" in once and "frame/robot" in once and "\x1b" not in once


def test_top_is_live_in_a_terminal(running) -> None:
    ours, theirs = os.openpty()
    env = {**os.environ, "TODDLE_RUNS": str(running.path.parent), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    top = subprocess.Popen(
        [sys.executable, "-m", "toddle", "top"], env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = b""

    def shows() -> bool:
        nonlocal said
        with suppress(OSError):  # it has ended
            if select.select([ours], [], [], 0)[0]:
                said += os.read(ours, 65536)
        return b"frame/robot" in said and b"running" in said

    try:
        wait_for(shows, "a picture")
        top.send_signal(signal.SIGINT)
        wait_for(lambda: shows() and top.poll() is not None, "its end")
        assert top.returncode == 0
    finally:
        top.kill()
        top.wait()
        os.close(ours)


def test_graph(toddle, runs) -> None:
    drawn = toddle(runs, "graph")
    assert "[robot]  running" in drawn.stdout and "==> recorder" in drawn.stdout and "numbers are messages a second" in drawn.stdout
    assert toddle(runs, "graph", "shared", "--mermaid").stdout.startswith("flowchart LR\n")


def test_logs_are_followed(runs, running) -> None:
    following = start(running, "logs", "recorder", "--follow", "--json")
    try:
        assert "recording session shared" in json.loads(following.stdout.readline())["text"]
        assert "records about " in json.loads(following.stdout.readline())["text"]
        with (running.path / "logs" / "recorder.stderr").open("a") as file:
            file.write("something odd\n")
        assert json.loads(following.stdout.readline())["text"] == "something odd"
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 0
        following.communicate()


def test_a_stopped_echo_holds_nobody_and_leaves_nothing(running) -> None:
    before, known = connections(running), untouched(running)
    echo = start(running, "topic", "echo", "frame", "--json")
    assert json.loads(echo.stdout.readline())["topic"] == "frame/robot"
    assert connections(running) == before + 1
    echo.send_signal(signal.SIGSTOP)
    wait_for(lambda: psutil.Process(echo.pid).status() == psutil.STATUS_STOPPED, "it is stopped")
    began = frames(running)
    wait_for(lambda: frames(running) > began + 150, "more frames than all queues hold")
    assert untouched(running) == known
    lost = [count["lost"] for name in ("recorder", "viewer", "predictor") for count in running.status(name)["counts"].values()]
    assert not any(lost)
    echo.send_signal(signal.SIGCONT)
    seen = frames(running)
    for line in echo.stdout:
        if json.loads(line)["seq"] > seen:
            break
    echo.send_signal(signal.SIGINT)
    _, errors = echo.communicate(timeout=60)
    assert echo.returncode == 0 and " skipped by this tap" in errors, errors
    wait_for(lambda: connections(running) == before, "its subscription is gone")
    assert untouched(running) == known
