"""Damaged pages: found and named by `verify`, never read as data, never the end of who asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
SCRIPT = Path(__file__).with_name("bad_pages.py")
EACH = pytest.mark.slow
NAMED = "events named, the others given"


@pytest.mark.parametrize(
    ("kind", "stride", "damages", "answer"),
    [
        ("zeroed", 11, 20, NAMED), ("torn", 16, 20, NAMED), ("flipped", 16, 20, NAMED), ("stale", 3, 5, NAMED),
        ("meta", 41, 30, "named, some given"), ("cut", 50, 15, "not readable, and named"),
        pytest.param("zeroed", 1, 100, NAMED, marks=EACH), pytest.param("torn", 1, 100, NAMED, marks=EACH),
        pytest.param("flipped", 1, 100, NAMED, marks=EACH), pytest.param("meta", 1, 2000, "not readable, and named", marks=EACH),
        pytest.param("cut", 1, 100, "not readable, and named", marks=EACH),
    ],
)  # fmt: skip
def test_a_damaged_page_is_named_and_the_sound_events_are_given(tmp_path, kind, stride, damages, answer):
    """What `verify` calls ok, a reader gets whole and exact; the events that a reader cannot give are the ones that `verify` names."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path), kind, str(stride)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.stdout, run.stderr
    found = json.loads(run.stdout)
    assert run.returncode == 0, found["untrue"]
    assert found["damages"] >= damages and found["answers"][answer] > 0, "the damage was real"
