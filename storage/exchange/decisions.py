"""Makes of a session that has every video frame one that has the frames at which a decision was made.

The discrete-action logs of a recording, or the session itself where toddle recorded it, say at which frame of its
episode each decision was made. A step of the new session is a decision: its frame is that frame exactly, its action
what was decided, and the next step shows what it led to. Where no end of a sequence is told, stays at the end of an
episode are trimmed, the frame they began with is kept as the last one's outcome; an episode of stays alone is left out.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.clock import NS_PER_S
from protocol.messages import ActionSpaceInfo, ActionTaken, Array, CameraInfo, Frame, Message, Metrics, Robot
from storage.books import Episode
from storage.errors import EventNotFound, ImportProblem
from storage.exchange.actionlog import EPISODE, STAY, ActionLog, fitting, read_logs
from storage.exchange.common import ImportReport, Tell, quiet
from storage.exchange.decided import TARGET, decided
from storage.exchange.images import resized
from storage.exchange.imported import check_target
from storage.exchange.intake import Intake, intake
from storage.exchange.original_export import SIDE
from storage.exchange.original_import import NODE, STACKED
from storage.exchange.steps import marks, robot_of
from storage.reader import SessionReader
from storage.views import open_session

KIND = "decisions of a session"
DURATION_S = 0.5
"""Of an action whose log does not tell it."""
WHOLE = 0.8
"""Of its duration a decision has to have had before its episode ended."""
Stack = Literal["vertical", "horizontal", ""]


def import_decisions(
    session: Path, logs: Path | None, target: Path, *, cameras: Sequence[str] = (), stack: Stack = "", strict: bool = True,
    tell: Tell = quiet,
) -> ImportReport:  # fmt: skip
    """Make a session at `target` of the decisions that the logs in `logs`, or it itself, tell of the session at `session`.

    `cameras` are kept, all without it; with `stack` they become one picture, each camera `SIDE` high and wide.
    A frame that is missing is refused when `strict`, else left out. Raises ImportProblem, SessionExists.
    """
    check_target(target, KIND)
    with open_session(session) as reader:
        robot = robot_of(reader)
        pairs, notes = _by_files(reader, logs) if logs else _by_session(reader)
        names = [one.name for one in robot.cameras]
        if wrong := [name for name in cameras if name not in names]:
            raise ImportProblem(f"session {reader.header.name} has no camera {wrong[0]!r}: it has {', '.join(names)}")
        view = _View(list(cameras) or names, stack)
        first = pairs[0][0]
        duration_s = first.number("action_duration") or DURATION_S
        source = {
            "kind": KIND, "path": str(session.resolve()), "action_logs": str(logs.resolve()) if logs else "", "cameras": view.cameras,
            "stack": stack, "source": reader.header.source,
        }  # fmt: skip
        sha = hashlib.sha256(msgspec.json.encode([log for log, _ in pairs])).hexdigest()
        with intake(target, source, run=sha[:12], begin_ns=pairs[0][1].first_t_ns, strict=strict) as taking:
            taking.period_ns = round(duration_s * NS_PER_S)
            for line in notes:
                taking.notes.add(line)
            made = _Maker(reader, taking, view, first, duration_s)
            total = sum(len(log.decisions) for log, _ in pairs)
            for log, row in pairs:
                made.episode(log, row, tell, total)
            for line in made.told():
                taking.notes.add(line)
            return taking.report(1.0 / duration_s, "the logs" if logs else "the session")


Pairs = list[tuple[ActionLog, Episode]]


def _by_files(reader: SessionReader, logs: Path) -> tuple[Pairs, list[str]]:
    """Each episode with its log, and what is to be known of that. Raises ImportProblem."""
    found, episodes = read_logs(logs), reader.episodes()
    fit = fitting(found, len(episodes)) if found else None
    if fit is None:
        raise ImportProblem(
            f"{logs} has {len(found)} logs with decisions, session {reader.header.name} has {len(episodes)} episodes: "
            "they are not of one recording"
        )
    return list(zip(fit[0], episodes, strict=True)), fit[1]


def _by_session(reader: SessionReader) -> tuple[Pairs, list[str]]:
    """The episodes in which somebody decided. Raises ImportProblem when there is none."""
    found, episodes = decided(reader), reader.episodes()
    if not found:
        raise ImportProblem(f"session {reader.header.name} tells of no decisions: give the folder of its discrete-action logs")
    without = len(episodes) - len(found)
    notes = [f"{without} episodes without a decision are left out"] if without else []
    return [(found[row.episode], row) for row in episodes if row.episode in found], notes


class _View:
    """Which cameras are kept, and how."""

    def __init__(self, cameras: list[str], stack: Stack) -> None:
        self.cameras = cameras
        self.stack = stack

    def of(self, frame: Message) -> dict[str, NDArray[np.uint8]]:
        """Name to picture. Raises ValueError when one is missing."""
        images = {name: frame.arrays.get(f"image/{name}") for name in self.cameras}
        there = {name: image for name, image in images.items() if image is not None}
        if len(there) < len(images):
            raise ValueError(f"no picture of {', '.join(name for name in images if name not in there)}")
        if not self.stack:
            return there
        axis = 0 if self.stack == "vertical" else 1
        return {STACKED: np.concatenate([resized(image, SIDE, SIDE) for image in there.values()], axis=axis)}


def _shown(log: ActionLog, row: Episode, least: float) -> list[tuple[str, int, int | None]]:
    """Place for people, video frame and choice of each step; the last one is what the last decision led to, and has no choice.

    A last decision that the episode's end cut short, so that less than `least` frames came after it, is left out.
    """
    decided = list(log.trimmed)
    if not decided or row.first_step is None or row.last_step is None:
        return []
    end = row.last_step - row.first_step
    if len(log.decisions) > len(decided):
        end = log.decisions[len(decided)].frame_index
    elif log.end_frame is not None:
        end = log.end_frame
    elif 0 <= end - decided[-1].frame_index < least:
        end = decided.pop().frame_index
    if not decided:
        return []
    outcome = (f"{log.where} after the last decision", max(end, decided[-1].frame_index + 1), None)
    return [*((one.where, one.frame_index, one.choice) for one in decided), outcome]


class _Once:
    """A frame of an episode by its video index, read when it is first asked for."""

    def __init__(self, reader: SessionReader, view: _View, row: Episode, index: int) -> None:
        self._reader = reader
        self._view = view
        self._row = row
        self._index = index

    @cached_property
    def frame(self) -> Message:
        """Raises ValueError when it is not there."""
        try:
            return self._reader.frame(self._row.episode, (self._row.first_step or 0) + self._index)
        except EventNotFound:
            raise ValueError(f"episode {self._row.episode} has no frame {self._index}") from None

    @cached_property
    def images(self) -> dict[str, NDArray[np.uint8]]:
        return self._view.of(self.frame)

    def picture(self) -> NDArray[np.uint8]:
        return next(iter(self.images.values()))


class _Maker:
    """Writes one episode after the other."""

    def __init__(self, reader: SessionReader, taking: Intake, view: _View, log: ActionLog, duration_s: float) -> None:
        self._still = self._trimmed = self._short = 0
        self._least = WHOLE * duration_s * robot_of(reader).rate_hz
        self._reader = reader
        self._taking = taking
        self._view = view
        self._log = log
        self._duration_s = duration_s
        self._done = 0
        self._marks = marks(reader)

    def told(self) -> list[str]:
        """What is left out."""
        counts = {
            "episodes of stays alone are left out": self._still,
            "stays at the ends of episodes are trimmed": self._trimmed,
            "decisions that the end of their episode cut short are left out": self._short,
        }
        return [f"{count} {what}" for what, count in counts.items() if count]

    def episode(self, log: ActionLog, row: Episode, tell: Tell, total: int) -> None:
        """The decisions of one log, of the episode `row`."""
        shown = _shown(log, row, self._least)
        self._trimmed += len(log.decisions) - len(log.trimmed)
        self._still += not log.trimmed
        self._short += len(log.trimmed) - max(len(shown) - 1, 0)
        begun, t_ns, last = False, 0, 0
        for step, (where, index, choice) in enumerate(shown):
            tell(min(self._done, total), total)
            self._done += 1
            read = _Once(self._reader, self._view, row, index)
            if self._taking.picture(where, read.picture) is None:
                continue
            t_ns, last = read.frame.envelope.t_ns, step
            if not self._taking.frames:
                self._taking.robot(self._robot(read.images), t_ns)
            if not begun:
                self._begin(log, t_ns, step)
                begun = True
            arrays: dict[str, Array] = {f"image/{name}": image for name, image in read.images.items()}
            if "state" in read.frame.arrays:
                arrays["state"] = read.frame.arrays["state"]
            self._taking.send(Frame(last=choice is None), t_ns, step, arrays)
            if choice is not None:
                end_ns = t_ns + round(self._duration_s * NS_PER_S)
                self._taking.send(ActionTaken(action=self._action(choice), by="policy", start_ns=t_ns, end_ns=end_ns), t_ns, step)
        if begun:
            for judged in self._marks.get(row.episode, []):
                if judged.mark.mark in ("success", "failure", "discard"):
                    self._taking.send(judged.mark, t_ns, last)
            self._taking.end(t_ns, last)

    def _begin(self, log: ActionLog, t_ns: int, step: int) -> None:
        self._taking.start(t_ns, step)
        target = log.number(TARGET)
        if target is not None:
            self._taking.send(Metrics(values={TARGET: target}), t_ns, step)

    def _action(self, choice: int) -> dict[str, float]:
        return {"action": float(choice), "duration": 0.0 if choice == STAY else self._duration_s}

    def _robot(self, images: dict[str, NDArray[np.uint8]]) -> Robot:
        told = robot_of(self._reader)
        header = {key: value for key, value in self._log.header.items() if key not in ("type", TARGET, EPISODE)}
        return Robot(
            robot=NODE, driver=told.driver, params={**header, "cameras": self._view.cameras, "stack_mode": self._view.stack or "single"},
            cameras=[CameraInfo(name=name, height=image.shape[0], width=image.shape[1]) for name, image in images.items()],
            actions=ActionSpaceInfo(names=["action", "duration"], choices=[self._action(choice) for choice in (0, 1, 2)]),
            state_names=told.state_names, rate_hz=1.0 / self._duration_s, timing="paced", safe_action=self._action(STAY),
        )  # fmt: skip
