"""What the imports and exports share: a progress bar, what they say, and how they end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from toddle.sessions.common import cut, find, new_path

if TYPE_CHECKING:
    from storage.exchange.common import ExportReport, ImportReport, Tell

INTERRUPTED = 130

import_name = click.option("--name", required=True, help="Name of the new session.")


def run_import(read: Callable[..., ImportReport], path: Path, root: str | None, name: str, **how: Any) -> None:
    """Let `read` make session NAME of what is at `path`, and say what came of it. After Ctrl-C the same goes on there."""
    if not path.exists():
        raise click.ClickException(f"{path} does not exist")
    target = new_path(root, name)

    def stopped() -> str:
        there = f"what came so far is in {name}; the same command goes on from there"
        return f"stopped: {there if target.exists() else 'nothing was imported yet'}"

    with progress(name, stopped) as tell:
        report = read(path, target=target, tell=tell, **how)
    click.echo("\n".join(import_lines(report)))


def run_export(write: Callable[..., ExportReport], root: str | None, name: str, out: Path | None, ending: str, **how: Any) -> Path:
    """Let `write` make `out` of session NAME, and say what came of it; without `out` it is named after the session."""
    path = find(root, name)
    out = out or Path(f"{path.name}{ending}")
    with progress(path.name, lambda: f"stopped: nothing is left of {out}") as tell:
        report = write(path, target=out, tell=tell, **how)
    click.echo("\n".join(export_lines(report)))
    return out


@contextmanager
def progress(what: str, stopped: Callable[[], str]) -> Iterator[Tell]:
    """A bar with the time left, where somebody looks.

    Ctrl-C ends the command with the line of `stopped`: between two steps, so that none is half done; a second one at once.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(what, total=None)

            def tell(done: int, total: int) -> None:
                if asked:
                    raise KeyboardInterrupt
                bar.update(task, completed=done, total=total)

            yield tell
    except KeyboardInterrupt:
        click.echo(stopped(), err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)


def numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int]:
    """Of an option: whole numbers with commas between."""
    try:
        return [int(part) for part in (value or "").split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(f"{value!r}: give numbers with commas between, such as 151,514") from None


def import_lines(report: ImportReport) -> list[str]:
    lines = [f"{report.session}: {report.frames} frames in {report.episodes} episodes at {report.rate_hz:g} Hz ({report.rate_from})"]
    if report.resumed_at:
        lines.append(f"  went on   after the {report.resumed_at} frames that were there")
    return lines + _rest(report)


def export_lines(report: ExportReport) -> list[str]:
    return [f"{report.path}: {report.frames} frames in {report.episodes} episodes", *_rest(report)]


def _rest(report: ImportReport | ExportReport) -> list[str]:
    return cut([f"  note      {note}" for note in report.notes]) + cut([f"  skipped   {bad}" for bad in report.skipped])
