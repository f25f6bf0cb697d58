"""`toddle sessions import donkeycar`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.sessions.common import cut, root_option

if TYPE_CHECKING:
    from storage.donkeycar import ImportReport


def _indexes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int]:
    try:
        return [int(part) for part in (value or "").split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(f"{value!r}: give numbers with commas between, such as 151,514") from None


@click.command()
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
    return lines + cut([f"  skipped   {bad.where}: {bad.why}" for bad in report.skipped])
