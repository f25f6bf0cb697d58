"""What the trainer remembers: the newest frames, and which of them follow one another.

    buffer = ReplayBuffer(cameras, action_size=1, context=2, capacity_bytes=1 << 30)
    buffer.add_frame(episode=0, step=0, images={"front": picture})
    buffer.add_action(episode=0, step=0, vector=action)      # between frame 0 and frame 1
    batch = buffer.sample(16, rng)

A ring of uint8 frames; the oldest is overwritten. Frames and actions may arrive in any order.
"""

from typing import Any

import numpy as np

from worldmodel.batch import Batch
from worldmodel.spec import Camera

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
Key = tuple[int, int]  # episode, step

KEPT_SIZES = 2  # batch sizes whose arrays are kept for reuse: one to train, one to score
EARLY_ACTIONS = 1024  # actions kept while their frame has not come yet


class ReplayBuffer:
    """Transitions of frames, sampled as windows. A transition is two consecutive frames of one episode and the action between."""

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
        self._valid = np.zeros(self.capacity, bool)  # slot is the first frame of a transition
        self._early: dict[Key, np.ndarray[Any, Any]] = {}
        self._next = 0
        self._out: dict[int, tuple[dict[str, UInt8Array], np.ndarray[Any, Any]]] = {}

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return int(self._valid.sum())

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
            slot = self._next
            self._next = (slot + 1) % self.capacity
            self._forget(slot)
            self._slots[key], self._keys[slot] = slot, key
            self._actions[slot] = self._early.pop(key, np.nan)
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
        self._valid[slot] = False
        before = self._slots.get((key[0], key[1] - 1))
        if before is not None:
            self._valid[before] = False

    def _check(self, key: Key) -> None:
        """Say whether the frame `key` starts a transition now."""
        slot = self._slots.get(key)
        if slot is not None:
            follows = (key[0], key[1] + 1) in self._slots
            self._valid[slot] = follows and not np.isnan(self._actions[slot]).any()

    def sample(
        self,
        batch_size: int,
        rng: np.random.Generator,
        recent_fraction: float = 0.25,
        recent_window: int = 256,
    ) -> Batch:
        """Windows that end in random transitions, with replacement; a share comes from the newest frames.

        `recent_window` counts frames. The arrays of the batch are written again by the next call of the
        same size. Raises ValueError when there is no transition yet.
        """
        valid = np.flatnonzero(self._valid)
        if valid.size == 0:
            raise ValueError("the buffer holds no transition: wait for two consecutive frames and the action between")
        age = (self._next - 1 - valid) % self.capacity
        recent = valid[age <= recent_window]
        slots = valid[rng.integers(valid.size, size=batch_size)]
        share = round(batch_size * recent_fraction)
        if recent.size and share:
            slots[:share] = recent[rng.integers(recent.size, size=share)]
        return self._gather(slots)

    def spread(self, count: int) -> Batch:
        """At most `count` windows, evenly spread over all transitions held, in order: a fixed sample to score on.

        Raises ValueError when there is no transition yet. The batch's arrays are reused like `sample`'s.
        """
        valid = np.flatnonzero(self._valid)
        if valid.size == 0:
            raise ValueError("the buffer holds no transition: wait for two consecutive frames and the action between")
        places = np.linspace(0, valid.size - 1, min(count, valid.size)).round().astype(int)
        return self._gather(valid[places])

    def _gather(self, slots: np.ndarray[Any, Any]) -> Batch:
        """Windows whose last seen frames are in `slots`."""
        size, context = len(slots), self.context
        if size not in self._out:
            if len(self._out) >= KEPT_SIZES:
                del self._out[next(iter(self._out))]
            shapes = {c.name: (size, context + 1, c.height, c.width, 3) for c in self.cameras}
            frames = {name: np.empty(shape, np.uint8) for name, shape in shapes.items()}
            self._out[size] = frames, np.empty((size, context, self._actions.shape[1]), np.float32)
        frames, actions = self._out[size]
        index = np.empty((size, context + 1), np.int64)
        for row, slot in enumerate(slots.tolist()):
            self._window(slot, index[row], actions[row])
        for name, out in frames.items():
            np.take(self._frames[name], index, axis=0, out=out, mode="clip")
        return Batch(frames=frames, actions=actions)

    def _window(self, slot: int, index: np.ndarray[Any, Any], actions: np.ndarray[Any, Any]) -> None:
        """Fill slots [context + 1] and actions [context, D] of the window whose newest seen frame is `slot`."""
        key = self._keys[slot]
        assert key is not None
        episode, step = key
        index[-1] = self._slots[(episode, step + 1)]
        index[-2] = slot
        actions[-1] = self._actions[slot]
        for place in range(self.context - 2, -1, -1):
            step -= 1
            before = self._slots.get((episode, step)) if step >= 0 else None
            if before is None:  # the episode, or what is left of it, starts here
                index[: place + 1] = slot
                actions[: place + 1] = np.nan
                return
            slot = before
            index[place] = slot
            actions[place] = self._actions[slot]
