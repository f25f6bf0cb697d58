"""Scores of a checkpoint on recorded sessions, beside the baselines; what `toddle evaluate` prints.

A session with a probe is scored against the simulator's truth. Episodes are scored by what really came
next, in three groups: those that the checkpoint's own run held out, those it learned from, whole or in part (said so), and
those it never saw. A replay says in its marks which episodes of which session it played, so an episode is
recognised in the session it came from too; and steps of a split are steps of its session, in the session
and in all its splits. Of a checkpoint that went on from another run's, only the last run is known.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from nodes.trainer.core import cut_probe
from nodes.worlds import model_actions, model_cameras
from storage.books import Episode
from storage.errors import CorruptSession, SessionNotFound
from storage.header import read_header
from storage.loading.frames import Frames
from storage.loading.windows import Windows
from storage.reader import SessionReader
from worldmodel.batch import Batch
from worldmodel.checkpoint import Checkpoint
from worldmodel.evaluate import Scores, score_probe, score_transitions
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ModelSpec

WINDOWS = 512

Group = Literal["held-out episodes", "episodes learned from", "episodes learned from in part", "unseen episodes"]
Origin = tuple[str, int]
"""The session that holds the frames, never a split of it, and an episode's number there."""


class EvaluationError(Exception):
    """A session that this model cannot be scored on. One line: what does not fit."""


class Row(msgspec.Struct, frozen=True):
    """One score: of which session, on what (`probe`, or a group of episodes), on how many cases."""

    session: str
    on: str
    seen_in_training: bool
    cases: int
    scores: Scores


class History(msgspec.Struct, frozen=True):
    """Which steps of which episodes a run learned from and held out."""

    learned: dict[Origin, list[range]] = {}
    held_out: dict[Origin, list[range]] = {}

    def group(self, origin: Origin, steps: range) -> Group:
        """Of an episode, or the part of it that a split holds."""
        learned = list(_shared(self.learned.get(origin, []), steps))
        if learned:
            return "episodes learned from" if steps in learned else "episodes learned from in part"
        return "held-out episodes" if any(_shared(self.held_out.get(origin, []), steps)) else "unseen episodes"


def _shared(known: Iterable[range], steps: range) -> Iterable[range]:
    """What each of the known has of these steps, where it has any."""
    both = (range(max(one.start, steps.start), min(one.stop, steps.stop)) for one in known)
    return (one for one in both if one)


def history_of(reader: SessionReader) -> History:
    """What the run that recorded this session learned from and held out, itself and where it came from."""
    learned: dict[Origin, list[range]] = {}
    held_out: dict[Origin, list[range]] = {}
    rows = {row.episode: row for row in reader.episodes()}
    for message in reader.topic_messages("episode"):
        body, number = message.body, message.envelope.episode
        if body.mark != "start" or number is None or number not in rows:
            continue
        group, steps = held_out if body.held_out else learned, steps_of(rows[number])
        group.setdefault((reader.path.name, number), []).append(steps)
        if body.origin_session and body.origin_episode is not None:  # a replay keeps the numbers of steps
            session = whole(reader.path.with_name(body.origin_session))
            group.setdefault((session, body.origin_episode), []).append(steps)
    return History(learned, held_out)


def steps_of(row: Episode) -> range:
    return range(0) if row.first_step is None or row.last_step is None else range(row.first_step, row.last_step + 1)


def whole(path: Path) -> str:
    """The name of the session at `path`; of a split that of the session that it is of."""
    try:
        return read_header(path).split or path.name
    except (SessionNotFound, CorruptSession):  # gone since
        return path.name


def evaluate(
    checkpoint: Checkpoint, readers: list[SessionReader], history: History, device: str = "auto", windows: int = WINDOWS
) -> list[Row]:
    """Scores on every session, told apart by what the checkpoint's run saw.

    Raises EvaluationError for a session whose cameras or actions the model was not made for.
    """
    predictor = FramePredictor(checkpoint.spec, checkpoint.weights(), device)
    rows: list[Row] = []
    for reader in readers:
        _check_fits(checkpoint.spec, reader)
        name = reader.path.name
        probe = reader.probe()
        if probe is not None:
            cut = cut_probe(probe.arrays, checkpoint.spec.context)
            cases = len(cut.past_actions) * len(cut.candidates)
            rows.append(Row(name, "probe", False, cases, score_probe(predictor, cut)))
        groups: dict[Group, set[int]] = {}
        session = whole(reader.path)
        for row in reader.episodes():
            groups.setdefault(history.group((session, row.episode), steps_of(row)), set()).add(row.episode)
        recorded = Windows(Frames([reader], [camera.name for camera in checkpoint.spec.cameras]), checkpoint.spec.context)
        known = windows_of(recorded, groups.get("episodes learned from", set()), windows)
        for group, episodes in sorted(groups.items()):
            seen = group in ("episodes learned from", "episodes learned from in part")
            batch = known if group == "episodes learned from" else windows_of(recorded, episodes, windows)
            if batch is not None:
                rows.append(Row(name, group, seen, len(batch), score_transitions(predictor, batch)))
    return rows


def windows_of(windows: Windows, episodes: set[int], count: int) -> Batch | None:
    """At most `count` windows, evenly spread over the transitions of these episodes; None when they hold none."""
    picks = windows.choose(held_out=None, episodes=episodes)
    if not len(picks):
        return None
    picks = picks[np.linspace(0, len(picks) - 1, min(count, len(picks))).round().astype(int)]
    batch = windows.empty(len(picks))
    windows.read(picks, batch)
    return Batch(frames=batch.frames, actions=batch.actions)


def _check_fits(spec: ModelSpec, reader: SessionReader) -> None:
    robot = reader.robot
    name = reader.path.name
    if robot is None:
        raise EvaluationError(f"session {name} holds no robot: nothing was recorded in it")
    cameras, actions = model_cameras(robot.cameras), model_actions(robot.actions)
    for what, ours, theirs in (("cameras", spec.cameras, cameras), ("actions", spec.actions, actions)):
        if ours != theirs:
            raise EvaluationError(f"session {name} does not fit this model: its {what} are {theirs}, the model was made for {ours}")
