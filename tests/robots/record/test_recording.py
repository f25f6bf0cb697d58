"""Episodes of an arm, recorded: real processes, lerobot's own classes, emulated servos on a pseudo-terminal."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulators.so101 import SO101Emulator
from storage.exchange.actionlog import read_logs
from storage.exchange.decided import decided
from storage.exchange.decisions import import_decisions
from storage.reader import SessionReader
from toddle.record.plan import Plan, words

pytest.importorskip("lerobot")

ROOT = Path(__file__).parents[3]
PAN, LIFT = 0, 1
LIMIT_S = 280.0
NOT_INHERITED = ("DISPLAY", "WAYLAND_DISPLAY", "TODDLE_SESSIONS", "TODDLE_RUNS")


@pytest.fixture
def arm() -> Iterator[SO101Emulator]:
    with SO101Emulator(cameras={"front": "drawn"}, size=(64, 64)) as made:
        yield made


@pytest.fixture
def toddle(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command in a folder of its own; what is left of it in the end is killed."""
    started: list[subprocess.Popen[str]] = []
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "TODDLE_SESSIONS", "TODDLE_RUNS")
    }

    def start(*line: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "toddle", *line], cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end_s, pause = time.monotonic() + LIMIT_S, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end_s, f"{what}: not within {LIMIT_S:g} s"
        pause.wait(0.02)
    return value


def kept(folder: Path, name: str = "tries") -> int:
    """How many episodes the robot has counted."""
    file = folder / "runs" / name / "place-robot"
    return int(file.read_text().split()[2]) if file.exists() else 0


def test_decisions_of_an_arm_are_recorded_and_come_out_as_decisions_and_as_a_lerobot_dataset(
    arm: SO101Emulator, toddle: Any, tmp_path: Path
) -> None:
    plan = Plan(
        options=arm.options(), sequence=[1, 2], action_duration_s=0.3, secondary="shoulder_lift", episodes=2, episode_s=0.9, between_s=0.1,
    )  # fmt: skip
    args = words({**plan.args(), "viewer": False})
    graph = toddle("launch", str(ROOT / "launch/record.yaml"), *args, "--name", "tries", "--time-limit", "120")
    said, _ = graph.communicate(timeout=LIMIT_S)
    assert graph.returncode == 0 and "the number of episodes asked for" in said, said[-3000:]
    session = tmp_path / "sessions/tries"
    with SessionReader(session) as reader:
        logs = decided(reader)
        assert {episode: [one.choice for one in log.decisions] for episode, log in logs.items()} == {0: [1, 2], 1: [1, 2]}
        for episode, log in logs.items():
            frames = [one.frame_index for one in log.decisions]
            assert frames[1] - frames[0] == 9 and log.end_frame == frames[1] + 9
            for one, by in zip(log.decisions, (10.0, -10.0), strict=True):  # what was sent is held until the next one, whatever came late
                at = reader.frame(episode, one.frame_index).arrays["state"][PAN]
                sent = [reader.read("action", episode, one.frame_index + later) for later in range(9)]
                goals = [taken.body.action["shoulder_pan.pos"] for taken in sent if taken is not None and not taken.body.safe]
                assert goals and np.allclose(goals, at + by)
        lift = [reader.frame(episode, 20).arrays["state"][LIFT] for episode in (0, 1)]
        target = logs[1].number("secondary_target")
        assert target is not None and abs(lift[1] - target) < 1 and 8 < abs(lift[1] - lift[0]) < 12
    report = import_decisions(session, None, tmp_path / "decisions")
    assert (report.frames, report.episodes) == (6, 2)
    with SessionReader(tmp_path / "decisions") as reader:
        for episode in (0, 1):
            pan = [reader.frame(episode, step).arrays["state"][PAN] for step in range(3)]
            assert np.allclose(np.diff(pan), [10, -10], atol=1.5)
    check_dataset(session, tmp_path / "dataset")


def check_dataset(session: Path, folder: Path) -> None:
    """lerobot itself opens what the session exports to; the logs are those of the session."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    from storage.exchange.lerobot.exporting import export_lerobot

    export_lerobot(session, folder, pictures=True)
    dataset = LeRobotDataset("local/tries", root=folder)
    logs = read_logs(folder / "meta/discrete_action_logs")
    with SessionReader(session) as reader:
        rows, told = reader.episodes(), decided(reader)
        assert dataset.num_episodes == len(rows) and dataset.fps == 30
        for number, row in enumerate(rows):
            assert [(one.choice, one.frame_index) for one in logs[number].decisions] == [
                (one.choice, one.frame_index) for one in told[row.episode].decisions
            ]  # fmt: skip
            item = dataset[dataset.meta.episodes[number]["dataset_from_index"] + told[row.episode].decisions[1].frame_index]
            frame = reader.frame(row.episode, told[row.episode].decisions[1].frame_index)
            assert np.allclose(item["observation.state"], frame.arrays["state"])
            picture = (item["observation.images.front"].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
            assert np.array_equal(picture, frame.arrays["image/front"])


@pytest.mark.slow
def test_the_command_measures_looks_records_goes_on_after_an_interruption_and_walks_back(
    arm: SO101Emulator, toddle: Any, tmp_path: Path
) -> None:
    arm.place("elbow_flex", 2400)
    home = arm.positions()
    options = [word for name, value in arm.options().items() for word in ("--set", f"{name}={json.dumps(value)}")]
    asked = ["record", "so101", *options, "--sequence", "1,2", "--episodes", "3", "--episode-time", "2", "--between", "0.2", "--no-viewer"]
    first = toddle(*asked, "--secondary", "shoulder_lift", "--name", "tries")
    first.stdin.write("y\n")
    first.stdin.flush()
    wait_for(lambda: kept(tmp_path) >= 1 or first.poll() is not None, "the first episode")
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=LIMIT_S)
    assert "an action takes" in said and "verification.png" in said and "Traceback" not in said, said[-3000:]
    close_to(arm, home)
    refused = toddle("record", "so101", "--resume", "--name", "tries", "--delta", "12")
    assert "delta was 10.0, is 12.0 now" in refused.communicate(timeout=LIMIT_S)[0] and refused.returncode == 2
    again = toddle("record", "so101", "--resume", "--name", "tries", "--no-viewer")
    said, _ = again.communicate(timeout=LIMIT_S)
    assert again.returncode == 0 and "toddle sessions import decisions tries" in said, said[-3000:]
    assert kept(tmp_path) == 3 and sorted(path.name for path in (tmp_path / "sessions").iterdir()) == ["tries"]
    close_to(arm, home)
    with SessionReader(tmp_path / "sessions/tries") as reader:
        episodes = [row.episode for row in reader.episodes()]
        assert episodes == list(range(len(episodes))) and len(episodes) >= 3
        whole = [log for log in decided(reader).values() if [one.choice for one in log.decisions] == [1, 2] and log.end_frame]
        assert len(whole) >= 3 and {log.header["calibrated"] for log in whole} == {True}


def close_to(arm: SO101Emulator, home: dict[str, int]) -> None:
    assert {joint: count for joint, count in arm.positions().items() if abs(count - home[joint]) > 20} == {}
