"""For Prometheus: `runs/_prometheus/`, ready to be used, and what the launcher itself shows.

    prometheus.yml  alerts.yml  dashboard.json     the same for all runs, written anew by each
    targets/<run>.json                             where the nodes of a run that goes on can be scraped

Every file is whole at any moment, and launchers that write at the same time leave each other's runs alone. A
run does not depend on any of this: trouble with it is a warning.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from launch.board import Board, NodeView
from launch.check import LAUNCHER
from launch.rundir import still_running
from protocol.exposition import Metric, Page, Sample
from protocol.files import write_whole
from protocol.metrics_server import MetricsServer

FOLDER = "_prometheus"
"""Beside the runs: the name of a run never begins like this."""
STATIC = ("prometheus.yml", "alerts.yml", "dashboard.json")
NODE_UP = Metric("toddle_node_up", "1 while the node's process runs, 0 when it was not meant to end.", ("node", "kind"))
NODE_RESTARTS = Metric("toddle_node_restarts_total", "Started again by the launcher.", ("node", "kind"))
NODE_HEARTBEAT = Metric("toddle_node_heartbeat_age_seconds", "Since the launcher last heard the node.", ("node", "kind"))
METRICS = (NODE_UP, NODE_RESTARTS, NODE_HEARTBEAT)
_FELL = ("restarting", "failed")
_URL = re.compile(r"http://(127\.0\.0\.1:\d{1,5})/metrics")


class Scraping:
    """The targets of one run. `alive` names the nodes whose processes run; `warn` tells a person."""

    def __init__(self, run_dir: Path, board: Board, alive: Callable[[], list[str]], warn: Callable[[str], None]) -> None:
        self._folder = run_dir.parent / FOLDER
        self._run, self._board, self._alive, self._warn = run_dir.name, board, alive, warn
        self._file = self._folder / "targets" / f"{run_dir.name}.json"
        self._where: dict[str, str] = {}
        self._written: list[Any] | None = None
        self._server: MetricsServer | None = None
        self._broken = False

    def begin(self) -> None:
        """Everything that is known before the first node speaks."""
        with self._trouble():
            answers: Counter[str] = Counter()
            self._server = MetricsServer(Page(self._read).render, answers)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            for name in STATIC:
                write_whole(self._folder / name, Path(__file__).with_name("watching").joinpath(name).read_bytes())
            self._sweep()
        self.look()

    def look(self) -> None:
        """Write down who can be scraped where, if that has changed. Often: it is cheap."""
        if self._broken:
            return
        for view in self._board.nodes.values():
            self._place(view)
        targets = [self._target(LAUNCHER, LAUNCHER, self._server.url)] if self._server else []
        targets += [self._target(name, self._board.nodes[name].kind, url) for name, url in self._where.items()]
        with self._trouble():
            if targets != self._written or not self._file.exists():
                write_whole(self._file, (json.dumps(targets, indent=2) + "\n").encode())
                self._written = targets

    def end(self) -> None:
        """Nothing is left to scrape."""
        with suppress(OSError):
            self._file.unlink()
        if self._server is not None:
            self._server.close()

    def _place(self, view: NodeView) -> None:
        """A node that has died keeps its place: it is missed there."""
        if view.status is None:
            return
        if view.final:
            self._where.pop(view.name, None)
        elif _URL.fullmatch(view.status.metrics_url):
            self._where[view.name] = view.status.metrics_url

    def _target(self, name: str, kind: str, url: str) -> dict[str, Any]:
        """`instance` stays when a restarted node has another port: its series go on."""
        found = _URL.fullmatch(url)
        assert found is not None
        labels = {"run": self._run, "node": name, "kind": kind, "instance": f"{self._run}/{name}"}
        return {"targets": [found[1]], "labels": labels}

    def _sweep(self) -> None:
        """Launchers that were killed have left their targets behind."""
        for file in self._file.parent.glob("*.json"):
            if file != self._file and still_running(self._folder.parent / file.stem) is None:
                file.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[Metric, list[Sample]]]:
        """The launcher's own page."""
        now_s = time.monotonic()
        views, alive = list(self._board.nodes.values()), self._alive()
        known = [view for view in views if view.name in alive or view.state in _FELL]
        yield NODE_UP, [((view.name, view.kind), float(view.name in alive)) for view in known]
        yield NODE_RESTARTS, [((view.name, view.kind), view.restarts) for view in views]
        heard = [(view, view.seen_s) for view in views if view.name in alive]
        yield NODE_HEARTBEAT, [((view.name, view.kind), now_s - seen_s) for view, seen_s in heard if seen_s is not None]

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Inside, an OSError is a warning, and the end of the trying."""
        try:
            yield
        except OSError as error:
            self._broken = True
            self._warn(f"Prometheus will not find this run: {error.filename or self._folder}: {error.strerror}")
