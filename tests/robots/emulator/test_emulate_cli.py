"""`toddle emulate so101`, as a person runs it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from toddle.cli import cli

PROJECT = Path(__file__).resolve().parents[3]


class Emulator:
    """The command, what it said, and its end."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "toddle", "emulate", "so101", "--folder", str(folder), *options]
        self.folder = folder
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdin and self.process.stdout
        self.said = self.until("ready: ")

    def until(self, begin: str) -> list[str]:
        """The lines that it says, up to one that begins so."""
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip())
            if line.startswith(begin):
                return lines
        raise AssertionError(f"it ended before it said {begin!r}: {lines}")

    def type(self, line: str) -> str:
        """What it answers to a line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip()

    def end(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process.stdin.close()
        self.process.stdout.close()
        return code


@pytest.fixture
def emulators() -> Iterator[Callable[..., Emulator]]:
    made: list[Emulator] = []

    def start(*arguments: Any) -> Emulator:
        made.append(Emulator(*arguments))
        return made[-1]

    yield start
    for each in made:
        each.end(signal.SIGKILL)


def test_a_session_of_a_person(tmp_path: Path, emulators: Callable[..., Emulator]) -> None:
    folder = tmp_path / "desk" / "arm"
    arm = emulators(folder, "--id", "mine")
    launch = shlex.split(arm.said[-1].removeprefix("ready: "))
    assert launch[:3] == ["toddle", "launch", "launch/so101.yaml"]
    sets = dict(each.split("=", 1) for each in launch[4::2])
    assert sets == {"port": str(folder / "port"), "id": "mine", "calibration_dir": str(folder / "calibration"), "cameras": "{}"}
    assert yaml.safe_load(sets["cameras"]) == {}
    assert json.loads((folder / "calibration" / "mine.json").read_text())["gripper"]["range_max"] == 3298
    assert os.path.realpath(sets["port"]).startswith("/dev/pts/")

    assert arm.type("no-answer 3 x2") == "done: no-answer 3 x2"
    assert arm.type("sulk").startswith("there is no fault 'sulk'; there are no-answer, bad-checksum")
    assert arm.type("stuck 9").startswith("there is no motor 9; there are 1 shoulder_pan")
    assert arm.type("camera-gone front") == "there is no camera 'front'; there are none"
    assert arm.type("unplug") == "done: unplug" and not os.path.lexists(folder / "port")
    assert arm.type("heal") == "done: heal" and (folder / "port").exists()
    arm.process.stdin.close()  # no more lines: it goes on

    again = CliRunner().invoke(cli, ["emulate", "so101", "--folder", str(folder)])
    assert again.exit_code == 2 and again.output == f"Error: another emulator runs in {folder}: end it, or give another folder\n"
    assert arm.end() == 0
    assert not os.path.lexists(folder / "port")


def test_after_a_kill_it_starts_again_in_the_same_folder(tmp_path: Path, emulators: Callable[..., Emulator]) -> None:
    killed = emulators(tmp_path)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert os.path.lexists(tmp_path / "port")
    assert emulators(tmp_path).end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--folder", "/proc/arm"], "cannot write to /proc/arm"), (["--camera", "front"], "--camera front: write NAME=drawn or NAME=VIDEO"),
     (["--camera", "a=drawn", "--camera", "a=drawn"], "there is a camera a already"),
     (["--camera", "a=nowhere.mp4"], "nowhere.mp4 is not there"), (["--size", "big"], "--size big: write WIDTHxHEIGHT"),
     (["--fps", "0"], "'--fps'"), (["--seed", "-1"], "'--seed'")],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line(tmp_path: Path, options: list[str], words: str) -> None:
    done = CliRunner().invoke(cli, ["emulate", "so101", "--folder", str(tmp_path), *options])
    assert done.exit_code == 2 and words in done.output
    assert "Traceback" not in done.output and not os.path.lexists(tmp_path / "port")


def test_the_calibration_of_a_real_arm_is_not_overwritten(tmp_path: Path) -> None:
    real = tmp_path / "calibration" / "mine.json"
    real.parent.mkdir()
    real.write_text("{}")
    done = CliRunner().invoke(cli, ["emulate", "so101", "--folder", str(tmp_path), "--id", "mine"])
    assert done.exit_code == 2 and f"{real} is of another arm" in done.output and real.read_text() == "{}"


def test_help_tells_what_it_is() -> None:
    done = CliRunner().invoke(cli, ["emulate", "so101", "--help"])
    assert done.exit_code == 0 and "--camera NAME=SOURCE" in done.output and "heal" in done.output
