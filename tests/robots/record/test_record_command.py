"""`toddle record so101` without an arm: what it does in which order, and that the arm is back in the end whatever happened."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from nodes.robot.arm.options import Timing
from nodes.robot.interface import RobotError
from toddle.record import so101, verify
from toddle.record.canvases import CAPTION_HIGH, captioned
from toddle.record.plan import Plan

pytest.importorskip("lerobot")

HOME = {"shoulder_pan.pos": 3.0}
CAMERAS = "cameras={front: {type: opencv, index_or_path: 0, width: 64, height: 48, fps: 30}}"
ASKED = ["--set", "port=/dev/nowhere", "--set", CAMERAS, "--sequence", "1,0,2,0", "--name", "tries"]


class Desk:
    """What was done, in order; `fails`: what cannot be."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.plans: list[Plan] = []
        self.given: list[dict[str, Any]] = []
        self.fails: dict[str, BaseException] = {}
        self.code = 0

    def do(self, what: str) -> None:
        self.done.append(what)
        if what in self.fails:
            raise self.fails[what]

    def positions(self) -> dict[str, float]:
        return HOME

    def walk(self, pose: dict[str, float]) -> bool:
        assert pose == HOME
        self.do("walk")
        return True

    def close(self) -> None:
        self.done.append("close")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    made = Desk()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TODDLE_RUNS", raising=False)

    def run(plan: Plan, given: dict[str, Any]) -> int:
        made.plans.append(plan)
        made.given.append(given)
        made.do("record")
        return made.code

    def measure(arm: Any, joint: str, delta: float, tell: Any) -> Timing:
        made.do("calibrate")
        return Timing(joint=joint, delta=delta, settle_s=[0.3], action_duration_s=0.36)

    def look(plan: Plan) -> Plan:
        made.do("verify")
        return plan

    def opened(plan: Plan) -> Desk:
        made.do("open")
        return made

    monkeypatch.setattr(so101, "_open", opened)
    monkeypatch.setattr(so101, "_run", run)
    monkeypatch.setattr(so101, "verify", look)
    monkeypatch.setattr("nodes.robot.arm.timing.measure_timing", measure)
    return made


def record(*words: str) -> Any:
    return CliRunner().invoke(so101.so101, [*ASKED, *words])


BACK = ["open", "walk", "close"]


def test_it_calibrates_verifies_records_and_is_back_where_it_was(desk: Desk) -> None:
    done = record()
    assert done.exit_code == 0, done.output
    assert desk.done == ["open", "calibrate", "close", "verify", "record", "close", *BACK]
    assert (desk.plans[0].action_duration_s, desk.plans[0].calibrated, desk.plans[0].sequence) == (0.36, True, [1, 0, 2, 0])
    assert "toddle sessions import decisions tries --name tries-decisions" in done.output


@pytest.mark.parametrize(
    ("words", "steps", "duration_s"),
    [
        (["--skip-calibration"], ["verify", "record"], 0.5), (["--duration", "0.7"], ["verify", "record"], 0.7),
        (["--skip-verification"], ["calibrate", "record"], 0.36), (["--skip-calibration", "--skip-verification"], ["record"], 0.5),
    ],
)  # fmt: skip
def test_both_can_be_skipped(desk: Desk, words: list[str], steps: list[str], duration_s: float) -> None:
    assert record(*words).exit_code == 0
    assert [what for what in desk.done if what in ("calibrate", "verify", "record")] == steps
    assert desk.plans[0].action_duration_s == duration_s


@pytest.mark.parametrize("what", ["calibrate", "verify", "record"])
@pytest.mark.parametrize("error", [RobotError("the arm's port is gone"), click.ClickException("not accepted"), KeyboardInterrupt()])
def test_whatever_happens_the_arm_walks_back(desk: Desk, what: str, error: BaseException) -> None:
    desk.fails[what] = error
    done = record()
    assert done.exit_code == 1 and desk.done[-3:] == BACK and desk.done.count("record") == (what == "record")
    assert (str(error) or "Aborted") in done.output and "Traceback" not in done.output


def test_an_arm_that_cannot_walk_back_is_told_of(desk: Desk) -> None:
    desk.fails["walk"] = RobotError("/dev/nowhere is gone")
    done = record()
    assert done.exit_code == 1 and "Error: the arm is not back where it began: /dev/nowhere is gone" in done.output
    assert desk.done[-1] == "close"


def test_the_exit_code_is_the_launchers(desk: Desk) -> None:
    desk.code = 3
    done = record("--skip-verification")
    assert done.exit_code == 3 and "import decisions" not in done.output


def test_it_goes_on_with_the_same_recording_alone(desk: Desk) -> None:
    resume = ["--resume", "--name", "tries"]
    assert "there is no recording to go on with: runs/tries-record.json is not there" in CliRunner().invoke(so101.so101, resume).output
    desk.code = 1
    record("--secondary", "shoulder_lift", "--skip-verification")
    Path("runs/tries").mkdir()
    assert "run 'tries' is there already: go on with it with --resume, or give another --name" in record().output
    before = len(desk.done)
    desk.code = 0
    assert CliRunner().invoke(so101.so101, [*resume, "--episodes", "12"]).exit_code == 0
    assert desk.done[before:] == ["open", "close", "record", "close", *BACK]
    assert (desk.plans[1].episodes, desk.plans[1].secondary, desk.plans[1].action_duration_s) == (12, "shoulder_lift", 0.36)
    assert desk.given[1]["resume"]
    refused = CliRunner().invoke(so101.so101, [*resume, "--delta", "12", "--random"])
    assert refused.exit_code == 2 and desk.plans[2:] == []
    assert "delta was 10.0, is 12.0 now; by was 'sequence', is 'random' now; sequence was [1, 0, 2, 0], is [] now" in refused.output
    Path("runs/tries-record.json").write_text("{")
    assert "is not what toddle record writes" in CliRunner().invoke(so101.so101, resume).output


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--random"], "--sequence and --random: give one of them"),
        (["--set", "mode=discrete"], "--set mode is an option of its own here"),
        (["--set", "wat"], "write NAME=VALUE"),
        (["--delta", "-1"], "delta is -1: it must be above 0"),
        (["--set", "cameras={}"], "the arm has no camera"),
        (["--secondary", "shoulder_pan"], "shoulder_pan is moved by actions already"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_the_arm_is_touched(desk: Desk, words: list[str], what: str) -> None:
    done = record(*words)
    assert done.exit_code == 2 and what in done.output and desk.done == []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The durations that were looked at; nothing is recorded, and there is no display."""
    durations: list[float] = []

    def canvases(plan: Plan, folder: Path, caption: str) -> Any:
        durations.append(plan.action_duration_s)
        if plan.delta > 50:
            raise verify.VerificationFailed("the robot is lost")
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(verify, "canvases", canvases)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return durations


@click.command()
@click.option("--delta", default=10.0)
def looking(delta: float) -> None:
    click.echo(json.dumps(verify.verify(Plan(sequence=[1], delta=delta, action_duration_s=0.4)).action_duration_s))


def test_a_person_without_a_display_says_yes_no_or_longer(seen: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = CliRunner().invoke(looking, input="r\nwat\nr\ny\n")
    assert done.exit_code == 0 and done.output.splitlines()[-1] == "0.62"
    assert seen == [0.4, 0.5, 0.62]
    assert len(list(tmp_path.glob("toddle-*/verification.png"))) == 3
    no = CliRunner().invoke(looking, input="n\n")
    assert no.exit_code == 1 and "not accepted: nothing was recorded" in no.output


class Window:
    """Where a key is pressed at the third look, or which is closed then."""

    def __init__(self, keys: str) -> None:
        self._keys = iter(keys)
        self.shown = 0
        self.closed = False

    def show(self, picture: Any) -> None:
        self.shown += 1

    def poll_key(self) -> str | None:
        key = next(self._keys, None)
        self.closed = key is None
        return key


def test_a_key_in_the_window_is_an_answer_and_closing_it_is_no() -> None:
    assert verify._ask_beside(Window("xsr"), np.zeros((8, 8, 3), np.uint8), "?") == "r"  # type: ignore[arg-type]
    closed = Window("xx")
    assert verify._ask_beside(closed, np.zeros((8, 8, 3), np.uint8), "?") == "n" and closed.shown == 3  # type: ignore[arg-type]


def test_after_a_failure_there_is_no_yes(seen: list[float]) -> None:
    done = CliRunner().invoke(looking, ["--delta", "60"], input="y\nr\nn\n")
    assert "verification failed: the robot is lost" in done.output and "'y' is not one of" in done.output
    assert done.exit_code == 1 and seen == [0.4, 0.5]
    assert CliRunner().invoke(looking, ["--delta", "60"], input="").exit_code == 1, "nobody answers"


def test_pictures_stand_below_each_other_under_their_caption() -> None:
    made = captioned([np.full((10, 40, 3), 9, np.uint8), np.full((20, 60, 3), 7, np.uint8)], "pan")
    assert made.shape == (CAPTION_HIGH + 30, 60, 3)
    assert made[:CAPTION_HIGH].max() > 200 and (made[CAPTION_HIGH : CAPTION_HIGH + 10, :40] == 9).all()
    assert (made[CAPTION_HIGH : CAPTION_HIGH + 10, 40:] == 0).all() and (made[CAPTION_HIGH + 10 :] == 7).all()
