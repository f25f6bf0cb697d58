"""`toddle train`: ends, resumes and goes on as it says; bad input is one line."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from toddle.cli import cli
from worldmodel import checkpoint

TINY = ("spec.width=16", "spec.heads=1", "spec.encoder_depth=1", "spec.decoder_depth=1", "train.batch_size=4", "train.threads=1",
        "train.precision=fp32", "train.judge_every_samples=40")  # fmt: skip
SMALL = [word for one in TINY for word in ("--set", one)]
Do = Callable[..., Result]


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_walk: Any) -> Do:
    monkeypatch.setenv("TODDLE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path / "sessions"))
    (tmp_path / "sessions").mkdir()
    record_walk(tmp_path / "sessions" / "walk", held_out=(1,))
    return lambda *words: CliRunner().invoke(cli, ["train", *map(str, words)])


def newest(tmp_path: Path, run: str) -> checkpoint.Checkpoint:
    path = checkpoint.latest(tmp_path / "runs" / run / "checkpoints")
    assert path is not None
    return checkpoint.load(path)


def test_it_trains_to_its_end_and_leaves_a_run(do: Do, tmp_path: Path) -> None:
    said = do("walk", "--samples", 80, "--name", "one", *SMALL)
    assert said.exit_code == 0, said.output
    assert "learning rate 0.002, the default" in said.output
    assert "33 transitions to learn from, 11 held out" in said.output
    assert "done (80 samples)" in said.output
    found = newest(tmp_path, "one")
    assert found.values["samples"] == 80
    assert found.config.sampling == {"epoch": 1.0}  # live, recent ones come more often
    assert found.metadata["held_out"] == {"score": "skill_copy_last", "better": "higher", "cases": 11}
    assert {"held_out_mse", "copy_last_mse", "skill_copy_last"} == set(found.metadata["scores"])
    summary = json.loads((tmp_path / "runs/one/summary.json").read_text())
    assert summary["outcome"] == "done"
    log = [json.loads(line) for line in (tmp_path / "runs/one/train.jsonl").read_text().splitlines()]
    assert [one["kind"] for one in log if one["kind"] == "score"] == ["score"] * 2  # at 40 and 80 samples; the end has that of 80
    step = next(one for one in log if one["kind"] == "step")
    assert step.keys() >= {"loss", "loss_changed", "lr", "explained_variance", "update_p95", "grad/embed.weight", "update/embed.weight"}

    more = do("--resume", "one", "--samples", 40)
    assert more.exit_code == 0, more.output
    assert newest(tmp_path, "one").values["samples"] == 120
    assert "has had its 120 samples" in do("--resume", "one").output

    other = do("walk", "--from", "one", "--total-samples", 160, "--name", "two", "--set", "train.lr=0.5")
    assert other.exit_code == 0, other.output
    assert "learning rate 0.5, as set" in other.output
    assert newest(tmp_path, "two").values["samples"] == 160
    kept = do("walk", "--from", "two", "--samples", 4, "--name", "three")
    assert "learning rate 0.5, from the checkpoint" in kept.output

    grown = do("walk", "--from", "two", "--grow", "--set", "spec.decoder_depth=2", "--samples", 8, "--name", "four")
    assert grown.exit_code == 0, grown.output
    assert newest(tmp_path, "four").values["samples"] == 8
    assert newest(tmp_path, "four").spec.decoder_depth == 2
    assert newest(tmp_path, "two").config.resumed_at == 120
    assert newest(tmp_path, "four").config.resumed_at == 0  # its samples count anew


def test_an_end_in_seconds_ends_the_cosine_too(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("nodes.trainer.offline.time", SimpleNamespace(monotonic=lambda: next(clock) * 0.01))  # of no machine
    said = do("walk", "--seconds", 0.5, "--set", "train.schedule=cosine", "--name", "one", *SMALL)
    assert said.exit_code == 0, said.output
    total = newest(tmp_path, "one").config.total_samples
    assert 0 < total < 10**6
    assert any("end the schedule at" in line for line in (tmp_path / "runs/one/train.jsonl").read_text().splitlines())


def test_a_refused_name_is_free_again_and_rates_may_be_written_short(do: Do) -> None:
    wrong = do("walk", "--samples", "4", "--name", "one", "--set", "train.loss={inverse: 1}", *SMALL)
    assert wrong.exit_code == 2
    right = do("walk", "--samples", "4", "--name", "one", *SMALL, "--set", "train.lr=1e-5")
    assert right.exit_code == 0
    assert "learning rate 1e-05, as set" in right.output
    again = do("walk", "--samples", "4", "--name", "one", *SMALL)
    assert "--resume one" in again.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("walk",), "say when training ends"),
        (("--samples", "4"), "name the sessions"),
        (("nowhere", "--samples", "4"), "nowhere"),
        (("walk", "--samples", "4", "--set", "train.wat=1"), "no setting 'wat'"),
        (("walk", "--samples", "4", "--set", "wat=1"), "train.NAME=VALUE"),
        (("walk", "--samples", "4", "--model", "wat"), "no preset 'wat'"),
        (("walk", "--samples", "4", "--held-out", "0,1,2,3"), "nothing to learn from"),
        (
            ("walk", "--samples", "4", "--set", "train.loss={perceptual: 1}", "--set", "train.perceptual_weights=no.pth"),
            "no file no.pth",
        ),
        (("walk", "--samples", "4", "--from", "nowhere"), "nowhere"),
        (("--resume", "nowhere"), "no run 'nowhere'"),
        (("walk", "--seconds", "9", "--set", "train.loss={inverse: 1}"), "set spec.inverse"),
        (("walk", "--samples", "4", "--held-out", "from=9999"), "holds nothing out"),
        (("walk", "--samples", "4", "--set", "spec.patch={"), "this is no YAML"),
        (("walk", "--samples", "4", "--device", "gpu"), "no device 'gpu'"),
        (("walk", "--samples", "4", "--partial"), "--from"),
        (("--resume", "nowhere", "--blind"), "for a change take --from"),
    ],
)
def test_bad_input_is_one_line(do: Do, words: tuple[str, ...], says: str) -> None:
    said = do(*words, *(() if words[0] == "--resume" else SMALL))
    assert said.exit_code == 2
    assert says in said.output
    assert sum(line.startswith("Error") for line in said.output.splitlines()) == 1
    assert "Traceback" not in said.output


def test_what_was_held_out_is_known_to_evaluate(do: Do, tmp_path: Path) -> None:
    said = do("walk", "--samples", 8, "--held-out", "20%", "--name", "one", *SMALL)
    assert said.exit_code == 0, said.output
    scored = CliRunner().invoke(cli, ["evaluate", "one/1", "--json", "--device", "cpu", "--rollouts", "1"])
    assert scored.exit_code == 0, scored.output
    rows = json.loads(scored.output)["scores"]
    # of the last episode's 12 frames the last 10 are held out: its first transition is learned from, 8 are scored
    assert [(row["on"], row["cases"]) for row in rows] == [("episodes learned from", 2 * 11 + 1), ("held-out episodes", 11 + 8)]
    again = do("walk", "--samples", 4, "--from", "one/1", "--name", "two", *SMALL[-2:])
    assert again.exit_code == 0 and "goes on from 000001-samples-8" in again.output, again.output


def test_who_trains_is_not_disturbed(do: Do, tmp_path: Path) -> None:
    assert do("walk", "--samples", 4, "--name", "one", *SMALL).exit_code == 0
    run = tmp_path / "runs/one"
    order = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**order, "pid": os.getppid()}))  # somebody else, and alive
    (run / "summary.json").unlink()
    refused = CliRunner().invoke(cli, ["checkpoints", "prune", "one", "--yes"])
    assert refused.exit_code == 2 and f"'one' is still running (process {os.getppid()})" in refused.output
    refused = do("--resume", "one", "--samples", 4)
    assert refused.exit_code == 2 and "still running" in refused.output


def start(tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "toddle", "train", *words]
    env = {**os.environ, "TODDLE_RUNS": str(tmp_path / "runs"), "TODDLE_SESSIONS": str(tmp_path / "sessions")}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2])


def wait_for_checkpoint(tmp_path: Path, run: str, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + 120
    while checkpoint.latest(tmp_path / "runs" / run / "checkpoints") is None:
        assert process.poll() is None and time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("train.schedule=cosine", "train.sampling={loss-weighted: 0.5, epoch: 0.5}"),
        ("train.schedule=plateau", "train.plateau_patience=0", "train.sampling={prioritised: 1}", "train.loss={changed: 1, rollout: 0.5}"),
        ("train.schedule=schedule-free", "train.augment_shift=2", "train.sampling={recent: 0.5, uniform: 0.5}"),
    ],
)
def test_killed_and_resumed_it_ends_in_the_same_weights(do: Do, tmp_path: Path, settings: tuple[str, ...]) -> None:
    words = ["walk", "--total-samples", "2000", *SMALL, *(word for one in settings for word in ("--set", one))]
    assert do(*words, "--name", "whole").exit_code == 0
    process = start(tmp_path, *words, "--name", "parts", "--checkpoint-every", "0.05")
    wait_for_checkpoint(tmp_path, "parts", process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert newest(tmp_path, "parts").values["samples"] < 2000
    assert do("--resume", "parts").exit_code == 0
    whole, parts = newest(tmp_path, "whole"), newest(tmp_path, "parts")
    assert whole.values == parts.values
    assert set(whole.tensors) == set(parts.tensors)
    assert all((tensor == parts.tensors[name]).all() for name, tensor in whole.tensors.items())


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_well(do: Do, tmp_path: Path) -> None:
    process = start(tmp_path, "walk", "--seconds", "600", *SMALL, "--name", "one", "--checkpoint-every", "0.05")
    wait_for_checkpoint(tmp_path, "one", process)
    pruned = CliRunner().invoke(cli, ["checkpoints", "prune", "one", "--yes"])
    for refused in (pruned, do("--resume", "one", "--samples", "4")):
        assert refused.exit_code == 2 and f"'one' is still running (process {process.pid})" in refused.output
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert CliRunner().invoke(cli, ["checkpoints", "prune", "one", "--yes"]).exit_code == 0
    assert json.loads((tmp_path / "runs/one/summary.json").read_text())["outcome"] == "stopped"
