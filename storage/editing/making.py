"""A new session appears whole or not at all: it is made in a folder beside its place that begins with a dot."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from storage.errors import SessionExists
from storage.lock import writer_pid
from storage.paths import sync_folder

_MARK = ".making-"


@contextmanager
def making(target: Path) -> Iterator[Path]:
    """The folder to make the session in, not there yet; at the end it becomes `target`. Raises SessionExists."""
    check_free(target)
    sweep_unfinished(target.parent)
    folder = target.with_name(f".{target.name}{_MARK}{os.getpid()}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        yield folder
        check_free(target)
        folder.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check_free(target: Path) -> None:
    """Raise SessionExists where something is at `target`."""
    if target.exists():
        raise SessionExists(f"{target} exists: choose another name, or delete it with `toddle sessions delete {target.name} --yes`")


def sweep_unfinished(root: Path) -> None:
    """Remove what processes under `root` left that were killed while they made a session."""
    for folder in root.glob(f".*{_MARK}*"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)) and writer_pid(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
