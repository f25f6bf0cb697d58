"""The folder for Prometheus: what is in it while runs begin, go on and end; and that its rules are right."""

import json
import os
import re
import stat
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml

from launch.board import Board
from launch.graph import Graph, Table
from launch.schema import NodeSpec
from launch.scraping import FOLDER, STATIC, Scraping
from protocol.messages import Status
from protocol.wiring import Endpoints, Peer

WATCHING = Path(__file__).resolve().parents[2] / "launch" / "watching"


class Launched:
    """A run as its launcher sees it, without processes."""

    def __init__(self, runs: Path, name: str = "demo") -> None:
        specs = {"robot": NodeSpec(kind="robot"), "viewer": NodeSpec(kind="viewer", required=False)}
        graph = Graph(file="", nodes=specs, configs={}, args={}, off=[], seed=0, time_limit_s=0, description="")
        (runs / name).mkdir(parents=True, exist_ok=True)
        self.file = runs / FOLDER / "targets" / f"{name}.json"
        self.board = Board(graph)
        self.alive: list[str] = []
        self.warnings: list[str] = []
        self.scraping = Scraping(runs / name, self.board, lambda: self.alive, self.warnings.append)

    def says(self, node: str, url: str, final: bool = False) -> None:
        self.board.nodes[node].status = Status(state="running", kind=node, metrics_url=url, final=final)
        self.scraping.look()

    def targets(self) -> dict[str, str]:
        groups = json.loads(self.file.read_bytes())
        assert all(set(group["labels"]) == {"run", "node", "kind", "instance"} for group in groups)
        return {group["labels"]["instance"]: group["targets"][0] for group in groups}

    def page(self) -> str:
        with urllib.request.urlopen(f"http://{self.targets()['demo/launcher']}/metrics", timeout=30) as answer:
            return str(answer.read().decode())


def test_targets_follow_the_nodes(tmp_path: Path) -> None:
    run = Launched(tmp_path)
    run.scraping.begin()
    own = run.targets()
    assert list(own) == ["demo/launcher"]
    run.says("robot", "http://127.0.0.1:4001/metrics")
    run.says("viewer", "http://127.0.0.1:4002/metrics")
    assert run.targets() == {**own, "demo/robot": "127.0.0.1:4001", "demo/viewer": "127.0.0.1:4002"}
    run.board.nodes["robot"].new_process()
    run.scraping.look()
    assert run.targets()["demo/robot"] == "127.0.0.1:4001", "who has died is missed where it was"
    run.says("robot", "http://127.0.0.1:4003/metrics")
    assert run.targets()["demo/robot"] == "127.0.0.1:4003"
    run.says("viewer", "http://127.0.0.1:4002/metrics", final=True)
    assert set(run.targets()) == {"demo/launcher", "demo/robot"}
    run.file.unlink()
    run.scraping.look()
    assert run.file.exists(), "written again, whoever took it away"
    run.scraping.end()
    assert not run.file.exists()
    assert {path.name for path in run.file.parent.parent.iterdir()} == {*STATIC, "targets"}
    assert not run.warnings


@pytest.mark.parametrize(
    "url", ["", "http://10.0.0.1:80/metrics", "http://127.0.0.1:80/metrics\n", "file:///etc/passwd", "http://127.0.0.1/x"]
)
def test_only_pages_on_loopback_are_targets(tmp_path: Path, url: str) -> None:
    run = Launched(tmp_path)
    run.scraping.begin()
    run.says("robot", url)
    assert list(run.targets()) == ["demo/launcher"]
    run.scraping.end()


def test_the_launcher_says_who_is_up(tmp_path: Path) -> None:
    run = Launched(tmp_path)
    run.scraping.begin()
    try:
        assert "toddle_node_up{" not in run.page(), "nobody has been started"
        run.alive = ["robot", "viewer"]
        run.board.nodes["robot"].seen_s = 0.0
        wait = threading.Event()
        while 'toddle_node_up{kind="robot",node="robot"} 1.0' not in run.page():
            wait.wait(0.02)
        assert 'toddle_node_heartbeat_age_seconds{kind="robot",node="robot"}' in run.page()
        run.alive = []
        run.board.nodes["robot"].state, run.board.nodes["robot"].restarts = "restarting", 1
        run.board.nodes["viewer"].state = "stopped"
        while 'toddle_node_up{kind="robot",node="robot"} 0.0' not in (text := run.page()):
            wait.wait(0.02)
        assert 'toddle_node_restarts_total{kind="robot",node="robot"} 1.0' in text
        assert 'toddle_node_up{kind="viewer"' not in text, "who has ended well is not down"
    finally:
        run.scraping.end()


def test_what_a_killed_launcher_left_is_taken_away(tmp_path: Path) -> None:
    ends = Endpoints("", "", "")
    killed, going = tmp_path / "killed", tmp_path / "going"
    for path, pid in ((killed, 2**22 + 1), (going, psutil.Process().ppid())):
        path.mkdir()
        table = Table(run=path.name, run_dir=str(path), pid=pid, nodes=[], launcher=Peer("launcher", "launcher", ends))
        (path / "graph.json").write_bytes(msgspec.json.encode(table))
    targets = tmp_path / FOLDER / "targets"
    targets.mkdir(parents=True)
    for name in ("killed", "going", "deleted"):
        (targets / f"{name}.json").write_text("[]")
    run = Launched(tmp_path)
    run.scraping.begin()
    assert {file.stem for file in targets.glob("*.json")} == {"going", "demo"}
    run.scraping.end()


def test_launchers_at_the_same_time_leave_whole_files(tmp_path: Path) -> None:
    runs = [Launched(tmp_path, f"run-{number}") for number in range(4)]
    for run in runs:  # as if all of them went on: files of others are there and are to stay
        (run.file.parent.parent.parent / run.file.stem / "graph.json").write_bytes(
            msgspec.json.encode(
                Table(run="", run_dir="", pid=psutil.Process().ppid(), nodes=[], launcher=Peer("", "", Endpoints("", "", "")))
            )
        )
    torn: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for name in STATIC:
                path = tmp_path / FOLDER / name
                if path.exists() and path.read_text() != (WATCHING / name).read_text():
                    torn.append(name)

    def live(run: Launched) -> None:
        for port in range(4001, 4006):
            run.scraping.begin()
            run.says("robot", f"http://127.0.0.1:{port}/metrics")
            assert run.targets()[f"{run.file.stem}/robot"] == f"127.0.0.1:{port}"
            run.scraping.end()
            run.scraping._written = None

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=live, args=(run,)) for run in runs]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not torn
    assert not [warning for run in runs for warning in run.warnings]


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    run = Launched(tmp_path)
    run.scraping.begin()
    run.says("robot", "http://127.0.0.1:4001/metrics")
    run.scraping.end()
    assert len(run.warnings) == 1
    assert run.warnings[0].startswith("Prometheus will not find this run: ") and FOLDER in run.warnings[0]


def test_nothing_in_the_folder_can_be_run(tmp_path: Path) -> None:
    run = Launched(tmp_path)
    run.scraping.begin()
    for path in (tmp_path / FOLDER).rglob("*"):
        assert path.is_dir() or not path.stat().st_mode & (stat.S_IXUSR | stat.S_IWOTH)
    run.scraping.end()


# -- what is written ------------------------------------------------------------------------------


def test_promtool_accepts_config_and_rules(tmp_path: Path, promtool: str) -> None:
    run = Launched(tmp_path)
    run.scraping.begin()
    for what, name in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
        done = subprocess.run([promtool, "check", what, tmp_path / FOLDER / name], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    run.scraping.end()


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((WATCHING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in alerts()}) == len(alerts()) >= 9
    for rule in alerts():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert all("\n" not in text for text in rule["annotations"].values())
        assert "run {{ $labels.run }}" in rule["annotations"]["summary"]


def test_every_alert_fires_when_it_should(promtool: str) -> None:
    file = Path(__file__).with_name("alerts_test.yml")
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [case for test in yaml.safe_load(file.read_text())["tests"] for case in test["alert_rule_test"]]
    for rule in alerts():
        expected = [bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]]
        assert set(expected) == {True, False}, rule["alert"]


def test_the_dashboard_can_be_imported() -> None:
    """As far as its format tells: which fields Grafana asks for, ids, places, the data source as a variable."""
    dashboard = json.loads((WATCHING / "dashboard.json").read_bytes())
    assert dashboard["id"] is None and dashboard["uid"] and dashboard["title"] == "toddle"
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"] and panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}" and target["legendFormat"]
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= set(variables), target["expr"]
            assert 'run=~"$run"' in target["expr"]
    assert os.path.getsize(WATCHING / "dashboard.json") < 100_000
