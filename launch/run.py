"""`toddle launch`, without its command line: from options to an exit code."""

import os
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from rich.console import Console

from launch import endpoints, rundir
from launch.board import Board, Line
from launch.check import LAUNCHER, Kinds
from launch.dryrun import Estimate, Room, describe
from launch.errors import LaunchError
from launch.fleet import Argv, Fleet
from launch.graph import Graph, resolve, table, wirings
from launch.identity import at_host, host_keys, identity
from launch.identity import describe as describe_key
from launch.loader import Launch, load
from launch.scraping import Scraping
from launch.screen import clean, open_screen
from launch.stopping import Limits
from launch.summary import Summary, summarise
from launch.supervisor import EXIT_BAD_CONFIG, EXIT_FAILED, End, Supervisor
from launch.words import tell
from protocol.bus import Bus
from protocol.errors import ProtocolError
from protocol.keys import KeyPair
from protocol.wiring import Endpoints, Wiring


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    file: Path
    sets: Sequence[str] = ()
    name: str = ""
    runs: str | None = None
    resume: bool = False
    overwrite: bool = False
    tcp: bool = False
    host: str = ""
    on: str = ""
    key: str = ""
    time_limit_s: float | None = None
    command: Sequence[str] = ()


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher is given by those who know the nodes, and what tests replace."""

    kinds: Kinds = {}
    estimates: Mapping[str, Estimate] = {}
    room: Room | None = None
    argv: Argv | None = None
    limits: Limits = Limits()


class Plan(msgspec.Struct, frozen=True):
    """A checked graph and the run it is for."""

    launch: Launch
    graph: Graph
    name: str
    folder: Path
    key: KeyPair | None = None
    host_keys: dict[str, str] = {}


def plan(options: Options, hooks: Hooks) -> Plan:
    """Reads and checks everything that can be checked before something is made."""
    folder = rundir.root(options.runs)
    name = options.name or rundir.default_name(options.file, folder)
    given = {"run": name, "run_dir": str((folder / name).absolute())}
    launch = load(options.file, options.sets, given)
    launch = _over_tcp(at_host(launch, options.on, options.key), options)
    graph = resolve(launch, hooks.kinds, options.on)
    if options.time_limit_s is not None:
        graph = msgspec.structs.replace(graph, time_limit_s=options.time_limit_s)
    key = identity(launch) if endpoints.wants_tcp(launch) else None
    return Plan(launch, graph, name, folder, key, host_keys(launch, options.on, key))


def _over_tcp(launch: Launch, options: Options) -> Launch:
    """What the command line says of tcp; a host or a key there is a wish for it."""
    if not (options.tcp or options.host or options.key):
        return launch
    spec = launch.spec
    if spec.hosts and options.host:
        raise launch.error(("hosts",), "--host does not go with 'hosts', which give the addresses; say which host this is with --on NAME")
    changed = msgspec.structs.replace(spec, transport="tcp", host=options.host or spec.host, key=options.key or spec.key)
    return msgspec.structs.replace(launch, spec=changed)


def dry_run(options: Options, hooks: Hooks) -> str:
    """What would start, in words."""
    made = plan(options, hooks)
    sockets = None if endpoints.wants_tcp(made.launch) else endpoints.planned_folder()
    ends = endpoints.assign(made.launch, sockets)
    text = describe(made.graph, ends, str(made.folder / made.name), hooks.estimates, hooks.room)
    return f"{text}\n{describe_key(made.key)}" if made.key is not None else text


def run(options: Options, hooks: Hooks, console: Console) -> int:
    """A whole run; returns its exit code."""
    made = plan(options, hooks)
    sockets = None if endpoints.wants_tcp(made.launch) else endpoints.private_folder()
    try:
        ends = endpoints.assign(made.launch, sockets)
        path = rundir.make(made.folder, made.name, resume=options.resume, overwrite=options.overwrite)
        return _run_in(path, made, ends, options, hooks, console)
    finally:
        if sockets is not None:
            shutil.rmtree(sockets, ignore_errors=True)


def _run_in(path: Path, made: Plan, ends: dict[str, Endpoints], options: Options, hooks: Hooks, console: Console) -> int:
    graph = made.graph
    wiring = wirings(graph, ends, made.name, path, made.key, made.host_keys)
    versions = rundir.write(path, graph, wiring, table(graph, wiring, os.getpid()), options.command)
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    board = Board(graph)
    end, forced = _supervise(path, graph, board, wiring[LAUNCHER], hooks, console)
    summary = summarise(board, end, name=made.name, started=started, versions=versions, command=list(options.command), forced=forced)
    summary.write(path / "summary.json")
    _farewell(console, summary, end, board, path)
    return summary.exit_code


def _supervise(path: Path, graph: Graph, board: Board, own: Wiring, hooks: Hooks, console: Console) -> tuple[End, list[str]]:
    bus = Bus(own)
    try:
        bus.start()
    except ProtocolError as error:
        raise LaunchError("", 0, f"launcher: {error}") from None
    screen = open_screen(console)
    fleet = Fleet(graph, board, path, hooks.argv)
    scraping = Scraping(path, board, lambda: fleet.alive, lambda text: screen.say(Line("WARNING", text)))
    supervisor = Supervisor(graph, fleet, bus, screen, hooks.limits, each_second=scraping.look)
    try:
        scraping.begin()
        bus.subscribe()
        end = supervisor.run()
    except LaunchError as error:
        end = End("failed", EXIT_BAD_CONFIG, str(error))
    except Exception as error:  # whatever it was: every run ends with a summary
        (path / "logs" / "launcher.stderr").write_text(traceback.format_exc())
        end = End("failed", EXIT_FAILED, f"launcher: {type(error).__name__}: {error}; see logs/launcher.stderr")
    finally:
        board.phase = "done"
        screen.update(board, supervisor.clock())
        screen.close()
        scraping.end()
        bus.close(0.5)
    return end, supervisor.forced


def _own_name() -> str:
    """How a person calls the command here: by its name, or by its path in an environment that is not active."""
    if shutil.which("toddle"):
        return "toddle"
    return os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "toddle" else "python -m toddle"


def _farewell(console: Console, summary: Summary, end: End, board: Board, path: Path) -> None:
    committed = board.committed
    if committed is not None and board.recorded_on:
        committed = msgspec.structs.replace(committed, path=f"{committed.path} on {board.recorded_on}")
    text = tell(summary, end.why, committed, rundir.shown(path), board.metrics_of("robot"), _own_name())
    with suppress(OSError):
        console.print()
        console.print("\n".join(map(clean, text.splitlines())), markup=False, highlight=False, soft_wrap=True)
