"""Which checkpoint is meant: RUN (its newest), RUN/best, RUN/7, RUN/000007-samples-12000, or a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from toddle.attach import complete_run


def find_folder(what: str, runs: str | None) -> Path:
    """The folder of checkpoints that RUN or a path means. CheckpointError when there is none in it."""
    from worldmodel.kept import CheckpointError, complete

    for base in _places(what, runs):
        for folder in (base / "checkpoints", base):
            if folder.is_dir() and complete(folder):
                return folder
    if any((base / "run.json").is_file() for base in _places(what, runs)):
        raise CheckpointError(f"run {what} has no checkpoint: its trainer kept none, or it had no trainer")
    raise CheckpointError(f"{what!r} is no run and no folder with checkpoints{_hint(what, runs)}")


def find_checkpoint(what: str, runs: str | None) -> Path:
    """The checkpoint that `what` means. CheckpointError when there is none."""
    from worldmodel.kept import RECORD, TENSORS, CheckpointError, best_of, complete, listed

    for base in _places(what, runs):
        if (base / RECORD).is_file() or (base / TENSORS).is_file():
            return base
    head, slash, which = what.rstrip("/").rpartition("/")
    if not slash or any(base.exists() for base in _places(what, runs)):
        return complete(find_folder(what, runs))[-1]
    folder = find_folder(head, runs)
    if which == "best":
        best = best_of(listed(folder), 1)
        if not best:
            raise CheckpointError(f"no checkpoint of {head} has a score on enough held-out cases: name one, or take the newest, {head}")
        return best[0].path
    paths = complete(folder)
    for path in paths:
        if path.name == which or (which.isdigit() and int(which) == int(path.name.split("-")[0])):
            return path
    raise CheckpointError(f"{head} has no checkpoint {which!r}: it has {', '.join(path.name for path in paths[-5:])}")


def run_of(path: Path) -> Path | None:
    """The run's folder that a checkpoint, or a folder of them, lies in."""
    return next((folder for folder in path.resolve().parents[:2] if (folder / "run.json").is_file()), None)


def _places(what: str, runs: str | None) -> tuple[Path, Path]:
    from toddle.launch import check_launch

    check_launch()
    from launch.rundir import root

    return root(runs) / what, Path(what)


def _hint(what: str, runs: str | None) -> str:
    from launch.errors import nearest
    from launch.rundir import root

    folder = root(runs)
    names = sorted(path.parent.name for path in folder.glob("*/checkpoints")) if folder.is_dir() else []
    return nearest(what, names) or f"; {folder} has no runs with checkpoints: name another folder of runs with --runs"


def complete_checkpoint(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of runs and, behind a slash, of their checkpoints, for the shell."""
    run, slash, _ = incomplete.rpartition("/")
    if not slash:
        return complete_run(ctx, param, incomplete)
    from worldmodel.kept import CheckpointError, complete

    try:
        names = [path.name for path in complete(find_folder(run, ctx.params.get("runs")))]
    except CheckpointError:
        return []
    return [one for one in (f"{run}/{name}" for name in ["best", *names]) if one.startswith(incomplete)]


folder_argument = click.argument("what", metavar="RUN|FOLDER", shell_complete=complete_run)


def checkpoint_argument(name: str) -> Callable[[Any], Any]:
    return click.argument(name, metavar="CHECKPOINT", shell_complete=complete_checkpoint)
