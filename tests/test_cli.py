"""The command line: quick to answer, one line when something is wrong, not fooled by a ROS 2 shell."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def toddle(*args: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "toddle", *args], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **(env or {})}, cwd=cwd,
    )  # fmt: skip


def cpu_s(*args: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *args], stdout=subprocess.DEVNULL, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_less_than_five_times_a_bare_click() -> None:
    click = min(cpu_s("-c", "import click") for _ in range(5))
    help_ = min(cpu_s("-m", "toddle", "--help") for _ in range(5))
    assert help_ < 5 * click, f"toddle --help {help_:.3f} s, import click {click:.3f} s of CPU"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from toddle.cli import cli; cli(['--help'], standalone_mode=False);"
        "bad = {'numpy', 'zmq', 'msgspec', 'yaml', 'rich', 'psutil', 'torch', 'cv2', 'launch', 'nodes', 'storage'} & set(sys.modules);"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_verb() -> None:
    text = toddle("--help").stdout
    for verb in ("launch", "sessions", "evaluate", "view", "keys", "completion"):
        assert f"\n  {verb} " in text


def test_an_unknown_verb_names_the_nearest() -> None:
    done = toddle("lanch")
    assert done.returncode == 2
    assert "no command 'lanch'; did you mean 'launch'?" in done.stderr


def test_a_foreign_launch_gets_one_line(tmp_path: Path) -> None:
    ros = tmp_path / "opt" / "ros" / "launch"
    ros.mkdir(parents=True)
    (ros / "__init__.py").write_text("raise SystemExit('the wrong launch was imported')\n")
    done = toddle("launch", "online.yaml", env={"PYTHONPATH": str(ros.parent)}, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"toddle: another package named 'launch' is in the way ({ros}")
    assert "unset PYTHONPATH" in done.stderr
    assert done.stderr.count("\n") == 1
    assert toddle("--help", env={"PYTHONPATH": str(ros.parent)}).returncode == 0


def test_errors_of_a_launch_file_are_one_line_and_exit_2(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("nodes:\n  robot: {kind: robot,\n    params: {rate: 5}}\n")
    done = toddle("launch", str(file), "--runs", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert done.stderr == f"{file}:3: unknown key 'rate' in robot params; did you mean 'rate_hz'?\n"
    assert not (tmp_path / "runs").exists()


def test_a_missing_launch_file(tmp_path: Path) -> None:
    done = toddle("launch", "gone.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "gone.yaml: no such launch file\n")


def test_dry_run_of_the_demo() -> None:
    done = toddle("launch", "launch/online.yaml", "--dry-run", "--set", "size=64", "--name", "demo", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "stop order  robot -> trainer + predictor + viewer -> recorder" in done.stdout
    assert "at this run's rate" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = toddle("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_TODDLE_COMPLETE" in done.stdout


@pytest.mark.parametrize(("words", "offered"), [("toddle la", "launch"), ("toddle launch launch/online.yaml --set driv", "driver=")])
def test_completion_offers(words: str, offered: str) -> None:
    env = {"_TODDLE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = toddle(env=env, cwd=ROOT)
    assert f"plain,{offered}" in done.stdout, (done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["launch.schema.json", "summary.schema.json"])
def test_schemas_are_current(name: str, tmp_path: Path) -> None:
    done = toddle("launch", "--write-schemas", str(tmp_path), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs" / name).read_text() == (tmp_path / name).read_text(), "run: toddle launch --write-schemas docs"
    json.loads((ROOT / "docs" / name).read_text())
