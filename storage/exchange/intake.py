"""Writes a recording of another system as a session, message for message as a live run would have recorded it.

    with intake(target, source, run="3f2a", begin_ns=0, strict=True) as taking:
        for item in items:                                  # all of them, in an order that never changes
            image = taking.picture(item.where, item.read)
            if image is not None:
                taking.send(Frame(), item.t_ns, item.step, {"image/front": image})

What was interrupted goes on where it ended: every message has its number, those that are there are not
written again, and their pictures are not read again. What is left out is a log message in the session, in
its place; so a session that was killed in the middle knows it too.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.clock import NS_PER_S
from protocol.messages import ActionTaken, Array, Body, Envelope, EpisodeMark, Frame, LogRecord, Message, Metrics, Robot
from storage.exchange.behind import Behind
from storage.exchange.common import ImportReport, LeftOut, Notes, Skipped, nothing
from storage.exchange.imported import imported
from storage.exchange.steps import MarkRow
from storage.reader import SessionReader

IMPORTER = "import"
"""The source of what the importer itself says."""
LEFT_OUT = "left out "
TOPICS: dict[type[Body], str] = {
    Robot: "robot", Frame: "frame", ActionTaken: "action", EpisodeMark: "episode", Metrics: "metrics", LogRecord: "log",
}  # fmt: skip


class Intake:
    """Numbers, times and writes the messages. Made by `intake`."""

    def __init__(self, behind: Behind, run: str, begin_ns: int, left_out: LeftOut, before: deque[str], notes: Notes) -> None:
        self.frames = 0
        self.episodes = 0
        """Those that ended."""
        self.episode = 0
        """The number of the one that stands, or comes next."""
        self.notes = notes
        self.period_ns = NS_PER_S
        """How far apart two frames stand whose times say nothing."""
        self._behind = behind
        self._writer = writer = behind.writer
        self._run = run
        self._left_out = left_out
        self._before = before
        self._seq: dict[str, int] = {}
        self._shape: tuple[int, ...] | None = None
        self._node = "robot"
        self._t_ns = begin_ns
        self._mono_ns = 0
        node = writer.robot.robot if writer.robot else self._node
        self.resumed_at = writer.last_seq(f"frame/{node}", run) + 1

    def picture(self, where: str, read: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
        """[H, W, 3] as `read` gives it, all of one size; None when it is left out: ValueError of `read` says why.

        Of a frame that is there already a black one: `send` does not write it again.
        """
        before = self.left_out_before(where)
        if before is not None:
            self.leave_out(Skipped(where=where, why=before))
            return None
        if self.there:
            return np.zeros(self._shape_there(), np.uint8)
        try:
            image = read()
            self._shape = self._shape or image.shape
            if image.shape != self._shape:
                was, first = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, self._shape))
                raise ValueError(f"the picture is {was}, the first one is {first}")
        except ValueError as error:
            self.leave_out(Skipped(where=where, why=str(error)))
            return None
        return image

    def _shape_there(self) -> tuple[int, ...]:
        if self._shape is None:
            robot = self._writer.robot
            assert robot is not None  # frames are there, and the robot's message before them
            self._shape = (robot.cameras[0].height, robot.cameras[0].width, 3)
        return self._shape

    @property
    def there(self) -> bool:
        """Whether the next frame is in the session already: it need not be read again."""
        return self.frames < self.resumed_at

    def left_out_before(self, where: str) -> str | None:
        """Why the interrupted import left out what comes next; None when that is not what stands at `where`."""
        start = f"{LEFT_OUT}{where}: "
        return self._before[0].removeprefix(start) if self._before and self._before[0].startswith(start) else None

    def leave_out(self, bad: Skipped) -> None:
        """List what is not imported, in the session too. Raises ImportProblem when everything is wanted."""
        self._left_out.add(bad)
        text = f"{LEFT_OUT}{bad}"
        if self._before and self._before[0] == text:
            self._before.popleft()
        record = LogRecord(level="WARNING", logger=IMPORTER, text=text)
        self._send(f"log/{IMPORTER}", IMPORTER, record, self._t_ns, self._mono_ns)

    def robot(self, robot: Robot, t_ns: int, mono_ns: int | None = None) -> None:
        """The first message."""
        self._node = robot.robot
        self.send(robot, t_ns, mono_ns=mono_ns)

    def start(self, t_ns: int, step: int, marks: Sequence[MarkRow] = ()) -> None:
        """Begin an episode, with the marks that it began with where they are known."""
        for row in [row for row in marks if row.mark.mark == "start"] or [
            MarkRow(mark=EpisodeMark(mark="start", reason=IMPORTER), step=step, t_ns=t_ns)
        ]:
            self._mark(row)

    def end(self, t_ns: int, step: int, marks: Sequence[MarkRow] = ()) -> None:
        """End it, with all marks that it had besides."""
        for row in marks:
            if row.mark.mark != "start":
                self._mark(row)
        if not marks:
            self._mark(MarkRow(mark=EpisodeMark(mark="end", reason=IMPORTER), step=step, t_ns=t_ns))
        self.episodes += 1
        self.episode += 1

    def _mark(self, row: MarkRow) -> None:
        self.send(row.mark, row.t_ns, row.step, mono_ns=row.mono_ns)

    def send(
        self, body: Body, t_ns: int, step: int | None = None, arrays: dict[str, Array] | None = None, mono_ns: int | None = None
    ) -> None:
        """A message of the robot in the episode that stands; `mono_ns` is made of the wall clock where it is not known."""
        kind = TOPICS[type(body)]
        episode = None if kind == "robot" else self.episode
        self._send(f"{kind}/{self._node}", self._node, body, t_ns, self._monotonic(t_ns, mono_ns), episode, step, arrays)
        self.frames += kind == "frame"

    def _send(
        self, topic: str, source: str, body: Body, t_ns: int, mono_ns: int, episode: int | None = None, step: int | None = None,
        arrays: dict[str, Array] | None = None,
    ) -> None:  # fmt: skip
        seq = self._seq[topic] = self._seq.get(topic, -1) + 1
        if seq <= self._writer.last_seq(topic, self._run):
            return
        envelope = Envelope(
            topic=topic, source=source, run=self._run, seq=seq, t_ns=t_ns, mono_ns=mono_ns,
            session=self._writer.name, episode=episode, step=step,
        )  # fmt: skip
        self._behind.append(Message(envelope=envelope, body=body, arrays=arrays or {}))

    def _monotonic(self, t_ns: int, mono_ns: int | None) -> int:
        """A clock that never goes back: where the wall clock does, a frame's period goes by."""
        if mono_ns is None:
            gone = t_ns - self._t_ns
            mono_ns = self._mono_ns + (gone if gone >= 0 else self.period_ns)
        self._t_ns, self._mono_ns = t_ns, mono_ns
        return mono_ns

    def report(self, rate_hz: float, rate_from: str) -> ImportReport:
        return ImportReport(
            session=self._writer.name, episodes=self.episodes, frames=self.frames, rate_hz=rate_hz, rate_from=rate_from,
            skipped=self._left_out.told(), notes=self.notes.lines(), resumed_at=self.resumed_at,
        )  # fmt: skip


@contextmanager
def intake(target: Path, source: dict[str, Any], *, run: str, begin_ns: int, strict: bool) -> Iterator[Intake]:
    """The intake of a session that is begun or gone on with, see `imported`. `run` tells contents apart; times count from `begin_ns`."""
    left_out, before, notes = LeftOut(source["path"], strict=strict), _left_out_before(target), Notes()
    with imported(target, {**source, "run": run}, left_out, notes) as writer, Behind(writer) as behind:
        taking = Intake(behind, run, begin_ns, left_out, before, notes)
        yield taking
        if not taking.frames:
            raise nothing(source["path"], left_out)


def _left_out_before(target: Path) -> deque[str]:
    """What an import that was interrupted left out so far, in order."""
    if not target.exists():
        return deque()
    with SessionReader(target) as reader:
        return deque(message.body.text for message in reader.topic_messages("log") if message.envelope.source == IMPORTER)
