"""The processes of a graph: started, watched, started again by their rules, ended."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from launch.board import Board
from launch.child import Child, environment
from launch.errors import LaunchError
from launch.graph import Graph
from launch.restarts import Restarts
from launch.rundir import last_words

Argv = Callable[[str, Path], Sequence[str]]
"""From a node's name and its wiring file to the command that runs it."""


class Exit(NamedTuple):
    """A process that ended; `again_s` says when it starts again, None: never."""

    name: str
    code: int
    again_s: float | None


class Fleet:
    """One process per node, or none while it waits, rests before a restart, or is gone."""

    def __init__(self, graph: Graph, board: Board, run_dir: Path, argv: Argv | None = None) -> None:
        self.graph, self.board, self.run_dir = graph, board, run_dir
        self._argv = argv or self._module
        self._children: dict[str, Child] = {}
        self._restarts = {name: Restarts(node.restarts) for name, node in graph.nodes.items()}
        self.started_s: dict[str, float] = {}
        self.started_wall_s: dict[str, float] = {}

    def start(self, name: str, now_s: float) -> None:
        """Start a node's process."""
        node = self.graph.nodes[name]
        argv = self._argv(name, self.run_dir / "wiring" / f"{name}.json")
        self.board.nodes[name].new_process()
        self.started_s[name], self.started_wall_s[name] = now_s, time.time()
        try:
            env = environment(node.kind, node.env, os.environ)
            self._children[name] = Child(argv, env, self.run_dir / "logs" / f"{name}.stderr")
        except OSError as error:
            raise LaunchError(self.graph.file, 0, f"cannot start {name} ({argv[0]}): {error.strerror}") from None

    def reap(self, now_s: float, restart: bool) -> list[Exit]:
        """Processes that ended since the last call, and what their rules say."""
        exits = []
        for name, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            del self._children[name]
            self.board.nodes[name].exit_codes.append(code)
            again_s = self._restarts[name].due(code, now_s) if restart else None
            self.board.nodes[name].restarts = self._restarts[name].count
            exits.append(Exit(name, code, again_s))
        return exits

    def last_words(self, name: str) -> str:
        """What the newest process of a node said last about an error."""
        return last_words(self.run_dir, name, self.started_wall_s.get(name, 0.0) - 0.01)

    @property
    def alive(self) -> list[str]:
        return list(self._children)

    def terminate(self, name: str) -> None:
        if name in self._children:
            self._children[name].terminate()

    def kill(self, name: str) -> None:
        if name in self._children:
            self._children[name].kill()

    def kill_all(self) -> None:
        """Everything, now."""
        for child in list(self._children.values()):
            child.kill()

    def measure(self) -> None:
        """CPU and memory of every process tree, onto the board."""
        for view in self.board.nodes.values():
            child = self._children.get(view.name)
            view.cpu, view.memory_mb = child.usage() if child else (0.0, 0.0)

    def _module(self, name: str, wiring: Path) -> list[str]:
        node = self.graph.nodes[name]
        return [node.python or sys.executable, "-P", "-m", f"nodes.{node.kind}", str(wiring)]
