"""`toddle evaluate`: how good is what was learned?

toddle evaluate demo                     the newest checkpoint of a run, on the session it recorded
toddle evaluate demo/best track          its best one, on another session
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.checkpoints.find import checkpoint_argument, find_checkpoint
from toddle.sessions.common import complete_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from nodes.trainer.evaluation import Row, Sample, Settings
    from nodes.trainer.progress import Progress

BAD_INPUT, INTERRUPTED = 2, 130
QUIET_S = 2.0


@click.command()
@checkpoint_argument("what")
@click.argument("sessions", nargs=-1, metavar="[SESSION]...", shell_complete=complete_session)
@click.option("--runs", type=click.Path(file_okay=False), is_eager=True, help="Where runs live; default: $TODDLE_RUNS or runs.")
@click.option("--root", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
@click.option("--twin", metavar="CHECKPOINT", help="The same model trained blind to actions: one more baseline.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--windows", default=512, show_default=True, type=click.IntRange(1), help="At most so many transitions of each group.")
@click.option("--rollouts", default=32, show_default=True, type=click.IntRange(0), help="At most so many rollouts of each group.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap and of what is drawn.")
@click.option(
    "--json", "as_json", metavar="FILE|-", is_flag=False, flag_value="-", help="Everything, as JSON; alone: instead of the tables."
)
@click.option("--pictures", type=click.Path(file_okay=False, path_type=Path), help="Write pictures and curves into this folder.")
def evaluate(  # noqa: PLR0913
    what: str,
    sessions: tuple[str, ...],
    runs: str | None,
    root: str | None,
    twin: str | None,
    device: str,
    windows: int,
    rollouts: int,
    seed: int,
    as_json: str | None,
    pictures: Path | None,
) -> None:
    """Score a CHECKPOINT (or a RUN's newest) on recorded sessions.

    Against the simulator's truth where the session brings a probe, and on what really came next; always
    beside the baselines: copying the last frame, going on as before, the mean frame, the nearest neighbour,
    and not knowing the action.
    """
    from toddle.launch import check_launch

    check_launch()
    from nodes.trainer.evaluation import EvaluationError, Settings
    from storage.errors import StorageError
    from worldmodel.checkpoint import CheckpointError

    progress = _Progress()
    try:
        settings = Settings(device, windows, rollouts, seed, progress.say, _drawing(pictures))
        path, rows, learned = _score(what, sessions, runs, root, twin, settings)
        progress.clear()
        if pictures is not None:
            from toddle.evaluation.curves import draw_curves

            draw_curves(pictures, rows, learned)
            click.echo(f"pictures in {pictures}", err=True)
        if as_json:
            _write_json(as_json, path, rows, learned)
    except (EvaluationError, StorageError, CheckpointError, ValueError, OSError) as error:
        progress.clear()
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        progress.clear()
        click.echo("interrupted: nothing was scored to its end", err=True)
        sys.exit(INTERRUPTED)
    if as_json != "-":
        from toddle.evaluation.tables import show

        show(path, rows, learned)


def _score(
    what: str, sessions: tuple[str, ...], runs: str | None, root: str | None, twin: str | None, settings: "Settings"
) -> "tuple[Path, list[Row], Progress | None]":
    """(the checkpoint, its scores, how its run went)."""
    from nodes.trainer import learned
    from nodes.trainer.evaluation import EvaluationError
    from nodes.trainer.evaluation import evaluate as score
    from nodes.trainer.history import History, history_of
    from nodes.trainer.progress import progress_of
    from storage.paths import find_session, sessions_root
    from storage.views import open_session
    from worldmodel import checkpoint
    from worldmodel.finding import run_of, session_of

    path = find_checkpoint(what, runs)
    own, run = session_of(path), run_of(path)
    told = learned.read(run) if run else None  # of a run without a recorder
    other = None if twin is None else checkpoint.load(find_checkpoint(twin, runs))
    names = list(sessions) or ([own] if own else sorted(told.learned | told.held_out) if told else [])
    if not names:
        raise EvaluationError(f"{what} names no session of its own: name one, `toddle sessions list` shows them")
    readers = [open_session(find_session(sessions_root(root), name)) for name in names]
    recorded = open_session(find_session(sessions_root(root), own)) if own else None
    history = History(learned.ranges(told.learned), learned.ranges(told.held_out)) if told else History()
    if recorded is not None:
        history = history_of(recorded)
    rows = score(checkpoint.load(path), readers, history, settings, other)
    return path, rows, None if recorded is None else progress_of(recorded)


def _drawing(folder: Path | None) -> "Callable[[Sample], None] | None":
    """What draws each row's pictures into the folder, if one was named."""
    if folder is None:
        return None
    from toddle.evaluation.pictures import draw

    folder.mkdir(parents=True, exist_ok=True)
    return lambda sample: draw(folder, sample)


def _write_json(target: str, path: Path, rows: "list[Row]", learned: "Progress | None") -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode({"checkpoint": str(path), "scores": rows, "progress": learned}), indent=2).decode()
    if target == "-":
        click.echo(text)
    else:
        Path(target).write_text(text + "\n")


class _Progress:
    """One line on a terminal that says what is going on, once it takes long; nothing elsewhere."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._shown = False

    def say(self, text: str) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._start_s > QUIET_S:
            self.clear()
            click.echo(text[:99], err=True, nl=False)
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
