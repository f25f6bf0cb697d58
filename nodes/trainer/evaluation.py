"""Scores of a checkpoint on recorded sessions, beside the baselines; what `toddle evaluate` prints.

A session with a probe is scored against the simulator's truth. Episodes are scored by what really came next, in groups: those
that the checkpoint's own run held out, those it learned from, whole or in part (said so), and those it never saw.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from nodes.trainer.core import cut_probe
from nodes.trainer.history import Group, History, steps_of, whole
from nodes.trainer.recorded import Recorded
from nodes.worlds import model_actions, model_cameras
from storage.reader import SessionReader
from worldmodel.checkpoint import Checkpoint
from worldmodel.evaluate import (
    Baselines,
    Marker,
    Probe,
    Scores,
    Uncertainty,
    fit,
    groups_of,
    marker_of,
    probe_spreads,
    score_rollouts,
    score_states,
    score_windows,
    window_spreads,
)
from worldmodel.predictor import FramePredictor
from worldmodel.scores import original
from worldmodel.scores.baselines import spread
from worldmodel.scores.inference import ActionInference
from worldmodel.scores.probe import IntArray
from worldmodel.scores.results import Pixels, RolloutReport, StateReport, WindowReport
from worldmodel.scores.summary import COPY, NEAREST, OPTIMUM, value
from worldmodel.spec import ModelSpec

WINDOWS = 512
ROLLOUTS = 32
HORIZON = 16
SEEN_FRAMES = 256  # that the spread on states learned from is measured on
ROLLOUT_BYTES = 256 << 20
AT_ONCE = 32
LEAST_TO_FIT = 8  # states
FOUND_ITSELF = "these transitions are among those that are searched"

IN_PART: Group = "episodes learned from in part"

Say = Callable[[str], None]


class EvaluationError(Exception):
    """A session that this model cannot be scored on. One line: what does not fit."""


class Row(msgspec.Struct, frozen=True):
    """One set of cases: of which session, on what (`probe`, or a group of episodes), how many, and everything that is known of them.

    scores: the few that a run shows while it learns. losses: the original's, over every transition of the group.
    """

    session: str
    on: str
    seen_in_training: bool
    cases: int
    scores: Scores
    states: StateReport | None = None
    windows: WindowReport | None = None
    rollouts: RolloutReport | None = None
    losses: original.LossFigures | None = None
    missing: dict[str, str] = {}


@dataclass(frozen=True)
class Sample:
    """Where a row's pictures come from: a probe, or transitions of a recording."""

    row: Row
    predictor: FramePredictor
    probe: Probe | None = None
    source: Recorded | None = None
    ids: IntArray | None = None
    long_ids: IntArray | None = None
    horizon: int = 0


@dataclass(frozen=True)
class Settings:
    """How much is looked at; `say` is told what is going on."""

    device: str = "auto"
    windows: int = WINDOWS
    rollouts: int = ROLLOUTS
    seed: int = 0
    say: Say = lambda text: None
    show: Callable[[Sample], None] | None = None


def evaluate(
    checkpoint: Checkpoint, readers: list[SessionReader], history: History, settings: Settings | None = None, twin: Checkpoint | None = None
) -> list[Row]:
    """Scores on every session, told apart by what the checkpoint's run saw.

    Raises EvaluationError for a session whose cameras or actions the model was not made for, or a twin of another kind.
    """
    return list(Evaluation(checkpoint, readers, history, settings or Settings(), twin).rows())


class Evaluation:
    """One checkpoint and what it is scored on."""

    def __init__(
        self, checkpoint: Checkpoint, readers: list[SessionReader], history: History, settings: Settings, twin: Checkpoint | None
    ) -> None:
        self.spec, self.history, self.settings = checkpoint.spec, history, settings
        self.predictor = FramePredictor(checkpoint.spec, checkpoint.weights(), settings.device)
        for reader in readers:
            _check_fits(self.spec, reader)
        cameras = [camera.name for camera in self.spec.cameras]
        self.sources = [Recorded.whole([reader], cameras, self.spec.context) for reader in readers]
        self.groups = [self._groups(source) for source in self.sources]
        self.twin = None if twin is None else self._twin(twin)

    def _twin(self, twin: Checkpoint) -> FramePredictor:
        ours, theirs = self.spec, twin.spec
        if (ours.cameras, ours.actions, ours.context) != (theirs.cameras, theirs.actions, theirs.context):
            raise EvaluationError(
                f"the twin {twin.path} has other cameras, actions or another context than the model: train it with the same"
            )
        if not twin.values.get("config", {}).get("action_blind", False):
            raise EvaluationError(f"the twin {twin.path} was trained with actions: train one with action_blind: true")
        return FramePredictor(theirs, twin.weights(), self.settings.device)

    def rows(self) -> Iterator[Row]:
        self.settings.say("reads what was learned from")
        learned = self._learned_from()
        baselines, inference, seen = Baselines.of(twin=self.twin), None, None
        if learned is not None:
            source, ids = learned
            baselines = Baselines.of(source, ids, self.twin)
            self.settings.say("teaches a network to read actions")
            inference = ActionInference(source, spread(ids, 4 * self.settings.windows), self.spec.actions, self.settings.seed)
            if self.spec.ensemble > 1:
                seen = window_spreads(self.predictor, source, spread(ids, SEEN_FRAMES)).std
        uncertainty = Uncertainty(self.predictor, None, seen) if self.spec.ensemble > 1 else None
        for source, groups in zip(self.sources, self.groups, strict=True):
            probe = source.readers[0].probe()
            cut = None if probe is None else cut_probe(probe.arrays, self.spec.context)
            if cut is not None:
                for sample in self._probe_rows(source, cut, baselines, uncertainty):
                    yield self._show(sample)
            marker = marker_of(cut) if cut is not None and cut.position is not None else None
            for group, part in sorted(groups.items()):
                yield self._show(self._episodes_row(part, group, baselines, inference, uncertainty, marker))

    def _show(self, sample: Sample) -> Row:
        if self.settings.show is not None:
            self.settings.show(sample)
        return sample.row

    def _groups(self, source: Recorded) -> dict[Group, Recorded]:
        """The transitions of a session, by what the run has seen of them."""
        reader, ids = source.readers[0], source.ids()
        session, episode = whole(reader.path), source.episode(ids)
        found: dict[Group, list[IntArray]] = {}
        for row in reader.episodes():
            origin, mine = (session, row.episode), ids[episode == row.episode]
            group = self.history.group(origin, steps_of(row))
            if group == IN_PART:
                for part, inside in self.history.parts(origin, source.step(mine)).items():
                    found.setdefault(part, []).append(mine[inside])
            else:
                found.setdefault(group, []).append(mine)
        joined = {group: np.sort(np.concatenate(parts)) for group, parts in found.items()}
        return {group: source.part(chosen) for group, chosen in joined.items() if len(chosen)}

    def _learned_from(self) -> tuple[Recorded, IntArray] | None:
        """Every transition of these sessions that was learned from: a neighbour may be in any of them."""
        both = zip(self.sources, self.groups, strict=True)
        found = [(source, part) for source, groups in both if (part := groups.get("episodes learned from")) is not None]
        if not found:
            return None
        joined = found[0][1]
        if len(found) > 1:
            readers = [source.readers[0] for source, _ in found]
            starts = np.cumsum([0, *(len(source) for source, _ in found[:-1])])
            chosen = [start + part.ids() for start, (_, part) in zip(starts, found, strict=True)]
            joined = Recorded.whole(readers, [camera.name for camera in self.spec.cameras], self.spec.context).part(np.concatenate(chosen))
        return joined, joined.ids()

    def _probe_rows(self, source: Recorded, probe: Probe, baselines: Baselines, uncertainty: Uncertainty | None) -> Iterator[Sample]:
        """The states of regions that were shown, and those that never were; calibration of these is fitted on the former."""
        if probe.novel is None or not probe.novel.any() or probe.novel.all():
            yield self._probe_row("probe", source, probe, baselines, uncertainty)
            return
        known, novel = (probe.part(np.flatnonzero(probe.novel == which)) for which in (0, 1))
        yield self._probe_row("probe", source, known, baselines, uncertainty)
        if uncertainty is not None and len(known) >= LEAST_TO_FIT:
            said = probe_spreads(self.predictor, known, seed=self.settings.seed)
            uncertainty = Uncertainty(self.predictor, fit(said), said.std)
        yield self._probe_row("probe, novel region", source, novel, baselines, uncertainty)

    def _probe_row(self, on: str, source: Recorded, probe: Probe, baselines: Baselines, uncertainty: Uncertainty | None) -> Sample:
        name = source.readers[0].path.name
        self.settings.say(f"{name}: scores {len(probe)} states of the {on}")
        report = score_states(self.predictor, probe, baselines, seed=self.settings.seed, uncertainty=uncertainty)
        hit = None if report.place is None else value(report.place.hit)
        scores = _scores(report.pixels, value(report.counterfactual.accuracy), hit)
        missing = {"rollouts": "a probe knows one step", "losses": "the original's are of recorded observations"}
        row = Row(name, on, False, report.pixels.cases, scores, states=report, missing=missing)
        return Sample(row, self.predictor, probe=probe)

    def _episodes_row(
        self,
        source: Recorded,
        group: Group,
        baselines: Baselines,
        inference: ActionInference | None,
        uncertainty: Uncertainty | None,
        marker: Marker | None,
    ) -> Sample:
        ids = source.ids()
        name, settings = source.readers[0].path.name, self.settings
        seen = group in ("episodes learned from", IN_PART)
        picked = spread(ids, settings.windows)
        settings.say(f"{name}, {group}: scores {len(picked)} of {len(ids)} transitions")
        fair = replace(baselines, nearest=None) if seen else baselines
        report = score_windows(
            self.predictor, source, picked, self.spec.actions, fair, _blocks(source, picked),
            settings.seed, inference, uncertainty,
        )  # fmt: skip
        if seen and baselines.nearest is not None:
            report.missing[NEAREST] = FOUND_ITSELF
        rollouts, long_ids, horizon, missing = self._rollouts(source, group, marker)
        row = Row(
            name, group, seen, len(picked), _scores(report.pixels, None, None), windows=report, rollouts=rollouts,
            losses=self._losses(source, group, ids), missing=missing,
        )  # fmt: skip
        return Sample(row, self.predictor, source=source, ids=picked, long_ids=long_ids, horizon=horizon)

    def _rollouts(
        self, source: Recorded, group: Group, marker: Marker | None
    ) -> tuple[RolloutReport | None, IntArray | None, int, dict[str, str]]:
        """(scores, where they start, for how many steps, why there are none): as far as episodes are long, and memory bounded."""
        wanted = min(self.settings.rollouts, 1 + ROLLOUT_BYTES // _window_bytes(self.spec, HORIZON)) if self.settings.rollouts else 0
        if not wanted:
            return None, None, 0, {"rollouts": "none was asked for"}
        for horizon in (HORIZON, 8, 4, 2):
            ids = spread(source.ids(horizon), wanted)
            if len(ids):
                self.settings.say(f"{source.readers[0].path.name}, {group}: {len(ids)} rollouts of {horizon} steps")
                batch = source.windows(ids, horizon)
                groups = _blocks(source, ids)
                report = score_rollouts(self.predictor, batch, self.spec.context, marker, groups=groups, seed=self.settings.seed)
                return report, ids, horizon, {}
        return None, None, 0, {"rollouts": "no two transitions follow each other"}

    def _losses(self, source: Recorded, group: Group, ids: IntArray) -> original.LossFigures | None:
        """Over every transition, as the original took it over full sessions."""
        parts = []
        for start in range(0, len(ids), AT_ONCE):
            self.settings.say(f"{source.readers[0].path.name}, {group}: the original's loss, {start} of {len(ids)}")
            batch = source.windows(ids[start : start + AT_ONCE])
            seen = {camera: array[:, :-1] for camera, array in batch.frames.items()}
            predicted = self.predictor.predict_batch(seen, batch.actions[:, :-1], batch.actions[:, -1:])
            parts.append(original.hybrid_loss(predicted, {camera: array[:, -1:] for camera, array in batch.frames.items()}))
        hybrid, plain = (np.concatenate(both) for both in zip(*parts, strict=True))
        return original.loss_figures(hybrid, plain)


def _blocks(source: Recorded, ids: IntArray) -> IntArray:
    """What is drawn together by the bootstrap: episodes, or their seconds where they are few."""
    robot = source.readers[0].robot
    rate_hz = max(robot.rate_hz if robot else 1.0, 1e-3)
    return groups_of(source.episode(ids), (source.step(ids) / rate_hz).astype(np.int64))


def _scores(pixels: Pixels, accuracy: float | None, hit: float | None) -> Scores:
    """What a run shows while it learns, of the full report."""
    copied, optimum, nearest = (pixels.over(name) for name in (COPY, OPTIMUM, NEAREST))
    assert copied is not None
    return Scores(
        cf_accuracy=accuracy,
        hit_at_3px=hit,
        skill_copy_last=value(copied.skill),
        skill_action_blind=None if optimum is None else value(optimum.skill),
        prediction_error=pixels.mse,
        copy_last_error=copied.mse,
        skill_nearest_neighbour=None if nearest is None else value(nearest.skill),
        nearest_neighbour_error=None if nearest is None else nearest.mse,
    )


def _window_bytes(spec: ModelSpec, horizon: int) -> int:
    return (spec.context + horizon) * sum(camera.height * camera.width * 3 for camera in spec.cameras)


def _check_fits(spec: ModelSpec, reader: SessionReader) -> None:
    robot = reader.robot
    name = reader.path.name
    if robot is None:
        raise EvaluationError(f"session {name} holds no robot: nothing was recorded in it")
    cameras, actions = model_cameras(robot.cameras), model_actions(robot.actions)
    ours: Any
    for what, ours, theirs in (("cameras", spec.cameras, cameras), ("actions", spec.actions, actions)):
        if ours != theirs:
            raise EvaluationError(f"session {name} does not fit this model: its {what} are {theirs}, the model was made for {ours}")
