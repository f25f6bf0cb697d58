"""Faults in a real graph: killed nodes, a killed launcher, Ctrl-C. Losses and stalls are in `test_losses.py`."""

import random
import signal
import threading

import psutil
import pytest

from nodes import process
from storage.verify import verify

from .conftest import PROJECT, SMALL, Bench, Run, check_law, gone, wait_for

FAST = {"options": SMALL, "timing": "lockstep", "rate_hz": 100, "viewer": True}


def _kill(run: Run, name: str) -> int:
    """SIGKILL a node; its pid, once it is really gone by that signal."""
    node = run.node(name)
    assert node is not None
    node.send_signal(signal.SIGKILL)
    wait_for(lambda: gone(node), f"{name} is dead")
    return node.pid


def _back(run: Run, name: str, old_pid: int) -> None:
    wait_for(lambda: (node := run.node(name)) and node.pid != old_pid and run.status(name).get("state") == "running", f"{name} is back")


def _goes_on(run: Run, topic: str = "frame/robot", count: int = 31) -> None:
    """So many more of a topic have come to the recorder: what has only been sent may go with who is killed."""

    def received() -> int:
        return int(run.status("recorder").get("counts", {}).get(topic, {}).get("received", 0))

    seen = received()
    wait_for(lambda: received() >= seen + count, f"{topic} goes on")


@pytest.mark.parametrize("victim", ["recorder", "predictor", "viewer", "robot"])
def test_a_killed_node_comes_back_and_the_session_is_whole(bench: Bench, victim: str) -> None:
    run = bench.launch("run.yaml", "hurt", **FAST)
    run.running()
    wait_for(lambda: run.status("recorder").get("counts", {}).get("frame/robot", {}).get("received", 0) > 30, "frames are recorded")
    for _ in range(2):
        pid = _kill(run, victim)
        _back(run, victim, pid)
        _goes_on(run)
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output
    node = summary["nodes"][victim]
    assert node["exit_codes"][:2] == [-signal.SIGKILL] * 2 and node["restarts"] == 2
    assert node["crashes"] == [f"crashes/{victim}-1.txt", f"crashes/{victim}-2.txt"]
    assert all((run.path / crash).read_text().startswith(f"{victim} was ended by SIGKILL") for crash in node["crashes"])
    check_law(summary, lost=True)
    report = verify(bench.folder / "sessions" / "hurt")
    assert report.verdict == "ok", report
    tails = {tail["run"] for tail in summary["tails"] if tail["subscriber"] == "recorder" and tail["topic"] == f"frame/{victim}"}
    if victim == "robot":
        assert len(tails) == 2, "each of its killed runs has an end that nobody knows"
        assert all(f"robot (run {tail}) died without a last word" in output for tail in tails)
    if victim in ("recorder", "viewer", "predictor"):
        assert not tails
        frames = summary["topics"]["frame/robot"]["recorder"]
        assert frames["lost"] == 0, "the ring has what a restarted recorder missed"


def test_a_killed_trainer_goes_on_from_its_checkpoint(bench: Bench) -> None:
    run = bench.launch("online.yaml", "learner", rate_hz=50, stop_when_learned=False, viewer=False, time_limit_s=0, **SMALL)
    run.running("trainer")
    _goes_on(run, "weights/trainer", 2)
    run.ask("trainer", "checkpoint")
    saved = max(int(path.name.split("-")[-1]) for path in (run.path / "checkpoints").glob("*-samples-*"))
    assert saved > 0
    for _ in range(2):
        pid = _kill(run, "trainer")
        _back(run, "trainer", pid)
        _goes_on(run, "weights/trainer", 2)
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    assert summary["nodes"]["trainer"]["exit_codes"] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert summary["samples"] > saved, "samples go on from the checkpoint"
    frames = summary["topics"]["frame/robot"]["trainer"]
    assert frames["lost"] == 0 and frames["published"] == summary["topics"]["frame/robot"]["recorder"]["published"]
    assert summary["gaps"] == []


NODES = ("robot", "recorder", "trainer", "predictor", "viewer")
UNTIRING = "".join(f"  {name}: {{restart: {{policy: on-failure, max: 1000, backoff_s: 0.1, backoff_max_s: 0.1}}}}\n" for name in NODES)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("victim", NODES)
def test_twenty_kills_at_random_moments(bench: Bench, victim: str) -> None:
    """Also while it starts, and while it catches up."""
    file = bench.folder / "untiring.yaml"
    file.write_text(f"include: {PROJECT}/launch/online.yaml\nnodes:\n{UNTIRING}")
    run = bench.launch(str(file), "hurt", rate_hz=50, stop_when_learned=False, window=False, time_limit_s=0, **SMALL)
    run.running()
    moment = random.Random(victim)
    pause = threading.Event()
    pid = 0
    for _ in range(20):
        wait_for(lambda pid=pid: (node := run.node(victim)) and node.pid != pid, f"a new {victim}")
        pause.wait(moment.uniform(0.0, 8.0 if victim == "trainer" else 3.0))
        pid = _kill(run, victim)
    _back(run, victim, pid)
    run.running("trainer")
    _goes_on(run)
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output
    node = summary["nodes"][victim]
    assert node["exit_codes"][:20] == [-signal.SIGKILL] * 20 and node["restarts"] == len(node["crashes"]) == 20
    assert all(len(other["exit_codes"]) == 1 for name, other in summary["nodes"].items() if name != victim), summary["nodes"]
    check_law(summary, lost=True)
    report = verify(bench.folder / "sessions" / "hurt")
    assert report.verdict == "ok", report
    if victim != "robot":
        assert summary["topics"]["frame/robot"]["recorder"]["lost"] == 0


@pytest.mark.slow
def test_a_recorder_stopped_for_ten_seconds_is_left_alone_and_loses_nothing(bench: Bench) -> None:
    """The demo's world at the demo's rate: 30 MB, which no window holds, so the ring must."""
    run = bench.launch("run.yaml", "stopped", **FAST | {"options": {"size": 224, "radius": 5, "step": 27}, "rate_hz": 20})
    run.running()
    _goes_on(run)
    recorder = run.node("recorder")
    assert recorder is not None
    recorder.suspend()
    wait_for(lambda: recorder.status() == psutil.STATUS_STOPPED, "it is stopped")
    threading.Event().wait(10)
    assert recorder.status() == psutil.STATUS_STOPPED
    recorder.resume()
    _goes_on(run)
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    assert "recorder has been silent for" in output and "recorder is heard again" in output
    assert summary["nodes"]["recorder"]["exit_codes"] == [0] and summary["nodes"]["recorder"]["troubles"] == {"silent": 1}
    check_law(summary)
    assert summary["topics"]["frame/robot"]["recorder"]["lost"] == 0 and summary["gaps"] == []


@pytest.mark.parametrize(
    ("file", "names", "phase"),
    [
        ("run.yaml", ("robot", "recorder", "predictor", "viewer"), "running"),
        pytest.param("online.yaml", NODES, "running", marks=pytest.mark.slow),
        pytest.param("online.yaml", NODES, "starting", marks=pytest.mark.slow),
        pytest.param("online.yaml", NODES, "stopping", marks=pytest.mark.slow),
    ],
)
def test_a_killed_launcher_leaves_nobody_behind(bench: Bench, file: str, names: tuple[str, ...], phase: str) -> None:
    sets = FAST if file == "run.yaml" else {**SMALL, "rate_hz": 50, "stop_when_learned": False, "window": False}
    run = bench.launch(file, "orphans", **sets)
    nodes = [wait_for(lambda name=name: run.node(name), name) for name in names]
    if phase != "starting":
        run.running()
        _goes_on(run)
    if phase == "stopping":
        run.interrupt()
        wait_for(lambda: gone(nodes[0]), "the source has stopped")
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait(30) == -signal.SIGKILL
    assert process.PARENT_POLL_S + process.ORPHAN_GRACE_S < 5  # what they allow themselves; the machine's slowness comes on top
    wait_for(lambda: all(map(gone, nodes)), "all nodes are gone")
    if phase != "starting":
        assert verify(bench.folder / "sessions" / "orphans").verdict == "ok"


def test_ctrl_c_ends_everything_cleanly(bench: Bench) -> None:
    run = bench.launch("run.yaml", "stopped", **FAST)
    run.running()
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0 and summary["outcome"] == "stopped", output
    check_law(summary)
    assert {node["exit_codes"][-1] for node in summary["nodes"].values()} == {0}


def test_a_robot_that_cannot_be_made_ends_the_run_with_one_line(bench: Bench) -> None:
    run = bench.launch("run.yaml", "nobody", driver="no_such_module:Robot")
    code, output, summary = run.end()
    assert code == 2 and summary["outcome"] == "failed", output
    assert "driver 'no_such_module:Robot' cannot be loaded" in output and "Traceback" not in output


@pytest.mark.parametrize(
    ("file", "sets", "said"),
    [
        ("run.yaml", {"driver": "toroidal_dott"}, "unknown driver 'toroidal_dott'; did you mean 'toroidal_dot'?"),
        ("replay.yaml", {"session": "nope"}, "no session 'nope'"),
    ],
)
def test_what_cannot_start_is_said_before_anything_is_started(bench: Bench, file: str, sets: dict[str, str], said: str) -> None:
    run = bench.launch(file, "never", **sets)
    code, output, _ = run.end()
    assert code == 2
    assert output.startswith(f"launch/{file}:") and said in output and output.count("\n") == 1
    assert not run.path.exists()
