"""Goes through a session step by step, for exports: a frame, the action after it, the marks of its episode.

with SessionReader(path) as reader:
    for step in steps(reader):
        ...                       # one step in memory at a time
"""

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import ActionTaken, EpisodeMark, Frame, LogRecord, Message, Robot
from storage.errors import ExportProblem
from storage.exchange.common import Notes, Skipped, Tell, quiet
from storage.reader import SessionReader
from storage.record import Event

IMAGE = "image/"
TASK = "task"
"""The logger of the messages that say which task is at hand, in words."""


class MarkRow(msgspec.Struct, frozen=True, kw_only=True):
    """A mark of an episode as it goes along with an export."""

    mark: EpisodeMark
    step: int | None
    t_ns: int
    mono_ns: int | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an episode. `where` names session, episode and step for people."""

    where: str
    episode: int
    step: int
    frame: Message
    action: Message | None

    @property
    def seen(self) -> Frame:
        body = self.frame.body
        assert isinstance(body, Frame)
        return body

    @property
    def taken(self) -> ActionTaken | None:
        body = self.action.body if self.action else None
        return body if isinstance(body, ActionTaken) else None

    @property
    def images(self) -> dict[str, NDArray[np.uint8]]:
        """Camera to picture [H, W, 3]."""
        return {name.removeprefix(IMAGE): array for name, array in self.frame.arrays.items() if name.startswith(IMAGE)}

    @property
    def state(self) -> NDArray[np.float32] | None:
        return self.frame.arrays.get("state")


def robot_of(reader: SessionReader) -> Robot:
    """The robot whose steps are exported. Raises ExportProblem when the session has none."""
    if reader.robot is None:
        raise ExportProblem(f"session {reader.header.name} has no robot, and so no steps to export")
    return reader.robot


def steps(reader: SessionReader, notes: Notes | None = None, tell: Tell = quiet) -> Iterator[Step]:
    """Every step of the robot that has a frame, in order; a step that is shown again counts once, as it was first.

    What belongs to no step or lacks its frame goes to `notes`. `tell` hears how many steps went by, of at most how many.
    """
    total = sum(row.frames for row in reader.episodes())
    for done, step in enumerate(_steps(reader, notes or Notes())):
        tell(done, total)
        yield step


def _steps(reader: SessionReader, notes: Notes) -> Iterator[Step]:
    name, node = reader.header.name, robot_of(reader).robot
    frame: Event | None = None
    action: Message | None = None
    for event in reader.numbered(kinds=["frame", "action"]):
        message = event.message
        envelope = message.envelope
        if envelope.topic.partition("/")[2] != node:
            continue
        if envelope.episode is None or envelope.step is None:
            notes.add(f"{name} event {event.number}: {message.kind} of no episode or step")
            continue
        same = frame is not None and _place(frame.message) == _place(message)
        if message.kind == "action":
            if same and action is None:
                action = message
            elif not same:
                notes.add(f"{name} episode {envelope.episode} step {envelope.step}: an action without its frame")
        elif not same:
            if frame is not None:
                yield _step(name, frame, action, notes)
            frame, action = event, None
    if frame is not None:
        yield _step(name, frame, action, notes)


def _place(message: Message) -> tuple[int | None, int | None]:
    return message.envelope.episode, message.envelope.step


def _step(name: str, event: Event, action: Message | None, notes: Notes) -> Step:
    episode, step = _place(event.message)
    assert episode is not None and step is not None
    where = f"{name} episode {episode} step {step}"
    if event.left_out:
        notes.add(f"{where}: {', '.join(event.left_out)} was not recorded")
    return Step(where=where, episode=episode, step=step, frame=event.message, action=action)


def marks(reader: SessionReader) -> dict[int, list[MarkRow]]:
    """The marks of each episode, in order."""
    found: dict[int, list[MarkRow]] = {}
    node = robot_of(reader).robot
    for message in reader.topic_messages("episode"):
        envelope, body = message.envelope, message.body
        if isinstance(body, EpisodeMark) and envelope.episode is not None and envelope.topic.partition("/")[2] == node:
            row = MarkRow(mark=body, step=envelope.step, t_ns=envelope.t_ns, mono_ns=envelope.mono_ns)
            found.setdefault(envelope.episode, []).append(row)
    return found


def tasks(reader: SessionReader) -> dict[tuple[int, int], str]:
    """By episode and step, where another task begins."""
    found: dict[tuple[int, int], str] = {}
    for message in reader.topic_messages("log"):
        envelope, body = message.envelope, message.body
        if isinstance(body, LogRecord) and body.logger == TASK and envelope.episode is not None and envelope.step is not None:
            found[envelope.episode, envelope.step] = body.text
    return found


def not_exported(reader: SessionReader, *topics: str) -> list[str]:
    """A line about the messages of all topics but these, where there are any."""
    others = [f"{row.count} of {topic}" for topic, row in reader.info().topics.items() if topic not in topics]
    return [f"messages that are not exported: {', '.join(others)}"] if others else []


def bad_action(step: Step) -> Skipped | None:
    """What is wrong with the action's numbers; None when nothing is."""
    action = step.taken.action if step.taken else {}
    wrong = [f"{name} is {value}" for name, value in action.items() if not np.isfinite(value)]
    return Skipped(where=step.where, why=", ".join(wrong)) if wrong else None
