"""Checkpoints as they are typed: among the runs or as a path, with a hint when there is none; see worldmodel/finding.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from toddle.attach import complete_run


def find_folder(what: str, runs: str | None) -> Path:
    """The folder of checkpoints that RUN or a path means. CheckpointError when there is none in it."""
    from worldmodel import finding

    with _hinted(runs) as roots:
        return finding.find_folder(what, roots)


def find_checkpoint(what: str, runs: str | None) -> Path:
    """The checkpoint that `what` means. CheckpointError when there is none."""
    from worldmodel import finding

    with _hinted(runs) as roots:
        return finding.find_checkpoint(what, roots)


@contextmanager
def _hinted(runs: str | None) -> Iterator[list[Path]]:
    """Where to look; an unknown name is said with the runs that there are."""
    from toddle.launch import check_launch

    check_launch()
    from launch.rundir import root
    from worldmodel.finding import UnknownRun
    from worldmodel.kept import CheckpointError

    try:
        yield [root(runs), Path()]
    except UnknownRun as error:
        raise CheckpointError(f"{error}{_hint(error.name, runs)}") from None


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
