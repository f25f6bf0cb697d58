"""A run on a disk that gets full: room is made, a person is told, and the end is in order. A real small disk, real processes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.reader import SessionReader
from storage.verify import check

from .conftest import DEADLINE_S, PROJECT, Bench

GRAPH = f"""
include: {PROJECT}/launch/run.yaml
args: {{rate_hz: 100, options: {{size: 224, radius: 5, step: 27, holdout_modulus: 0}}, timing: paced}}
nodes:
  recorder: {{params: {{root: disk, codec: raw, map_gb: 0.25, min_free_gb: 0.02, max_gb: 0.00005}}}}
"""
# a disk of 60 MB in memory, in a namespace of its own, so that no root is needed; what is on it is copied before it goes
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=60m none disk || exit 77
cp -r sessions/old disk/
"$@"
code=$?
cp -r disk kept
exit $code
"""


def test_a_disk_that_gets_full_is_told_everywhere_and_ends_the_run_in_order(bench: Bench) -> None:
    (bench.folder / "full.yaml").write_text(GRAPH)
    (bench.folder / "disk").mkdir()
    toddle = [sys.executable, "-m", "toddle"]
    first = [*toddle, "launch", str(PROJECT / "launch" / "run.yaml"), "--name", "old", "--set", "steps=5", "--set", "viewer=false"]
    assert subprocess.run(first, cwd=bench.folder, env=bench.env(), capture_output=True, timeout=DEADLINE_S).returncode == 0
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs `unshare` (util-linux) to make a small disk")
    run = subprocess.run(
        [unshare, "-rm", "bash", "-c", ON_A_SMALL_DISK, "bash",
         *toddle, "launch", "full.yaml", "--name", "full", "--time-limit", "90"],
        cwd=bench.folder, env=bench.env(), capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    if run.returncode == 77 or "unshare failed" in run.stderr:
        pytest.skip(f"this system does not let a user mount a tmpfs: {run.stderr.strip()[-100:]}")
    assert run.returncode == 4, run.stdout[-2000:] + run.stderr[-2000:]

    summary = json.loads((bench.folder / "runs" / "full" / "summary.json").read_bytes())
    alarms = {alarm["name"]: alarm for alarm in summary["alarms"] if alarm["node"] == "recorder"}
    assert {"retention", "disk_low"} <= alarms.keys()
    assert "old" in alarms["retention"]["text"]
    for name in ("retention", "disk_low"):
        assert f"ALARM: recorder: {alarms[name]['text']}" in run.stdout
    assert run.stdout.index("ALARM: recorder: deleted to make room") < run.stdout.index("recording stops at")
    heard = summary["topics"]["alarm/recorder"]["viewer"]
    assert heard["received"] + heard["skipped"] == heard["published"] >= 2 and heard["received"] > 0

    session = bench.folder / "kept" / "full"
    assert not (bench.folder / "kept" / "old").exists(), "it was the oldest and over the limit"
    with SessionReader(session) as reader:
        recorded = {message.body.name for message in reader.topic_messages("alarm") if message.envelope.source == "recorder"}
        frames = reader.info().frames
    assert {"retention", "disk_low"} <= recorded
    assert frames > 50
    assert check(session).exit_code in (0, 3), "nothing that was written is damaged"


def test_the_estimate_is_said_once_and_kept(bench: Bench) -> None:
    sets = {"options": {"size": 64, "radius": 3, "step": 9}, "timing": "paced", "rate_hz": 30, "viewer": False, "steps": 100}
    code, output, summary = bench.launch("run.yaml", "small", **sets).end()
    assert code == 0, output
    assert output.count("records about") == 1
    assert summary["disk"]["bytes_per_minute"] > 0 and summary["disk"]["room_s"] > 0
    assert "records about" in Path(bench.folder, "runs", "small", "logs", "recorder.jsonl").read_text()
