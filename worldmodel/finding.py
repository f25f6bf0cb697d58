"""Which checkpoint is meant: RUN (its newest), RUN/best, RUN/7, RUN/000007-samples-12000, or a folder.

    path = find_checkpoint("demo/best", [Path("runs"), Path()])

`roots`: the folders in which runs and paths are looked for, in this order. No torch here.
"""

from collections.abc import Sequence
from pathlib import Path

from worldmodel.kept import RECORD, TENSORS, CheckpointError, best_of, complete, listed


class UnknownRun(CheckpointError):
    """What was named is no run and no folder."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is no run and no folder with checkpoints")
        self.name = name


def find_folder(what: str, roots: Sequence[Path]) -> Path:
    """The folder of checkpoints that a run or a path means. CheckpointError when there is none in it, UnknownRun when it is neither."""
    for root in roots:
        for folder in (root / what / "checkpoints", root / what):
            if folder.is_dir() and complete(folder):
                return folder
    if any((root / what / "run.json").is_file() for root in roots):
        raise CheckpointError(f"run {what} has no checkpoint: its trainer kept none, or it had no trainer")
    raise UnknownRun(what)


def find_checkpoint(what: str, roots: Sequence[Path]) -> Path:
    """The checkpoint that is meant. Raises as `find_folder`."""
    places = [root / what for root in roots]
    for place in places:
        if (place / RECORD).is_file() or (place / TENSORS).is_file():
            return place
    head, slash, which = what.rstrip("/").rpartition("/")
    if not slash or any(place.exists() for place in places):
        return complete(find_folder(what, roots))[-1]
    folder = find_folder(head, roots)
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


def session_of(path: Path) -> str | None:
    """The session that the run of a checkpoint recorded, if it did."""
    run = run_of(path)
    names = [file.read_text() for file in sorted(run.glob("session-*"))] if run else []
    return names[0] if names else None
