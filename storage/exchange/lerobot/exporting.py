"""Exports a session as a LeRobot v3.0 dataset, through lerobot's own writer.

LeRobot's rows have no holes: where a step is missing an episode is cut in two, so that no transition is made up. What
LeRobot has no place for stands in meta/toddle.json, and an import brings it back.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from protocol.messages import Metrics
from storage.errors import ExportProblem
from storage.exchange.common import ExportReport, LeftOut, Notes, Skipped, Tell, appearing, quiet
from storage.exchange.decided import FOLDER, decided, write_logs
from storage.exchange.lerobot.encoding import Encoding
from storage.exchange.lerobot.features import Features
from storage.exchange.lerobot.installed import first_line, lerobot_module
from storage.exchange.lerobot.own import Own, OwnEpisode, write_own
from storage.exchange.lerobot.video import pyav
from storage.exchange.steps import Step, marks, not_exported, robot_of, steps, tasks
from storage.reader import SessionReader
from storage.views import open_session

Codec = Literal["av1", "h264"]
ENCODERS: dict[Codec, str] = {"av1": "libsvtav1", "h264": "h264"}


def export_lerobot(
    session: Path, target: Path, *, repo_id: str = "", codec: Codec = "av1", pictures: bool = False, task: str = "", strict: bool = True,
    tell: Tell = quiet,
) -> ExportReport:  # fmt: skip
    """Write the session as a dataset in the folder `target`; nothing is left there when it fails.

    `pictures` keeps frames as PNG in the data files, bit for bit, instead of as video. `task` is what to do in words, where the
    session does not say it. When a step cannot be written, `strict` refuses; otherwise it is left out and reported.
    Raises ExportProblem.
    """
    with open_session(session) as reader:
        notes = Notes()
        exporter = _Exporter(reader, notes, strict, task)
        first = next(steps(reader), None)
        if first is None:
            raise ExportProblem(f"session {reader.header.name} has no frames to export")
        features = Features(exporter.robot, first, pictures, exporter.judged)
        if not pictures and features.odd():
            raise ExportProblem(f"camera {features.odd()}: video needs an even width and height; --pictures keeps frames as PNG")
        with appearing(target) as part:
            dataset = _create(part, repo_id or f"local/{target.name}", features, exporter, codec, pictures)
            exporter.own.added = features.added
            _quieten()
            with lerobot_module("lerobot.utils.utils").SuppressProgressBars(), Encoding() as encoding:
                exporter.write(dataset, features, tell, encoding)
            shutil.rmtree(part / "images", ignore_errors=True)  # where its writer kept frames for the encoder
            write_own(part, exporter.own)
            if logs := write_logs(part, decided(reader), exporter.own.episodes):
                notes.add(f"{FOLDER} has the decisions of {logs} episodes")
        kinds = ["robot", "frame", "action", "episode", *(["metrics"] if features.extras else []), *(["log"] if exporter.tasks else [])]
        for line in not_exported(reader, *(f"{kind}/{exporter.robot.robot}" for kind in kinds)):
            notes.add(line)
        return ExportReport(
            path=str(target), episodes=len(exporter.own.episodes), frames=exporter.frames, skipped=exporter.left_out.told(),
            notes=[*notes.lines(), *exporter.told(features)],
        )  # fmt: skip


def _quieten() -> None:
    """Of encoders and FFmpeg errors alone are told, where lerobot lets them talk."""
    os.environ.setdefault("SVT_LOG", "1")
    pyav().logging.set_libav_level(pyav().logging.ERROR)


def _create(part: Path, repo_id: str, features: Features, exporter: "_Exporter", codec: Codec, pictures: bool) -> Any:
    module, configs = lerobot_module("lerobot.datasets.lerobot_dataset"), lerobot_module("lerobot.configs")
    try:
        encoder = None if pictures else configs.RGBEncoderConfig(vcodec=ENCODERS[codec])
        return module.LeRobotDataset.create(
            repo_id, exporter.fps, features.described(), root=part, robot_type=features.spec.robot_type or exporter.robot.driver,
            use_videos=not pictures, video_backend="pyav", rgb_encoder=encoder,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError) as error:
        raise ExportProblem(f"lerobot cannot begin {part.name}: {error}") from None


class _Exporter:
    def __init__(self, reader: SessionReader, notes: Notes, strict: bool, task: str) -> None:
        self.robot = robot_of(reader)
        self.frames = 0
        said = next(reader.topic_messages("robot"), None)
        t_ns, mono_ns = (said.envelope.t_ns, said.envelope.mono_ns) if said else (0, 0)
        self.own = Own(session=reader.header.name, robot=self.robot, t_ns=t_ns, mono_ns=mono_ns)
        self.fps = max(1, round(self.robot.rate_hz))
        if abs(self.fps - self.robot.rate_hz) > 0.5:
            raise ExportProblem(
                f"session {reader.header.name} has {self.robot.rate_hz:g} frames a second: LeRobot takes whole numbers from 1"
            )
        self._reader = reader
        self._notes = notes
        self.left_out = LeftOut(reader.header.name, strict=strict, kind=ExportProblem)
        self._marks = marks(reader)
        names = {number: {row.mark.mark for row in rows} for number, rows in self._marks.items()}
        self._discarded = {number for number, found in names.items() if "discard" in found}
        self._success = {number for number, found in names.items() if "success" in found}
        self.judged = any(found & {"success", "failure"} for found in names.values())
        self.tasks = tasks(reader)
        self._task = task or self.robot.driver
        self._unacted = self._left = 0

    def told(self, features: Features) -> list[str]:
        """What the dataset holds otherwise than the session."""
        lines = [f"{name} is left out: depth pictures are not exported" for name in features.left_out]
        if self._left:
            lines.append(f"{self._left} frames of {len(self._discarded)} discarded episodes are left out")
        if self._unacted:
            lines.append(f"{self._unacted} frames have no action: the one before stands there, and meta/toddle.json tells which they are")
        if features.off:
            lines.append(f"actions are float32 in LeRobot: off by at most {features.off:.2g}")
        if self.fps != self.robot.rate_hz:
            lines.append(
                f"{self.robot.rate_hz:g} frames a second are told as {self.fps}: LeRobot takes whole numbers; capture_time_ns is exact"
            )
        return lines

    def write(self, dataset: Any, features: Features, tell: Tell, encoding: Encoding) -> None:
        """All rows, an episode at a time."""
        mine: OwnEpisode | None = None
        for step, row, after in _looking_ahead(self._rows(features, tell)):
            episode = step.episode
            if mine is None:
                mine = self._begin(step)
            goes_on = after is not None and (after.episode, after.step) == (episode, step.step + 1)
            done = after is None or after.episode != episode
            row = features.placed(row, step.frame.envelope.t_ns - mine.start_ns, done and episode in self._success, done)
            _lerobot(dataset.add_frame, row)
            mine = self._noted(mine, step)
            if not goes_on:
                _lerobot(encoding, dataset.save_episode, parallel_encoding=False)
                self.own.episodes.append(mine)
                self.frames += mine.frames
                mine = None
        _lerobot(encoding, dataset.finalize)
        if not self.frames:
            why = "".join(f": {bad}" for bad in self.left_out.told()[:1])
            raise ExportProblem(f"session {self.own.session} has nothing to export{why}")

    def _rows(self, features: Features, tell: Tell) -> Iterator[tuple[Step, dict[str, Any]]]:
        """Every step that can be written, with its row but for its place."""
        for step in steps(self._reader, self._notes, tell):
            if step.episode in self._discarded:
                self._left += 1
                continue
            self._task = self.tasks.get((step.episode, step.step), self._task)
            try:
                row = features.row(step, self._values(step) if features.extras else {})
            except ValueError as error:
                self.left_out.add(Skipped(where=step.where, why=str(error)))
                continue
            yield step, {**row, "task": self._task}

    def _values(self, step: Step) -> dict[str, float]:
        message = self._reader.read(f"metrics/{self.robot.robot}", step.episode, step.step)
        return message.body.values if message is not None and isinstance(message.body, Metrics) else {}

    def _begin(self, step: Step) -> OwnEpisode:
        first = all(mine.episode != step.episode for mine in self.own.episodes[-1:])
        envelope = step.frame.envelope
        return OwnEpisode(
            episode=step.episode, first_step=step.step, frames=0, start_ns=envelope.t_ns, start_mono_ns=envelope.mono_ns,
            held_out=step.seen.held_out, marks=self._marks.get(step.episode, []) if first else [],
        )  # fmt: skip

    def _noted(self, mine: OwnEpisode, step: Step) -> OwnEpisode:
        """The episode with one frame more."""
        frame, taken = mine.frames, step.taken
        if taken is None:
            mine.no_action.append(frame)
            self._unacted += 1
        else:
            if not mine.by or mine.by[-1][1] != taken.by:
                mine.by.append((frame, taken.by))
            if taken.safe:
                mine.safe.append(frame)
            if not taken.success:
                mine.failed.append(frame)
        return msgspec.structs.replace(mine, frames=frame + 1, last=step.seen.last)


Rows = Iterator[tuple[Step, dict[str, Any]]]


def _looking_ahead(rows: Rows) -> Iterator[tuple[Step, dict[str, Any], Step | None]]:
    """Each row with the step that comes after it."""
    before: tuple[Step, dict[str, Any]] | None = None
    for step, row in rows:
        if before is not None:
            yield *before, step
        before = step, row
    if before is not None:
        yield *before, None


def _lerobot(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """What lerobot's writer refuses is said in a line. Raises ExportProblem."""
    try:
        call(*args, **kwargs)
    except Exception as error:  # its writer raises whatever PyAV, pyarrow and datasets do
        raise ExportProblem(f"lerobot's writer refuses: {first_line(error)}; --pictures keeps frames as PNG instead of video") from None
