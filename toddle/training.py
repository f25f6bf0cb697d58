"""What `toddle train` does with an order: the run's folder, the progress line, Ctrl-C, the last words."""

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from nodes.trainer import learned
from nodes.trainer.journal import Journal
from nodes.trainer.offline import Offline, Outcome, Shown
from nodes.trainer.sinks import asides
from nodes.trainer.training import Made, Order, TrainingRefused, order_of, prepare, resumed, save_order
from storage.paths import find_session, sessions_root
from storage.reader import SessionReader
from storage.views import open_session
from toddle.checkpoints.find import find_checkpoint
from worldmodel import checkpoint
from worldmodel.learner import TrainingFailed

LINE_S = 10.0


def run(order: Order, runs: str | None, root: str | None) -> int:
    """Train as ordered; the exit code. Raises what is wrong with the order, in one line."""
    from launch import rundir

    if order.resume:
        folder = _resumed_folder(order.resume, runs)
        before = order_of(folder)
        found = checkpoint.latest(folder / "checkpoints")
        if found is None:
            raise TrainingRefused(f"run {folder.name} has no checkpoint yet: begin it anew")
        made = resumed(before, _readers(before, root), checkpoint.load(found), order)
        folder = rundir.make(folder.parent, folder.name, resume=True)
        save_order(folder, before, rundir.versions())
        order = msgspec.structs.replace(before, tensorboard=order.tensorboard, wandb=order.wandb, every_s=order.every_s)
    else:
        if not order.sessions:
            raise TrainingRefused("name the sessions to learn from; `toddle sessions list` shows them")
        readers = _readers(order, root)
        start = None if order.start is None else checkpoint.load(find_checkpoint(order.start, runs))
        place = rundir.root(runs)
        name = order.name or rundir.default_name(Path("train"), place)
        order = msgspec.structs.replace(order, name=name)
        if (place / name).exists():
            raise TrainingRefused(f"run {name!r} is there already ({place / name}); take another --name, or go on with it: --resume {name}")
        made = prepare(order, readers, start)
        folder = rundir.make(place, name)
        save_order(folder, order, rundir.versions())
        learned.write(folder, made.spans)
    try:
        return _train(order, made, folder)
    except (ValueError, RuntimeError) as error:
        if not (isinstance(error, TrainingFailed) or (folder / "checkpoints").exists()):
            shutil.rmtree(folder)  # refused at the first step: the name is free again
        raise


def _train(order: Order, made: Made, folder: Path) -> int:
    def warn(text: str) -> None:
        click.echo(f"warning: {text}", err=True)

    journal = Journal(folder / "train.jsonl", asides(folder, folder.name, order.tensorboard, order.wandb, warn), warn)
    try:
        for line in made.said:
            click.echo(line)
            journal.event(line)
        training = Offline(made.learner, made.learned, made.held_out, folder, made.end, journal, made.metadata, order.every_s)
        with _interrupted(training), _progress() as show:
            outcome = training.go(show)
        journal.event(f"ended: {outcome.outcome}, {outcome.detail}", **msgspec.to_builtins(outcome))
    finally:
        journal.close()
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1))
    click.echo(_last_words(outcome, folder))
    return 0


def _last_words(outcome: Outcome, folder: Path) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in outcome.scores.items()) or "nothing was held out to score on"
    more = f"; go on with: toddle train --resume {folder.name}" if outcome.outcome == "stopped" else ""
    return (
        f"{outcome.outcome} ({outcome.detail}): {outcome.samples} samples in {outcome.seconds:.1f} s, {scores}\n"
        f"checkpoint {folder / 'checkpoints' / outcome.checkpoint}{more}"
    )


def _readers(order: Order, root: str | None) -> list[SessionReader]:
    return [open_session(find_session(sessions_root(root), name)) for name in order.sessions]


def _resumed_folder(what: str, runs: str | None) -> Path:
    from launch import rundir

    for folder in (rundir.root(runs) / what, Path(what)):
        if (folder / "run.json").is_file():
            return folder
    raise TrainingRefused(f"there is no run {what!r} in {rundir.root(runs)}")


@contextmanager
def _interrupted(training: Offline) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end the training after its step; a second one ends it at once."""

    def asked(number: int, frame: object) -> None:
        if training.stop.is_set():
            raise KeyboardInterrupt
        training.stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress() -> "Iterator[_Line]":
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    line = _Line()
    if not console.is_terminal:
        yield line
        return
    with Live(Text(""), console=console, refresh_per_second=4, transient=True) as live:
        line.write = lambda text: live.update(Text(text))
        line.every_s = 0.25
        yield line


class _Line:
    """Said now and then: where training stands, and the time left."""

    def __init__(self) -> None:
        self.write = lambda text: click.echo(text)
        self.every_s = LINE_S
        self._next_s = time.monotonic() + 1.0

    def __call__(self, shown: Shown) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self.every_s
        of = f" of {shown.total_samples}" if shown.total_samples > shown.samples else ""
        left = "" if shown.left_s is None else f", {_time(shown.left_s)} left"
        skill = "" if shown.skill is None else f", held-out skill {shown.skill:.3f}"
        self.write(f"{shown.samples}{of} samples, {shown.samples_per_s:.0f}/s, error {shown.loss:.5f}{skill}{left}")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
