"""A kill in the middle of an edit, of a split, of an import: under the final name there is all of it or nothing."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.editing.edit import drop
from storage.editing.source import Source
from storage.editing.splits import by_unit
from storage.paths import session_names
from storage.retention import sweep
from storage.verify import check

CHILD = """
import os, signal, sys
from pathlib import Path
from storage import header, load, splitfile, writer
from storage.editing import edit, making, splits

source, what, where, at = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
module, name = {
    "copy": (writer.SessionWriter, "append_copy"), "commit": (writer.SessionWriter, "_commit"), "settle": (writer.SessionWriter, "settle"),
    "rename": (making.Path, "rename"), "ranges": (splits, "write_split"), "header": (splits, "write_header"),
}[where]
whole, calls = getattr(module, name), 0

def dying(*args, **kwargs):
    global calls
    if where != "rename" or ".making-" in str(args[0]):
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args, **kwargs)

setattr(module, name, dying)
edit._COMMIT_EVENTS = 10
with edit.Source(source) as opened:
    if what == "edit":
        edit.drop(opened, "1").write(source.with_name("made"))
    else:
        splits.by_unit(opened, "made", "episode").write()
print("done", calls)
"""


def die(session: Path, what: str, where: str, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(session), what, where, str(at)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("where", "at"), [("copy", 1), ("copy", 40), ("commit", 2), ("settle", 1), ("rename", 1)])
def test_a_killed_edit_leaves_no_half_session(drive, where, at):
    done = die(drive, "edit", where, at)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert session_names(drive.parent) == ["drive"]
    left = [path for path in drive.parent.iterdir() if path.name.startswith(".made.making-")]
    assert len(left) == 1 or at == 1  # before the first event there may be no folder yet
    with Source(drive) as source:
        drop(source, "1").write(drive.with_name("made"))
    assert check(drive.with_name("made")).verdict == "ok"
    assert sorted(path.name for path in drive.parent.iterdir()) == ["drive", "made"]


@pytest.mark.parametrize(("where", "at"), [("ranges", 1), ("header", 1), ("rename", 1), ("rename", 3)])
def test_a_killed_division_leaves_whole_splits_only(drive, where, at):
    done = die(drive, "split", where, at)
    assert done.returncode == -signal.SIGKILL, done.stderr
    made = [name for name in session_names(drive.parent) if name != "drive"]
    assert len(made) == at - 1
    for name in made:
        assert check(drive.with_name(name)).verdict == "ok"
    sweep(drive.parent)
    assert sorted(path.name for path in drive.parent.iterdir()) == ["drive", *made]


def test_what_another_process_is_making_stays(drive):
    """Only what dead processes left is swept."""
    with Source(drive) as source:
        edit = drop(source, "1")
    ours = drive.with_name(".made.making-1")  # process 1 lives
    ours.mkdir()
    sweep(drive.parent)
    assert ours.is_dir()
    assert edit.preview("made").episodes == 3


@pytest.mark.slow
def test_killed_at_any_event(drive):
    rng = random.Random(4)
    whole = 0
    for _ in range(40):
        at = rng.randrange(1, 130)
        done = die(drive, "edit", "copy", at)
        if done.returncode == 0:
            whole += 1
            assert check(drive.with_name("made")).verdict == "ok"
            import shutil

            shutil.rmtree(drive.with_name("made"))
        else:
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert session_names(drive.parent) == ["drive"]
    assert whole < 40
    with Source(drive) as source:
        by_unit(source, "each", "episode").write()
