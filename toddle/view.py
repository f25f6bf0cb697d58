"""`toddle view`: look at a graph that runs, or at a session that was recorded.

toddle view demo                   a running graph, by the name of its run
toddle view graph.json --key me    one on another machine: its graph.json, and a key that it allows
toddle view track --speed 2        a recorded session
toddle view track --mp4            ... as a film
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toddle.keys import complete_identity
from toddle.sessions.common import complete_session

if TYPE_CHECKING:
    from protocol.wiring import Wiring

BAD_INPUT = 2


@click.command()
@click.argument("what", metavar="RUN|SESSION", shell_complete=complete_session)
@click.option("--runs", type=click.Path(file_okay=False), help="Where runs live; default: $TODDLE_RUNS or runs.")
@click.option("--root", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(min=0), help="Of a session; 0: no waiting.")
@click.option("--window/--no-window", default=None, help="Default: a window where there is a display, else PNG files.")
@click.option("--mp4", is_flag=True, help="Write a film beside the PNG files.")
@click.option("--key", default="", metavar="NAME", shell_complete=complete_identity, help="Connect with this key (toddle keys).")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where files go; default: view-NAME.")
def view(
    what: str, runs: str | None, root: str | None, speed: float, window: bool | None, mp4: bool, key: str, out: Path | None
) -> None:  # fmt: skip
    """Show a running graph (by run name, or its graph.json) or a recorded session."""
    from toddle.launch import check_launch

    check_launch()
    from launch.rundir import root as runs_root
    from launch.rundir import still_running
    from nodes.viewer.config import ViewerConfig
    from nodes.viewer.sinks import SinkError
    from protocol.errors import ProtocolError
    from storage.errors import StorageError

    folder = out or Path(f"view-{Path(what).stem}")
    config = ViewerConfig(window=window, mp4=mp4, title=f"toddle {what}")
    run = runs_root(runs) / what
    try:
        if what.endswith(".json") or still_running(run) is not None:
            sys.exit(_attach(Path(what) if what.endswith(".json") else run / "graph.json", config, folder, key))
        _play(what, root, speed, config, folder)
    except (StorageError, ProtocolError, SinkError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)


def _play(what: str, root: str | None, speed: float, config: Any, folder: Path) -> None:
    from nodes.viewer.playback import play
    from storage.paths import find_session, sessions_root
    from storage.views import open_session

    with open_session(find_session(sessions_root(root), what)) as reader:
        shown, sinks = play(reader, config, folder, speed)
    click.echo(f"{shown} messages shown; the last picture is {sinks.png.latest}")
    for note in sinks.notes:
        click.echo(note)


def _attach(graph: Path, config: Any, folder: Path, key: str) -> int:
    import logging

    from nodes.runtime import run_node
    from nodes.viewer.node import ViewerNode

    here = logging.StreamHandler()  # that nobody lets us in must not be found out from a log
    here.setLevel(logging.WARNING)
    logging.getLogger().addHandler(here)
    with tempfile.TemporaryDirectory(prefix="toddle-view-") as place:
        wiring = _wiring(graph, place, folder, key)
        click.echo(f"looking at run {wiring.run}; its pictures go to {folder / 'viewer'}; Ctrl-C ends the view, not the run")
        return run_node(ViewerNode, wiring, config, attached=True)


def _wiring(graph: Path, place: str, folder: Path, key: str) -> "Wiring":
    """A viewer's wiring beside the graph's own; ProtocolError when the file is no graph."""
    import msgspec

    from protocol import keys
    from protocol.errors import ProtocolError, one_line
    from protocol.topics import taken
    from protocol.wiring import Endpoints, Peer, Wiring

    try:
        table = msgspec.json.decode(graph.read_bytes())
        nodes = [msgspec.convert(node, Peer) for node in table["nodes"]]
        run = str(table["run"])
    except (OSError, msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(
            f"{graph} is no graph of a run: {one_line(str(error))}; `toddle launch` writes it into the run's folder"
        ) from None
    ends = Endpoints(*(f"ipc://{place}/{lane}" for lane in ("latest", "reliable", "control")))
    inputs = [node for node in nodes if taken(node.kind, "viewer")]
    own = keys.own_for(nodes, key)
    return Wiring(
        run=run, run_dir=str(folder), name=f"view-{os.getpid()}", kind="viewer", endpoints=ends, inputs=inputs, peers=nodes,
        identity=own.name if own else "", keys_dir=str(own.folder) if own else "",
    )  # fmt: skip
