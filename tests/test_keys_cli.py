"""`toddle keys` and `--key` on the command line: one line for every error, and never a secret."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import KeysError
from toddle.view import _wiring

Toddle = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def toddle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toddle:
    monkeypatch.setenv("TODDLE_KEYS", str(tmp_path / "keys"))

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "toddle", *args], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )

    return run


def test_two_machines(toddle: Toddle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `new` prints on one machine is what is run on the other."""
    said = toddle("keys", "new", "laptop")
    assert said.returncode == 0, said.stderr
    secret = (tmp_path / "keys" / "laptop.key").read_text().strip()
    line = said.stdout.splitlines()[-1]
    assert line.startswith("toddle keys allow laptop '")
    monkeypatch.setenv("TODDLE_KEYS", str(tmp_path / "robot-pc"))
    key = line.split()[-1].strip("'")
    assert toddle(*line.replace("'", "").split()[1:]).returncode == 0
    assert toddle("keys", "new").returncode == 0
    listed = toddle("keys", "list")
    found = json.loads(toddle("keys", "list", "--json").stdout)
    assert [one["key"] for one in found["allowed"]] == [key]
    assert len(found["identities"]) == 1 and len(found["identities"][0]["key"]) == 40
    assert f"laptop  {key}" in listed.stdout
    revoked = toddle("keys", "revoke", "laptop")
    assert "'laptop' is revoked" in revoked.stdout
    found = json.loads(toddle("keys", "list", "--json").stdout)
    assert [one["name"] for one in found["revoked"]] == ["laptop"] and not found["allowed"]
    secrets = [secret, *(path.read_text().strip() for path in (tmp_path / "robot-pc").glob("*.key"))]
    for text in (said.stdout, listed.stdout, revoked.stdout, json.dumps(found)):
        assert not any(one in text for one in secrets)


def test_errors_are_one_line_and_exit_2(toddle: Toddle, tmp_path: Path) -> None:
    assert toddle("keys", "new", "pc").returncode == 0
    for args, said in (
        (("new", "pc"), "is there already"), (("new", "../x"), "cannot name a key"), (("allow", "x", "y"), "neither a public key"),
        (("allow", "x", str(tmp_path / "keys" / "pc.key")), "is a SECRET key"), (("revoke", "x"), "'x' is not allowed"),
    ):  # fmt: skip
        done = toddle("keys", *args)
        assert done.returncode == 2 and done.stdout == "", done.stdout
        assert said in done.stderr and done.stderr.count("\n") == 1 and done.stderr.startswith("Error: "), done.stderr


def test_joining_a_guarded_graph_takes_a_key(toddle: Toddle, tmp_path: Path) -> None:
    ends = {"latest": "tcp://192.0.2.1:1", "reliable": "tcp://192.0.2.1:2", "control": "tcp://192.0.2.1:3"}
    graph = {"run": "far", "nodes": [{"name": "robot", "kind": "robot", "endpoints": ends, "key": "0" * 40}]}
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    (tmp_path / "plain.json").write_text(json.dumps({**graph, "nodes": [{**graph["nodes"][0], "key": ""}]}))  # type: ignore[dict-item]
    assert "run `toddle keys new` and give --key NAME" in toddle("view", "graph.json").stderr
    assert toddle("keys", "new", "laptop").returncode == 0
    for key, said in (("", "give --key with one of laptop"), ("lapto", "did you mean 'laptop'")):
        with pytest.raises(KeysError, match=said):
            _wiring(tmp_path / "graph.json", "", tmp_path, key)
    done = toddle("view", "plain.json")
    assert done.returncode != 0 and "is on another machine and has no key" in done.stderr and done.stderr.count("\n") == 1, done.stderr
