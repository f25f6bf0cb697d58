"""Compares everything a LeRobot dataset says of itself with its files, before a frame is decoded."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.exchange.common import Skipped, Tell, quiet
from storage.exchange.lerobot.judging import EpisodeJudge, synthetic
from storage.exchange.lerobot.layout import Camera, EpisodeRow, Layout, Part
from storage.exchange.lerobot.rows import Chunk, Rows
from storage.exchange.lerobot.video import VideoFacts, video_facts

MAX_BAD = 10_000
"""Bad rows that are listed before anything is imported."""
MANY_CHOICES = 64
"""Whole-number actions of no more kinds than this are choices."""


class Actions:
    """The range of the actions, and their kinds where they are whole numbers of few kinds."""

    def __init__(self, width: int, whole: bool) -> None:
        self.low = np.full(width, np.inf)
        self.high = np.full(width, -np.inf)
        self.kinds: set[tuple[float, ...]] | None = set() if whole else None

    def add(self, values: NDArray[Any]) -> None:
        values = values[np.isfinite(values).all(axis=1)].astype(np.float64)
        if not len(values):
            return
        self.low, self.high = np.minimum(self.low, values.min(axis=0)), np.maximum(self.high, values.max(axis=0))
        if self.kinds is not None:
            self.kinds |= {tuple(row) for row in np.unique(values, axis=0).tolist()}
            if len(self.kinds) > MANY_CHOICES:
                self.kinds = None


class Survey(msgspec.Struct, frozen=True):
    """What was found. `contradictions`: what the metadata say and the files do not; `rows`: those that cannot be taken, and missing ones.

    `broken` says of a video why there is nothing in it. `sizes`: camera key to height and width of its first file.
    `made_times`: all time stamps are frame_index / fps. `fingerprint` is the same for the same files.
    """

    contradictions: list[Skipped]
    rows: list[Skipped]
    broken: dict[Path, str]
    sizes: dict[str, tuple[int, int]]
    made_times: bool
    actions: Actions
    fingerprint: str


def survey(layout: Layout, tell: Tell = quiet) -> Survey:
    """Look at everything but the frames themselves."""
    return _Surveyor(layout).look(tell)


class _Surveyor:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._contradictions: list[Skipped] = []
        self._bad_rows: list[Skipped] = []
        self._broken: dict[Path, str] = {}
        self._facts: dict[Path, VideoFacts] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._made_times = True
        action = layout.action
        self._actions = Actions(action.width if action else 0, bool(action) and "float" not in (action.dtype if action else ""))
        self._hash = hashlib.sha256(layout.info_file.read_bytes())

    def look(self, tell: Tell) -> Survey:
        layout = self._layout
        frames, after = 0, 0
        rows = Rows([column for column in (layout.action, layout.state, *layout.extras) if column])
        for place, episode in enumerate(layout.rows()):
            tell(0, layout.frames)
            self._hash.update(msgspec.json.encode((episode.number, episode.length, episode.first_index)))
            where = f"{layout.path / 'meta' / 'episodes'}: row {place}"
            for why in self._metadata(episode, place, after):
                self._add(where, why)
            frames, after = frames + episode.length, episode.after_index
            for camera in layout.cameras:
                if camera.video:
                    self._video(camera, episode, episode.parts[camera.key])
            self._rows(episode, rows)
        for name, told, counted in (
            ("total_frames", layout.frames, frames),
            ("total_episodes", layout.meta.total_episodes, layout.episodes),
        ):
            if told != counted:
                self._add(str(layout.info_file), f"{name} is {told}, by meta/episodes it is {counted}")
        sizes = {camera.key: self._sizes.get(camera.key, (camera.height, camera.width)) for camera in layout.cameras}
        return Survey(
            self._contradictions, self._bad_rows, self._broken, sizes, self._made_times, self._actions, self._hash.hexdigest()[:12]
        )

    def _add(self, where: str, why: str) -> None:
        self._contradictions.append(Skipped(where=where, why=why))

    def _bad(self, where: str, why: str) -> None:
        if len(self._bad_rows) < MAX_BAD:
            self._bad_rows.append(Skipped(where=where, why=why))

    def _metadata(self, episode: EpisodeRow, place: int, after: int) -> Iterator[str]:
        name = f"episode {episode.number}"
        if episode.number != place:
            yield f"{name} stands in the place of episode {place}"
        if episode.after_index - episode.first_index != episode.length:
            yield f"{name} has length {episode.length}, and goes from index {episode.first_index} to {episode.after_index}"
        if episode.first_index != after:
            yield f"{name} begins at index {episode.first_index}, the one before it ends at {after}"
        for key, part in episode.parts.items():
            shown = (part.to_s - part.from_s) * self._layout.fps
            if abs(shown - episode.length) > 0.5:
                yield f"{name} has length {episode.length}, its part of video {key} has {shown:.1f} frames"

    def _video(self, camera: Camera, episode: EpisodeRow, part: Part) -> None:
        if part.file in self._broken:
            return
        facts = self._facts.get(part.file)
        if facts is None:
            try:
                facts = self._facts[part.file] = video_facts(part.file)
            except ValueError as error:
                self._broken[part.file] = str(error)
                self._add(str(part.file), str(error))
                return
            self._sizes.setdefault(camera.key, (facts.height, facts.width))
            self._hash.update(f"{part.file.name} {part.file.stat().st_size}".encode())
            for why in self._contradicting(camera, facts):
                self._add(str(part.file), why)
        if facts.duration_s is not None and part.to_s > facts.duration_s + 0.5 / self._layout.fps:
            self._add(
                str(part.file), f"ends at {facts.duration_s:.3f} s, by the metadata episode {episode.number} goes to {part.to_s:.3f} s"
            )

    def _contradicting(self, camera: Camera, facts: VideoFacts) -> Iterator[str]:
        if camera.codec and camera.codec != facts.codec:
            yield f"the codec is {facts.codec}, meta/info.json says {camera.codec}"
        if (facts.height, facts.width) != (camera.height, camera.width):
            yield f"the pictures are {facts.width}x{facts.height}, meta/info.json says {camera.width}x{camera.height}"
        if abs(facts.fps - self._layout.fps) > 0.01 * self._layout.fps:
            yield f"the video has {facts.fps:g} frames a second, meta/info.json says {self._layout.fps:g}"

    def _rows(self, episode: EpisodeRow, rows: Rows) -> None:
        judge = EpisodeJudge(self._layout, episode)
        try:
            for chunk in rows.of(episode):
                self._chunk(chunk, judge)
        except ValueError as error:
            self._bad(str(episode.data), f"{error}; episode {episode.number} is not whole")
            return
        if judge.missing():
            self._bad(str(episode.data), f"episode {episode.number}: {judge.missing()}")

    def _chunk(self, chunk: Chunk, judge: EpisodeJudge) -> None:
        for fault in judge.faults(chunk):
            self._bad(chunk.where(fault.place), fault.why)
        self._made_times = self._made_times and synthetic(chunk, self._layout.fps)
        if self._layout.action:
            values = chunk.numbers[self._layout.action.key]
            self._actions.add(values)
            self._hash.update(np.ascontiguousarray(values).tobytes())
