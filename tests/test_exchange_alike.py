"""What all imports and exports have in common, by command: faults, --skip-bad, Ctrl-C and going on, the progress bar."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.progress import Progress

from protocol import messages as m
from storage.exchange.mcap import exporting
from storage.header import read_header
from storage.verify import check
from storage.writer import SessionWriter
from toddle.sessions.command import sessions

pytest.importorskip("cv2")
pytest.importorskip("mcap")
IMPORTS = ("donkeycar", "original", "mcap", "decisions")
EXPORTS = ("donkeycar", "original", "mcap", "mp4", "csv", "npz")


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(sessions, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with `car`: two episodes of twenty steps, one frame missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setattr(exporting, "CHUNK_BYTES", 10_000)
    robot = m.Robot(
        robot="robot", driver="car", params={}, cameras=[m.CameraInfo(name="front", height=24, width=32)], rate_hz=10.0, timing="paced",
        actions=m.ActionSpaceInfo(names=["angle", "throttle"], low=[-1.0] * 2, high=[1.0] * 2), safe_action={"angle": 0.0, "throttle": 0.0},
    )  # fmt: skip
    with SessionWriter.create(tmp_path / "sessions" / "car", robot=robot) as writer:
        for seq in range(40):
            episode, step = divmod(seq, 20)
            place = {"source": "robot", "run": "r", "t_ns": 10**18 + seq * 10**8, "mono_ns": seq * 10**8, "episode": episode, "step": step}
            image = np.random.default_rng(seq).integers(0, 256, (24, 32, 3), np.uint8)
            if (episode, step) != (1, 10):
                head = m.Envelope(topic="frame/robot", seq=seq, **place)
                writer.append(m.Message(envelope=head, body=m.Frame(), arrays={"image/front": image}))
            taken = m.ActionTaken(action={"angle": seq / 40, "throttle": 0.5}, by="user", start_ns=0, end_ns=1)
            writer.append(m.Message(envelope=m.Envelope(topic="action/robot", seq=seq, **place), body=taken))
    return tmp_path / "sessions"


def broken(kind: str, tmp_path: Path) -> tuple[list[str], str]:
    """A recording in which one thing is broken: the words that import it, and how the line of its fault ends."""
    if kind == "decisions":
        logs = tmp_path / "logs"
        logs.mkdir()
        for episode in (0, 1):
            rows = [{"type": "header"}] + [
                {"type": "action", "timestamp": 1.0, "discrete_action": 1 + k % 2, "frame_index": k} for k in range(18)
            ]
            (logs / f"episode_{episode:06d}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ["import", "decisions", "car", str(logs)], "episode_000001.jsonl:12: episode 1 has no frame 10"
    made = call("export", kind, "car", "--out", "made")
    assert made.exit_code == 0, made.stderr
    if kind == "mcap":
        data = (tmp_path / "made").read_bytes()
        place = len(data) * 2 // 3
        (tmp_path / "made").write_bytes(data[:place] + bytes(20) + data[place + 20 :])
        return ["import", kind, "made"], ""
    picture = {"donkeycar": "images/25_cam_image_array_.jpg", "original": "session_car_ep000001/frames/frame_000010.jpg"}[kind]
    (tmp_path / "made" / picture).write_bytes(b"no picture")
    return ["import", kind, "made"], f"image {Path(picture).name} cannot be decoded"


def skipped(result: Result) -> list[str]:
    return [line.removeprefix("  skipped   ") for line in result.stdout.splitlines() if line.startswith("  skipped   ")]


@pytest.mark.parametrize("kind", IMPORTS)
def test_faults_are_refused_by_place_or_left_out_and_listed(root, tmp_path, kind):
    words, fault = broken(kind, tmp_path)
    result = call(*words, "--name", "new")
    first, *more = result.stderr.splitlines()
    assert result.exit_code == 1 and first.startswith("Error: ") and "; --skip-bad takes what is sound and lists the rest" in first
    assert more if not fault else fault in first, result.stderr
    assert all(re.match(r"  made: (byte \d+: a chunk|byte \d+, message \d+: frame/robot|frame/robot \d+: )", line) for line in more)
    assert sorted(path.name for path in root.iterdir()) == ["car"], "nothing is left"
    result = call(*words, "--name", "new", "--skip-bad")
    assert result.exit_code == 0, result.stderr
    told = skipped(result)
    assert told and (not fault or (len(told) == 1 and told[0].endswith(fault)))
    source = read_header(root / "new").source
    assert (source["left_out"], source["left_out_count"], source["complete"]) == (told, len(told), True)
    assert check(root / "new").exit_code in (0, 3), "sound, with a gap where an MCAP's messages are lost"
    info = json.loads(call("info", "new", "--json").stdout)
    assert 0 < info["frames"] < 40
    again = call(*words, "--name", "new", "--skip-bad")
    assert again.exit_code in (1, 2) and "new exists: choose another name" in again.stderr


@pytest.mark.parametrize("kind", IMPORTS)
def test_ctrl_c_leaves_a_session_and_the_same_command_goes_on(root, tmp_path, kind, monkeypatch, content):
    words, _ = broken(kind, tmp_path)
    heard: list[tuple[int, int]] = []
    interrupt_at: list[int] = []
    real = Progress.update

    def update(self, task, *, completed, total):
        heard.append((completed, total))
        if len(heard) in interrupt_at:
            signal.raise_signal(signal.SIGINT)
        real(self, task, completed=completed, total=total)

    monkeypatch.setattr(Progress, "update", update)
    whole = call(*words, "--name", "whole", "--skip-bad")
    assert whole.exit_code == 0, whole.stderr
    calls, total = len(heard), heard[-1][1]
    counted = [done for done, of in heard if of == total]
    assert counted == sorted(counted) and counted[-1] >= 0.9 * total > 0
    for part in (0.6, 0.8, 0.95):
        heard.clear()
        interrupt_at[:] = [int(calls * part)]
        result = call(*words, "--name", "new", "--skip-bad")
        assert (result.exit_code, result.stdout) == (130, "")
        assert result.stderr == "stopped: what came so far is in new; the same command goes on from there\n"
        assert check(root / "new").exit_code in (0, 3) and read_header(root / "new").source["complete"] is False
    heard.clear()
    interrupt_at.clear()
    result = call(*words, "--name", "new", "--skip-bad")
    assert result.exit_code == 0 and "  went on   after the " in result.stdout and skipped(result) == skipped(whole)
    assert content(root / "new") == content(root / "whole")
    assert read_header(root / "new").source == read_header(root / "whole").source


@pytest.mark.parametrize("kind", ["donkeycar", "original", "lerobot"])
def test_messages_that_a_format_has_no_place_for_are_told(root, kind):
    if kind == "lerobot":
        pytest.importorskip("lerobot")
    with SessionWriter.create(root / "car", resume=True) as writer:
        head = m.Envelope(topic="metrics/trainer", source="trainer", run="r", seq=0, t_ns=0, mono_ns=0)
        writer.append(m.Message(envelope=head, body=m.Metrics(values={"loss": 0.5})))
    result = call("export", kind, "car", "--out", "made")
    assert result.exit_code == 0, result.stderr
    assert "  note      messages that are not exported: 1 of metrics/trainer" in result.stdout.splitlines()


def test_ctrl_c_before_anything_was_taken_says_so(root, tmp_path, monkeypatch):
    words, _ = broken("donkeycar", tmp_path)
    monkeypatch.setattr(Progress, "update", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    result = call(*words, "--name", "new")
    assert (result.exit_code, result.stderr) == (130, "stopped: nothing was imported yet\n")
    assert not (root / "new").exists()


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_that_is_stopped_leaves_nothing(root, tmp_path, kind, monkeypatch):
    if kind == "mp4":
        pytest.importorskip("av")
    heard: list[int] = []

    def update(self, task, *, completed, total):
        heard.append(completed)
        if len(heard) == 15:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "update", update)
    before = sorted(tmp_path.iterdir())
    result = call("export", kind, "car", "--out", "out")
    assert (result.exit_code, result.stderr) == (130, "stopped: nothing is left of out\n")
    assert sorted(tmp_path.iterdir()) == before


def test_a_bar_with_the_time_left_is_shown_to_a_person(root, tmp_path):
    words, _ = broken("donkeycar", tmp_path)
    ours, theirs = pty.openpty()
    toddle = str(Path(sys.executable).with_name("toddle"))
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [toddle, "sessions", *words, "--name", "new", "--skip-bad"], stderr=theirs, stdout=subprocess.PIPE, env=env, timeout=60
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # its other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert done.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"new .*\d+%.*(\d:\d\d:\d\d|-:--:--)", text), text
