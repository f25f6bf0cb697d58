"""Which run is meant, and what is said when it cannot be."""

import json
import os
import re
from pathlib import Path

import pytest

LISTENING = (("topic", "list"), ("topic", "echo", "frame"), ("topic", "hz", "frame"), ("topic", "bw", "frame"),
             ("topic", "latency", "frame"), ("top",), ("graph",))  # fmt: skip
TOP = ("top", "--json")
FILE = str(Path(__file__).resolve().parents[2] / "launch" / "run.yaml")


def one_line(result, *words: str) -> None:
    assert result.exit_code == 2 and result.stdout == "", result.output
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("Error: "), result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize("command", LISTENING)
def test_nothing_runs(toddle, tmp_path, command) -> None:
    one_line(toddle(tmp_path / "runs", *command), "no graph is running in", "toddle launch launch/run.yaml")


def test_no_run_has_logs(toddle, tmp_path) -> None:
    one_line(toddle(tmp_path, "logs"), "no runs in", "toddle launch")


def test_an_ended_run_is_not_listened_to(toddle, made_up, tmp_path) -> None:
    made_up("done")
    one_line(toddle(tmp_path / "runs", *TOP), "no graph is running")
    one_line(toddle(tmp_path / "runs", *TOP, "--run", "done"), "run 'done' has ended", "toddle logs --run done")
    drawn = toddle(tmp_path / "runs", "graph", "done")
    assert drawn.exit_code == 0 and "run done, which has ended" in drawn.stdout and "==> recorder" in drawn.stdout


def test_a_wrong_name_gets_the_nearest(toddle, made_up, tmp_path) -> None:
    made_up("demo")
    one_line(toddle(tmp_path / "runs", "top", "--run", "dmeo"), "no run 'dmeo'", "did you mean 'demo'?")
    one_line(toddle(tmp_path / "runs", "graph", "dmeo"), "did you mean 'demo'?")
    one_line(toddle(tmp_path / "runs", "logs", "--run", "dmeo"), "did you mean 'demo'?")
    one_line(toddle(tmp_path / "runs", "top", "--run", "x" * 5000), "no run 'xxx")
    one_line(toddle(tmp_path / "runs", "top", "--run", "x" * 5000 + ".json"), "cannot be read: File name too long")


def test_the_newest_of_several_is_taken_and_named(toddle, made_up, tmp_path, somebody, monkeypatch) -> None:
    monkeypatch.setattr("toddle.top.ONCE_S", 0.0)
    for index, name in enumerate(("old", "new", "older")):
        time = os.stat(made_up(name, pid=somebody) / "graph.json").st_mtime + (100, 200, 50)[index]
        os.utime(tmp_path / "runs" / name / "graph.json", (time, time))
    made_up("ended")
    result = toddle(tmp_path / "runs", *TOP)
    assert result.exit_code == 0 and json.loads(result.stdout)["run"] == "new"
    assert result.stderr == "several graphs are running: taking the newest, new; --run names another: old, older\n"
    chosen = toddle(tmp_path / "runs", *TOP, "--run", "old")
    assert json.loads(chosen.stdout)["run"] == "old" and chosen.stderr == ""


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"", "no graph of a run"),
        (b"\x00\xff\x80", "no graph of a run"),
        (b"[" * 100_000, "no graph of a run"),
        (b"{}", "missing required field `run`"),
        (b'{"run": 7}', "Expected `str`"),
    ],
)
def test_garbage_in_graph_json(toddle, made_up, tmp_path, said, word) -> None:
    (made_up("broken") / "graph.json").write_bytes(said)
    for command in (("top", "--run", "broken"), ("graph", "broken"), ("logs",), ("topic", "list", "--run", "broken")):
        one_line(toddle(tmp_path / "runs", *command), "graph.json", word)
    one_line(toddle(tmp_path / "runs", *TOP), "no graph is running")


@pytest.mark.parametrize("pid", [-1, 0, 2**70])
def test_a_process_number_that_is_none(toddle, made_up, tmp_path, pid) -> None:
    made_up("broken", pid=pid)
    one_line(toddle(tmp_path / "runs", *TOP), "no graph is running")


@pytest.mark.parametrize("name", ["a\x1b[2J", "../x", "robot", "A", ""])
def test_names_and_kinds_of_nodes_are_checked(toddle, made_up, tmp_path, somebody, name) -> None:
    ends = dict.fromkeys(("latest", "reliable", "control"), "ipc:///nowhere")
    nodes = [{"name": name, "kind": "robot", "endpoints": ends}, {"name": "robot", "kind": "robot", "endpoints": ends}]
    made_up("odd", pid=somebody, nodes=nodes)
    one_line(toddle(tmp_path / "runs", *TOP), "is no graph of a run: node ")


def test_endpoints_that_are_none(toddle, made_up, tmp_path, somebody) -> None:
    ends = dict.fromkeys(("latest", "reliable", "control"), "nonsense")
    made_up("odd", pid=somebody, nodes=[{"name": "robot", "kind": "robot", "endpoints": ends}])
    for command in (*LISTENING, TOP):
        one_line(toddle(tmp_path / "runs", *command), "robot cannot be reached at 'nonsense'")


def test_a_table_from_another_machine(toddle, made_up, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("toddle.top.ONCE_S", 0.0)
    table = tmp_path / "graph.json"
    table.write_bytes((made_up("far") / "graph.json").read_bytes())
    result = toddle(tmp_path / "runs", *TOP, "--run", str(table))
    assert result.exit_code == 0 and {node["state"] for node in json.loads(result.stdout)["nodes"]} == {"waiting"}
    one_line(toddle(tmp_path / "runs", "logs", "--run", str(table)), "the logs of run 'far' are not here")
    one_line(toddle(tmp_path / "runs", "top", "--run", "gone.json"), "gone.json cannot be read: No such file")


def test_drawing_a_launch_file(toddle, tmp_path) -> None:
    drawn = toddle(tmp_path, "graph", FILE)
    assert drawn.exit_code == 0 and re.search(r"\[predictor\]\n  ==> robot +command", drawn.stdout)
    assert "viewer" not in toddle(tmp_path, "graph", FILE, "--set", "viewer=false").stdout
    assert toddle(tmp_path, "graph", FILE, "--mermaid").stdout.startswith("flowchart LR\n")
    one_line(toddle(tmp_path, "graph", "gone.yaml"), "gone.yaml: no such launch file")
    one_line(toddle(tmp_path, "graph", FILE, "--set", "vewer=1"), "did you mean 'viewer'?")
    one_line(toddle(tmp_path, "graph", "--set", "viewer=1"), "--set changes an arg of a launch file")
    assert not any(tmp_path.iterdir())
