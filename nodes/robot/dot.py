"""The toroidal dot: a white disc on black that wraps around the edges.

Action 1 moves it right by `step` pixels, action 0 leaves it; y never changes within an episode. With
`holdout_modulus` m, rows with y mod m = 0 are never shown live: they make the probe, on which the learner
is scored against the truth.
"""

import time

import msgspec
import numpy as np

from nodes.robot.interface import Observation, Options, RobotError
from protocol.messages import Action, ActionSpaceInfo

HISTORY = 3
CAMERA = "top"


class DotOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in pixels. `initial_x`, `initial_y` fix the start; `action_delay_s` is how long an action lasts."""

    size: int = 224
    radius: int = 5
    step: int = 27
    holdout_modulus: int = 9
    probe_states: int = 100
    initial_x: int | None = None
    initial_y: int | None = None
    action_delay_s: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 4 or not 0 < self.radius < self.size / 2:
            raise ValueError(f"a dot of radius {self.radius} does not fit a frame of {self.size} pixels")
        if self.holdout_modulus == 1 or self.holdout_modulus < 0:
            raise ValueError(f"holdout_modulus is {self.holdout_modulus}; use 0 to hold out no rows, 9 for every ninth")
        if self.probe_states < 0 or self.action_delay_s < 0:
            raise ValueError("probe_states and action_delay_s must be 0 or more")
        for name, start in (("initial_x", self.initial_x), ("initial_y", self.initial_y)):
            if start is not None and not 0 <= start < self.size:
                raise ValueError(f"{name} {start} is outside the frame; give 0 to {self.size - 1}")


class ToroidalDot:
    """The world as specified: `RandomState(seed)` draws x, then y, at the start and at every reset."""

    def __init__(self, options: Options, seed: int) -> None:
        self.options = msgspec.convert(options, DotOptions)
        self.action_space = ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}, {"action": 1.0}])
        self.safe_action: Action = {"action": 0.0}
        self.state_names = ["x", "y"]
        self._seed = seed
        self._random = np.random.RandomState(seed)
        self._closed = False
        self._x, self._y = 0, 0
        self.reset()

    def observe(self) -> Observation:
        if self._closed:
            raise RobotError("it is closed; make another one")
        state = np.array([self._x, self._y], dtype=np.float32)
        return Observation(images={CAMERA: self.picture(self._x, self._y)}, state=state)

    def execute(self, action: Action) -> bool:
        if self.options.action_delay_s:
            time.sleep(self.options.action_delay_s)
        if action["action"] == 1:
            self._x = (self._x + self.options.step) % self.options.size
        return True

    def reset(self) -> None:
        """A new position, never in a held-out row."""
        o = self.options
        self._x = int(self._random.randint(0, o.size)) if o.initial_x is None else o.initial_x
        self._y = int(self._random.randint(0, o.size)) if o.initial_y is None else o.initial_y
        while o.initial_y is None and self._held_out(self._y):
            self._y = int(self._random.randint(0, o.size))

    def position(self) -> tuple[int, int]:
        return self._x, self._y

    def stop(self) -> None:
        """Nothing moves by itself."""

    def close(self) -> None:
        """Nothing to let go of; it shows nothing any more."""
        self._closed = True

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """Random states of the held-out rows, each with a random past and the truth for both actions."""
        o = self.options
        if not o.holdout_modulus or not o.probe_states:
            return None
        random = np.random.RandomState((self._seed + 1) % 2**32)
        rows = np.arange(0, o.size, o.holdout_modulus)
        n = o.probe_states
        x, y = random.randint(0, o.size, n), rows[random.randint(0, len(rows), n)]
        past = random.randint(0, 2, (n, HISTORY - 1))
        offsets = np.concatenate([-np.cumsum(past[:, ::-1], axis=1)[:, ::-1], np.zeros((n, 1), int)], axis=1)
        after = np.stack([x, x + o.step], axis=1) % o.size
        history = self._pictures((x[:, None] + o.step * offsets) % o.size, y)
        position = np.stack([after, np.repeat(y[:, None], 2, axis=1)], axis=2).astype(np.float32)
        return f"rows y mod {o.holdout_modulus} = 0, never shown live", {
            f"history/{CAMERA}": history,
            "past_actions": past[..., None].astype(np.float32),
            "candidates": np.array([[0.0], [1.0]], dtype=np.float32),
            f"next/{CAMERA}": self._pictures(after, y),
            "position": position,
        }

    def _held_out(self, y: int) -> bool:
        return bool(self.options.holdout_modulus) and y % self.options.holdout_modulus == 0

    def _pictures(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """[N, T] columns and [N] rows to [N, T, S, S, 3] uint8."""
        return np.stack([np.stack([self.picture(int(c), int(row)) for c in columns]) for columns, row in zip(x, y, strict=True)])

    def picture(self, x: int, y: int) -> np.ndarray:
        """All integer offsets within the radius, both coordinates wrapping."""
        o = self.options
        offset = np.arange(-o.radius, o.radius + 1)
        dy, dx = np.nonzero(offset[:, None] ** 2 + offset[None, :] ** 2 <= o.radius**2)
        image = np.zeros((o.size, o.size, 3), dtype=np.uint8)
        image[(y + offset[dy]) % o.size, (x + offset[dx]) % o.size] = 255
        return image
