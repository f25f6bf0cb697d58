"""The terminal: one writer draws a table of nodes and one line of progress; plain lines without a TTY."""

from collections.abc import Iterator
from contextlib import suppress

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from launch.board import Board, Line, NodeView
from launch.keys import HELP, Keys

DRAW_EVERY_S = 0.25
PLAIN_EVERY_S = 5.0
_COLOURS = {
    "running": "green", "ready": "cyan", "starting": "yellow", "restarting": "yellow", "paused": "magenta",
    "hung": "bold red", "silent": "red",
    "failed": "bold red", "stopped": "dim", "waiting": "dim", "stopping": "yellow",
    "ALARM": "bold red", "ERROR": "red", "CRITICAL": "bold red", "WARNING": "yellow", "OVER": "green",
}  # fmt: skip
_COLUMNS = ("node", "state", "rate Hz", "age s", "skipped", "lost", "CPU %", "MB")
_WIDTHS = (10, 10, 7, 5, 8, 5, 5, 5)
_AT_REST = ("stopped", "failed", "waiting", "restarting")


class Terminal(Console):
    """A console whose reader may go away: the run goes on and ends in order all the same."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class PlainScreen:
    """For pipes and files: what happens as it happens, and a line of progress every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0
        self._phase = ""

    def update(self, board: Board, now_s: float) -> None:
        if now_s < self._next_s and board.phase == self._phase:
            return
        self._next_s, self._phase = now_s + PLAIN_EVERY_S, board.phase
        states = ", ".join(_short(view) for view in board.nodes.values())
        self._write(f"{progress(board, now_s)} | {states}")

    def say(self, line: Line) -> None:
        self._write(f"{line.level}: {line.text}" if line.level != "INFO" else line.text)

    def read_keys(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing to give back."""

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._console.print(clean(text), markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """For a terminal: the table stays at the bottom, lines pass above it."""

    def __init__(self, console: Console, keys: Keys) -> None:
        self._console, self._keys = console, keys
        self._next_s = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def update(self, board: Board, now_s: float) -> None:
        if now_s < self._next_s and board.phase != "done":
            return
        self._next_s = now_s + DRAW_EVERY_S
        with suppress(OSError):  # the terminal may be gone before the run is
            self._live.update(picture(board, now_s, self._keys.active), refresh=True)

    def say(self, line: Line) -> None:
        text = Text(clean(line.text))
        if line.level != "INFO":
            text = Text.assemble((f"{line.level} ", _COLOURS.get(line.level, "")), text)
        with suppress(OSError):
            self._console.print(text)

    def read_keys(self) -> str:
        return self._keys.read()

    def close(self) -> None:
        """Leave the last picture, and the terminal as it was. Idempotent."""
        self._keys.close()
        with suppress(OSError):
            self._live.stop()


def open_screen(console: Console) -> PlainScreen | LiveScreen:
    """The screen that suits where the output goes."""
    return LiveScreen(console, Keys()) if console.is_terminal else PlainScreen(console)


def picture(board: Board, now_s: float, keys: bool) -> Group:
    """The table and the lines below it: a pure function of the board."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if index < 2 else "right", no_wrap=True, min_width=_WIDTHS[index])
    for view in board.nodes.values():
        table.add_row(*_row(view, now_s))
    lines = [Text(progress(board, now_s))]
    lines += [Text(clean(text), style="bold magenta") for text in questions(board)]
    if keys:
        lines.append(Text(HELP, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(table, *lines)


def _row(view: NodeView, now_s: float) -> Iterator[Text]:
    rests = view.state in _AT_REST
    age = None if rests else view.age_s(now_s)
    yield Text(f"{view.name} on {view.away}" if view.away else view.name)
    yield Text(view.word, style=_COLOURS.get(view.word, ""))
    yield Text("" if rests or view.rate_hz is None else f"{view.rate_hz:.1f}")
    yield Text("" if age is None else f"{age:.1f}", style="red" if age is not None and age > 5 else "")
    yield Text(f"{view.skipped:,}")
    yield Text(f"{view.lost:,}", style="bold red" if view.lost else "")
    yield Text("" if rests or view.away else f"{view.cpu:.0f}")
    yield Text("" if rests or view.away else f"{view.memory_mb:.0f}")


def progress(board: Board, now_s: float) -> str:
    """Steps, samples per second, error, skill over copy-last, time left."""
    seconds = board.seconds(now_s)
    trainer, predictor = board.metrics_of("trainer"), board.metrics_of("predictor")
    parts = [f"{board.phase} {clock(seconds)}", f"steps {board.steps:,}"]
    if (speed := trainer.get("samples_per_s")) is not None:
        parts.append(f"{speed:,.0f} samples/s")
    error = trainer.get("prediction_error", predictor.get("live_mse"))
    if error is not None:
        parts.append(f"error {error:.3g}")
    if (skill := trainer.get("skill_copy_last")) is not None:
        parts.append(f"skill over copy-last {skill:.2f}")
    if board.time_limit_s and board.phase == "running":
        parts.append(f"{clock(max(board.time_limit_s - seconds, 0))} left")
    if refused := sum(value for name, value in board.metrics_of("robot").items() if name.startswith("refused_")):
        parts.append(f"{refused:,.0f} commands refused")
    if board.committed is not None:
        parts.append(f"{board.committed.events:,} events kept")
    return " | ".join(parts)


def questions(board: Board) -> list[str]:
    """What a node asks of a person now."""
    views = [*board.of_kind("predictor"), *board.of_kind("robot")]
    return [f"{v.name}: {v.status.detail}" for v in views if v.status and v.status.detail and v.state in ("running", "paused")]


def colour(word: str) -> str:
    """The style of a state or a level."""
    return _COLOURS.get(word, "")


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def clean(text: str) -> str:
    """Without characters that move a terminal's cursor: logs may hold anything."""
    return "".join(char if char.isprintable() else " " for char in text)[:2000]


def _short(view: NodeView) -> str:
    rate = "" if view.state in _AT_REST or view.rate_hz is None else f" {view.rate_hz:.1f} Hz"
    lost = f" LOST {view.lost}" if view.lost else ""
    return f"{view.name} {view.word}{rate}{lost}"
