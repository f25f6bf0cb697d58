"""`toddle checkpoints prune`: delete all but the newest and the best."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from toddle.attach import BadInput, runs_option
from toddle.checkpoints.find import find_folder, folder_argument
from toddle.sessions.common import dry_option, echo_json, json_option, size


@click.command()
@folder_argument
@click.option("--keep", default=3, show_default=True, type=click.IntRange(1), help="How many of the newest stay.")
@click.option("--best", default=1, show_default=True, type=click.IntRange(0), help="How many of the best by their held-out score stay.")
@runs_option
@dry_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(what: str, keep: int, best: int, runs: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete checkpoints of RUN, or in FOLDER, but for the newest and the best.

    The newest one always stays, and so does one that a running graph began with. Of a graph that still runs nothing is
    deleted: its trainer does that itself.
    """
    from launch.rundir import still_running
    from worldmodel.finding import run_of
    from worldmodel.kept import complete, drop, superfluous, sweep

    folder = find_folder(what, runs)
    run = run_of(folder)
    pid = still_running(run) if run is not None else None
    if run is not None and pid is not None:
        raise BadInput(f"run '{run.name}' is still running (process {pid}) and prunes its own checkpoints; stop it first")
    used = _used(runs)
    gone = [path for path in superfluous(folder, keep, best) if path.resolve() not in used]
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in gone}
    kept = [path for path in complete(folder) if path not in sizes]
    if not dry_run and gone:
        if not yes:
            click.echo("\n".join(f"{path.name}  {size(count)}" for path, count in sizes.items()), err=True)
            click.confirm(f"delete these {len(gone)} checkpoints, {size(sum(sizes.values()))}, for good?", abort=True, err=True)
        for path in gone:
            drop(path)
    if not dry_run:
        sweep(folder)
    if as_json:
        found = {
            "deleted": [path.name for path in gone],
            "kept": [path.name for path in kept],
            "bytes": sum(sizes.values()),
            "dry_run": dry_run,
        }
        echo_json(found)
        return
    said = "would delete" if dry_run else "deleted"
    for path, count in sizes.items():
        click.echo(f"{said} {path.name} ({size(count)})")
    click.echo(f"{said} {len(gone)} of {len(gone) + len(kept)} checkpoints, {size(sum(sizes.values()))}; kept {_names(kept)}")


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _used(runs: str | None) -> set[Path]:
    """Checkpoints that a graph which runs was told to go on from: a trainer that is started again reads them again."""
    from launch.rundir import root, still_running
    from worldmodel.finding import find_checkpoint
    from worldmodel.kept import CheckpointError

    found: set[Path] = set()
    for launched in root(runs).glob("*/launch.json"):
        if still_running(launched.parent) is None:
            continue
        for what in _resumed(launched):
            with suppress(CheckpointError):
                found.add(find_checkpoint(what, [root(runs), Path()]).resolve())
    return found


def _resumed(launched: Path) -> list[str]:
    """What the nodes of a graph were told to go on from."""
    import msgspec

    try:
        nodes: dict[str, Any] = msgspec.json.decode(launched.read_bytes())["nodes"]
        told = [node["params"].get("resume") for node in nodes.values()]
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return []
    return [what for what in told if isinstance(what, str) and what]
