"""Scores of a checkpoint on recorded sessions, beside the baselines; what `toddle evaluate` prints.

A session with a probe is scored against the simulator's truth. Episodes are scored by what really came
next: held-out ones by themselves, the others only where the checkpoint's own run did not learn from them,
or said to be seen.
"""

import msgspec

from nodes.trainer.buffer import ReplayBuffer
from nodes.trainer.core import cut_probe
from nodes.worlds import model_actions, model_cameras, to_vector
from storage.reader import SessionReader
from worldmodel.batch import Batch
from worldmodel.checkpoint import Checkpoint
from worldmodel.evaluate import Scores, score_probe, score_transitions
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ModelSpec

CAPACITY_BYTES = 1 << 30
WINDOWS = 512


class EvaluationError(Exception):
    """A session that this model cannot be scored on. One line: what does not fit."""


class Row(msgspec.Struct, frozen=True):
    """One score: of which session, on what (`probe`, `held-out episodes`, `episodes`), on how many cases."""

    session: str
    on: str
    seen_in_training: bool
    cases: int
    scores: Scores


def evaluate(
    checkpoint: Checkpoint, readers: list[SessionReader], own: str | None, device: str = "auto", windows: int = WINDOWS
) -> list[Row]:
    """Scores on every session; `own` names the session that the checkpoint's run recorded while it learned.

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
        held_out = windows_of(reader, checkpoint.spec, held_out=True, count=windows)
        shown = windows_of(reader, checkpoint.spec, held_out=False, count=windows)
        if held_out is not None:
            rows.append(Row(name, "held-out episodes", False, len(held_out), score_transitions(predictor, held_out, shown)))
        if shown is not None:
            rows.append(Row(name, "episodes", name == own, len(shown), score_transitions(predictor, shown)))
    return rows


def windows_of(reader: SessionReader, spec: ModelSpec, *, held_out: bool, count: int) -> Batch | None:
    """Windows spread over the session's episodes of one sort; None when it has none."""
    robot = reader.robot
    assert robot is not None
    size = len(robot.actions.names)
    buffer = ReplayBuffer(spec.cameras, size, spec.context, capacity_bytes=CAPACITY_BYTES)
    wanted = {episode.episode for episode in reader.episodes() if episode.held_out == held_out}
    for message in reader.events(kinds=("frame", "action")):
        episode, step = message.envelope.episode, message.envelope.step
        if episode not in wanted or episode is None or step is None:
            continue
        if message.kind == "frame":
            images = {n.removeprefix("image/"): a for n, a in message.arrays.items() if n.startswith("image/")}
            buffer.add_frame(episode, step, images)
        elif message.body.success:
            buffer.add_action(episode, step, to_vector(message.body.action, robot.actions.names))
    return buffer.spread(count) if len(buffer) else None


def _check_fits(spec: ModelSpec, reader: SessionReader) -> None:
    robot = reader.robot
    name = reader.path.name
    if robot is None:
        raise EvaluationError(f"session {name} holds no robot: nothing was recorded in it")
    cameras, actions = model_cameras(robot.cameras), model_actions(robot.actions)
    for what, ours, theirs in (("cameras", spec.cameras, cameras), ("actions", spec.actions, actions)):
        if ours != theirs:
            raise EvaluationError(f"session {name} does not fit this model: its {what} are {theirs}, the model was made for {ours}")
