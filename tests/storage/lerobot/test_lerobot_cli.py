"""`toddle sessions import lerobot` and `export lerobot`; and what they do with real datasets, to the end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from storage.header import read_header
from storage.reader import SessionReader
from storage.verify import check
from toddle.sessions.command import sessions

TODDLE = str(Path(sys.executable).with_name("toddle"))


def run(root: Path, *words: object) -> Result:
    return CliRunner().invoke(sessions, [*map(str, words), "--root", str(root)])


def test_there_and_back(dataset, tmp_path):
    done = run(tmp_path, "import", "lerobot", dataset, "--name", "s")
    assert (done.exit_code, done.output.splitlines()[0]) == (
        0, "s: 21 frames in 2 episodes at 10 Hz (made of frame_index and fps by lerobot: no clock saw them)",
    )  # fmt: skip
    done = run(tmp_path, "export", "lerobot", "s", "--out", tmp_path / "d", "--pictures")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'd'}: 21 frames in 2 episodes\n")
    done = run(tmp_path, "import", "lerobot", tmp_path / "d", "--name", "back")
    assert (done.exit_code, done.output) == (0, "back: 21 frames in 2 episodes at 10 Hz (as exported)\n")


def test_faults_are_listed_line_by_line(mine, tmp_path):
    for video in mine.glob("videos/*/*/*.mp4"):
        video.unlink()
    done = run(tmp_path, "import", "lerobot", mine, "--name", "s")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0] == f"Error: {mine} has 2 faults; --skip-bad takes what is sound and lists the rest"
    assert all(line.endswith("file-000.mp4: is missing") for line in lines[1:]) and len(lines) == 3


def test_what_was_left_out_is_on_the_screen_and_in_the_session(mine, tmp_path):
    file = mine / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.take([place for place in range(len(table)) if place not in (3, 4)]), file)
    done = run(tmp_path, "import", "lerobot", mine, "--name", "s", "--skip-bad")
    lost = f"{file}: row 3: 2 rows are missing before frame 5 of episode 0"
    assert (done.exit_code, done.output.splitlines()[1:]) == (0, [f"  skipped   {lost}"])
    assert read_header(tmp_path / "s").source["left_out"] == [lost]


def test_bad_arguments(dataset, tmp_path):
    for words, text in (
        (("import", "lerobot", "--name", "s"), "give either the FOLDER of a dataset, or --repo-id"),
        (("import", "lerobot", dataset, "--repo-id", "a/b", "--name", "s"), "give either the FOLDER of a dataset, or --repo-id"),
        (("export", "lerobot", "s", "--push"), "--push needs --repo-id USER/NAME"),
    ):
        done = run(tmp_path, *words)
        assert done.exit_code == 2 and text in done.output


def test_the_hub(dataset, tmp_path, monkeypatch):
    """What the hub gives is imported; where the network does not allow it, one line says so."""
    import huggingface_hub

    done = run(tmp_path, "import", "lerobot", "--repo-id", "lerobot/pusht", "--name", "s")  # HF_HUB_OFFLINE is set
    assert done.exit_code == 1
    assert done.output.startswith("Error: lerobot/pusht cannot be had from the hub: ") and done.output.count("\n") == 1
    asked = []

    def snapshot_download(repo_id: str, **how: object) -> str:
        asked.append((repo_id, how))
        return str(dataset)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert run(tmp_path, "import", "lerobot", "--repo-id", "lerobot/pusht", "--name", "s").exit_code == 0
    assert asked == [("lerobot/pusht", {"repo_type": "dataset", "revision": "v3.0"})]
    assert read_header(tmp_path / "s").source["hub"] == "lerobot/pusht"
    done = run(tmp_path, "export", "lerobot", "s", "--out", tmp_path / "d", "--pictures", "--push", "--repo-id", "me/d")
    assert done.exit_code == 1
    assert "cannot be uploaded as me/d: " in done.output and done.output.endswith(f"it stays in {tmp_path / 'd'}\n")
    assert (tmp_path / "d/meta/info.json").is_file()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    sent = []
    monkeypatch.setattr(LeRobotDataset, "push_to_hub", lambda self, **how: sent.append((self.repo_id, self.root, len(self), how)))
    done = run(tmp_path, "export", "lerobot", "s", "--out", tmp_path / "e", "--pictures", "--push", "--private", "--repo-id", "me/e")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "uploaded: https://huggingface.co/datasets/me/e")
    assert sent == [("me/e", tmp_path / "e", 21, {"license": None, "private": True})]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["g1_bottle_v30", "g1_bottle_v30_2cam", "g1_bottle_v21"])
def test_real_datasets_go_all_the_way(recordings, tmp_path, loaded, name):
    """Imported, interrupted by Ctrl-C and gone on with, checked, replayed with nothing lost, exported, loaded by lerobot, and back."""
    source = converted(recordings / name, tmp_path) if name.endswith("v21") else recordings / name
    root = tmp_path / "sessions"
    command = [TODDLE, "sessions", "import", "lerobot", str(source), "--name", "s", "--root", str(root)]
    interrupted(command, root / "s")
    done = toddle(command[1:], tmp_path)
    assert done.returncode == 0 and "went on   after the " in done.stdout, done.stdout + done.stderr
    assert toddle(["sessions", "verify", "s"], tmp_path).returncode == 0
    # a fifth of the frames of two of them is the frame before, in the videos as they were recorded
    fit = toddle(["sessions", "check", "s", "--max-duplicates", "0.25"], tmp_path)
    assert fit.returncode == 0, fit.stdout
    replayed = toddle(["replay", "s", "--rate", "0", "--no-learn", "--no-viewer", "--name", "again"], tmp_path)
    assert replayed.returncode == 0 and "dropped   nothing" in replayed.stdout, replayed.stdout[-2000:] + replayed.stderr[-2000:]
    assert steps(root / "again", pictures=True) == steps(root / "s", pictures=True)
    exported = toddle(["sessions", "export", "lerobot", "s", "--out", str(tmp_path / "d"), "--codec", "h264"], tmp_path)
    assert (exported.returncode, exported.stderr) == (0, "")
    dataset = loaded(tmp_path / "d")
    assert [tuple(action.tolist()) for action in dataset.hf_dataset["action"]] == [action for *_, action in steps(root / "s")]
    assert dataset[len(dataset) - 1]["observation.images.cam_high"].shape[0] == 3
    back = toddle(["sessions", "import", "lerobot", str(tmp_path / "d"), "--name", "back"], tmp_path)
    assert back.returncode == 0, back.stderr
    assert steps(root / "back") == steps(root / "s")
    assert check(root / "back").exit_code == 0


def toddle(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TODDLE_SESSIONS": str(folder / "sessions")}
    return subprocess.run([TODDLE, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False)


def steps(session: Path, pictures: bool = False) -> list[tuple]:
    """Episode, step, state, a hash of the pictures where they count, and action."""
    with SessionReader(session) as reader:
        return [
            (
                frame.envelope.episode, frame.envelope.step, frame.arrays["state"].tolist(),
                hash(b"".join(array.tobytes() for array in frame.arrays.values())) if pictures else None,
                tuple(reader.read("action", frame.envelope.episode, frame.envelope.step).body.action.values()),
            )
            for frame in reader.topic_messages("frame")
        ]  # fmt: skip


def interrupted(command: list[str], session: Path) -> None:
    """Press Ctrl-C when the first frames are there."""
    importing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while importing.poll() is None and time.monotonic() < until and not any(session.glob("segments/*/data.mdb")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                importing.wait(0.02)
        importing.send_signal(signal.SIGINT)
        _, said = importing.communicate(timeout=120)
    finally:
        importing.kill()
        importing.communicate()
    assert importing.returncode == 130, said
    assert "the same command goes on from there" in said
    assert check(session).exit_code == 0


def converted(source: Path, folder: Path) -> Path:
    """A copy of a v2.1 dataset after lerobot's own conversion, with the command that the import names."""
    copy = folder / "v21"
    shutil.copytree(source, copy)
    refused = toddle(["sessions", "import", "lerobot", str(copy), "--name", "s"], folder)
    assert refused.returncode == 1 and "is LeRobot v2.1" in refused.stderr
    command = refused.stderr.split("python -m ")[1].split()
    subprocess.run(
        [sys.executable, "-m", *command], check=True, timeout=120, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    return copy
