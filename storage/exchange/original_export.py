"""Writes a session as folders of the original system, one an episode.

The original system pairs observations and actions by their order. So a folder ends where a step is missing
or has no action, and the rest of that episode is a further folder: nothing is taken for neighbours that was
not. Under the key `toddle` stands what the format has no place for; the original system does not look at it.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import Action, Metrics, Robot
from storage.errors import ExportProblem
from storage.exchange.common import ExportReport, LeftOut, Notes, Tell, appearing, quiet
from storage.exchange.decided import TARGET
from storage.exchange.images import resized, write_jpeg
from storage.exchange.original import META, OWN, OwnFolder, OwnSeen, OwnTaken
from storage.exchange.steps import MarkRow, Step, bad_action, marks, not_exported, robot_of, steps
from storage.reader import SessionReader
from storage.views import open_session

SHARD_EVENTS = 1000
SIDE = 224
"""Of several cameras each is made this high and wide, and they are stacked: two are 448x224."""


def export_original(session: Path, target: Path, *, strict: bool = True, tell: Tell = quiet) -> ExportReport:
    """Write the session at `session` as folders in `target`.

    Actions that are no numbers are refused when `strict`, else left out. Raises ExportProblem; nothing is
    left at `target` then.
    """
    notes, left_out, count = Notes(), LeftOut(session, strict=strict, kind=ExportProblem), 0
    episodes: set[int] = set()
    with open_session(session) as reader, appearing(target) as part:
        robot = robot_of(reader)
        if not robot.actions.discrete:
            notes.add("continuous actions: the original system chooses from a list, and action_space is empty")
        rows, targets = marks(reader), secondary_targets(reader)
        part.mkdir(parents=True)
        folder: _Folder | None = None
        for step in steps(reader, notes, tell):
            if not step.images:
                notes.add(f"{step.where} has no picture: it is left out")
                continue
            if folder is None or not folder.goes_on_with(step):
                further = folder.part + 1 if folder and folder.episode == step.episode else 0
                if folder is not None:
                    folder.close()
                folder = _Folder(part, reader.header.name, robot, step, further, rows.get(step.episode, []), targets.get(step.episode))
            action: Action | None = step.taken.action if step.taken else None
            if bad := bad_action(step):
                left_out.add(bad)
                action = None
            folder.add(step, action)
            episodes.add(step.episode)
            count += 1
        if folder is None:
            raise ExportProblem(f"session {reader.header.name} has no step with a picture: nothing to export")
        folder.close()
        kinds = ["robot", "frame", "action", "episode", *(["metrics"] if targets else [])]
        for line in not_exported(reader, *(f"{kind}/{robot.robot}" for kind in kinds)):
            notes.add(line)
    return ExportReport(path=str(target), episodes=len(episodes), frames=count, skipped=left_out.told(), notes=notes.lines())


def secondary_targets(reader: SessionReader) -> dict[int, float]:
    """Where the second joint stood in each episode that tells it."""
    told = reader.topic_messages("metrics")
    return {
        message.envelope.episode: message.body.values[TARGET] for message in told
        if isinstance(message.body, Metrics) and TARGET in message.body.values and message.envelope.episode is not None
    }  # fmt: skip


def one_picture(images: dict[str, NDArray[np.uint8]], robot: Robot) -> NDArray[np.uint8]:
    """The picture of one camera as it is; of several stacked in the robot's order, each `SIDE` high and wide."""
    if len(robot.cameras) == 1:
        return next(iter(images.values()))
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    return np.concatenate([resized(images[one.name], SIDE, SIDE) if one.name in images else blank for one in robot.cameras])


class _Folder:
    """One session folder, an event at a time."""

    def __init__(self, root: Path, session: str, robot: Robot, first: Step, part: int, rows: list[MarkRow], target: float | None) -> None:
        self.episode, self.part = first.episode, part
        name = f"session_{session}_ep{first.episode:06d}" + (f"_part{part:06d}" if part else "")
        self._path = root / name
        (self._path / "frames").mkdir(parents=True)
        self._robot = robot
        self._own = OwnFolder(session=session, episode=first.episode, part=part, robot=robot, marks=[] if part else rows)
        self._target = target
        self._events = 0
        self._next = first.step
        self._first_ns = self._last_ns = first.frame.envelope.t_ns

    def goes_on_with(self, step: Step) -> bool:
        """Whether this step follows the last one here, whose action led to it."""
        return step.episode == self.episode and step.step == self._next

    def add(self, step: Step, action: Action | None) -> None:
        envelope, state = step.frame.envelope, step.state
        own = OwnSeen(
            step=step.step, t_ns=envelope.t_ns, mono_ns=envelope.mono_ns, held_out=step.seen.held_out, last=step.seen.last,
            state=None if state is None else [float(value) for value in state],
        )  # fmt: skip
        file = f"frames/frame_{self._events:06d}.jpg"
        write_jpeg(self._path / file, one_picture(step.images, self._robot))
        self._event("observation", {"frame_path": file}, envelope.t_ns, own)
        self._next = -1
        if action is not None and step.action is not None and step.taken is not None:
            envelope, taken = step.action.envelope, step.taken
            acted = OwnTaken(
                t_ns=envelope.t_ns, mono_ns=envelope.mono_ns, by=taken.by, start_ns=taken.start_ns, end_ns=taken.end_ns,
                success=taken.success, safe=taken.safe,
            )  # fmt: skip
            self._event("action", plain(action), taken.start_ns, acted)
            self._next = step.step + 1

    def _event(self, kind: str, data: dict[str, Any], t_ns: int, own: OwnSeen | OwnTaken) -> None:
        event = {"step": self._events, "type": kind, "data": data, "timestamp": t_ns / 1e9, OWN: msgspec.to_builtins(own)}
        with (self._path / f"events_shard_{self._events // SHARD_EVENTS:03d}.jsonl").open("a", encoding="utf-8") as shard:
            shard.write(json.dumps(event) + "\n")
        self._events += 1
        self._last_ns = max(self._last_ns, t_ns)

    def close(self) -> None:
        """Write the metadata, as a finished recording has them."""
        robot = self._robot
        cameras = [one.name for one in robot.cameras]
        meta = {
            **robot.params, "session_name": self._path.name, "start_time": _iso(self._first_ns), "end_time": _iso(self._last_ns),
            "shard_size": SHARD_EVENTS, "max_disk_gb": 10.0, "robot_type": robot.driver, "cameras": cameras,
            "action_space": [plain(choice) for choice in robot.actions.choices], "total_steps": self._events,
            "total_shards": -(-self._events // SHARD_EVENTS), OWN: msgspec.to_builtins(self._own),
        }  # fmt: skip
        if len(cameras) > 1:
            meta["stack_mode"] = "vertical"
        if self._target is not None:
            meta[TARGET] = self._target
        (self._path / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def plain(action: Action) -> dict[str, float | int]:
    """Whole numbers as integers: so the original system writes them."""
    return {name: int(value) if value == int(value) else value for name, value in action.items()}


def _iso(t_ns: int) -> str:
    return datetime.datetime.fromtimestamp(t_ns / 1e9, datetime.UTC).isoformat()
