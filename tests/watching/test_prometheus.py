"""A real Prometheus beside a real run: every query of the dashboard and the alerts has an answer, and an alert fires."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from protocol.ports import free_ports

from ..live.conftest import PROJECT, SMALL, Bench, bench, wait_for  # noqa: F401 (a fixture)

SCRAPE_INTERVAL = "500ms"
RATE_INTERVAL = "5s"
EMPTY_IN_A_GOOD_RUN = ("ToddleNodeDown", "ToddleNodeHung", "ToddleLauncherDown", "ToddleDataLost", "ToddleRecorderLag", "ToddleDiskLow",
                       "ToddleMessagesRefused", "ToddleWeightsStale")  # fmt: skip
GRAPH = """
nodes:
  recorder:  {kind: recorder,  inputs: [robot, trainer, predictor, viewer]}
  trainer:   {kind: trainer,   inputs: [robot], params: {eval_every_s: 1, min_transitions: 8}}
  predictor: {kind: predictor, inputs: [robot, trainer], restart: never, required: false}
  viewer:    {kind: viewer,    inputs: [robot, trainer, predictor, recorder], required: false, params: {window: false}}
  robot:     {kind: robot,     inputs: [predictor], params: {rate_hz: 20, timing: paced, episode_steps: 16, options: OPTIONS}}
"""


class Prometheus:
    """The server, on the ready files of a folder of runs; only the times are shorter."""

    def __init__(self, command: str, ready: Path, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        folder.mkdir()
        config = yaml.safe_load((ready / "prometheus.yml").read_text())
        times = {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL}
        config["global"] = times
        config["rule_files"] = [str(folder / "alerts.yml")]
        found = config["scrape_configs"][0]["file_sd_configs"][0]
        found["files"] = [str(ready / file) for file in found["files"]]
        (folder / "alerts.yml").write_text(re.sub(r"\bfor: \d+s", "for: 1s", (ready / "alerts.yml").read_text()))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.log = folder / "log"
        argv = [command, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={self.url.removeprefix('http://')}"]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer of the HTTP API; an error is told in its words."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None
        assert said["status"] == "success", said
        return said["data"]

    def up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        data = self.get("query", query=expr)
        assert data["resultType"] == "vector"
        return list(data["result"])

    def firing(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Alerts that fire, by name and node."""
        alerts = self.get("alerts")["alerts"]
        return {(one["labels"]["alertname"], one["labels"]["node"]): one for one in alerts if one["state"] == "firing"}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def dashboard(ready: Path, run: str) -> list[str]:
    """The queries as Grafana would send them."""
    panels = json.loads((ready / "dashboard.json").read_bytes())["panels"]
    exprs = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [expr.replace("$__rate_interval", RATE_INTERVAL).replace("$run", run) for expr in exprs]


@pytest.mark.slow
def test_every_query_has_an_answer_and_a_fault_is_an_alert(bench: Bench, prometheus: str, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "watched.yaml"
    file.write_text(GRAPH.replace("OPTIONS", json.dumps(SMALL)))
    run = bench.launch(os.path.relpath(file, PROJECT / "launch"), "watched")
    ready = run.folder / "runs" / "_prometheus"
    wait_for(lambda: (ready / "targets" / "watched.json").exists() or run.process.poll() is not None, "the targets")
    assert run.process.poll() is None, run.end()
    server = Prometheus(prometheus, ready, tmp_path / "server")
    try:
        wait_for(server.up, "Prometheus to start")
        run.running()
        run.running("trainer")
        queries = dashboard(ready, "watched")
        assert len(queries) > 50
        for expr in queries:
            wait_for(lambda expr=expr: server.query(expr), f"an answer to {expr}")
        everybody = {"launcher", "robot", "recorder", "trainer", "predictor", "viewer"}
        assert {one["metric"]["node"] for one in server.query('up{job="toddle", run="watched"} == 1')} == everybody
        rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} == {"ok"}
        for rule in rules:
            assert not server.query(rule["query"]) or rule["name"] not in EMPTY_IN_A_GOOD_RUN, rule["name"]
            for part in re.findall(r"toddle_\w+(?:{[^}]*})?", rule["query"]):
                known = "refused" in part or 'state="starting"' in part
                assert server.query(part) or known, f"{rule['name']}: there is no {part}"

        predictor = run.node("predictor")
        assert predictor is not None
        predictor.kill()
        assert predictor.wait(30) in (None, -signal.SIGKILL)
        alert = wait_for(lambda: server.firing().get(("ToddleNodeDown", "predictor")), "the alert")
        assert alert["annotations"]["summary"] == "predictor of run watched is down"
        assert alert["labels"]["severity"] == "critical"
        wait_for(lambda: ("ToddleRobotLate", "robot") in server.firing(), "the robot to be late without commands")

        run.interrupt()
        code, output, summary = run.end()
        assert summary["nodes"]["predictor"]["exit_codes"] == [-signal.SIGKILL], output
        assert code == summary["exit_code"]
        assert not (ready / "targets" / "watched.json").exists()
        wait_for(lambda: not server.get("targets")["activeTargets"], "a run that has ended to be forgotten")
    finally:
        server.stop()
