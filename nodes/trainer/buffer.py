"""What the trainer remembers: the newest frames, and which of them follow one another. A `Source` of windows.

    buffer = ReplayBuffer(cameras, action_size=1, context=2, capacity_bytes=1 << 30)
    buffer.add_frame(episode=0, step=0, images={"front": picture})
    buffer.add_action(episode=0, step=0, vector=action)      # between frame 0 and frame 1
    batch = buffer.windows(rng.choice(buffer.ids(), 16))

A ring of uint8 frames; the oldest is overwritten. Frames and actions may arrive in any order. The id of a transition
is the number of its first frame, counted from the first that ever came.
"""

from typing import Any

import numpy as np

from worldmodel.batch import Batch, FloatArray, IntArray
from worldmodel.spec import Camera

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
Key = tuple[int, int]  # episode, step

KEPT_SIZES = 2  # batch sizes whose arrays are kept for reuse: one to train, one to score
EARLY_ACTIONS = 1024  # actions kept while their frame has not come yet
NOBODY = -1


class ReplayBuffer:
    """Transitions of frames. A transition is two consecutive frames of one episode and the action between."""

    def __init__(
        self,
        cameras: tuple[Camera, ...],
        action_size: int,
        context: int,
        capacity_bytes: int | None = None,
        capacity_frames: int | None = None,
    ) -> None:
        """Give one of the capacities. Raises ValueError when it holds fewer than context + 1 frames."""
        self.cameras = cameras
        self.context = context
        self.frame_bytes = sum(camera.height * camera.width * 3 for camera in cameras)
        if (capacity_bytes is None) == (capacity_frames is None):
            raise ValueError("give either capacity_bytes or capacity_frames")
        self.capacity = capacity_frames if capacity_frames is not None else int(capacity_bytes or 0) // self.frame_bytes
        if self.capacity < context + 1:
            raise ValueError(
                f"room for {self.capacity} frames of {self.frame_bytes} bytes, but one window needs {context + 1}: raise the capacity"
            )
        # Zeroed memory is not touched until written, so a large ring costs only what it holds.
        self._frames = {c.name: np.zeros((self.capacity, c.height, c.width, 3), np.uint8) for c in cameras}
        self._actions = np.full((self.capacity, action_size), np.nan, np.float32)
        self._keys: list[Key | None] = [None] * self.capacity
        self._slots: dict[Key, int] = {}
        self._before = np.full(self.capacity, NOBODY, np.int64)  # slot of the frame one step earlier
        self._after = np.full(self.capacity, NOBODY, np.int64)
        self._valid = np.zeros(self.capacity, bool)  # slot is the first frame of a transition
        self._early: dict[Key, np.ndarray[Any, Any]] = {}
        self._came = 0  # frames so far; the slot of frame n is n modulo the capacity
        self._ids: dict[int, IntArray] = {}  # by horizon, until something changes
        self._out: dict[tuple[int, int], tuple[dict[str, UInt8Array], FloatArray]] = {}

    def __len__(self) -> int:
        """Number of transitions that can be learned from."""
        return len(self.ids())

    @property
    def frames(self) -> int:
        """Number of frames held."""
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes of the frames held (not of the room reserved)."""
        return len(self._slots) * self.frame_bytes

    def add_frame(self, episode: int, step: int, images: dict[str, UInt8Array]) -> None:
        """Remember one moment, {camera: uint8 [H, W, 3]}. A second frame of the same step replaces the first.

        Raises ValueError when a camera is missing or its picture has another shape or dtype.
        """
        for camera in self.cameras:
            image = images.get(camera.name)
            shape = (camera.height, camera.width, 3)
            if image is None or image.shape != shape or image.dtype != np.uint8:
                got = "nothing" if image is None else f"{image.dtype} {image.shape}"
                raise ValueError(f"camera {camera.name!r} gave {got}: the buffer was made for uint8 {shape}")
        key = (episode, step)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._came % self.capacity
            self._came += 1
            self._forget(slot)
            self._slots[key], self._keys[slot] = slot, key
            self._actions[slot] = self._early.pop(key, np.nan)
            self._link((episode, step - 1), key)
            self._link(key, (episode, step + 1))
        for camera in self.cameras:
            self._frames[camera.name][slot] = images[camera.name]
        self._check(key)
        self._check((episode, step - 1))

    def add_action(self, episode: int, step: int, vector: np.ndarray[Any, Any]) -> None:
        """Remember the action taken between frame `step` and frame `step + 1`, float [D]."""
        vector = np.asarray(vector, np.float32)
        if vector.shape != self._actions.shape[1:]:
            raise ValueError(f"an action of shape {vector.shape}: the buffer was made for {self._actions.shape[1:]}")
        key = (episode, step)
        slot = self._slots.get(key)
        if slot is None:
            self._early[key] = vector
            if len(self._early) > EARLY_ACTIONS:
                del self._early[next(iter(self._early))]
            return
        self._actions[slot] = vector
        self._check(key)

    def _forget(self, slot: int) -> None:
        key = self._keys[slot]
        if key is None:
            return
        del self._slots[key]
        before, after = self._before[slot], self._after[slot]
        self._valid[slot] = False
        self._before[slot] = self._after[slot] = NOBODY
        if before != NOBODY:
            self._valid[before] = False
            self._after[before] = NOBODY
        if after != NOBODY:
            self._before[after] = NOBODY
        self._ids.clear()

    def _link(self, first: Key, second: Key) -> None:
        before, after = self._slots.get(first), self._slots.get(second)
        if before is not None and after is not None:
            self._after[before], self._before[after] = after, before

    def _check(self, key: Key) -> None:
        """Say whether the frame `key` starts a transition now."""
        slot = self._slots.get(key)
        if slot is not None:
            self._valid[slot] = self._after[slot] != NOBODY and not np.isnan(self._actions[slot]).any()
            self._ids.clear()

    def id_of(self, episode: int, step: int) -> int | None:
        """The transition that begins with this frame; None where there is none."""
        slot = self._slots.get((episode, step))
        return None if slot is None or not self._valid[slot] else int(self._numbers(np.array([slot]))[0])

    def ids(self, horizon: int = 1) -> IntArray:
        """See `Source`."""
        if horizon not in self._ids:
            run = self._valid
            slots = np.flatnonzero(run)
            ahead = slots
            for _ in range(1, horizon):
                ahead = self._after[ahead]
                keep = run[ahead]
                slots, ahead = slots[keep], ahead[keep]
            self._ids[horizon] = np.sort(self._numbers(slots))
        return self._ids[horizon]

    def _numbers(self, slots: IntArray) -> IntArray:
        """Which frames lie in these slots now."""
        return self._came - 1 - (self._came - 1 - slots) % self.capacity

    def windows(self, ids: IntArray, horizon: int = 1) -> Batch:
        """See `Source`; the arrays are written again by the next call of the same size.

        Raises LookupError for a transition that is held no more.
        """
        slots = np.asarray(ids, np.int64) % self.capacity
        if not (self._valid[slots].all() and (self._numbers(slots) == ids).all()):
            raise LookupError("a transition that was asked for is held no more")
        frames, actions = self._room(len(slots), horizon)
        index = np.empty((len(slots), self.context + horizon), np.int64)
        index[:, self.context - 1] = slots
        for place in range(self.context, self.context + horizon):
            index[:, place] = self._after[index[:, place - 1]]
            actions[:, place - 1] = self._actions[index[:, place - 1]]
        if (index[:, self.context :] == NOBODY).any():
            raise LookupError(f"a transition that was asked for is not followed by {horizon - 1} more")
        for place in range(self.context - 2, -1, -1):  # where an episode, or what is left of it, starts, its first frame is repeated
            before = self._before[index[:, place + 1]]
            known = before != NOBODY
            index[:, place] = np.where(known, before, index[:, place + 1])
            actions[:, place] = np.where(known[:, None], self._actions[before], np.float32(np.nan))
        for name, out in frames.items():
            np.take(self._frames[name], index, axis=0, out=out, mode="clip")
        return Batch(frames, actions, np.asarray(ids, np.int64))

    def spread(self, count: int) -> Batch:
        """At most `count` windows, evenly spread over all transitions held, in order: a fixed sample to score on.

        Raises ValueError when there is no transition yet. The batch's arrays are reused like those of `windows`.
        """
        ids = self.ids()
        if not len(ids):
            raise ValueError("the buffer holds no transition: wait for two consecutive frames and the action between")
        return self.windows(ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)])

    def _room(self, size: int, horizon: int) -> tuple[dict[str, UInt8Array], FloatArray]:
        key = size, horizon
        if key not in self._out:
            if len(self._out) >= KEPT_SIZES:
                del self._out[next(iter(self._out))]
            length = self.context + horizon
            frames = {c.name: np.empty((size, length, c.height, c.width, 3), np.uint8) for c in self.cameras}
            self._out[key] = frames, np.empty((size, length - 1, self._actions.shape[1]), np.float32)
        return self._out[key]
