"""`toddle evaluate`: how good is what was learned?

toddle evaluate demo                     the newest checkpoint of a run, on the session it recorded
toddle evaluate runs/demo/checkpoints/000007-samples-12000 track
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.attach import complete_run
from toddle.sessions.common import complete_session

if TYPE_CHECKING:
    from nodes.trainer.evaluation import Row

BAD_INPUT = 2


@click.command()
@click.argument("what", metavar="RUN|CHECKPOINT", shell_complete=complete_run)
@click.argument("sessions", nargs=-1, metavar="[SESSION]...", shell_complete=complete_session)
@click.option("--runs", type=click.Path(file_okay=False), is_eager=True, help="Where runs live; default: $TODDLE_RUNS or runs.")
@click.option("--root", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--windows", default=512, show_default=True, type=click.IntRange(1), help="At most so many transitions of each session.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def evaluate(what: str, sessions: tuple[str, ...], runs: str | None, root: str | None, device: str, windows: int, as_json: bool) -> None:
    """Score a run's newest checkpoint, or one checkpoint, on recorded sessions.

    Against the simulator's truth where the session brings a probe, and on what really came next; always
    beside the baselines: copying the last frame, the nearest neighbour, and not knowing the action.
    """
    from toddle.launch import check_launch

    check_launch()
    from nodes.trainer.evaluation import EvaluationError, History, history_of
    from nodes.trainer.evaluation import evaluate as score
    from storage.errors import StorageError
    from storage.paths import find_session, sessions_root
    from storage.views import open_session
    from worldmodel import checkpoint

    try:
        path, own = find_checkpoint(what, runs)
        names = list(sessions) or ([own] if own else [])
        if not names:
            raise EvaluationError(f"{what} names no session of its own: name one, `toddle sessions list` shows them")
        readers = [open_session(find_session(sessions_root(root), name)) for name in names]
        history = history_of(open_session(find_session(sessions_root(root), own))) if own else History()
        rows = score(checkpoint.load(path), readers, history, device, windows)
    except (EvaluationError, StorageError, checkpoint.CheckpointError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"checkpoint": str(path), "scores": rows}), indent=2).decode())
        return
    _print(path, rows)


def find_checkpoint(what: str, runs: str | None) -> tuple[Path, str | None]:
    """The checkpoint that `what` means, and the session its run recorded; CheckpointError when there is none."""
    from launch.rundir import root
    from worldmodel.checkpoint import CheckpointError, latest

    for folder in (root(runs) / what, Path(what)):
        if (folder / "run.json").is_file():
            found = latest(folder / "checkpoints")
            if found is None:
                raise CheckpointError(f"run {folder.name} has no checkpoint: its trainer kept none, or it had no trainer")
            return found, _own_session(folder)
        if (folder / "checkpoint.json").is_file():
            return folder, _own_session(folder.parent.parent)
    known = _known_runs(root(runs))
    raise CheckpointError(f"{what!r} is no run in {root(runs)} and no checkpoint folder; runs there: {known}")


def _own_session(folder: Path) -> str | None:
    """What the recorder of this run wrote down, if it had one."""
    names = [file.read_text() for file in sorted(folder.glob("session-*"))]
    return names[0] if names else None


def _known_runs(folder: Path) -> str:
    names = sorted(path.parent.name for path in folder.glob("*/run.json")) if folder.is_dir() else []
    return ", ".join(names[-8:]) or "none"


def _print(path: Path, rows: "list[Row]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{path.name}: mean squared error, skill = 1 - error / error of the baseline", title_justify="left")
    for name in (
        "session",
        "scored on",
        "cases",
        "error",
        "copy last",
        "skill",
        "nearest",
        "skill",
        "blind skill",
        "right action",
        "within 3 px",
    ):
        table.add_column(name, justify="left" if name in ("session", "scored on") else "right", no_wrap=True)
    for row in rows:
        s = row.scores
        table.add_row(
            row.session, row.on, str(row.cases), f"{s.prediction_error:.5f}", f"{s.copy_last_error:.5f}", _figure(s.skill_copy_last),
            _figure(s.nearest_neighbour_error, 5), _figure(s.skill_nearest_neighbour), _figure(s.skill_action_blind),
            _percent(s.cf_accuracy), _percent(s.hit_at_3px),
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
