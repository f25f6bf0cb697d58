"""What the verbs of `toddle sessions` share: their arguments, and how they say sizes, times and long lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from storage.editing.edit import Made
    from storage.info import SessionInfo

WIDTH = 110  # of a line that goes on in the next
MAX_LINES = 20  # of a list in the output; --json has all


def complete_session(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of sessions that begin with what was typed, for the shell."""
    from storage.paths import session_names, sessions_root

    return [CompletionItem(name) for name in session_names(sessions_root(ctx.params.get("root"))) if name.startswith(incomplete)]


# eager, so that completion knows the root that was typed before the name
root_option = click.option("--root", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
name_argument = click.argument("name", metavar="NAME", shell_complete=complete_session)
as_option = click.option("--as", "target", metavar="NEW", required=True, help="Name of the new session.")
dry_option = click.option("--dry-run", is_flag=True, help="Only say what would happen.")
json_option = click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")


def find(root: str | None, name: str) -> Path:
    from storage.paths import find_session, sessions_root

    return find_session(sessions_root(root), name)


def new_path(root: str | None, name: str) -> Path:
    """Where a new session of this name goes. Raises BadName."""
    from storage.paths import session_path, sessions_root

    return session_path(sessions_root(root), name)


def echo_made(made: Sequence[Made], dry_run: bool, as_json: bool) -> None:
    """What was made, or would be, a line each."""
    if as_json:
        echo_json(made)
        return
    for one in made:
        left_out = f"; left out: {one.left_out_frames} frames, {one.left_out_events} events" if one.left_out_events else ""
        click.echo(
            f"{'would make' if dry_run else 'made'} {one.name} of {', '.join(one.derived_from)}: "
            f"{one.frames} frames in {one.episodes} episodes, {one.events} events, {size(one.bytes)}{left_out}"
        )


def echo_json(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def cut(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], f"  and {len(lines) - MAX_LINES} more"]


def wrapped(label: str, text: str) -> list[str]:
    """A fact as lines that a terminal can show, what goes on below its beginning."""
    lines = wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"  {'' if place else label:9} {line}" for place, line in enumerate(lines)]


def state(info: SessionInfo) -> str:
    said = f"split of {info.source['of']}" if info.source.get("kind") == "split" else info.state
    return f"{said}, pinned" if info.pinned else said


def size(count: int) -> str:
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
