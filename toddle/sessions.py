"""`toddle sessions`: what was recorded.

toddle sessions import donkeycar ~/tub --name track --fps 20
toddle sessions list
toddle sessions info track --json
toddle sessions verify track
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from protocol.messages import Gap
    from storage.donkeycar import ImportReport
    from storage.info import SessionInfo
    from storage.verify import Report

MAX_LINES = 20  # of a list in the output; --json has all


class OneLineErrors(click.Group):
    """A group whose commands end a StorageError with its one line and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from storage.errors import StorageError

        try:
            return super().invoke(ctx)
        except StorageError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


def complete_session(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of sessions that begin with what was typed, for the shell."""
    from storage.paths import session_names, sessions_root

    return [CompletionItem(name) for name in session_names(sessions_root(ctx.params.get("root"))) if name.startswith(incomplete)]


# eager, so that completion knows the root that was typed before the name
root_option = click.option("--root", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
name_argument = click.argument("name", metavar="NAME", shell_complete=complete_session)
json_option = click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")


@click.group(cls=OneLineErrors)
def sessions() -> None:
    """List, check and import recorded sessions."""


def _find(root: str | None, name: str) -> Path:
    from storage.paths import find_session, sessions_root

    return find_session(sessions_root(root), name)


def _echo_json(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


@sessions.command("list")
@root_option
@json_option
def list_sessions(root: str | None, as_json: bool) -> None:
    """All sessions, oldest first."""
    from storage.errors import StorageError
    from storage.paths import session_names, sessions_root
    from storage.reader import SessionReader

    folder = sessions_root(root)
    infos: list[SessionInfo] = []
    broken: list[str] = []
    for name in session_names(folder):
        try:
            with SessionReader(folder / name) as reader:
                infos.append(reader.info())
        except StorageError as error:
            broken.append(f"{name}: {error}")
    infos.sort(key=lambda info: info.created)
    if as_json:
        _echo_json([_summary(info) for info in infos])
    elif infos:
        click.echo(_table(infos), nl=False)
    elif not broken:
        click.echo(f"no sessions in {folder}: record one with `toddle launch`, or `toddle sessions import`")
    for line in broken:
        click.echo(f"cannot be read: {line}", err=True)


def _summary(info: SessionInfo) -> dict[str, object]:
    return {
        "name": info.name, "robot": info.robot.driver if info.robot else None, "episodes": len(info.episodes),
        "frames": info.frames, "duration_s": info.duration_s, "disk_bytes": info.disk_bytes,
        "gaps": len(info.gaps), "state": info.state, "pinned": info.pinned, "created": info.created,
    }  # fmt: skip


def _table(infos: list[SessionInfo]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "robot"):
        table.add_column(column, overflow="fold")
    for column in ("episodes", "frames", "duration", "size", "gaps"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for info in infos:
        table.add_row(
            info.name, info.robot.driver if info.robot else "-", str(len(info.episodes)), str(info.frames),
            _time(info.duration_s), _size(info.disk_bytes), str(len(info.gaps)), _state(info),
        )  # fmt: skip
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@sessions.command()
@name_argument
@root_option
@json_option
def info(name: str, root: str | None, as_json: bool) -> None:
    """What session NAME (or the one at a path) holds."""
    from storage.reader import SessionReader

    with SessionReader(_find(root, name)) as reader:
        found = reader.info()
    if as_json:
        _echo_json(found)
    else:
        click.echo("\n".join(_info_lines(found)))


def _info_lines(info: SessionInfo) -> list[str]:
    robot = info.robot
    lines = [
        f"{info.name}  {_state(info)}",
        f"  path      {info.path}",
        f"  created   {info.created} by toddle {info.toddle}",
        f"  holds     {info.frames} frames, {len(info.episodes)} episodes, {_time(info.duration_s)}; {info.events} events",
        f"  size      {_size(info.disk_bytes)} in {info.segments} segments, frames as {info.codecs.get('frame', '?')}",
    ]
    if robot is not None:
        cameras = ", ".join(f"{camera.name} {camera.width}x{camera.height}" for camera in robot.cameras) or "no camera"
        actions = f"{len(robot.actions.choices)} actions" if robot.actions.discrete else f"actions {', '.join(robot.actions.names)}"
        lines.append(f"  robot     {robot.driver}: {cameras}; {actions}; {robot.rate_hz:g} Hz {robot.timing}")
    if info.source:
        lines.append("  source    " + ", ".join(f"{key} {value}" for key, value in info.source.items()))
    if info.derived_from:
        lines.append(f"  made of   {', '.join(info.derived_from)}")
    for topic, row in info.topics.items():
        missing = f", {row.missing} missing" if row.missing else ""
        lines.append(f"  {topic:24} {row.count:8} messages {row.rate_hz:8.2f} Hz {_size(row.bytes):>10}{missing}")
    rows = [
        f"  episode {row.episode:<5} steps {row.first_step} to {row.last_step}, {row.frames} frames, {row.actions} actions"
        + (", held out" if row.held_out else "") + "".join(f", {mark.mark}" for mark in row.marks if mark.mark not in ("start", "end"))
        for row in info.episodes
    ]  # fmt: skip
    jumps = [
        f"  clock     of {jump.source} jumped {_jump(jump.jump_s)}: times before and after it do not compare" for jump in info.clock_jumps
    ]
    gaps = [f"  gap       {gap.topic} {gap.first} to {gap.last} of run {gap.run} never came{_when(gap)}" for gap in info.gaps]
    tails = [
        f"  unknown   the end of {tail.topic} after {tail.last} of run {tail.run}: its publisher died without a last word"
        for tail in info.tails
    ]
    return lines + _cut(rows) + _cut(jumps) + _cut(gaps) + _cut(tails)


def _when(gap: Gap) -> str:
    """Between which times a gap lies, as far as they are known."""
    known = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ns / 1e9)) for ns in (gap.after_ns, gap.before_ns) if ns]
    return f", {' to '.join(known)}" if known else ""


@sessions.command()
@name_argument
@root_option
@json_option
@click.pass_context
def verify(ctx: click.Context, name: str, root: str | None, as_json: bool) -> None:
    """Is every byte of session NAME what was written?

    Ends with 0 when it is and nothing is missing, 3 when messages are known to be missing, 1 when it is damaged.
    """
    from storage.verify import verify as check

    report = check(_find(root, name))
    if as_json:
        import msgspec

        _echo_json({**msgspec.to_builtins(report), "verdict": report.verdict})
    else:
        click.echo("\n".join(_report_lines(report)))
    ctx.exit(report.exit_code)


def _report_lines(report: Report) -> list[str]:
    lines = [f"{report.session}: {report.verdict}, {report.events_checked} events checked"]
    lines += _cut([f"  damaged   event {damage.event} in segment {damage.segment}: {damage.why}" for damage in report.corrupt])
    lines += _cut([f"  damaged   {text}" for text in report.problems + report.index_mismatches])
    lines += _cut(
        [f"  unknown   {hole.topic} {hole.first} to {hole.last} of run {hole.run}: not there, and no gap says so" for hole in report.holes]
    )
    lines += _cut(
        [f"  missing   {gap.topic} {gap.first} to {gap.last} of run {gap.run}: never came, known when recorded" for gap in report.gaps]
    )
    return lines


@sessions.command()
@name_argument
@root_option
@click.option("--yes", is_flag=True, help="Really delete it; there is no way back.")
def delete(name: str, root: str | None, yes: bool) -> None:
    """Delete session NAME, whole."""
    from storage.errors import StorageError
    from storage.paths import disk_bytes
    from storage.retention import delete_session

    path = _find(root, name)
    if not yes:
        raise StorageError(f"nothing was deleted: --yes deletes {path} ({_size(disk_bytes(path))}) for good")
    click.echo(f"deleted {path} ({_size(delete_session(path))})")


@sessions.command()
@name_argument
@root_option
def pin(name: str, root: str | None) -> None:
    """Keep session NAME from being deleted."""
    _set_pinned(root, name, True)


@sessions.command()
@name_argument
@root_option
def unpin(name: str, root: str | None) -> None:
    """Let session NAME be deleted again."""
    _set_pinned(root, name, False)


def _set_pinned(root: str | None, name: str, pinned: bool) -> None:
    from storage.header import change_header

    header = change_header(_find(root, name), pinned=pinned)
    click.echo(f"{header.name} is {'pinned' if pinned else 'not pinned'}")


def _indexes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int]:
    try:
        return [int(part) for part in (value or "").split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(f"{value!r}: give numbers with commas between, such as 151,514") from None


@sessions.group("import")
def import_group() -> None:
    """Make sessions of recordings of other systems."""


@import_group.command()
@click.argument("tub", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the new session.")
@click.option("--fps", type=float, help="Frames per second; needed where the tub's times are not those of the camera.")
@click.option("--episodes-at", callback=_indexes, metavar="N,N,...", help="Indexes at which a new episode begins.")
@click.option("--skip-bad", is_flag=True, help="Leave out records that cannot be imported, and list them.")
@root_option
def donkeycar(tub: Path, name: str, fps: float | None, episodes_at: list[int], skip_bad: bool, root: str | None) -> None:
    """A Donkeycar tub (format v2): the folder that holds manifest.json."""
    from storage.donkeycar import import_tub
    from storage.paths import session_path, sessions_root

    target = session_path(sessions_root(root), name)
    click.echo("\n".join(_import_lines(import_tub(tub, target, fps=fps, episodes_at=episodes_at, strict=not skip_bad))))


def _import_lines(report: ImportReport) -> list[str]:
    lines = [f"{report.session}: {report.frames} frames in {report.episodes} episodes at {report.rate_hz:g} Hz ({report.rate_from})"]
    if report.deleted:
        lines.append(f"  deleted in the tub, not imported: {len(report.deleted)} records")
    if report.out_of_range:
        lines.append(f"  warning   {report.out_of_range} actions are outside -1 to 1; they are kept as they are")
    return lines + _cut([f"  skipped   {bad.where}: {bad.why}" for bad in report.skipped])


def _cut(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], f"  and {len(lines) - MAX_LINES} more"]


def _state(info: SessionInfo) -> str:
    return f"{info.state}, pinned" if info.pinned else info.state


def _size(count: int) -> str:
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _jump(seconds: float) -> str:
    size = _time(abs(seconds)) if abs(seconds) >= 60 else f"{abs(seconds):.1f} s"
    return f"{size} {'ahead' if seconds > 0 else 'back'}"


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
