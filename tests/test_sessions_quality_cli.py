"""`toddle sessions info --full`, `--plot`, `contact-sheet` and `check` as a person and a script use them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from protocol import messages as m
from storage.reader import SessionReader
from storage.writer import SessionWriter
from toddle.sessions.command import sessions

H, W = 48, 64


def record(
    path: Path, *, steps: int = 130, episodes: int = 2, missing: range = range(0), choices: int = 2, end: bool = True,
    pictures: Callable[[int, int], tuple[int, int, int]] | None = None,
) -> None:  # fmt: skip
    """Two cameras at 10 Hz, frames of noise or of the colour of (camera, step of the session); episodes of `steps` steps."""
    cameras = [m.CameraInfo(name="front", height=H, width=W), m.CameraInfo(name="wrist", height=H, width=H)]
    space = m.ActionSpaceInfo(names=["dx"], choices=[{"dx": float(number)} for number in range(choices)])
    robot = m.Robot(
        robot="robot", driver="made", params={}, cameras=cameras, actions=space, rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    seq: dict[str, int] = {}

    def put(topic: str, at: int, body: m.Body, arrays: dict[str, np.ndarray] | None = None, **fields: int) -> None:
        seq[topic] = seq.get(topic, -1) + 1
        envelope = m.Envelope(
            topic=topic, source="robot", run="r", seq=seq[topic], t_ns=10**18 + at * 10**8, mono_ns=at * 10**8, **fields
        )  # fmt: skip
        writer.append(m.Message(envelope=envelope, body=body, arrays=arrays or {}))

    with SessionWriter.create(path, robot=robot, codec="raw") as writer:
        for at in range(episodes * steps):
            place = {"episode": at // steps, "step": at % steps}
            if at in missing:
                seq["frame/robot"] += 1
                continue
            if not place["step"]:
                put("episode/robot", at, m.EpisodeMark(mark="start"), **place)
            images = {"image/front": rng.integers(30, 220, (H, W, 3), np.uint8), "image/wrist": rng.integers(30, 220, (H, H, 3), np.uint8)}
            if pictures is not None:
                images = {name: np.full_like(image, pictures(index, at)) for index, (name, image) in enumerate(images.items())}
            put("frame/robot", at, m.Frame(), images, **place)
            put("action/robot", at, m.ActionTaken(action={"dx": float(at % 2)}, by="random", start_ns=0, end_ns=1), **place)
            if place["step"] == steps - 1 and (end or at // steps < episodes - 1):
                put("episode/robot", at, m.EpisodeMark(mark="end"), **place)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`good`; `bad` (a gap, an action never taken, no end); `hurt` (a flipped bit); `gone` (its header is)."""
    folder = tmp_path_factory.mktemp("sessions")
    record(folder / "good")
    record(folder / "bad", missing=range(40, 50), choices=3, end=False)
    record(folder / "hurt")
    record(folder / "gone", steps=5)
    data = folder / "hurt" / "segments" / "000000" / "data.mdb"
    with SessionReader(folder / "hurt") as reader:
        pixels = reader.frame(0, 12).arrays["image/front"].tobytes()
    written = data.read_bytes()
    assert pixels in written
    data.write_bytes(written.replace(pixels, pixels[:-1] + bytes([pixels[-1] ^ 1]), 1))
    (folder / "gone" / "session.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def _here(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TODDLE_SESSIONS", str(root))
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(sessions, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_info_reads_frames_only_when_told_to():
    brief = call("info", "good").stdout
    assert "interval" not in brief
    assert json.loads(call("info", "good", "--json").stdout)["quality"] is None
    full = call("info", "good", "--full")
    assert full.exit_code == 0
    assert set(brief.splitlines()) <= set(full.stdout.splitlines())
    assert "258 with frame, action and next frame" in full.stdout
    assert "10 Hz, 10 Hz promised  p50 100 ms  p95 100 ms" in full.stdout
    assert "wrist                    260 frames; brightness" in full.stdout
    assert "dx=1                        130  50.0 %" in full.stdout
    assert "to 1" in full.stdout.partition("disk      frame/robot")[2]
    quality = json.loads(call("info", "good", "--full", "--json").stdout)["quality"]
    assert quality["transitions"] == 258
    assert quality["topics"]["frame/robot"]["intervals"]["p99_s"] == pytest.approx(0.1, rel=1e-3)


def test_plot_writes_a_picture_and_keeps_stdout_for_json(tmp_path):
    result = call("info", "bad", "--plot", "--json")
    assert json.loads(result.stdout)["quality"]["frames"] == 250
    assert result.stderr == "picture quality-bad.png\n"
    assert call("info", "good", "--plot", "here.png").exit_code == 0
    bad, good = cv2.imread("quality-bad.png"), cv2.imread("here.png")
    assert bad.shape == good.shape
    assert bad.shape[1] == 1600
    red = (bad[..., 2] > 200) & (bad[..., 0] < 120) & (bad[..., 1] < 130)
    assert red.any(), "the gap is marked"


@pytest.mark.parametrize("arguments", [["info", "good", "--plot", "x.txt"], ["contact-sheet", "good", "--out", "x.jpg"]])
def test_a_picture_is_a_png(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "ends in .png" in result.stderr


def test_a_picture_that_cannot_be_written_is_one_line():
    for arguments in (["info", "good", "--plot", "no/folder.png"], ["contact-sheet", "good", "--out", "no/folder.png"]):
        result = call(*arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: cannot write no/folder.png")


def colour(camera: int, at: int) -> tuple[int, int, int]:
    """RGB of a whole frame: each step and camera its own."""
    return 60 + 5 * at, 250 - 5 * at, 80 + 100 * camera


def seen(file: str, camera: int) -> list[int]:
    """The steps whose frames of a camera a sheet shows."""
    blue, green, red = (plane.astype(np.int64) for plane in cv2.split(cv2.imread(file)))
    counts = dict(zip(*np.unique(red << 16 | green << 8 | blue, return_counts=True), strict=True))
    wanted = {at: colour(camera, at) for at in range(20)}
    return [at for at, (r, g, b) in wanted.items() if counts.get(r << 16 | g << 8 | b, 0) > 1000]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ([], [at for at in range(20) if at != 7]),
        (["--count", "3"], [0, 10, 19]),
        (["--every", "7"], [0, 8, 14]),  # 7 is missing: the next that is there
        (["--episode", "1"], list(range(10, 20))),
        (["--episode", "1", "--every", "4"], [10, 14, 18]),
    ],
)
def test_contact_sheet_shows_what_was_asked_for(tmp_path, options, steps):
    record(tmp_path / "walk", steps=10, missing=range(7, 8), pictures=colour)
    result = call("contact-sheet", "walk", "--root", str(tmp_path), *options)
    assert (result.exit_code, result.stderr) == (0, "picture contact-sheet-walk.png\n")
    assert seen("contact-sheet-walk.png", 0) == seen("contact-sheet-walk.png", 1) == steps


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--episode", "7"], 1, "session good has no frames in episode 7 to show"),
        (["--every", "2", "--count", "3"], 2, "give one of them"),
        (["--every", "0"], 2, "--every"),
        (["--count", "401"], 2, "--count"),
    ],
)
def test_contact_sheet_refuses_in_one_line(options, code, words):
    result = call("contact-sheet", "good", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr.splitlines()[-1]


def test_check_says_fit_by_its_exit_code():
    result = call("check", "good")
    assert (result.exit_code, result.stdout) == (0, "good: fit; 258 steps to learn from\n")


def test_check_gives_reasons_that_thresholds_turn_into_remarks():
    result = call("check", "bad", "good")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "bad: not fit, 3 reasons; 247 steps to learn from"
    assert lines[1] == (
        "  reason    gaps: 10 of 260 (3.85 %) messages of frame/robot never came, the first at episode 0, step 50, 0:05.0; at most 1 %"
    )
    assert lines[2] == "  reason    never taken: action dx=2 was never taken"
    assert lines[3] == "  reason    unfinished: 1 of 2 (50 %) episodes have no end: 1; the last frame of 1 is step 129"
    assert lines[-1] == "good: fit; 258 steps to learn from"
    allowed = call("check", "bad", "--max-gaps", "0.05", "--allow-untaken", "--allow-unfinished")
    assert allowed.exit_code == 0
    remarks = {line.split(":")[0].strip() for line in allowed.stdout.splitlines()[1:]}
    assert remarks == {"remark    gaps", "remark    never taken", "remark    unfinished", "remark    holes"}
    assert call("check", "good", "--min-steps", "1000").exit_code == 1


def test_check_of_damaged_sessions_goes_on_to_the_others():
    result = call("check", "hurt", "gone", "good", "--json")
    hurt, gone, good = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (hurt["fit"], gone["fit"], good["fit"]) == (False, False, True)
    assert hurt["reasons"][0]["what"] == "damaged"
    assert "CRC32C" in hurt["reasons"][0]["text"]
    assert "is not a session header" in gone["reasons"][0]["text"]
    assert good["remarks"] == []


def test_check_of_a_session_that_is_not_there():
    result = call("check", "good", "goud")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean good" in result.stderr


def test_an_open_session_may_have_an_unfinished_episode(tmp_path):
    record(tmp_path / "live", end=False)
    with SessionWriter.create(tmp_path / "live", resume=True):
        result = call("check", "live", "--root", str(tmp_path))
    assert result.exit_code == 0
    assert "remark    open: it is being written" in result.stdout


def test_a_real_recording_is_fit(tmp_path, recordings):
    tub = ["import", "donkeycar", str(recordings / "donkeycar_tub"), "--name", "car", "--fps", "20"]
    assert call(*tub, "--episodes-at", "151,514,516,527,651,666", "--root", str(tmp_path)).exit_code == 0
    result = call("check", "car", "--root", str(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "car: fit; 993 steps to learn from"
    assert "duplicates: 8 of 993" in result.stdout


def test_help_shows_the_defaults_and_needs_nothing_heavy():
    text = " ".join(call("check", "--help").stdout.split())
    for flag in (
        "--max-gaps",
        "--min-rate",
        "--max-jitter",
        "--max-frozen-s",
        "--max-dark",
        "--max-saturated",
        "--max-duplicates",
        "--min-steps",
    ):
        assert flag in text
    assert "[default: 0.01; x>=0]" in text
    heavy = ("cv2", "lmdb", "numpy", "rich", "zstandard")
    code = (
        "import sys; from toddle.sessions import check, contact_sheet, info; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
