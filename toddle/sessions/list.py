"""`toddle sessions list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import duration, echo_json, json_option, root_option, size, state

if TYPE_CHECKING:
    from storage.info import SessionInfo


@click.command("list")
@root_option
@json_option
def list_sessions(root: str | None, as_json: bool) -> None:
    """All sessions, oldest first."""
    from storage.errors import StorageError
    from storage.paths import session_names, sessions_root
    from storage.views import open_session

    folder = sessions_root(root)
    infos: list[SessionInfo] = []
    broken: list[str] = []
    for name in session_names(folder):
        try:
            with open_session(folder / name) as reader:
                infos.append(reader.info())
        except StorageError as error:
            broken.append(f"{name}: {error}")
    infos.sort(key=lambda info: info.created)
    if as_json:
        echo_json([_summary(info) for info in infos])
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
            duration(info.duration_s), size(info.disk_bytes), str(len(info.gaps)), state(info),
        )  # fmt: skip
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
