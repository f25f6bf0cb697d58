"""`toddle doctor` as a person or a program uses it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from toddle.doctor import clock, command, devices, disk, display, machine, own, python, simulation, sockets, torch
from toddle.doctor.examine import Topic, check_name
from toddle.doctor.finding import VERDICTS, Finding

ROOT = Path(__file__).resolve().parents[2]
TOPICS = {
    "toddle": own, "python": python, "torch": torch, "display": display, "simulation": simulation, "machine": machine,
    "disk": disk, "sockets": sockets, "clock": clock, "devices": devices,
}  # fmt: skip


def test_a_ros_shell_with_a_dead_display(tmp_path):
    """The whole command, where two things are wrong: it says so, and looks at everything else all the same."""
    ros = tmp_path / "opt" / "ros" / "launch"
    ros.mkdir(parents=True)
    (ros / "__init__.py").write_text("raise SystemExit('the wrong launch was imported')\n")
    env = {**os.environ, "PYTHONPATH": str(ros.parent), "DISPLAY": ":31999", "TODDLE_RUNS": "", "TODDLE_SESSIONS": ""}
    env.pop("WAYLAND_DISPLAY", None)
    argv = [sys.executable, "-P", "-m", "toddle", "doctor", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    assert list(said) == ["version", "toddle", "verdict", "counts", "seconds", "topics"]
    assert said["version"] == 1 and said["verdict"] == "problem"
    assert list(said["counts"]) == list(VERDICTS)
    assert {topic: [one["name"] for one in found] for topic, found in said["topics"].items()} == {
        topic: [check_name(check) for check in module.CHECKS] for topic, module in TOPICS.items()
    }
    assert all(list(one) == ["name", "verdict", "found", "fix"] for found in said["topics"].values() for one in found)
    by_name = {one["name"]: one for found in said["topics"].values() for one in found}
    assert "another package named 'launch'" in by_name["launch package"]["found"] and str(ros) in by_name["launch package"]["found"]
    assert "nothing answers at DISPLAY :31999" in by_name["window"]["found"]
    assert (by_name["pytorch"]["verdict"], by_name["sync speed"]["found"][:6]) == ("ok", "median")
    assert by_name["sessions folder"]["found"] == str(tmp_path.resolve() / "sessions")
    assert [path.name for path in tmp_path.iterdir()] == ["opt"], "looking leaves nothing"


def finding(verdict: str):
    def a_check(facts: object) -> Finding:
        return Finding("a check", verdict, f"it is a {verdict} [bold]", "mend it")

    return a_check


@pytest.fixture
def doctor(monkeypatch):
    """The command on checks with these verdicts."""

    def call(*verdicts: str, args: tuple[str, ...] = ()) -> Result:
        monkeypatch.setattr(command, "topics", lambda foreign: [Topic("a topic", lambda: 1, [finding(verdict) for verdict in verdicts])])
        result = CliRunner().invoke(command.doctor, args)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


def test_for_people(doctor):
    result = doctor("ok", "note", "problem", "warning")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "a topic"
    assert [line.split()[2] for line in lines[1:] if line.startswith("  a check")] == ["ok", "note", "problem", "warning"]
    assert lines[-3:-1] == ["a check: it is a problem [bold]", "  mend it"], "problems again, at the end"
    assert re.fullmatch(r"1 ok, 1 note, 1 warning, 1 problem; \d\.\d s", lines[-1])
    assert result.stdout.count("mend it") == 4, "what is ok needs no fix, and a problem's is said twice"


def test_warnings_fail_only_when_asked_to(doctor):
    assert doctor("ok", "warning").exit_code == 0
    assert doctor("ok", "warning", args=("--strict",)).exit_code == 1
    assert doctor("ok", "note", args=("--strict",)).exit_code == 0
    assert json.loads(doctor("warning", args=("--json", "--strict")).stdout)["verdict"] == "warning"


def test_a_package_of_ours_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "toddle.doctor.examine", None)
    result = CliRunner().invoke(command.doctor)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("toddle doctor: import of toddle.doctor.examine halted") and result.stderr.count("\n") == 1


def test_the_page_has_every_check():
    page = (ROOT / "docs" / "doctor.md").read_text()
    for topic, module in TOPICS.items():
        assert f"**{topic}**" in page
        for check in module.CHECKS:
            assert check_name(check) in page, f"docs/doctor.md does not explain {check_name(check)!r}"
