"""`toddle logs`: what the nodes of a run said, by time.

toddle logs                          the newest run, those that still run first
toddle logs robot trainer --level warning
toddle logs --since 5m --grep saved
toddle logs --follow
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toddle.attach import Attached, BadInput, named, newest, run_option, runs_option

if TYPE_CHECKING:
    from toddle.logfile import Entry, RunLogs

LEVELS = ("debug", "info", "warning", "error", "critical")
COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bright_red", "STDERR": "magenta", "DEBUG": "bright_black"}
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LOOK_S = 0.2


class Ago(click.ParamType):
    """A time span such as 30s, 5m, 2h or 1d, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", str(value))
        if match is None:
            raise BadInput(f"--since {value}: give a number and a unit, such as 30s, 5m, 2h or 1d")
        return float(match[1]) * UNITS_S[match[2]]


def _complete_node(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from toddle.launch import foreign_launch

    if foreign_launch():
        return []
    from toddle.logfile import known_nodes

    try:
        folder = _logs_of(_chosen(ctx.params.get("run"), ctx.params.get("runs")))
    except BadInput:
        return []
    return [name for name in known_nodes(folder) if name.startswith(incomplete)]


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...", shell_complete=_complete_node)
@run_option
@runs_option
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), default="debug", help="From this level on.")
@click.option("--grep", "pattern", default="", metavar="REGEX", help="Only where the text or the traceback matches.")
@click.option("--since", "since_s", type=Ago(), metavar="TIME", help="Only the last 30s, 5m, 2h, 1d.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until the run ends or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def logs(
    nodes: tuple[str, ...], run: str | None, runs: str | None, level: str, pattern: str, since_s: float | None, follow: bool, as_json: bool
) -> None:
    """The logs of a run, running or ended, merged by time: of all nodes or of each NODE.

    What nodes wrote to standard error stands among them as STDERR: it has no level and no times, so it is
    always shown, where its file was last written.
    """
    at = _chosen(run, runs)
    folder = _logs_of(at)
    from launch.errors import nearest
    from toddle.logfile import RunLogs, known_nodes

    for node in nodes:
        known = {*known_nodes(folder), *(peer.name for peer in at.table.nodes)}
        if node not in known:
            raise BadInput(f"no logs of '{node}' in run '{at.table.run}'{nearest(node, known)}")
    wanted = _wanted(level.lower(), pattern, None if since_s is None else time.time() - since_s)
    found = RunLogs(folder, nodes)
    with suppress(KeyboardInterrupt):
        shown = _show(found.read(last=not follow and not at.alive()), wanted, as_json)
        if follow:
            _follow(at, found, wanted, as_json)
        elif not shown:
            click.echo(f"nothing to show of run {at.table.run}", err=True)
    found.close()
    if found.bad_lines:
        click.echo(f"{found.bad_lines:,} lines were no log lines", err=True)


def _chosen(run: str | None, runs: str | None) -> Attached:
    from toddle.launch import check_launch

    check_launch()
    return named(run, runs) if run else newest(runs)


def _logs_of(at: Attached) -> Path:
    if at.folder is None or not (at.folder / "logs").is_dir():
        raise BadInput(f"the logs of run '{at.table.run}' are not here; they are in {at.table.run_dir}/logs on its machine")
    return at.folder / "logs"


def _wanted(level: str, pattern: str, since: float | None) -> Callable[[Entry], bool]:
    """What the options ask for."""
    levels = {name.upper() for name in LEVELS[: LEVELS.index(level)]}
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise BadInput(f"--grep {pattern!r} is no regular expression: {error}") from None

    def wanted(entry: Entry) -> bool:
        return entry.level not in levels and (since is None or entry.t >= since) and bool(search(entry.text) or search(entry.traceback))

    return wanted


def _follow(at: Attached, found: RunLogs, wanted: Callable[[Entry], bool], as_json: bool) -> None:
    alive = True
    while alive:
        alive = at.alive()
        _show(found.more(last=not alive), wanted, as_json)
        if alive:
            time.sleep(LOOK_S)


def _show(entries: Iterable[Entry], wanted: Callable[[Entry], bool], as_json: bool) -> int:
    """Print what is wanted; returns how many."""
    import msgspec

    shown = 0
    for entry in filter(wanted, entries):
        click.echo(msgspec.json.encode(entry) if as_json else line(entry))
        shown += 1
    return shown


def line(entry: Entry) -> str:
    """An entry for a person; its traceback below it."""
    from launch.screen import clean

    colour = COLOURS.get(entry.level)
    said = f"{entry.logger}: {entry.text}" if entry.logger else entry.text
    parts = [_clock(entry.t), click.style(f"{entry.node:<10}", fg="cyan"), click.style(f"{clean(entry.level):<8}", fg=colour), clean(said)]
    return "\n".join(["  ".join(parts), *("    " + clean(text) for text in entry.traceback.splitlines())])


def _clock(t: float) -> str:
    """Time of the day, with the date where it is not today."""
    when = time.localtime(t)
    date = "" if when[:3] == time.localtime()[:3] else time.strftime("%Y-%m-%d ", when)
    return f"{date}{time.strftime('%H:%M:%S', when)}.{int(t * 1000) % 1000:03}"
