"""Which run is meant: the one that runs, without a flag; another by its name, folder or graph.json.

Nothing in a run's folder is written.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from launch.graph import Table
    from protocol.keys import KeyPair
    from protocol.topics import Topic
    from protocol.wiring import Peer

START = "start one with `toddle launch launch/run.yaml`"


class BadInput(click.ClickException):
    """What was typed, or what it names, cannot be used: one line, exit code 2."""

    exit_code = 2


@dataclass(frozen=True)
class Attached:
    """A run and who is where in it; `folder` is None for one that is known by its graph.json alone."""

    table: Table
    folder: Path | None

    def alive(self) -> bool:
        """Whether it runs, as far as can be known here."""
        from launch.rundir import still_running

        return self.folder is None or still_running(self.folder) is not None

    @property
    def own(self) -> KeyPair | None:
        """Whom we are to this graph: the key that TODDLE_KEY names, or the graph's own where this machine has it."""
        from protocol.errors import ProtocolError
        from protocol.keys import own_for

        try:
            return own_for(self.table.nodes, os.environ.get("TODDLE_KEY", ""))
        except ProtocolError as error:
            raise BadInput(
                str(error).replace("give --key with", "set TODDLE_KEY to").replace("give --key NAME", "set TODDLE_KEY=NAME")
            ) from None

    @property
    def topics(self) -> dict[str, tuple[Topic, Peer]]:
        """Every topic of the graph by its full name, with its row and its publisher."""
        from protocol.topics import published_by

        return {f"{row.kind}/{node.name}": (row, node) for node in self.table.nodes for row in published_by(node.kind)}


def attach(run: str | None, runs: str | None) -> Attached:
    """The running graph: the only one, the newest of several, or the one that `run` names."""
    from toddle.launch import check_launch

    check_launch()
    from launch.rundir import root, still_running

    if run:
        found = named(run, runs)
        if not found.alive():
            raise BadInput(f"run '{found.table.run}' has ended; `toddle logs --run {run}` shows what it said, or {START}")
        return found
    folder = root(runs)
    running = [path for path in _newest_first(folder) if still_running(path) is not None]
    if not running:
        raise BadInput(f"no graph is running in {folder}: {START}, or name another folder of runs with --runs")
    if len(running) > 1:
        names = ", ".join(path.name for path in running[1:])
        click.echo(f"several graphs are running: taking the newest, {running[0].name}; --run names another: {names}", err=True)
    return Attached(read_table(running[0] / "graph.json"), running[0])


def named(run: str, runs: str | None) -> Attached:
    """The run that `run` names, whether it still runs or not."""
    from launch.errors import nearest
    from launch.rundir import MARKER, root

    folder = root(runs)
    for path in (folder / run, Path(run)):
        if os.path.isfile(path / "graph.json"):
            return Attached(read_table(path / "graph.json"), path)
    if run.endswith(".json"):
        at_home = os.path.isfile(Path(run).parent / MARKER)
        return Attached(read_table(Path(run)), Path(run).parent if at_home else None)
    raise BadInput(f"no run '{run}' in {folder}{nearest(run, [path.name for path in _newest_first(folder)])}")


def newest(runs: str | None) -> Attached:
    """The newest run, those that still run first."""
    from toddle.launch import check_launch

    check_launch()
    from launch.rundir import root, still_running

    folders = _newest_first(root(runs))
    if not folders:
        raise BadInput(f"no runs in {root(runs)}: {START}, or name another folder of runs with --runs")
    folder = next((path for path in folders if still_running(path) is not None), folders[0])
    return Attached(read_table(folder / "graph.json"), folder)


def read_table(path: Path) -> Table:
    """The table in a graph.json; BadInput when it is none."""
    import msgspec

    from launch.check import NAME
    from launch.graph import Table
    from protocol.errors import one_line
    from protocol.topics import NODE_KINDS

    try:
        table = msgspec.json.decode(path.read_bytes(), type=Table)
        names = [node.name for node in table.nodes]
        for node in table.nodes:
            if not NAME.match(node.name) or names.count(node.name) > 1 or node.kind not in NODE_KINDS:
                raise ValueError(f"node {node.name[:40]!r} of kind {node.kind[:40]!r}")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; `toddle launch` writes it into the run's folder") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no graph of a run: {one_line(str(error))}; `toddle launch` writes it into the run's folder") from None
    return table


def _newest_first(folder: Path) -> list[Path]:
    """Folders of runs that have a table."""
    found = []
    for path in folder.glob("*/graph.json"):
        with suppress(OSError):  # deleted at this moment
            found.append((path.stat().st_mtime, path.parent))
    return [path for _, path in sorted(found, reverse=True)]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of runs, for the shell."""
    from toddle.launch import foreign_launch

    if foreign_launch():
        return []
    from launch.rundir import root

    folder = root(ctx.params.get("runs"))
    names = [path.parent.name for path in folder.glob("*/run.json")] if folder.is_dir() else []
    return sorted(name for name in names if name.startswith(incomplete))


def complete_topic(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Topics of the graph that runs, for the shell."""
    from toddle.launch import foreign_launch

    if foreign_launch():
        return []
    from launch.rundir import root, still_running

    try:
        given = ctx.params.get("run")
        folders = [] if given else [path for path in _newest_first(root(ctx.params.get("runs"))) if still_running(path) is not None]
        if not given and not folders:
            return []
        found = named(given or str(folders[0]), ctx.params.get("runs"))
    except (BadInput, OSError):
        return []
    return sorted(topic for topic in found.topics if topic.startswith(incomplete))


# eager, so that completion knows them when what follows is completed
runs_option = click.option(
    "--runs", type=click.Path(file_okay=False), is_eager=True, help="Where runs live; default: $TODDLE_RUNS or runs."
)
run_option = click.option(
    "--run", metavar="RUN|GRAPH.JSON", is_eager=True, shell_complete=complete_run,
    help="Which run: its name, folder, or graph.json; default: the one that runs.",
)  # fmt: skip
