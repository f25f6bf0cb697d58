"""What `committed` announced is there after the writer was killed or the disk was full."""

import random
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from protocol import messages as m
from storage.lock import writer_pid
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

# One process writes numbered noise, small maps and frames of all sizes, and says after each commit what is
# on disk. The tests make the same noise from the same numbers.
WRITER = """
import sys
from pathlib import Path
import numpy as np
from protocol import messages as m
from storage.errors import DiskFull
from storage.writer import SessionWriter

path, map_bytes, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
try:
    with SessionWriter.create(path, map_bytes=map_bytes, commit_events=5, resume=True) as writer:
        first = writer.last_seq("frame/robot", "r") + 1
        told = writer.commits
        for seq in range(first, first + count):
            image = np.random.default_rng(seq).integers(0, 256, (20 + seq % 7 * 40, 80, 3), dtype=np.uint8)
            envelope = m.Envelope(topic="frame/robot", source="robot", run="r", seq=seq, t_ns=seq, mono_ns=seq, episode=0, step=seq)
            writer.append(m.Message(envelope=envelope, body=m.Frame(), arrays={"image/front": image}))
            if writer.commits > told:
                told = writer.commits
                print(writer.committed.events, writer.committed.last_seq["frame/robot"], flush=True)
except DiskFull as error:
    print("full", error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def expect_frames():
    """Every frame in a session is the one that was written under its number."""

    def look(path) -> int:
        with SessionReader(path) as reader:
            seq = -1
            for seq, message in enumerate(reader.events()):
                image = np.random.default_rng(seq).integers(0, 256, (20 + seq % 7 * 40, 80, 3), dtype=np.uint8)
                assert message.envelope.seq == seq
                assert np.array_equal(message.arrays["image/front"], image)
            assert reader.info().events == seq + 1
        return seq + 1

    return look


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 50))])
def test_kill_9_at_any_moment_loses_nothing_that_was_announced(tmp_path, expect_frames, seed):
    rng = random.Random(seed)
    path = tmp_path / "s"
    announced = 0
    for _ in range(2):  # the second writer goes on in the session of the one that was killed, and is killed too
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(1 << 19), "100000"], stdout=subprocess.PIPE, text=True)
        for _ in range(rng.randrange(1, 25)):
            announced = int(writer.stdout.readline().split()[0])
        threading.Event().wait(rng.uniform(0, 0.02))  # the moment of death, anywhere in a commit or a roll
        assert writer_pid(path) == writer.pid
        writer.kill()
        rest, _ = writer.communicate()
        assert writer.returncode == -signal.SIGKILL, "it must have died of the kill, not of itself"
        announced = max([announced, *(int(line.split()[0]) for line in rest.splitlines())])
        assert writer_pid(path) is None
        assert expect_frames(path) >= announced > 0
        report = check(path)
        assert report.exit_code == 0, report
        assert report.events_checked >= announced
    with SessionWriter.create(path, resume=True) as writer:
        topic, (run, seq) = next(iter(writer.ends().items()))
        writer.append(m.Message(envelope=m.Envelope(topic=topic, source="robot", run=run, seq=seq + 1, t_ns=0, mono_ns=0), body=m.Frame()))
    assert check(path).exit_code == 0


def test_a_full_disk_ends_the_writer_with_4_and_keeps_what_was_announced(tmp_path, expect_frames):
    """A real full disk: a 4 MB file system of its own, in a namespace of its own, so that no root is needed."""
    mount = tmp_path / "disk"
    mount.mkdir()
    # the session is copied out of the small disk before its namespace ends
    script = 'mount -t tmpfs -o size=4m none "$1" || exit 77; "$2" -c "$3" "$1/s" 4294967296 100000; code=$?; cp -r "$1/s" "$4"; exit $code'
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs `unshare` (util-linux) to make a small disk")
    run = subprocess.run(
        [unshare, "-rm", "bash", "-c", script, "bash", str(mount), sys.executable, WRITER, str(tmp_path / "copy")],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode in (1, 77) and "full" not in run.stdout:
        pytest.skip(f"this system does not let a user mount a tmpfs: {run.stderr.strip()[-100:]}")
    assert run.returncode == 4, run.stderr
    *announced, last = run.stdout.splitlines()
    assert last.startswith("full session s stops: ")
    assert "all before them are on disk" in last
    assert expect_frames(tmp_path / "copy") == int(announced[-1].split()[0]) > 0
    assert check(tmp_path / "copy").exit_code == 0
