"""What a world model learns from: windows of frames with the actions between them, never across a hole.

    windows = Windows(Frames(readers), context=2)
    batch = windows.empty(16)
    windows.read(rng.choice(windows.choose(), 16), batch)       # held-out episodes left out

A window ends in a transition: two frames of consecutive steps of one episode of one source, and the action that was
carried out between them. What lies before it, as far back as steps follow one another, is its history; where there is
less, the earliest frame is repeated and the actions are NaN.
"""

from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.errors import CorruptEvent, StorageError
from storage.loading.frames import Frames, IntArray, UInt8Array, robot_of
from storage.places import Places, joined_places
from storage.reader import SessionReader
from storage.record import check_record, parts_of

FloatArray = NDArray[np.float32]
CHUNK = 1024  # actions read in one transaction


class WindowBatch(msgspec.Struct, frozen=True):
    """B windows. frames: camera -> uint8 [B, context + horizon, H, W, 3]; actions: float32 [B, context + horizon - 1, D].

    An action that is not known is NaN. The horizon is 1 unless more was asked for.
    """

    frames: dict[str, UInt8Array]
    actions: FloatArray


class _Action(msgspec.Struct):
    action: dict[str, float]
    success: bool = True


class _Taken(msgspec.Struct):
    """What is read of an action's header."""

    body: _Action


_TAKEN = msgspec.msgpack.Decoder(_Taken)


class Windows:
    """All transitions of the frames' sessions, by index 0 to len - 1 in the frames' order.

    `frame` is the index of each transition's first frame; `held_out` says whether its episode is. Indexes are as lasting
    as the frames'.
    """

    def __init__(self, frames: Frames, context: int) -> None:
        """`context`: frames of a window before the last. Raises StorageError when sessions differ in actions, CorruptSession."""
        self.frames = frames
        self.context = context
        self.names = robot_of(frames.sessions[0]).actions.names
        for reader in frames.sessions[1:]:
            names = robot_of(reader).actions.names
            if names != self.names:
                raise StorageError(
                    f"session {reader.path.name} has actions {', '.join(names)}, "
                    f"session {frames.sessions[0].path.name} {', '.join(self.names)}"
                )
        self._taken = [_Actions(reader, self.names) for reader in frames.sessions]
        self._find()

    def refresh(self) -> None:
        """See what was committed since, in the frames as well; only new actions are read."""
        self.frames.refresh()
        self._find()

    def __len__(self) -> int:
        return len(self.frame)

    def choose(self, held_out: bool | None = False, episodes: Collection[int] | None = None) -> IntArray:
        """Indexes of windows of episodes that are not held out, are (True), or all (None); of these numbers if given."""
        wanted = np.ones(len(self), bool) if held_out is None else self.held_out == held_out
        if episodes is not None:
            wanted &= np.isin(self.frames.episode[self.frame], list(episodes))
        return np.flatnonzero(wanted)

    def empty(self, size: int, horizon: int = 1) -> WindowBatch:
        """Room for so many windows; the content is arbitrary."""
        length = self.context + horizon
        return WindowBatch(self.frames.empty(size, length), np.empty((size, length - 1, len(self.names)), np.float32))

    def read(self, picks: IntArray, out: WindowBatch) -> None:
        """Decode the windows of these indexes [B] into `out`, as far ahead as it has room; its frames may be views with any strides.

        Raises as `Frames.read`.
        """
        shown, out.actions[...] = self.of(picks, out.actions.shape[1] - self.context + 1)
        self.frames.read(shown, out.frames)

    def of(self, picks: IntArray, horizon: int = 1) -> tuple[IntArray, FloatArray]:
        """Which frames these windows show, [B, context + horizon], and the actions between them, float32."""
        back = np.arange(self.context - 1, -1, -1)  # steps from each seen frame to the newest
        newest = self.frame[picks]
        known = back[None, :] <= self._before[newest][:, None]
        seen = newest[:, None] - np.minimum(back[None, :], self._before[newest][:, None])
        ahead = newest[:, None] + np.arange(1, horizon + 1)
        actions = np.where(known[..., None], self._actions[seen], np.float32(np.nan))
        return np.concatenate([seen, ahead], axis=1), np.concatenate([actions, self._actions[ahead[:, :-1]]], axis=1)

    def _find(self) -> None:
        """Join frames and actions; see which frames follow one another."""
        frames = self.frames
        self._actions = np.full((len(frames), len(self.names)), np.nan, np.float32)
        out = np.zeros(len(frames), bool)
        for number, taken in enumerate(self._taken):
            here = np.flatnonzero(frames.session == number)
            taken.refresh()
            of_frame = _match(Places(here, frames.source[here], frames.episode[here], frames.step[here]), taken.places)
            self._actions[here[of_frame >= 0]] = taken.vectors[of_frame[of_frame >= 0]]
            held_out = [row.episode for row in taken.reader.episodes() if row.held_out]
            out[here] = np.isin(frames.episode[here], held_out)
        follows = np.zeros(len(frames), bool)  # on the frame before it
        follows[1:] = np.diff(frames.step) == 1
        for column in (frames.session, frames.source, frames.episode):
            follows[1:] &= np.diff(column) == 0
        places = np.arange(len(frames))
        self._before = places - np.maximum.accumulate(np.where(follows, 0, places)) if len(frames) else places
        self.frame = np.flatnonzero(np.append(follows[1:], False) & ~np.isnan(self._actions).any(axis=1))
        self.held_out = out[self.frame]


class _Actions:
    """The actions of a session that were carried out: their places, and float32 [M, D]."""

    def __init__(self, reader: SessionReader, names: Sequence[str]) -> None:
        self.reader = reader
        self.vectors = np.empty((0, len(names)), np.float32)
        self.places = joined_places([])
        self._names = names
        self._next = 0

    def refresh(self) -> None:
        """Read those that came since."""
        every = self.reader.places("action")
        new = np.flatnonzero(every.event >= self._next)
        vectors = np.full((len(new), len(self._names)), np.nan, np.float32)
        for start in range(0, len(new), CHUNK):
            numbers = every.event[new[start : start + CHUNK]].tolist()
            with self.reader.records(numbers) as records:
                for row, (number, record) in enumerate(zip(numbers, records, strict=True), start):
                    vectors[row] = self._vector(number, record)
        done = ~np.isnan(vectors).all(axis=1)
        self.vectors = np.concatenate([self.vectors, vectors[done]])
        self.places = Places(
            *(np.concatenate([getattr(self.places, name), getattr(every, name)[new[done]]]) for name in Places.__struct_fields__)
        )
        self._next = int(every.event[-1]) + 1 if len(every) else 0

    def _vector(self, number: int, record: memoryview) -> list[float]:
        """The action's numbers; NaN when it was not carried out."""
        path = self.reader.path
        check_record(number, record, path)
        try:
            body = _TAKEN.decode(parts_of(record)[0]).body
        except (ValueError, msgspec.MsgspecError) as error:
            raise CorruptEvent(path, number, f"checksum right, but the record does not decode: {error}") from None
        if set(self._names) - set(body.action):
            raise StorageError(
                f"event {number} of session {path.name} is an action of {', '.join(body.action)}, not {', '.join(self._names)}"
            )
        return [body.action[name] if body.success else np.nan for name in self._names]


def _match(frames: Places, actions: Places) -> IntArray:
    """For each frame the row of its action, the last of several; -1 where there is none. Of each step there is one frame."""
    both = Places(*(np.concatenate([getattr(frames, name), getattr(actions, name)]) for name in Places.__struct_fields__))
    kind = np.repeat([0, 1], [len(frames), len(actions)])
    order = np.lexsort((both.event, kind, both.step, both.episode, both.source))
    rows = np.stack([both.source, both.episode, both.step], axis=1)[order]
    starts = np.ones(len(order), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    last = np.append(starts[1:], True)[: len(order)]
    found = np.full(len(frames), -1, np.int64)
    end_of = order[last]  # of each group its last row: the newest action, if it has one
    first = order[starts]
    joined = (first < len(frames)) & (end_of >= len(frames))
    found[first[joined]] = end_of[joined] - len(frames)
    return found
