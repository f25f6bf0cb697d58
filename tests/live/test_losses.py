"""What a stalled, slow or dead process costs: nothing, or an exact gap that is the same wherever one looks."""

import json
import signal
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from protocol.ring import WINDOW_BYTES
from protocol.sockets import LATEST_HWM
from storage.reader import SessionReader

from .conftest import PROJECT, Bench, Run, check_law, wait_for

BIG = {"options": {"size": 224, "radius": 5, "step": 27}, "timing": "paced", "rate_hz": 50, "viewer": False}
FRAME_BYTES = 224 * 224 * 3
WINDOW_FRAMES = WINDOW_BYTES // FRAME_BYTES + 1
"""So many of these frames are on their way to a reliable subscriber before its publisher holds back."""
SLACK_BYTES = 8 << 20
"""What any process' memory may move by while 300 frames, 45 MB, pass through it."""


def _file(bench: Bench, nodes: str, include: str = "run.yaml") -> str:
    """A launch file that changes some nodes of an existing one."""
    file = bench.folder / "changed.yaml"
    file.write_text(f"include: {PROJECT}/launch/{include}\nnodes:\n" + "".join(f"  {line}\n" for line in nodes.splitlines()))
    return str(file)


def _frames(run: Run, by: str = "predictor") -> int:
    """How many frames the robot has published, as far as another node has noticed."""
    return int(run.status(by).get("counts", {}).get("frame/robot", {}).get("published", 0))


def _more_frames(run: Run, count: int, by: str = "predictor") -> None:
    before = wait_for(lambda: _frames(run, by), "frames")
    wait_for(lambda: _frames(run, by) >= before + count, f"{count} more frames")


def _stop(run: Run, name: str) -> psutil.Process:
    node = run.node(name)
    assert node is not None
    node.suspend()
    wait_for(lambda: node.status() == psutil.STATUS_STOPPED, f"{name} is stopped")
    return node


def _info(bench: Bench, session: str) -> dict[str, Any]:
    said = bench.toddle("sessions", "info", session, "--json")
    assert said.returncode == 0, said.stderr
    info: dict[str, Any] = json.loads(said.stdout)
    return info


def test_a_recorder_stopped_for_a_while_loses_nothing(bench: Bench) -> None:
    run = bench.launch("run.yaml", "stopped", **{**BIG, "rate_hz": 20})
    run.running()
    _more_frames(run, 10, "recorder")
    recorder = _stop(run, "recorder")
    _more_frames(run, WINDOW_FRAMES + 10)
    assert recorder.status() == psutil.STATUS_STOPPED
    recorder.resume()
    _more_frames(run, 10, "recorder")
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert summary["gaps"] == summary["tails"] == []
    assert _info(bench, "stopped")["gaps"] == []


def test_a_stall_beyond_the_ring_is_a_gap_that_is_the_same_everywhere(bench: Bench) -> None:
    run = bench.launch(_file(bench, "robot: {ring_mb: 1, on_full: count}"), "gap", **BIG)
    run.running()
    _more_frames(run, 10, "recorder")
    recorder = _stop(run, "recorder")
    _more_frames(run, WINDOW_FRAMES + 60)
    assert recorder.status() == psutil.STATUS_STOPPED
    recorder.resume()
    _more_frames(run, 10, "recorder")
    run.interrupt()
    code, output, summary = run.end()
    assert (code, summary["outcome"], summary["exit_code"]) == (3, "lost", 3), output
    check_law(summary, lost=True)
    count = summary["topics"]["frame/robot"]["recorder"]
    assert count["lost"] > 0 and count["skipped"] == 0
    gaps = [gap for gap in summary["gaps"] if gap["topic"] == "frame/robot"]
    assert sum(gap["last"] - gap["first"] + 1 for gap in gaps) == count["lost"]
    assert f"recorder lost {count['lost']} of {count['published']} messages of frame/robot" in output
    assert all(f"of frame/robot never came: {gap['first']} to {gap['last']}, " in output for gap in gaps), output

    info = _info(bench, "gap")
    assert _places(info["gaps"]) == _places(summary["gaps"])
    frames = info["topics"]["frame/robot"]
    assert (frames["count"], frames["missing"]) == (count["received"], count["lost"])
    times = {(gap["topic"], gap["first"]): (gap["after_ns"], gap["before_ns"]) for gap in info["gaps"]}
    for gap in gaps:
        assert tuple(map(_ms, (gap["after"], gap["before"]))) == tuple(ns // 1_000_000 for ns in times[gap["topic"], gap["first"]])
    said = bench.toddle("sessions", "info", "gap").stdout
    assert all(f"frame/robot {gap['first']} to {gap['last']} of run {gap['run']} never came, " in said for gap in gaps)
    assert bench.toddle("sessions", "verify", "gap").returncode == 3


def _ms(iso: str | None) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1e3) if iso else 0


def _places(gaps: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((gap["topic"], gap["run"], gap["first"], gap["last"]) for gap in gaps)


def test_in_simulation_the_robot_waits_for_a_stalled_recorder(bench: Bench) -> None:
    run = bench.launch(_file(bench, "robot: {ring_mb: 1, on_full: block}"), "waits", **BIG)
    run.running()
    _more_frames(run, 10, "recorder")
    recorder = _stop(run, "recorder")
    wait_for(_stands_still(run), "the robot waits")
    assert recorder.status() == psutil.STATUS_STOPPED
    recorder.resume()
    _more_frames(run, 30, "recorder")
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert summary["gaps"] == []


def _stands_still(run: Run) -> Callable[[], bool]:
    """Whether nothing came of the robot during four heartbeats of the predictor."""
    seen: dict[int, int] = {}

    def stands() -> bool:
        counts = run.status("predictor").get("counts", {})
        done = sum(counts.get(f"{kind}/robot", {}).get("published", 0) for kind in ("frame", "action"))
        told = run.status("predictor").get("last_seq", {}).get("status/predictor", 0)
        first = seen.setdefault(done, told)
        return bool(told >= first + 4)

    return stands


def test_a_killed_robot_leaves_named_tails(bench: Bench) -> None:
    run = bench.launch(_file(bench, "robot: {restart: never, required: false}"), "dead", **BIG)
    run.running()
    _more_frames(run, 10, "recorder")
    robot = run.node("robot")
    assert robot is not None
    robot.send_signal(signal.SIGKILL)
    wait_for(lambda: "robot" in run.status("recorder").get("silent", []), "the recorder notices")
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output  # what its last heartbeat told of and never left the machine is a gap
    assert summary["nodes"]["robot"]["exit_codes"] == [-signal.SIGKILL]
    check_law(summary, lost=True)
    assert (code == 3) == bool(summary["gaps"])
    tails = {tail["topic"]: tail for tail in summary["tails"] if tail["subscriber"] == "recorder"}
    assert {"frame/robot", "action/robot", "status/robot"} <= set(tails)
    (name,) = {tail["run"] for tail in tails.values()}
    assert f"robot (run {name}) died without a last word, end unknown: " in output
    assert f"frame/robot after {tails['frame/robot']['last']}" in output
    assert "robot has not been heard for three heartbeats" in output

    info = _info(bench, "dead")
    written = {tail["topic"]: (tail["run"], tail["last"], tail["told"]) for tail in info["tails"]}
    assert written == {topic: (tail["run"], tail["last"], tail["told"]) for topic, tail in tails.items()}
    assert f"the end of frame/robot after {tails['frame/robot']['last']} of run {name}" in bench.toddle("sessions", "info", "dead").stdout


def test_a_stopped_viewer_costs_nobody_anything(bench: Bench) -> None:
    """Small rings, so that memory that grows with the frames can only be that of the viewer's."""
    rings = "robot: {ring_mb: 1}\npredictor: {ring_mb: 1}"
    run = bench.launch(_file(bench, rings), "watched", **{**BIG, "viewer": True, "window": False})
    run.running()
    _more_frames(run, 100, "viewer")
    others = {name: node for name in ("robot", "predictor", "recorder") if (node := run.node(name))}
    before = {name: _own_bytes(node) for name, node in others.items()}
    viewer = _stop(run, "viewer")
    first = _frames(run)
    _more_frames(run, 300)
    last = _frames(run)
    growth = {name: _own_bytes(node) - before[name] for name, node in others.items()}
    assert viewer.status() == psutil.STATUS_STOPPED
    assert len(growth) == 3 and max(growth.values()) < LATEST_HWM * FRAME_BYTES + SLACK_BYTES, growth
    viewer.resume()
    _more_frames(run, 10, "viewer")
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    frames = summary["topics"]["frame/robot"]
    assert frames["viewer"]["skipped"] > 0 and frames["recorder"]["received"] == frames["recorder"]["published"]
    with SessionReader(bench.folder / "sessions" / "watched") as reader:
        made_ns = [message.envelope.mono_ns for message in reader.topic_messages("frame")]
    assert _interval_ns(made_ns[first:last]) <= 1.5 * _interval_ns(made_ns[:first]), "the robot keeps its pace"


def _own_bytes(node: psutil.Process) -> int:
    """Memory without mapped files, which a recorder's grow with what it writes."""
    memory = node.memory_info()
    return int(memory.rss - memory.shared)


def _interval_ns(made_ns: list[int]) -> float:
    return median(later - earlier for earlier, later in pairwise(made_ns))


@pytest.mark.slow
def test_a_killed_trainer_misses_only_what_neither_of_its_processes_had(bench: Bench) -> None:
    """A ring far smaller than what passes while it is away."""
    sets = {"size": 224, "timing": "paced", "rate_hz": 15, "stop_when_learned": False, "viewer": False, "time_limit_s": 0}
    run = bench.launch(_file(bench, "robot: {ring_mb: 1, on_full: count}", "online.yaml"), "learner", **sets)
    run.running("trainer")
    taken = run.path / "taken-trainer.json"
    wait_for(lambda: _handled(taken) > 30, "the trainer has handled frames")
    trainer = run.node("trainer")
    assert trainer is not None
    trainer.send_signal(signal.SIGKILL)
    wait_for(lambda: (node := run.node("trainer")) and node.pid != trainer.pid, "a new trainer")
    handled = _handled(taken)
    _more_frames(run, WINDOW_FRAMES)
    wait_for(lambda: run.status("trainer").get("state") == "running" and _frames(run, "trainer") > handled + WINDOW_FRAMES, "it goes on")
    run.interrupt()
    code, output, summary = run.end()
    assert code == 3, output
    assert summary["nodes"]["trainer"]["exit_codes"][0] == -signal.SIGKILL
    check_law(summary, lost=True)
    count = summary["topics"]["frame/robot"]["trainer"]
    gaps = [gap for gap in summary["gaps"] if (gap["subscriber"], gap["topic"]) == ("trainer", "frame/robot")]
    assert count["lost"] == sum(gap["last"] - gap["first"] + 1 for gap in gaps) > 0
    assert any(gap["first"] > handled for gap in gaps)
    assert not any(gap["first"] <= handled <= gap["last"] for gap in gaps), "what it had handled is no loss"
    assert summary["topics"]["frame/robot"]["recorder"]["lost"] == 0


def _handled(path: Path) -> int:
    """The last frame that the trainer has left word of."""
    return int(json.loads(path.read_text()).get("frame/robot", ("", -1))[1]) if path.exists() else -1
