"""Faults in a real graph: killed nodes, a killed launcher, Ctrl-C."""

import signal

import psutil
import pytest

from storage.verify import verify

from .conftest import SMALL, Bench, Run, check_law, wait_for

FAST = {"options": SMALL, "timing": "lockstep", "rate_hz": 100, "viewer": True}


def _kill(run: Run, name: str) -> int:
    """SIGKILL a node; its pid, once it is really gone by that signal."""
    node = run.node(name)
    assert node is not None
    node.send_signal(signal.SIGKILL)
    wait_for(lambda: not node.is_running() or node.status() == psutil.STATUS_ZOMBIE, f"{name} is dead")
    return node.pid


def _back(run: Run, name: str, old_pid: int) -> None:
    wait_for(lambda: (node := run.node(name)) and node.pid != old_pid and run.status(name).get("state") == "running", f"{name} is back")


@pytest.mark.parametrize("victim", ["recorder", "predictor", "viewer", "robot"])
def test_a_killed_node_comes_back_and_the_session_is_whole(bench: Bench, victim: str) -> None:
    run = bench.launch("run.yaml", "hurt", **FAST)
    run.running()
    wait_for(lambda: run.status("recorder").get("counts", {}).get("frame/robot", {}).get("received", 0) > 30, "frames are recorded")
    pid = _kill(run, victim)
    _back(run, victim, pid)
    seen = run.status("recorder").get("counts", {}).get("frame/robot", {}).get("received", 0)
    wait_for(lambda: run.status("recorder").get("counts", {}).get("frame/robot", {}).get("received", 0) > seen + 30, "it goes on")
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output
    assert summary["nodes"][victim]["exit_codes"][0] == -signal.SIGKILL and summary["nodes"][victim]["restarts"] == 1
    check_law(summary, lost=True)
    report = verify(bench.folder / "sessions" / "hurt")
    assert report.verdict == "ok", report
    if victim in ("recorder", "viewer", "predictor"):
        frames = summary["topics"]["frame/robot"]["recorder"]
        assert frames["lost"] == 0, "the ring has what a restarted recorder missed"


def test_a_killed_trainer_goes_on_from_its_checkpoint(bench: Bench) -> None:
    run = bench.launch("online.yaml", "learner", rate_hz=50, stop_when_learned=False, viewer=False, time_limit_s=0, **SMALL)
    run.running("trainer")
    wait_for(lambda: run.status("trainer").get("last_seq", {}).get("weights/trainer", -1) >= 1, "something is learned")
    run.ask("trainer", "checkpoint")
    saved = max(int(path.name.split("-")[-1]) for path in (run.path / "checkpoints").glob("*-samples-*"))
    assert saved > 0
    pid = _kill(run, "trainer")
    _back(run, "trainer", pid)
    wait_for(lambda: run.status("trainer").get("last_seq", {}).get("weights/trainer", -1) >= 1, "it goes on learning")
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output
    assert summary["nodes"]["trainer"]["exit_codes"][0] == -signal.SIGKILL
    assert summary["samples"] > saved, "samples go on from the checkpoint"
    check_law(summary, lost=True)


def test_a_killed_launcher_leaves_nobody_behind(bench: Bench) -> None:
    run = bench.launch("run.yaml", "orphans", **FAST)
    run.running()
    nodes = [node for name in ("robot", "recorder", "predictor", "viewer") if (node := run.node(name))]
    assert len(nodes) == 4
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait(30) == -signal.SIGKILL
    wait_for(lambda: not any(node.is_running() and node.status() != psutil.STATUS_ZOMBIE for node in nodes), "all nodes are gone", 30)
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
