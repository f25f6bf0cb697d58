"""Imports a LeRobot v3.0 dataset as a session, message for message as a live run would have recorded it.

A row that cannot be taken leaves its step empty, so that the rows around it are never taken for neighbours. Episodes
stand one after the other; lerobot knows no dates, so time begins at 0 where toddle did not export the dataset.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.exchange.common import ImportReport, LeftOut, Skipped, Tell, quiet
from storage.exchange.imported import check_target
from storage.exchange.intake import Intake, intake
from storage.exchange.lerobot.judging import EpisodeJudge, Fault
from storage.exchange.lerobot.layout import Camera, Column, EpisodeRow, Layout, read_layout
from storage.exchange.lerobot.messages import MADE_TIMES, MOST_EXTRAS, REAL_TIMES, Teller, robot_of
from storage.exchange.lerobot.own import TIME_COLUMN, Own, read_own
from storage.exchange.lerobot.pictures import STACKED, Stack, decoded, stacked, stacked_size
from storage.exchange.lerobot.rows import Chunk, Rows
from storage.exchange.lerobot.survey import Survey, survey
from storage.exchange.lerobot.video import Ended, VideoFrames

SMALL = ("float32", "float16", "int16", "int8", "uint16", "uint8", "bool")
"""What float32 holds exactly."""
KIND = "lerobot v3.0"
REST = "; the rest of the episode is left out"


def import_lerobot(
    path: Path, target: Path, *, strict: bool = True, stack: Stack | None = None, action: str | None = None, state: str | None = None,
    tell: Tell = quiet, hub: str = "",
) -> ImportReport:  # fmt: skip
    """Make a session at `target` of the dataset in the folder `path`, or go on with it where that was interrupted.

    `stack` makes one picture of all cameras; `action` and `state` name the columns that are these; `hub` is the id that it
    came by. When anything cannot be imported, `strict` refuses the whole dataset; otherwise it is left out and reported.
    Raises ImportProblem, SessionExists; nothing new is left at `target` then.
    """
    check_target(target, KIND)
    layout = read_layout(path, action, state)
    own = read_own(path)
    found = survey(layout, tell)
    if strict:
        faults = LeftOut(path)
        for fault in [*found.contradictions, *found.rows]:
            faults.add(fault)
        faults.refuse()
    own, strange = _fitting(own, layout)
    times = "as exported" if own else MADE_TIMES if found.made_times else REAL_TIMES
    source = {
        "kind": KIND, "path": str(path.resolve()), "hub": hub, "rate_hz": layout.fps, "times": times, "stack": stack or "",
        "action": layout.action.key if layout.action else "", "state": layout.state.key if layout.state else "",
        "episodes": layout.episodes, "frames": layout.frames, "robot_type": layout.robot_type,
        "tasks": list(layout.tasks.values())[:100], "columns_left_out": layout.left_out,
    }  # fmt: skip
    begin_ns = own.t_ns if own else 0
    with intake(target, source, run=found.fingerprint, begin_ns=begin_ns, strict=strict) as taking:
        if layout.action is None:
            taking.notes.add(f"{layout.info_file}: no column is called action: no frame has one; --action KEY takes it from another")
        for line in [*strange, *map(str, found.contradictions), *(f"{key}: {why}" for key, why in layout.left_out.items())]:
            taking.notes.add(line)
        with _Importer(layout, found, own, stack, taking) as importer:
            for episode in layout.rows():
                importer.episode(episode, tell)
        return taking.report(own.robot.rate_hz if own else layout.fps, times)


def _fitting(own: Own | None, layout: Layout) -> tuple[Own | None, list[str]]:
    """What toddle wrote beside the dataset, where that is still of it; and a line where it is not."""
    if own is None:
        return None, []
    rows = [(episode.number, episode.length) for episode in layout.rows()]
    timed = any(column.key == TIME_COLUMN for column in layout.extras)
    if timed and rows == [(place, episode.frames) for place, episode in enumerate(own.episodes)]:
        return own, []
    return None, ["meta/toddle.json is of another dataset than this is now: its times, marks and steps are not used"]


class _Importer:
    """Goes through rows and frames. A context manager."""

    def __init__(self, layout: Layout, found: Survey, own: Own | None, stack: Stack | None, taking: Intake) -> None:
        self._layout = layout
        self._found = found
        self._stack = stack
        self._taking = taking
        self._done = 0
        self._seen: set[int] = set()
        extras = _extras(layout, own, taking)
        columns = [column for column in (layout.action, layout.state, *layout.extras) if column]
        self._rows = Rows(columns, [camera.key for camera in layout.cameras if not camera.video])
        self._videos = {camera.key: VideoFrames(layout.fps) for camera in layout.cameras if camera.video}
        self._teller = Teller(layout, own, extras, found.made_times, taking)
        sizes = {camera.name: found.sizes[camera.key] for camera in layout.cameras}
        if stack:
            sizes = {STACKED: stacked_size(layout.cameras, found.sizes, stack)}
        taking.robot(robot_of(layout, found.actions, own, sizes, extras), own.t_ns if own else 0, own.mono_ns if own else 0)

    def __enter__(self) -> "_Importer":
        return self

    def __exit__(self, *_: object) -> None:
        for video in self._videos.values():
            video.close()

    def episode(self, episode: EpisodeRow, tell: Tell) -> None:
        """All rows of one episode."""
        if episode.number in self._seen:
            where = str(self._layout.path / "meta" / "episodes")
            self._taking.leave_out(Skipped(where=where, why=f"episode {episode.number} is told of twice: the second one is left out"))
            return
        self._seen.add(episode.number)
        for part in episode.parts.values():
            if part.file in self._found.broken:
                why = f"{self._found.broken[part.file]}: episode {episode.number} is left out"
                self._taking.leave_out(Skipped(where=str(part.file), why=why))
                return
        judge = EpisodeJudge(self._layout, episode)
        self._teller.begin(episode)
        try:
            for chunk in self._rows.of(episode):
                if not self._chunk(episode, chunk, judge, tell):
                    break
            else:
                if judge.missing():
                    self._taking.leave_out(Skipped(where=str(episode.data), why=f"episode {episode.number}: {judge.missing()}"))
        except ValueError as error:
            self._taking.leave_out(Skipped(where=str(episode.data), why=f"{error}; episode {episode.number} is not whole"))
        self._teller.end()

    def _chunk(self, episode: EpisodeRow, chunk: Chunk, judge: EpisodeJudge, tell: Tell) -> bool:
        """The next rows; whether the episode goes on after them."""
        faults: dict[int, list[Fault]] = {}
        for fault in judge.faults(chunk):
            faults.setdefault(fault.place, []).append(fault)
        for place in range(len(chunk)):
            tell(self._done, self._layout.frames)
            self._done += 1
            for fault in faults.get(place, []):
                self._say(fault, chunk)
            if any(fault.kind == "bad" for fault in faults.get(place, [])):
                continue
            try:
                images = self._images(episode, chunk, place)
            except _LeftOut as error:
                self._taking.leave_out(error.skipped)
                if error.skipped.why.endswith(REST):
                    return False
                continue
            self._teller.step(chunk, place, {f"image/{name}": image for name, image in images.items()})
        return True

    def _say(self, fault: Fault, chunk: Chunk) -> None:
        bad = Skipped(where=chunk.where(fault.place), why=fault.why)
        if fault.kind == "strange":
            self._taking.notes.add(str(bad))
        else:
            self._taking.leave_out(bad)

    def _images(self, episode: EpisodeRow, chunk: Chunk, place: int) -> dict[str, NDArray[np.uint8]]:
        """Camera to picture; none of a frame that is in the session already. Raises _LeftOut."""
        wheres = [self._where(camera, episode, chunk, place) for camera in self._layout.cameras]
        for where in wheres:
            why = self._taking.left_out_before(where)
            if why is not None:
                raise _LeftOut(where, why)
        if self._taking.there:
            return {}
        images: dict[str, NDArray[np.uint8]] = {}
        for camera, where in zip(self._layout.cameras, wheres, strict=True):
            try:
                images[camera.name] = self._image(camera, episode, chunk, place)
            except Ended as error:
                raise _LeftOut(where, f"{error}{REST}") from None
            except ValueError as error:
                raise _LeftOut(where, str(error)) from None
        return {STACKED: stacked(list(images.values()), self._stack)} if self._stack else images

    def _where(self, camera: Camera, episode: EpisodeRow, chunk: Chunk, place: int) -> str:
        if not camera.video:
            return f"{chunk.where(place)}: {camera.key}"
        return f"{episode.parts[camera.key].file}: frame {chunk.frame_index[place]} of episode {episode.number}"

    def _image(self, camera: Camera, episode: EpisodeRow, chunk: Chunk, place: int) -> NDArray[np.uint8]:
        if camera.video:
            part = episode.parts[camera.key]
            image = self._videos[camera.key].frame(part.file, part.from_s + int(chunk.frame_index[place]) / self._layout.fps)
        else:
            image = decoded(chunk.pictures[camera.key][place].as_py(), self._layout.path)
        height, width = self._found.sizes[camera.key]
        if image.shape != (height, width, 3):
            raise ValueError(f"the picture is {image.shape[1]}x{image.shape[0]}, expected {width}x{height}")
        return image


def _extras(layout: Layout, own: Own | None, taking: Intake) -> list[Column]:
    """The columns that become metrics; what is lost of others goes to the notes."""
    added = own.added if own else []
    extras: list[Column] = []
    for column in layout.extras:
        if column.key in added:
            continue
        if sum(kept.width for kept in extras) + column.width > MOST_EXTRAS:
            taking.notes.add(
                f"{column.key} is left out: {column.width} numbers a step are more than a session takes beside frame and action"
            )
            continue
        extras.append(column)
        if column.dtype in ("int64", "uint64"):
            taking.notes.add(f"{column.key} is {column.dtype}, kept as 64 bit floating point: exact up to 2**53")
    if layout.state and layout.state.dtype not in SMALL:
        taking.notes.add(f"{layout.state.key} is {layout.state.dtype}, kept as float32")
    return extras


class _LeftOut(Exception):
    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.skipped = Skipped(where=where, why=why)
