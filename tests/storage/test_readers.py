"""Readers beside the writer: dead ones cost it nothing, living ones get everything as it was written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import storage.writer
from storage.reader import SessionReader
from storage.verify import check, verify
from storage.writer import SessionWriter

from .numbered import message, read_all

# Stays inside a read transaction until it is killed.
STALE = """
import sys
from pathlib import Path
from storage.load import open_segments

(segment,) = open_segments(Path(sys.argv[1]))
with segment.read():
    print("in", flush=True)
    sys.stdin.read()
"""

# Reads here and there what is committed, and verifies, until nobody writes any more.
PROBER = """
import random, sys
from pathlib import Path
from numbered import is_right
from storage.lock import writer_pid
from storage.reader import SessionReader
from storage.verify import check

path, chance, looks, over = Path(sys.argv[1]), random.Random(sys.argv[2]), 0, False
print("in", flush=True)
with SessionReader(path) as reader:
    while not over:
        over = writer_pid(path) is None
        for _ in range(20):
            if there := len(reader):
                event = reader.event(chance.randrange(there))
                assert event.message.envelope.seq == event.number and is_right(event.message), event.number
        report = check(path)
        assert report.verdict == "ok" and report.events_checked >= there, report
        looks += 1
print(looks, report.events_checked)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{script}", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("sweeps", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_reader_killed_in_a_transaction_does_not_make_the_file_grow(tmp_path, frame, monkeypatch, sweeps):
    """Its pages are taken back within 100 commits; where nobody swept, the file would grow for ever."""
    if not sweeps:
        monkeypatch.setattr(storage.writer, "_READER_CHECKS", 10**9)
    path, pages = tmp_path / "s", []
    with SessionWriter.create(path, commit_events=1) as writer:
        writer.append(frame(0))
        reader = start(STALE, path)
        env = writer._segment.env
        reader_pids = str(reader.pid)
        assert reader_pids in env.readers(), "it holds a slot"
        kill(reader)
        assert reader_pids in env.readers(), "and leaves it behind"
        for seq in range(1, 201):
            writer.append(frame(seq))
            if seq % 100 == 0:
                pages.append(env.info()["last_pgno"])
        growth = pages[1] - pages[0]
        assert growth < 300 if sweeps else growth > 600, "pages in 100 commits of one event each"
        assert (reader_pids in env.readers()) != sweeps
    assert check(path).exit_code == 0


def test_readers_and_a_writer_together_under_load(tmp_path):
    """Frames in many small segments; two processes read and verify meanwhile, a third is killed now and then."""
    path = tmp_path / "s"
    with SessionWriter.create(path, map_bytes=1 << 19, commit_events=3) as writer:
        writer.append(message(0))
        writer.flush()
        readers = [start(PROBER, path, seed) for seed in range(2)]
        for turn in range(2):
            victim = start(PROBER, path, f"victim {turn}")
            for seq in range(writer.events, writer.events + 50):
                writer.append(message(seq))
            kill(victim)
    for reader in readers:
        said, _ = reader.communicate()
        assert reader.returncode == 0
        looks, events = map(int, said.split())
        assert looks > 1 and events == 101
    assert read_all(path) == (list(range(101)), [])
    assert verify(path).exit_code == 0
    with SessionReader(path) as reader:
        assert reader.info().segments > 3
