"""Frames of sessions in any order, decoded straight into arrays that the caller made.

    frames = Frames([SessionReader(root / "walk"), SessionReader(root / "run")], cameras=["front"])
    batch = frames.empty(64)                                   # {"front": uint8 [64, H, W, 3]}
    frames.read(rng.integers(len(frames), size=64), batch)

A frame is known by its index: 0 to len - 1, by session, then source, episode and step.
"""

import struct
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import Robot
from storage.arrays import LEFT_OUT, ArrayCodec
from storage.errors import CorruptEvent, StorageError
from storage.places import Places
from storage.reader import SessionReader
from storage.record import check_record, parts_of

UInt8Array = NDArray[np.uint8]
IntArray = NDArray[np.int64]


Slots = dict[str, list[UInt8Array]]
"""Array name to where each pick's image goes."""


class _Job(NamedTuple):
    """What one record is read for: its episode and step, and which picks it is."""

    place: tuple[int, int]
    slots: list[int]


class _Where(msgspec.Struct):
    episode: int | None = None
    step: int | None = None


class _Head(msgspec.Struct):
    """What is read of a frame's header."""

    envelope: _Where
    arrays: list[tuple[str, str, tuple[int, ...]]]


_HEAD = msgspec.msgpack.Decoder(_Head)


class Frames:
    """The frames of sessions of one kind of robot. `read` may be called by several threads; readers stay the caller's.

    `session`, `event`, `source`, `episode` and `step` are int64 [N], a row per frame; `shapes` says each camera's
    [H, W, 3]. Of frames shown twice for one step the last counts: the action was chosen on it.
    """

    def __init__(self, sessions: Sequence[SessionReader], cameras: Sequence[str] | None = None) -> None:
        """`cameras`: which, by name; all that the first session's robot has when not given.

        Raises StorageError when a session has no robot or another's cameras, CorruptSession.
        """
        if not sessions:
            raise StorageError("no session was given to read frames from")
        self.sessions = tuple(sessions)
        first = robot_of(sessions[0])
        names = [camera.name for camera in first.cameras] if cameras is None else list(cameras)
        self.shapes = _shapes(first, names, sessions[0])
        for reader in sessions[1:]:
            shapes = _shapes(robot_of(reader), names, reader)
            if shapes != self.shapes:
                raise StorageError(f"session {reader.path.name} has cameras {shapes}, session {sessions[0].path.name} {self.shapes}")
        self._own = threading.local()
        self.refresh()

    def refresh(self) -> None:
        """See what was committed since. The indexes of frames may change; not while another thread reads."""
        found = [_last_of_each(reader.places("frame")) for reader in self.sessions]
        self.session = np.repeat(np.arange(len(found)), [len(places) for places in found])
        self.event, self.source, self.episode, self.step = (
            np.concatenate([getattr(places, name) for places in found]) for name in ("event", "source", "episode", "step")
        )

    def __len__(self) -> int:
        return len(self.event)

    def empty(self, *shape: int) -> dict[str, UInt8Array]:
        """Arrays to read into: uint8 [*shape, H, W, 3] of each camera. The content is arbitrary."""
        return {name: np.empty((*shape, *pixels), np.uint8) for name, pixels in self.shapes.items()}

    def read(self, picks: IntArray, out: Mapping[str, UInt8Array]) -> None:
        """Decode the frames of these indexes, int of any shape [...], into `out`: by camera uint8 [..., H, W, 3], any strides.

        A frame that is picked more than once is decoded once; each record's checksum is compared. Raises CorruptEvent,
        StorageError; then the content of `out` is arbitrary. ValueError, IndexError for a wrong call.
        """
        for name, array in out.items():
            expected = (*picks.shape, *self.shapes[name])
            if array.shape != expected or array.dtype != np.uint8:
                raise ValueError(f"room for camera {name!r} is {array.dtype} {array.shape}, these frames need uint8 {expected}")
        flat = picks.reshape(-1)
        sessions, events, episodes, steps = (column[flat].tolist() for column in (self.session, self.event, self.episode, self.step))
        places = list(np.ndindex(picks.shape))
        slots = {f"image/{name}": [array[place] for place in places] for name, array in out.items()}
        jobs: list[dict[int, _Job]] = [{} for _ in self.sessions]  # of each session, by event
        for at in np.lexsort((events, sessions)).tolist():
            ours = jobs[sessions[at]]
            if events[at] in ours:
                ours[events[at]].slots.append(at)
            else:
                ours[events[at]] = _Job((episodes[at], steps[at]), [at])
        for reader, ours in zip(self.sessions, jobs, strict=True):
            if ours:
                self._read(reader, ours, slots)

    def _read(self, reader: SessionReader, jobs: dict[int, _Job], slots: Slots) -> None:
        """The jobs of one session, in the order of events.

        Checksums are compared behind the decoding, while the bytes are at hand: a fifth faster where they are raw.
        """
        codec = self._codec()
        with reader.records(list(jobs)) as records:
            for (event, job), record in zip(jobs.items(), records, strict=True):
                try:
                    _decode(record, job, slots, codec)
                except (ValueError, struct.error, msgspec.MsgspecError) as error:
                    check_record(event, record, reader.path)
                    raise CorruptEvent(reader.path, event, f"checksum right, but the record does not decode: {error}") from None
                except LookupError as error:
                    check_record(event, record, reader.path)
                    where = f"episode {job.place[0]}, step {job.place[1]} of session {reader.path.name}"
                    raise StorageError(f"the frame of {where} {error.args[0]}") from None
                check_record(event, record, reader.path)

    def _codec(self) -> ArrayCodec:
        """This thread's."""
        codec: ArrayCodec | None = getattr(self._own, "codec", None)
        if codec is None:
            codec = self._own.codec = ArrayCodec({})
        return codec


def robot_of(reader: SessionReader) -> Robot:
    """The robot of a session. Raises StorageError when it has none."""
    robot = reader.robot
    if robot is None:
        raise StorageError(f"session {reader.path.name} holds no robot: nothing was recorded in it")
    return robot


def _shapes(robot: Robot, names: Sequence[str], reader: SessionReader) -> dict[str, tuple[int, int, int]]:
    known = {camera.name: (camera.height, camera.width, 3) for camera in robot.cameras}
    missing = [name for name in names if name not in known]
    if missing:
        raise StorageError(f"session {reader.path.name} has no camera {missing[0]!r}; it has {', '.join(known) or 'none'}")
    return {name: known[name] for name in names}


def _last_of_each(places: Places) -> Places:
    """Sorted by source, episode, step; of several events of one step the last."""
    order = np.lexsort((places.event, places.step, places.episode, places.source))
    rows = Places(*(getattr(places, name)[order] for name in Places.__struct_fields__))
    last = np.ones(len(rows), bool)
    last[:-1] = (np.diff(rows.source) != 0) | (np.diff(rows.episode) != 0) | (np.diff(rows.step) != 0)
    return Places(*(getattr(rows, name)[last] for name in Places.__struct_fields__))


def _decode(record: memoryview, job: _Job, slots: Slots, codec: ArrayCodec) -> None:
    """One record into its slots. Raises LookupError where it has no such image, ValueError where it is damaged."""
    header, stored = parts_of(record)
    head = _HEAD.decode(header)
    if len(head.arrays) != len(stored):
        raise ValueError("lengths do not add up")
    if (head.envelope.episode, head.envelope.step) != job.place:
        raise ValueError(f"it is of episode {head.envelope.episode}, step {head.envelope.step}, an index says {job.place}")
    missing = set(slots)
    for (name, dtype, shape), (kind, data) in zip(head.arrays, stored, strict=True):
        if name not in missing or kind == LEFT_OUT:
            continue
        room = [slots[name][at] for at in job.slots]
        if dtype != "uint8" or shape != room[0].shape:
            raise LookupError(f"has {name} as {dtype} {shape}, the robot's are uint8 {room[0].shape}")
        codec.decode_into(kind, data, room[0])
        for slot in room[1:]:
            np.copyto(slot, room[0])
        missing.remove(name)
    if missing:
        raise LookupError(f"has no {min(missing)}")
