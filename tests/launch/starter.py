"""Runs a launch file with stand-ins for nodes: `python starter.py FILE RUNS NAME [STOP_S TERM_S SILENT_S]`."""

import os
import sys
from pathlib import Path

from launch import run
from launch.errors import LaunchError
from launch.screen import Terminal
from launch.stopping import Limits

STANDIN = str(Path(__file__).with_name("standin.py"))


def hooks(stop_s: float = 10.0, term_s: float = 5.0, silent_s: float = 5.0) -> run.Hooks:
    """The launcher's hooks with every node replaced by a stand-in."""
    limits = Limits(stop_s=stop_s, term_s=term_s, silent_s=silent_s)
    return run.Hooks(argv=lambda name, wiring: [sys.executable, STANDIN, str(wiring)], limits=limits)


def take_terminal(path: str) -> None:
    """Make a terminal this process's own, as a shell does."""
    os.setsid()
    fd = os.open(path, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(fd, standard)


def main() -> int:
    if path := os.environ.get("STARTER_TTY"):
        take_terminal(path)
    file, runs, name, *times = sys.argv[1:]
    options = run.Options(file=Path(file), runs=runs, name=name, command=sys.argv)
    try:
        return run.run(options, hooks(*map(float, times)), Terminal())
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
