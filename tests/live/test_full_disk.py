"""A disk that fills up under a real graph: an alarm, a recorder that ends with 4, and a robot that goes on."""

import json
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from storage.reader import SessionReader
from storage.verify import verify

from .conftest import PROJECT, Bench, Run, check_law, gone, wait_for

DISK_MB, FLOOR_GB, SIZE = 24, 0.0025, 96
# The sessions lie on a small disk of their own, in a namespace of its own, so that no root is needed; they are copied out of it.
SCRIPT = f'mount -t tmpfs -o size={DISK_MB}m none "$1" || exit 77; "${{@:3}}"; code=$?; cp -r "$1/." "$2"; exit $code'


def _launch_on_small_disk(bench: Bench, file: str, name: str) -> Run:
    disk, kept = bench.folder / "sessions", bench.folder / "kept"
    for folder in (disk, kept):
        folder.mkdir()
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "mount", "-t", "tmpfs", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("this system does not let a user mount a small disk (`unshare -rm`, `mount -t tmpfs`)")
    command = [unshare, "-rm", "bash", "-c", SCRIPT, "bash", str(disk), str(kept)]
    command += [sys.executable, "-m", "toddle", "launch", file, "--name", name]
    process = subprocess.Popen(command, cwd=PROJECT, env=bench.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    bench.runs.append(Run(name, bench.folder, process))
    return bench.runs[-1]


def _launcher(run: Run) -> psutil.Process:
    """The `toddle launch` inside the namespace."""
    return next(child for child in psutil.Process(run.process.pid).children(recursive=True) if "toddle" in child.cmdline()[1:3])


@pytest.mark.slow
@pytest.mark.parametrize("required", [False, True])
def test_a_full_disk_is_an_alarm_then_4_and_the_robot_goes_on(bench: Bench, required: bool) -> None:
    file = bench.folder / "small.yaml"
    recorder = f"{{required: {json.dumps(required)}, params: {{min_free_gb: {FLOOR_GB}, sync_interval_s: 0.2, codec: raw}}}}"
    file.write_text(
        f"include: {PROJECT}/launch/run.yaml\nargs: {{timing: paced, rate_hz: 100, viewer: false, "
        f"options: {{size: {SIZE}, radius: 4, step: 11}}}}\nnodes:\n  recorder: {recorder}\n"
    )
    run = _launch_on_small_disk(bench, str(file), "full")
    run.running()
    node = wait_for(lambda: run.node("recorder"), "the recorder")

    def frames() -> int:
        return int(run.status("predictor").get("counts", {}).get("frame/robot", {}).get("published", 0))

    wait_for(lambda: gone(node), "the recorder ends")
    if not required:
        before = wait_for(frames, "the robot is there")
        wait_for(lambda: frames() > before + 50, "the robot goes on without it")
        _launcher(run).send_signal(signal.SIGINT)
    code, output, summary = run.end()
    assert summary["nodes"]["recorder"]["exit_codes"] == [4], output
    assert code == (4 if required else summary["exit_code"]), output
    alarm, stop = output.find("recording stops at"), output.find("session full stops: ")
    assert 0 < alarm < stop, output
    kept = bench.folder / "kept" / "full"
    report = verify(kept)
    assert report.verdict == "ok", report
    with SessionReader(kept) as reader:
        seqs = [message.envelope.seq for message in reader.topic_messages("frame")]
        assert reader.info().state == "closed"
    assert len(seqs) > 100 and seqs == list(range(len(seqs))), "every frame up to the floor"
    frames = summary["topics"]["frame/robot"]
    assert frames["predictor"]["lost"] == 0 and frames["recorder"]["received"] == len(seqs)
    check_law(summary, lost=True)
