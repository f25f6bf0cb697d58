"""kill -9 while checkpoints are saved and dropped: what is there afterwards always loads."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worldmodel import checkpoint, kept

# torch is imported once; who saves is forked from there, killed, and its end told
SAVER = """
import os, sys
import torch
from worldmodel import checkpoint
from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ActionSpace, Camera, model_spec

spec = model_spec((Camera("top", 64, 64),), ActionSpace(("move",), choices=((0.0,), (1.0,))))
learner = Learner(spec, TrainConfig(precision="fp32", threads=1), "cpu")
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        while True:
            learner.samples += 8
            scores = {"skill": (learner.samples * 7919 % 100) / 100}
            held_out = {"score": "skill", "better": "higher", "cases": 100}
            checkpoint.save(sys.argv[1], learner, {"scores": scores, "held_out": held_out}, keep=2, best=1)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def saver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    folder = tmp_path_factory.mktemp("killed")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SAVER, str(folder)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield folder, process
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0


def hidden(folder: Path, end: str, holding: str = "") -> bool:
    return any(holding in ("", *os.listdir(path)) for path in _there(folder) if path.name.endswith(end))


def _there(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".*.tmp") if path.is_dir()]


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "begun": lambda folder: hidden(folder, ".tmp"),
    "writing tensors": lambda folder: hidden(folder, ".tmp", "tensors.safetensors"),
    "all written": lambda folder: hidden(folder, ".tmp", "checkpoint.json"),
    "dropping": lambda folder: hidden(folder, ".old.tmp"),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("again", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 6))])
def test_killed_while_saving(saver: tuple[Path, subprocess.Popen[str]], moment: str, again: int) -> None:
    folder, process = saver
    assert process.stdin is not None
    assert process.stdout is not None
    before = kept.newest_number(folder)
    process.stdin.write("go\n")
    process.stdin.flush()
    pid = int(process.stdout.readline())
    deadline_s = time.monotonic() + DEADLINE_S

    def reached() -> bool:
        try:
            return kept.newest_number(folder) >= before + 2 and MOMENTS[moment](folder)
        except OSError:  # renamed while it was looked into
            return False

    try:
        while not reached():
            assert time.monotonic() < deadline_s, f"never {moment}"
    finally:
        os.kill(pid, signal.SIGKILL)
    assert int(process.stdout.readline()) == -signal.SIGKILL
    there = kept.complete(folder)
    assert kept.newest_number(folder) == int(there[-1].name[:6]) >= before + 2
    for path in there:
        assert checkpoint.load(path).learner(device="cpu").samples == int(path.name.split("-")[-1])
    best = kept.best_of(kept.listed(folder), 1)[0]
    assert best.score == max(one.score or 0.0 for one in kept.listed(folder))
    assert not [path for path in folder.iterdir() if path not in there and not path.name.startswith(".")]
