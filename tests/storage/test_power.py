"""The power goes: what was announced is there, whatever the disk kept of the rest."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sees LMDB's system calls, on Linux")
SCRIPT = Path(__file__).with_name("power_cuts.py")


def cut(folder: Path, first: int, count: int, *forget: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), str(folder), str(first), str(count), *forget]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


@pytest.mark.parametrize(("first", "count"), [(0, 60), pytest.param(1000, 5000, marks=pytest.mark.slow)])
def test_a_power_cut_at_any_moment_loses_only_what_was_not_announced(tmp_path, first, count):
    code, found = cut(tmp_path, first, count)
    assert code == 0, found["broken"]
    assert found["cuts"] == count
    assert found["cuts_that_cost"] > count / 2 and min(found["names"], found["dropped"], found["torn"]) > count / 10, "the faults were real"
    assert found["more_than_announced"] > 0, "now and then a commit was done and nobody had been told"


@pytest.mark.parametrize(
    "name", ["data.mdb", "s", *(pytest.param(name, marks=pytest.mark.slow) for name in (".making", "segments", "disk"))]
)
def test_without_any_one_of_the_syncs_the_promise_breaks(tmp_path, name):
    """Each is needed, and its absence is seen here: of the log, of a new segment, of its name, of the session's, of its folder's."""
    code, found = cut(tmp_path, 0, 20, name)
    assert code == 1 and found["broken_count"] > 0
