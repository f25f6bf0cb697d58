"""Death at a moment that is known for certain: before and inside every call that puts something on the disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sees LMDB's system calls, on Linux")
SCRIPT = Path(__file__).with_name("kill_points.py")


@pytest.mark.parametrize(
    ("scenario", "moments", "before", "after"),
    [
        ("roll", 20, 14, 21), ("large", 8, 99, 100), ("close", 8, 40, 47),
        pytest.param("begin", 15, 0, 1, marks=pytest.mark.slow), pytest.param("resume", 20, 20, 21, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_kill_9_at_every_moment_of(tmp_path, scenario, moments, before, after):
    """The writer dies at each moment of it; each time what was announced is there, and the next writer goes on."""
    run = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path), scenario], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["deaths"] >= moments, "it must really have died, and not only at the ends"
    assert found["events"][0] == before and found["events"][-1] >= after
    assert found["events"] == sorted(found["events"]), "a later death never leaves less"


@pytest.mark.parametrize(
    ("error", "code", "lasts"),
    [
        ("ENOSPC", 4, "forever"), ("ENOSPC", 4, "once"),
        pytest.param("EIO", 1, "forever", marks=pytest.mark.slow), pytest.param("EIO", 1, "once", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_write_that_is_refused_at_any_moment_of_a_commit(tmp_path, error, code, lasts):
    """Said in one line with the exit code; what was announced stays, what waited is written by the close if the disk lets it."""
    command = [sys.executable, str(SCRIPT.with_name("refused_writes.py")), str(tmp_path), error, lasts]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(run.stdout)
    assert run.returncode == 0, found
    assert len(found) >= 3 and all(told["refused"] > 0 for told in found), "data, sync and meta page were refused"
    for told in found:
        assert {exit_code for _, exit_code in told["said"]} == {code}
        assert len(told["said"]) == (1 if lasts == "once" else 2) and told["events"] == (24 if lasts == "once" else 16), told
