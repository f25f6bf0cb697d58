"""`toddle sessions` as a person uses it: what it prints, and what it ends with."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner, Result

from protocol import messages as m
from storage.header import change_header
from storage.writer import SessionWriter
from toddle.sessions.command import sessions
from toddle.sessions.common import complete_session


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with `walk` (sound), `holey` (a gap) and `hurt` (a flipped bit)."""
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path / "sessions"))
    robot = m.Robot(
        robot="robot", driver="toroidal_dot", params={}, cameras=[m.CameraInfo(name="front", height=24, width=32)],
        actions=m.ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}]), rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
    )  # fmt: skip
    for name, numbers in (("walk", range(20)), ("holey", [*range(5), *range(9, 12)]), ("hurt", range(20))):
        with SessionWriter.create(tmp_path / "sessions" / name, robot=robot, codec="raw") as writer:
            for seq in numbers:
                envelope = m.Envelope(
                    topic="frame/robot", source="robot", run="r", seq=seq, t_ns=seq * 10**8, mono_ns=seq * 10**8, episode=0, step=seq
                )
                writer.append(
                    m.Message(envelope=envelope, body=m.Frame(), arrays={"image/front": np.full((24, 32, 3), seq + 100, np.uint8)})
                )
    data = tmp_path / "sessions" / "hurt" / "segments" / "000000" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(bytes([112]) * 500, bytes([112]) * 499 + b"\0", 1))
    return tmp_path / "sessions"


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(sessions, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def one_line_error(result: Result, words: str) -> None:
    assert result.exit_code in (1, 2)
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr


def test_list(root):
    lines = call("list").stdout.splitlines()
    assert "duration" in lines[1]
    assert len([line for line in lines if "toroidal_dot" in line]) == 3
    assert [word for line in lines if "walk" in line for word in line.split()][:5] == ["walk", "toroidal_dot", "1", "20", "0:00:02"]
    rows = {row["name"]: row for row in json.loads(call("list", "--json").stdout)}
    assert rows["holey"]["gaps"] == 1
    assert rows["walk"]["state"] == "closed"
    assert rows["walk"]["frames"] == 20
    (root / "walk" / "session.json").write_text("{}")
    result = call("list")
    assert result.exit_code == 0
    assert "cannot be read: walk" in result.stderr
    assert "holey" in result.stdout
    assert "no sessions in" in call("list", "--root", str(root / "none")).stdout


def test_an_open_session_says_so(root):
    with SessionWriter.create(root / "walk", resume=True):
        assert call("info", "walk").stdout.splitlines()[0] == "walk  open"
        one_line_error(call("delete", "walk", "--yes"), f"being written by process {os.getpid()}")


def test_info(root):
    text = call("info", "holey").stdout
    assert "8 frames, 1 episodes" in text
    assert "front 32x24" in text
    assert "frame/robot 5 to 8 of run r never came" in text
    info = json.loads(call("info", str(root / "walk"), "--json").stdout)
    assert info["frames"] == 20 and info["gaps"] == info["tails"] == []
    assert info["robot"]["driver"] == "toroidal_dot"
    assert info["topics"]["frame/robot"]["rate_hz"] == 10.0
    one_line_error(call("info", "wolk"), "no session 'wolk' in")
    assert "did you mean walk" in call("info", "wolk").stderr


def test_info_of_a_robot_with_many_joints_fits_a_terminal(root):
    joints = [f"left_hand_joint{number}" for number in range(26)]
    robot = m.Robot(
        robot="robot", driver="arm", params={}, cameras=[], actions=m.ActionSpaceInfo(names=joints), rate_hz=10.0, timing="paced",
        safe_action=dict.fromkeys(joints, 0.0),
    )  # fmt: skip
    with SessionWriter.create(root / "many", robot=robot, source={"kind": "x", "hub": "", "path": "/a/b", "left_out_of": {}}):
        pass
    lines = call("info", "many").stdout.splitlines()
    assert max(map(len, lines)) <= 122
    assert [line for line in lines if line.startswith("            left_hand_joint")]
    assert "  source    kind x, path /a/b" in lines  # what is empty says nothing


def test_info_tells_of_losses_with_their_times(root):
    with SessionWriter.create(root / "holey", resume=True) as writer:
        writer.note_tail(m.Tail(topic="frame/robot", run="r", last=11, told=11))
    text = call("info", "holey").stdout
    assert re.search(r"gap +frame/robot 5 to 8 of run r never came, \S+ \S+:00 to \S+ \S+:00", text), text
    assert "unknown   the end of frame/robot after 11 of run r: its publisher died without a last word" in text
    info = json.loads(call("info", "holey", "--json").stdout)
    gap = {"topic": "frame/robot", "run": "r", "first": 5, "last": 8, "after_ns": 4 * 10**8, "before_ns": 9 * 10**8}
    assert info["gaps"] == [gap]
    assert info["tails"] == [{"topic": "frame/robot", "run": "r", "last": 11, "told": 11}]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("walk", 0, "walk: ok, 20 events checked"), ("holey", 3, "missing   frame/robot 5 to 8"), ("hurt", 1, "event 12 in segment 000000")],
)
def test_verify_tells_by_its_exit_code(root, name, code, words):
    result = call("verify", name)
    assert result.exit_code == code
    assert words in result.stdout
    report = json.loads(call("verify", name, "--json").stdout)
    assert report["verdict"] == ("damaged" if code == 1 else "ok")


def test_delete_wants_yes_and_spares_what_is_pinned(root):
    one_line_error(call("delete", "walk"), "nothing was deleted: --yes deletes")
    assert call("pin", "walk").stdout == "walk is pinned\n"
    one_line_error(call("delete", "walk", "--yes"), "`toddle sessions unpin walk` first")
    assert "closed, pinned" in call("list").stdout
    call("unpin", "walk")
    assert call("delete", "walk", "--yes").exit_code == 0
    assert not (root / "walk").exists()


def test_import(root, tmp_path, recordings):
    one_line_error(call("import", "donkeycar", str(tmp_path), "--name", "t"), "has no manifest.json")
    one_line_error(call("import", "donkeycar", str(tmp_path), "--name", "../t"), "cannot name a session")
    assert call("import", "donkeycar", str(tmp_path), "--name", "t", "--episodes-at", "1,x").exit_code == 2
    data = recordings / "donkeycar_tub"
    one_line_error(call("import", "donkeycar", str(data), "--name", "t"), "--fps")
    result = call("import", "donkeycar", str(data), "--name", "t", "--fps", "20", "--episodes-at", "151,514,516,527,651,666")
    assert result.stdout == "t: 1000 frames in 7 episodes at 20 Hz (given)\n"
    assert call("verify", "t").exit_code == 0


def test_completion_knows_the_names(root):
    import click

    context = click.Context(sessions, info_name="sessions")
    assert [item.value for item in complete_session(context, context.command, "h")] == ["holey", "hurt"]
    change_header(root / "walk", notes="x")
    assert [item.value for item in complete_session(context, context.command, "")] == ["holey", "hurt", "walk"]


def test_help_needs_nothing_heavy():
    heavy = ("cv2", "lmdb", "numpy", "rich", "zstandard")
    code = f"import sys; from toddle.sessions.command import sessions; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
