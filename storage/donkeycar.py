"""Imports a Donkeycar tub as a session, message for message as a live run would have recorded it.

Steps follow the tub's indexes: a record that is skipped or deleted leaves its step empty, so that the
frames around it are never taken for neighbours.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.clock import NS_PER_S
from protocol.messages import ActionSpaceInfo, ActionTaken, Body, CameraInfo, Envelope, EpisodeMark, Frame, Message, Robot
from storage.errors import ImportProblem
from storage.header import change_header
from storage.making import check_free, making
from storage.tub import Skipped, Tub, TubRecord, chunked_episodes, read_image, read_tub, tub_rate_hz
from storage.writer import SessionWriter

CAMERA = "front"
NODE = "robot"


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tub: every record is a frame, deleted, or in `skipped` with its reason."""

    session: str
    episodes: int
    frames: int
    rate_hz: float
    rate_from: str
    deleted: list[int]
    skipped: list[Skipped]
    out_of_range: int


def import_tub(tub: Path, target: Path, *, fps: float | None = None, episodes_at: Sequence[int] = (), strict: bool = True) -> ImportReport:
    """Make a session at `target` of the tub at `tub`.

    `episodes_at` are indexes at which a new episode begins. Without `fps` the tub's own times are used. When
    anything cannot be imported, `strict` refuses the whole tub; otherwise it is skipped and reported.
    Raises ImportProblem, SessionExists; nothing is left at `target` then.
    """
    check_free(target)
    source = read_tub(tub)
    if strict and source.skipped:
        raise _refused(source.skipped)
    if not source.records:
        raise ImportProblem(f"{tub} has no records to import ({len(source.deleted)} deleted, {len(source.skipped)} unreadable)")
    first, last = source.records[0].index, source.records[-1].index
    outside = [index for index in episodes_at if not first <= index <= last]
    if outside:
        raise ImportProblem(
            f"{tub} has records {first} to {last}: no episode can begin at {outside[0]}; give --episodes-at indexes of this tub"
        )
    times, rate_hz, rate_from = _times(source, fps)
    with making(target) as folder:
        importer = _Importer(source, times, rate_hz, strict)
        importer.run(folder, target.name, list(episodes_at))
    return ImportReport(
        session=target.name, episodes=importer.episodes, frames=importer.frames, rate_hz=rate_hz, rate_from=rate_from,
        deleted=source.deleted, skipped=source.skipped + importer.skipped, out_of_range=importer.out_of_range,
    )  # fmt: skip


def _times(tub: Tub, fps: float | None) -> tuple[dict[int, int], float, str]:
    """Index to capture time in ns, the rate, and where it is from."""
    records = tub.records
    base_ns = int((tub.created_s or 0.0) * NS_PER_S)
    if fps is not None:
        if not 0 < fps <= 10_000:
            raise ImportProblem(f"{fps} frames per second cannot be: give --fps more than 0")
        first = records[0].index
        return {record.index: base_ns + round((record.index - first) * NS_PER_S / fps) for record in records}, float(fps), "given"
    rate = tub_rate_hz(records)
    if rate is None:
        raise ImportProblem(
            f"the times in {tub.path} are not those of a camera (a conversion wrote them): "
            "say how fast it was recorded with --fps, 20 is Donkeycar's default"
        )
    times: dict[int, int] = {}
    last = base_ns
    for record in records:  # a record without a time stands where its neighbour would be
        last = last + round(NS_PER_S / rate) if record.t_ms is None else record.t_ms * 1_000_000
        times[record.index] = last
    return times, rate, "the tub's times"


def _refused(skipped: list[Skipped]) -> ImportProblem:
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return ImportProblem(f"{skipped[0].where}: {skipped[0].why}{more}; --skip-bad imports the rest and lists what was skipped")


class _Importer:
    """Writes the messages and counts."""

    def __init__(self, tub: Tub, times: dict[int, int], rate_hz: float, strict: bool) -> None:
        self.tub = tub
        self.times = times
        self.rate_hz = rate_hz
        self.strict = strict
        self.episodes = 0
        self.frames = 0
        self.out_of_range = 0
        self.skipped: list[Skipped] = []
        self._shape: tuple[int, ...] = ()
        self._seq: dict[str, int] = {}
        # the same tub gives the same run id, so that two imports of it are the same, event for event
        self._run = hashlib.sha256(repr([(r.index, r.angle, r.throttle) for r in tub.records]).encode()).hexdigest()[:12]
        self._base_ns = times[tub.records[0].index]

    def run(self, path: Path, name: str, episodes_at: list[int]) -> None:
        source = {
            "kind": "donkeycar tub", "path": str(self.tub.path.resolve()), "records": len(self.tub.records),
            "rate_hz": self.rate_hz, "episodes_at": sorted(set(episodes_at)), "deleted": len(self.tub.deleted),
        }  # fmt: skip
        with SessionWriter.create(path, name=name, source=source, commit_events=300) as writer:
            for first, records in chunked_episodes(self.tub.records, episodes_at):
                self._episode(writer, first, records)
        if not self.frames:
            raise ImportProblem(f"{self.tub.path} has no image that can be decoded: {self.skipped[0].where}: {self.skipped[0].why}")
        if self.skipped:
            change_header(path, source={**source, "skipped": len(self.skipped)})

    def _image(self, record: TubRecord) -> NDArray[np.uint8] | None:
        """The record's picture; None when it is skipped."""
        try:
            image = read_image(record.image)
            self._shape = self._shape or image.shape
            if image.shape != self._shape:
                raise ValueError(
                    f"image {record.image.name} is {image.shape[1]}x{image.shape[0]}, the first one is {self._shape[1]}x{self._shape[0]}"
                )
        except ValueError as error:
            bad = Skipped(where=record.line, why=str(error))
            if self.strict:
                raise _refused([bad]) from None
            self.skipped.append(bad)
            return None
        return image

    def _episode(self, writer: SessionWriter, first: int, records: list[TubRecord]) -> None:
        """One episode whose step 0 is index `first`, picture by picture; none when no picture can be had."""
        last: TubRecord | None = None
        for record in records:
            image = self._image(record)
            if image is None:
                continue
            t_ns, step = self.times[record.index], record.index - first
            if last is None:
                if not self.episodes:
                    self._send(writer, self._robot(), self._base_ns)
                self._send(writer, EpisodeMark(mark="start", reason="import"), t_ns, self.episodes, step)
            last = record
            self._send(writer, Frame(), t_ns, self.episodes, step, {f"image/{CAMERA}": image})
            action = {"angle": record.angle, "throttle": record.throttle}
            self.out_of_range += any(abs(value) > 1.0 for value in action.values())
            taken = ActionTaken(action=action, by=record.mode, start_ns=t_ns, end_ns=t_ns + round(NS_PER_S / self.rate_hz))
            self._send(writer, taken, t_ns, self.episodes, step)
            self.frames += 1
        if last is not None:
            self._send(writer, EpisodeMark(mark="end", reason="import"), self.times[last.index], self.episodes, last.index - first)
            self.episodes += 1

    def _robot(self) -> Robot:
        reverse = any(record.throttle < 0 for record in self.tub.records)
        return Robot(
            robot=NODE, driver="donkeycar", params={"tub": self.tub.path.name},
            cameras=[CameraInfo(name=CAMERA, height=self._shape[0], width=self._shape[1])],
            actions=ActionSpaceInfo(names=["angle", "throttle"], low=[-1.0, -1.0 if reverse else 0.0], high=[1.0, 1.0]),
            rate_hz=self.rate_hz, timing="paced", safe_action={"angle": 0.0, "throttle": 0.0},
        )  # fmt: skip

    def _send(
        self, writer: SessionWriter, body: Body, t_ns: int, episode: int | None = None, step: int | None = None,
        arrays: dict[str, NDArray[np.uint8]] | None = None,
    ) -> None:  # fmt: skip
        kind = {Robot: "robot", Frame: "frame", ActionTaken: "action", EpisodeMark: "episode"}[type(body)]
        topic = f"{kind}/{NODE}"
        seq = self._seq[topic] = self._seq.get(topic, -1) + 1
        envelope = Envelope(
            topic=topic, source=NODE, run=self._run, seq=seq, t_ns=t_ns, mono_ns=t_ns - self._base_ns,
            session=writer.name, episode=episode, step=step,
        )  # fmt: skip
        writer.append(Message(envelope=envelope, body=body, arrays=dict(arrays or {})))
