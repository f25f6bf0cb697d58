"""`toddle sessions import` and `export` as a person uses them: real tubs, real processes, Ctrl-C and kill -9."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from storage.errors import StorageError
from storage.exchange.tub_import import import_tub
from storage.reader import SessionReader
from toddle.sessions.command import sessions

JUMPS = [151, 514, 516, 527, 651, 666]


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(sessions, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def root(tmp_path_factory, recordings):
    """A root with `car`, the recorded tub."""
    root = tmp_path_factory.mktemp("sessions")
    import_tub(recordings / "donkeycar_tub", root / "car", fps=20, episodes_at=JUMPS)
    return root


@pytest.fixture
def long_tub(tmp_path, recordings):
    """The recorded tub many times over; its pictures are the same files."""
    tub = tmp_path / "tub"
    tub.mkdir()
    (tub / "images").symlink_to(recordings / "donkeycar_tub" / "images")
    lines = [json.loads(line) for line in (recordings / "donkeycar_tub" / "catalog_0.catalog").read_text().splitlines()]
    with (tub / "catalog_0.catalog").open("w") as file:
        for index in range(4000):
            image = "not_there.jpg" if index == 17 else lines[index % 1000]["cam/image_array"]
            file.write(json.dumps({**lines[index % 1000], "_index": index, "cam/image_array": image}) + "\n")
    (tub / "manifest.json").write_text(json.dumps({"paths": ["catalog_0.catalog"]}))
    return tub


def events_of(session: Path) -> int:
    """Events that are committed; 0 while there is nothing to read."""
    try:
        with SessionReader(session) as reader:
            return len(reader)
    except StorageError:
        return 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_import_that_is_stopped_is_a_session_and_goes_on(long_tub, tmp_path, how):
    target = tmp_path / "s" / "long"
    toddle = str(Path(sys.executable).with_name("toddle"))
    command = [toddle, "sessions", "import", "donkeycar", str(long_tub), "--name", "long", "--fps", "20", "--skip-bad"]
    env = {**os.environ, "TODDLE_SESSIONS": str(tmp_path / "s")}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not events_of(target):
            assert process.poll() is None and time.monotonic() < deadline
            threading.Event().wait(0.005)
        process.send_signal(how)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    if how == signal.SIGINT:
        assert (process.returncode, stdout) == (130, "")
        assert stderr == "stopped: what came so far is in long; the same command goes on from there\n"
    else:
        assert process.returncode == -signal.SIGKILL
    assert call("verify", "long", "--root", tmp_path / "s").exit_code == 0
    with SessionReader(target) as reader:
        there = sum(row.frames for row in reader.episodes())
        assert 0 < there < 3999 and reader.header.source["complete"] is False
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["long: 3999 frames in 1 episodes at 20 Hz (given)", f"  went on   after the {there} frames that were there"]
    assert lines[2].endswith("catalog_0.catalog:18: image not_there.jpg is missing")
    with SessionReader(target) as reader:
        steps = [frame.envelope.step for frame in reader.topic_messages("action")]
        assert steps == [step for step in range(4000) if step != 17]
        assert reader.header.source["complete"] is True and reader.info().gaps == []


@pytest.mark.parametrize("kind", ["lerobot", "donkeycar", "original", "mcap"])
def test_what_is_not_there_is_one_line(tmp_path, kind):
    result = call("import", kind, tmp_path / "away", "--name", "x", "--root", tmp_path / "s")
    assert (result.exit_code, result.stderr) == (1, f"Error: {tmp_path}/away does not exist\n")
    assert not (tmp_path / "s").exists()


def test_the_recorded_tub_checks_and_exports(root, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODDLE_SESSIONS", str(root))
    assert call("check", "car").stdout.startswith("car: fit; 993 steps to learn from")
    for name, wrote in (("donkeycar", "car-tub"), ("original", "car-original"), ("csv", "car-csv"), ("npz", "car-npz")):
        result = call("export", name, "car")
        assert result.exit_code == 0 and result.stdout.splitlines()[0] == f"{wrote}: 1000 frames in 7 episodes"
        again = call("export", name, "car")
        assert again.exit_code == 1 and again.stderr == f"Error: {wrote} exists: delete it, or choose another place\n"
    assert call("export", "mcap", "car", "--images", "png").stdout.startswith(
        "car.mcap: 1000 frames in 7 episodes\n  note      3015 messages on 5 topics"
    )
    assert call("import", "mcap", "car.mcap", "--name", "m").stdout == "m: 1000 frames in 7 episodes at 20 Hz (as it was recorded)\n"
    assert content(root / "m") == content(root / "car")
    errors = []
    for name, wrote in (("donkeycar", "car-tub"), ("original", "car-original")):
        assert (
            call("import", name, wrote, "--name", f"again-{name}").stdout
            == f"again-{name}: 1000 frames in 7 episodes at 20 Hz (as exported)\n"
        )
        with SessionReader(root / "car") as was, SessionReader(root / f"again-{name}") as now:
            for kind in ("frame", "action", "episode"):
                for a, b in zip(was.topic_messages(kind), now.topic_messages(kind), strict=True):
                    at, on = a.envelope, b.envelope
                    assert (at.topic, at.seq, at.t_ns, at.mono_ns, at.episode, at.step) == (
                        on.topic,
                        on.seq,
                        on.t_ns,
                        on.mono_ns,
                        on.episode,
                        on.step,
                    )
                    assert a.body == b.body
                    for key, array in a.arrays.items():
                        errors.append(np.abs(array.astype(np.int16) - b.arrays[key]).mean())
            assert was.robot == now.robot
    assert max(errors) < 1.0 and np.mean(errors) < 0.6  # grey levels, of JPEG at quality 95
    one_line = call("import", "original", "car-tub", "--name", "x")
    assert one_line.exit_code == 1 and len(one_line.stderr.splitlines()) == 1


def test_a_video_shows_each_step_as_long_as_it_took(root, tmp_path):
    av = pytest.importorskip("av")
    pytest.importorskip("cv2")
    result = call("export", "mp4", "car", "--root", root, "--episode", 4, "--out", tmp_path / "e4.mp4")
    assert result.stdout == f"{tmp_path / 'e4.mp4'}: 124 frames in 1 episodes\n"
    with av.open(str(tmp_path / "e4.mp4")) as file, SessionReader(root / "car") as reader:
        assert file.streams.video[0].codec_context.name == "h264"
        frames = list(file.decode(video=0))
        times = [frame.pts * frame.time_base for frame in frames]
        assert [time - times[0] for time in times] == [Fraction(step, 20) for step in range(124)]
        for step in (0, 60, 123):
            shown = frames[step].to_ndarray(format="rgb24")
            height, width = 360, 480
            camera = shown[:height, :width].reshape(120, 3, 160, 3, 3).mean((1, 3))
            assert np.abs(camera - reader.frame(4, step).arrays["image/front"]).mean() < 4, "the camera's picture, within the codec's error"
            assert shown[height:].max() > 200, "the words below it"
        assert not np.array_equal(frames[0].to_ndarray(format="rgb24")[360:], frames[60].to_ndarray(format="rgb24")[360:])
    assert "no frames in episode 9" in call("export", "mp4", "car", "--root", root, "--episode", 9, "--out", tmp_path / "e9.mp4").stderr
    assert [path.name for path in tmp_path.iterdir()] == ["e4.mp4"]


def test_mcap_of_a_split_and_bad_arguments(root, tmp_path, monkeypatch):
    pytest.importorskip("mcap")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODDLE_SESSIONS", str(root))
    assert call("split", "car", "--by", "episode", "--validate", "3", "--as", "part").exit_code == 0
    result = call("export", "mcap", "part_validate_11", "--out", "part.mcap")
    assert result.exit_code == 0, result.stderr
    assert call("import", "mcap", "part.mcap", "--name", "b").stdout.startswith("b: 11 frames in 1 episodes")
    for arguments, words in (
        (("export", "mcap", "part_validate_11", "--out", "part.mcap"), "Error: part.mcap exists"),
        (("export", "npz", "car", "--out", ""), "Error: . exists"),
        (("import", "mcap", "part.mcap", "--name", "b"), "b exists: choose another name"),
        (("import", "mcap", "part.mcap", "--name", "c", "--action", "/x"), "part.mcap was a session: it comes back as it was"),
        (("import", "mcap", "none.mcap", "--name", "c"), "Error: none.mcap does not exist"),
        (("import", "original", "part.mcap", "--name", "c", "--fps", "0"), "part.mcap is no session of the original system"),
        (("import", "donkeycar", "part.mcap", "--name", "c", "--fps", "nan"), "part.mcap is not a Donkeycar tub"),
    ):
        result = call(*arguments)
        assert result.exit_code in (1, 2) and words in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr
    assert call("import", "mcap", "part.mcap", "--name", "c", "--camera", "a-b=/x").exit_code == 2


def test_help_of_imports_and_exports():
    for verb, names in (("import", ("donkeycar", "original", "decisions")), ("export", ("donkeycar", "original", "mp4", "csv", "npz"))):
        listed = call(verb, "--help").stdout
        for name in names:
            assert name in listed and call(verb, name, "--help").exit_code == 0
    assert "did you mean 'original'" in call("import", "orginal", "x", "--name", "y").stderr
