"""The processes of a graph: started, watched, started again by their rules, ended."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from launch.board import Board
from launch.child import Child, environment
from launch.errors import LaunchError
from launch.graph import Graph
from launch.restarts import Restarts
from launch.schema import Restart
from launch.written import Written

Argv = Callable[[str, Path], Sequence[str]]
"""From a node's name and its wiring file to the command that runs it."""


class Exit(NamedTuple):
    """A process that ended; `again_s` says when it starts again, None: never.

    `why` is not empty when the launcher ended it because it was beyond hope; `used_up` is the rule that
    would have started it again, had it not done so too often.
    """

    name: str
    code: int
    again_s: float | None
    pid: int = 0
    why: str = ""
    used_up: Restart | None = None


class Fleet:
    """One process per node, or none while it waits, rests before a restart, or is gone."""

    def __init__(self, graph: Graph, board: Board, run_dir: Path, argv: Argv | None = None) -> None:
        self.graph, self.board, self.run_dir = graph, board, run_dir
        self._argv = argv or self._module
        self._children: dict[str, Child] = {}
        self._restarts = {name: Restarts(node.restarts) for name, node in graph.nodes.items()}
        self.started_s: dict[str, float] = {}
        self.written: dict[str, Written] = {}
        self.ended: dict[str, str] = {}

    def start(self, name: str, now_s: float) -> None:
        """Start a node's process."""
        node = self.graph.nodes[name]
        argv = self._argv(name, self.run_dir / "wiring" / f"{name}.json")
        self.board.nodes[name].new_process()
        self.started_s[name], self.written[name] = now_s, Written(self.run_dir, name)
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
            exits.append(self._exit(name, child.pid, code, now_s, restart))
        return exits

    def _exit(self, name: str, pid: int, code: int, now_s: float, restart: bool) -> Exit:
        view, rule, why = self.board.nodes[name], self._restarts[name], self.ended.pop(name, "")
        ran_s = now_s - view.live_s if view.live_s is not None else 0.0
        again_s = rule.due(code, now_s, ran_s, bool(why)) if restart else None
        used_up = rule.rule if restart and again_s is None and rule.used_up(code, bool(why)) else None
        view.exit_codes.append(code)
        view.restarts, view.trouble = rule.count, ""
        return Exit(name, code, again_s, pid, why, used_up)

    @property
    def alive(self) -> list[str]:
        return list(self._children)

    def terminate(self, name: str) -> None:
        if name in self._children:
            self._children[name].terminate()

    def end(self, name: str, why: str) -> None:
        """Ask a process that is beyond hope to end; it writes first where all its threads are."""
        self.ended[name] = why
        if name in self._children:
            self._children[name].show_stacks()
            self._children[name].terminate()

    def kill(self, name: str) -> None:
        if name in self._children:
            self._children[name].kill()

    def kill_all(self) -> None:
        """Everything, now."""
        for child in list(self._children.values()):
            child.kill()

    def measure(self) -> None:
        """CPU and memory of every process tree, onto the board; and a bound for what it writes."""
        for view in self.board.nodes.values():
            child = self._children.get(view.name)
            view.cpu, view.memory_mb = child.usage() if child else (0.0, 0.0)
            if child:
                with suppress(OSError):  # a full disk shows elsewhere
                    self.written[view.name].bound()

    def _module(self, name: str, wiring: Path) -> list[str]:
        node = self.graph.nodes[name]
        return [node.python or sys.executable, "-P", "-m", f"nodes.{node.kind}", str(wiring)]
