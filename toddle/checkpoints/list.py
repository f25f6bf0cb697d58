"""`toddle checkpoints list`."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from toddle.attach import runs_option
from toddle.checkpoints.find import find_folder, folder_argument
from toddle.sessions.common import duration, echo_json, json_option, size

if TYPE_CHECKING:
    from worldmodel.kept import Kept

WIDTH = 160
SCORES = ("skill_copy_last", "cf_accuracy", "hit_at_3px", "skill_action_blind", "prediction_error")
"""Those that have a column, beside the one by which checkpoints are compared; --json has all."""


@click.command("list")
@folder_argument
@runs_option
@json_option
def list_checkpoints(what: str, runs: str | None, as_json: bool) -> None:
    """All checkpoints of RUN, or in FOLDER, oldest first."""
    from worldmodel.kept import CheckpointError, best_of, complete, read

    folder = find_folder(what, runs)
    found, damaged = [], []
    for path in complete(folder):
        try:
            found.append(read(path))
        except CheckpointError as error:
            damaged.append(str(error))
    best = {one.path for one in best_of(found, 1)}
    if as_json:
        echo_json([{**facts(one), "best": one.path in best} for one in found])
    elif found:
        _print(found, best)
    for line in damaged:
        click.echo(f"cannot be read: {line}", err=True)


def facts(one: Kept) -> dict[str, Any]:
    """What is known of a checkpoint, but for its model and settings, as JSON."""
    record = one.record
    return {
        "name": one.path.name, "path": str(one.path), "samples": one.samples, "steps": record.values.get("steps"), "scores": one.scores,
        "held_out": one.held_out, "score": one.score, "made": made(one), "age_s": age_s(one), "bytes": one.bytes,
        "versions": record.made.get("versions", {}), "spec_hash": record.spec_hash,
        "metadata": {name: value for name, value in record.metadata.items() if name not in ("scores", "held_out")},
    }  # fmt: skip


def made(one: Kept) -> str:
    """When, in local time; of an old one, as its file says."""
    try:
        at = datetime.fromisoformat(one.record.made["at"]).astimezone()
    except (KeyError, TypeError, ValueError):
        at = datetime.fromtimestamp((one.path / "checkpoint.json").stat().st_mtime).astimezone()
    return at.isoformat(sep=" ", timespec="seconds")


def age_s(one: Kept) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(made(one)).timestamp())


def figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"


def _print(found: list[Kept], best: set[Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    judged = next((one.held_out for one in reversed(found) if one.score is not None), None)
    names = ([judged.score] if judged else []) + [name for name in SCORES if not judged or name != judged.score]
    names = [name for name in names if any(name in one.scores for one in found)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for column in ("samples", *names, "age", "size"):
        table.add_column(column, justify="right")
    table.add_column("")
    for one in found:
        marks = [mark for mark, its in (("newest", one is found[-1]), ("best", one.path in best)) if its]
        few = one.score is None and judged is not None and one.scores.get(judged.score) is not None
        table.add_row(
            one.path.name, f"{one.samples:,}", *(figure(one.scores.get(name)) for name in names),
            duration(age_s(one)), size(one.bytes), ", ".join(marks) + ("score does not count" if few else ""),
        )  # fmt: skip
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    if judged:
        console.print(f"compared by {judged.score} on {judged.cases} held-out cases, {judged.better} is better")
