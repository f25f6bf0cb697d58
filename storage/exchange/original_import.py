"""Imports session folders of the original system as one session, an episode a folder.

An observation is a frame, and the action after it is the action of that frame's step. Where episodes were
joined in one folder they are parted again: no step leads from one into the next. A picture, row or action
that is missing leaves a step empty or without an action, never a false step.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from protocol.clock import NS_PER_S
from protocol.messages import Action, ActionSpaceInfo, ActionTaken, Array, CameraInfo, Frame, Metrics, Robot
from storage.errors import ImportProblem
from storage.exchange.actionlog import ActionLog, read_logs
from storage.exchange.common import ImportReport, LeftOut, Notes, Skipped, Tell, checked_fps, nothing, quiet
from storage.exchange.decided import TARGET
from storage.exchange.images import missing_image, read_image
from storage.exchange.imported import check_target
from storage.exchange.intake import Intake, intake
from storage.exchange.joins import find_joins
from storage.exchange.original import EARLIEST_S, META, Folder, Move, Seen, moves, rate_hz, read_folders
from storage.exchange.steps import MarkRow

KIND = "original session folders"
NODE, CAMERA, STACKED = "robot", "front", "stacked"
MANY_CHOICES = 64
"""Actions of no more kinds than this are taken for choices where nothing says which there are."""
NOT_PARAMS = (
    "session_name", "start_time", "end_time", "shard_size", "max_disk_gb", "action_space", "robot_type", "total_shards", "total_steps",
    "combined_episodes", "num_episodes", "episode_index", TARGET,
)  # fmt: skip


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What all folders together say, without their pictures."""

    observations: int
    rate_hz: float
    rate_from: str
    first_ns: int
    choices: list[Action]
    faults: LeftOut
    notes: list[str]
    joins: list[set[int]]
    sha256: str


def import_original(
    path: Path, target: Path, *, action_logs: Path | None = None, episodes_at: Sequence[int] = (), fps: float | None = None,
    strict: bool = True, tell: Tell = quiet,
) -> ImportReport:  # fmt: skip
    """Make a session at `target` of the session folder at `path`, or of all that lie in it, or go on where that was interrupted.

    `action_logs` is the folder of the recording's discrete-action logs: they tell joined episodes apart and where the
    second joint stood. `episodes_at` tells the joins of one folder by hand. What cannot be imported is refused when
    `strict`, else left out and reported. Raises ImportProblem, SessionExists; nothing new is left at `target` then.
    """
    check_target(target, KIND)
    folders, unread = read_folders(path)
    if episodes_at and len(folders) > 1:
        raise ImportProblem(f"--episodes-at counts the observations of one folder, and {path} has {len(folders)}")
    logs = read_logs(action_logs) if action_logs else []
    faults = LeftOut(path)
    for bad in unread:
        faults.add(bad)
    found = _survey(path, folders, faults, logs, episodes_at, checked_fps(fps), tell)
    if strict:
        found.faults.refuse()
    source = {
        "kind": KIND, "path": str(path.resolve()), "folders": len(folders), "observations": found.observations, "rate_hz": found.rate_hz,
        "times": found.rate_from, "episodes_at": sorted(set(episodes_at)), "action_logs": str(action_logs.resolve()) if action_logs else "",
    }  # fmt: skip
    with intake(target, source, run=found.sha256[:12], begin_ns=found.first_ns, strict=strict) as taking:
        taking.period_ns = round(NS_PER_S / found.rate_hz)
        for note in found.notes:
            taking.notes.add(note)
        for bad in unread:
            taking.leave_out(bad)
        importer = _Importer(found, taking, logs, fps)
        done = 0
        for folder, joins in zip(folders, found.joins, strict=True):
            importer.begin_folder(folder)
            for item in moves(folder):
                tell(done, found.observations)
                if isinstance(item, Skipped):
                    taking.leave_out(item)
                    continue
                done += 1
                importer.take(item, joins)
        importer.end()
        return taking.report(found.rate_hz, found.rate_from)


def _survey(
    path: Path, folders: list[Folder], faults: LeftOut, logs: list[ActionLog], episodes_at: Sequence[int], fps: float | None, tell: Tell,
) -> Survey:  # fmt: skip
    """Go through all events once, and add to `faults`. Raises ImportProblem when folders are of several robots, or joins cannot be told."""
    times, notes = array("q"), Notes()
    choices: list[Action] = list(folders[0].choices)
    joins, sha = [], hashlib.sha256()
    count, back = 0, 0
    rates: list[float] = []
    for folder in folders:
        if (folder.robot_type, folder.choices) != (folders[0].robot_type, folders[0].choices):
            raise ImportProblem(f"{folder.path} is of another robot than {folders[0].path}: import them one by one")
        before = len(times)
        for item in moves(folder):
            tell(0, 1)
            if isinstance(item, Skipped):
                faults.add(item)
                continue
            _look_for(item.seen, faults)
            times.append(item.seen.t_ns)
            if item.taken is not None and not (folder.own or folder.choices):
                _add_choice(choices, item.taken.action, folder)
        own = times[before:]
        count += len(own)
        back += sum(b <= a for a, b in pairwise(own))
        rates += [rate] if (rate := rate_hz(own)) else []
        joins.append(find_joins(folder, logs, episodes_at))
        for line in _remarks(folder, len(own)):
            notes.add(line)
        for shard in [folder.path / META, *sorted(folder.path.glob("events_shard_*.jsonl"))]:
            sha.update(shard.read_bytes())
    if not count:
        raise nothing(path, faults)
    exported = folders[0].own.robot.rate_hz if folders[0].own else None
    if times[0] < EARLIEST_S * NS_PER_S:
        notes.add("times count from 0: they were made, not measured")
    if back:
        notes.add(f"{back} observations are not later than the one before; their times are kept as they are")
    if fps is None and exported is None and not rates:
        raise ImportProblem(f"the times in {folders[0].path} stand still: say how fast it was recorded with --fps")
    return Survey(
        observations=count, rate_hz=fps or exported or sorted(rates)[len(rates) // 2],
        rate_from="given" if fps else "as exported" if exported else "its own times", first_ns=max(0, times[0]), choices=choices,
        faults=faults, notes=notes.lines(), joins=joins, sha256=sha.hexdigest(),
    )  # fmt: skip


def _look_for(seen: Seen, faults: LeftOut) -> None:
    """What is wrong with a picture that is there shows when it is decoded."""
    if not seen.image.is_file():
        faults.add(Skipped(where=seen.where, why=missing_image(seen.image)))


def _add_choice(choices: list[Action], action: Action, folder: Folder) -> None:
    """Of a folder that does not say which actions there are. Raises ImportProblem when they are no choices."""
    if action not in choices:
        choices.append(action)
    if len(choices) > MANY_CHOICES:
        raise ImportProblem(f"{folder.path / META} has no action_space, and the actions are of more than {MANY_CHOICES} kinds")


def _remarks(folder: Folder, observations: int) -> Iterator[str]:
    """What the metadata say that the files do not."""
    file = folder.path / META
    if "end_time" not in folder.meta and folder.own is None:
        yield f"{file} has no end_time: the recording was cut off, and up to a shard of events was never written"
    name = folder.meta.get("session_name")
    if name and name != folder.path.name:
        yield f"{file} says session_name {name}, the folder is {folder.path.name}"
    pictures = sum(1 for _ in (folder.path / "frames").glob("*")) if (folder.path / "frames").is_dir() else 0
    if pictures > observations:
        yield f"{folder.path / 'frames'} has {pictures} pictures for {observations} observations: events were lost, or frames left over"


class _Importer:
    """Turns moves into messages."""

    def __init__(self, found: Survey, taking: Intake, logs: list[ActionLog], fps: float | None) -> None:
        self._found = found
        self._taking = taking
        self._logs = logs
        self._moving = [log for log in logs if log.trimmed]
        self._marks: list[MarkRow] = []
        self._fps = fps
        self._begun = 0
        self._folder: Folder | None = None
        self._stands = False
        self._first = self._holes = self._step = self._t_ns = 0

    def begin_folder(self, folder: Folder) -> None:
        """An episode begins with each folder, unless it is a further part of the one that stands."""
        own, before = folder.own, self._folder.own if self._folder else None
        if not (own and before and own.part and (own.session, own.episode) == (before.session, before.episode)):
            self.end()
            self._first = self._holes = 0
        self._folder = folder

    def take(self, move: Move, joins: set[int]) -> None:
        seen = move.seen
        step = seen.own.step if seen.own else seen.count - self._first + self._holes
        joined = seen.count in joins
        image = self._taking.picture(seen.where, lambda: read_image(seen.image))
        if image is not None:
            self._show(move, image, step, last=joined)
        self._holes += move.hole
        if joined:
            self.end()
            self._first, self._holes = seen.count + 1, 0

    def _show(self, move: Move, image: Any, step: int, *, last: bool) -> None:
        folder, seen, taken = self._folder, move.seen, move.taken
        assert folder is not None
        own = seen.own if not self._fps else None
        period_ns = self._taking.period_ns
        t_ns = self._found.first_ns + self._taking.frames * period_ns if self._fps else own.t_ns if own else seen.t_ns
        if not self._taking.frames:
            self._taking.robot(self._robot(folder, image.shape), t_ns, own.mono_ns if own else None)
        if not self._stands:
            self._begin(folder, t_ns, step)
        arrays: dict[str, Array] = {f"image/{_camera(folder)}": image}
        if seen.own and seen.own.state is not None:
            arrays["state"] = np.array(seen.own.state, np.float32)
        body = Frame(held_out=seen.own.held_out, last=seen.own.last) if seen.own else Frame(last=last)
        self._taking.send(body, t_ns, step, arrays, own.mono_ns if own else None)
        self._step, self._t_ns = step, t_ns
        if taken is None or last:
            return
        acted = taken.own if not self._fps else None
        if acted:
            did = ActionTaken(
                action=taken.action, by=acted.by, start_ns=acted.start_ns, end_ns=acted.end_ns, success=acted.success, safe=acted.safe
            )
            self._taking.send(did, acted.t_ns, step, mono_ns=acted.mono_ns)
        else:
            took_ns = round(taken.action.get("duration", 0.0) * NS_PER_S) or period_ns
            acted_ns = t_ns if self._fps else taken.t_ns
            self._taking.send(ActionTaken(action=taken.action, by="recorded", start_ns=acted_ns, end_ns=acted_ns + took_ns), acted_ns, step)

    def _begin(self, folder: Folder, t_ns: int, step: int) -> None:
        self._stands = True
        if folder.own:
            self._taking.episode = folder.own.episode
            self._marks = folder.own.marks
        self._taking.start(t_ns, step, self._marks)
        target = self._secondary_target(folder)
        if target is not None:
            self._taking.send(Metrics(values={TARGET: target}), t_ns, step)
        self._begun += 1

    def _secondary_target(self, folder: Folder) -> float | None:
        """By the metadata; else by the log of this episode: of the n-th of a folder of several, or as `episode_index` says."""
        told = folder.meta.get(TARGET)
        if isinstance(told, int | float):
            return float(told)
        at = folder.meta.get("episode_index")
        logs, at = (self._logs, at) if isinstance(at, int) else (self._moving, self._begun)
        return logs[at].number(TARGET) if 0 <= at < len(logs) else None

    def end(self) -> None:
        """End the episode that stands, if a frame of it came."""
        if self._stands:
            self._taking.end(self._t_ns, self._step, self._marks)
        self._stands, self._marks = False, []

    def _robot(self, folder: Folder, shape: tuple[int, ...]) -> Robot:
        camera = CameraInfo(name=_camera(folder), height=shape[0], width=shape[1])
        if folder.own:
            return msgspec.structs.replace(folder.own.robot, cameras=[camera])
        choices = self._found.choices
        still = min(choices, key=lambda action: sum(abs(value) for name, value in action.items() if name != "duration"), default={})
        return Robot(
            robot=NODE, driver=folder.robot_type, params={key: value for key, value in folder.meta.items() if key not in NOT_PARAMS},
            cameras=[camera], actions=ActionSpaceInfo(names=list(choices[0]) if choices else [], choices=choices),
            rate_hz=self._found.rate_hz, timing="lockstep", safe_action=still,
        )  # fmt: skip


def _camera(folder: Folder) -> str:
    """The name of the one picture that an observation has; several cameras stand in it above or beside each other."""
    names = folder.meta.get("cameras")
    if isinstance(names, list) and len(names) > 1:
        return STACKED
    return str(names[0]) if isinstance(names, list) and names else folder.own.robot.cameras[0].name if folder.own else CAMERA
