"""Scores of a checkpoint on recorded sessions, beside the baselines; what `toddle evaluate` prints.

A session with a probe is scored against the simulator's truth. Episodes are scored by what really came
next, in three groups: those that the checkpoint's own run held out, those it learned from (said so), and
those it never saw. A replay says in its marks which episodes of which session it played, so an episode is
recognised in the session it came from too. Of a checkpoint that went on from another run's, only the last
run is known.
"""

from typing import Literal

import msgspec
import numpy as np

from nodes.trainer.core import cut_probe
from nodes.worlds import model_actions, model_cameras
from storage.frames import Frames
from storage.reader import SessionReader
from storage.windows import Windows
from worldmodel.batch import Batch
from worldmodel.checkpoint import Checkpoint
from worldmodel.evaluate import Scores, score_probe, score_transitions
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ModelSpec

WINDOWS = 512

Group = Literal["held-out episodes", "episodes learned from", "unseen episodes"]
Origin = tuple[str, int]


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
    """What a run did with episodes, by session and number."""

    learned: frozenset[Origin] = frozenset()
    held_out: frozenset[Origin] = frozenset()

    def group(self, origin: Origin) -> Group:
        if origin in self.held_out:
            return "held-out episodes"
        return "episodes learned from" if origin in self.learned else "unseen episodes"


def history_of(reader: SessionReader) -> History:
    """What the run that recorded this session learned from and held out, itself and where it came from."""
    learned: set[Origin] = set()
    held_out: set[Origin] = set()
    for message in reader.topic_messages("episode"):
        body, number = message.body, message.envelope.episode
        if body.mark != "start" or number is None:
            continue
        group = held_out if body.held_out else learned
        group.add((reader.path.name, number))
        if body.origin_session and body.origin_episode is not None:
            group.add((body.origin_session, body.origin_episode))
    return History(frozenset(learned - held_out), frozenset(held_out))


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
        for episode in reader.episodes():
            groups.setdefault(history.group((name, episode.episode)), set()).add(episode.episode)
        recorded = Windows(Frames([reader], [camera.name for camera in checkpoint.spec.cameras]), checkpoint.spec.context)
        known = windows_of(recorded, groups.get("episodes learned from", set()), windows)
        for group, episodes in sorted(groups.items()):
            seen = group == "episodes learned from"
            batch = known if seen else windows_of(recorded, episodes, windows)
            if batch is not None:
                rows.append(Row(name, group, seen, len(batch), score_transitions(predictor, batch, None if seen else known)))
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
