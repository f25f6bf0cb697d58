"""Which columns a LeRobot dataset of a session has, and what stands in them for a step."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import Robot
from storage.errors import ExportProblem
from storage.exchange.lerobot.messages import SUCCESS, ColumnSpec, Spec, extra_names
from storage.exchange.lerobot.own import TIME_COLUMN
from storage.exchange.steps import Step

DONE = "next.done"


class Features:
    """The columns. `off`: how far actions are from their numbers in the session, at most. `left_out`: arrays that are not exported."""

    def __init__(self, robot: Robot, first: Step, pictures: bool, judged: bool) -> None:
        """Of a session whose first step is `first`; `pictures` instead of video; `judged`: some of its episodes have a judgement."""
        self.off = 0.0
        self.left_out = [name for name in first.frame.arrays if name.startswith("depth/")]
        self._robot = robot
        self.spec = _spec(robot)
        self._keys = {camera.name: self.spec.cameras.get(camera.name, f"observation.images.{camera.name}") for camera in robot.cameras}
        self._shapes = {name: first.images[name].shape for name in self._keys if name in first.images}
        self._names = list(robot.actions.names)
        self._action = self.spec.action or (ColumnSpec(key="action", dtype="float32", shape=[len(self._names)]) if self._names else None)
        width = 0 if first.state is None else first.state.size
        self._state = (self.spec.state or ColumnSpec(key="observation.state", dtype="float32", shape=[width])) if width else None
        self._state_names = robot.state_names if len(robot.state_names) == width else [f"state.{place}" for place in range(width)]
        self.extras = [column for column in self.spec.extras if column.key != TIME_COLUMN]
        self._marked = judged and SUCCESS not in [column.key for column in self.extras]
        self._picture = "image" if pictures else "video"
        self._last = np.array([robot.safe_action.get(name, 0.0) for name in self._names])
        missing = [name for name in self._keys if name not in self._shapes]
        if missing:
            raise ExportProblem(f"{first.where}: camera {missing[0]} was not recorded: its frames are not in the session")

    @property
    def added(self) -> list[str]:
        """Columns that the session itself does not have."""
        return [TIME_COLUMN, *((SUCCESS, DONE) if self._marked else ())]

    def described(self) -> dict[str, dict[str, Any]]:
        """lerobot's features."""
        found: dict[str, dict[str, Any]] = {}
        for name, key in self._keys.items():
            found[key] = {"dtype": self._picture, "shape": self._shapes[name], "names": ["height", "width", "channels"]}
        for column, names in ((self._state, self._state_names), (self._action, self._names)):
            if column is not None:
                found[column.key] = {"dtype": column.dtype, "shape": tuple(column.shape), "names": names}
        for column in [*self.extras, ColumnSpec(key=TIME_COLUMN, dtype="int64", shape=[1])]:
            found[column.key] = {"dtype": column.dtype, "shape": tuple(column.shape), "names": None}
        if self._marked:
            found |= {key: {"dtype": "bool", "shape": (1,), "names": None} for key in (SUCCESS, DONE)}
        return found

    def odd(self) -> str:
        """A camera whose pictures no usual video can hold; "" when there is none."""
        return next((f"{name} {shape[1]}x{shape[0]}" for name, shape in self._shapes.items() if shape[0] % 2 or shape[1] % 2), "")

    def row(self, step: Step, values: dict[str, float]) -> dict[str, Any]:
        """What `add_frame` takes, but for its place. `values`: the step's numbers besides. Raises ValueError: what does not fit."""
        row: dict[str, Any] = {}
        for name, key in self._keys.items():
            image = step.images.get(name)
            if image is None or image.shape != self._shapes[name]:
                raise ValueError(f"camera {name} has {'no picture' if image is None else f'{image.shape[1]}x{image.shape[0]}'}")
            row[key] = image
        if self._state is not None:
            if step.state is None or step.state.size != len(self._state_names):
                raise ValueError(f"the state has {0 if step.state is None else step.state.size} numbers, expected {len(self._state_names)}")
            row[self._state.key] = _shaped(step.state, self._state)
        if self._action is not None:
            row[self._action.key] = self._taken(step, self._action)
        for column in self.extras:
            names = extra_names(column.key, int(np.prod(column.shape)))
            row[column.key] = _shaped(np.array([values.get(name, 0.0) for name in names]), column)
        return row

    def placed(self, row: dict[str, Any], gone_ns: int, success: bool, done: bool) -> dict[str, Any]:
        """The row with what its place in the episode says."""
        row[TIME_COLUMN] = np.array([gone_ns], np.int64)
        if self._marked:
            row |= {SUCCESS: np.array([success], bool), DONE: np.array([done], bool)}
        return row

    def _taken(self, step: Step, column: ColumnSpec) -> NDArray[Any]:
        """The action; where none was taken the one before, or the safe one."""
        if step.taken is not None:
            lacking = [name for name in self._names if name not in step.taken.action]
            if lacking:
                raise ValueError(f"the action has no {lacking[0]}")
            self._last = np.array([step.taken.action[name] for name in self._names])
            if not np.isfinite(self._last).all():
                raise ValueError(f"the action is {step.taken.action}")
        shaped = _shaped(self._last, column)
        self.off = max(self.off, float(np.max(np.abs(shaped.reshape(-1).astype(np.float64) - self._last), initial=0.0)))
        return shaped


def _shaped(values: NDArray[Any], column: ColumnSpec) -> NDArray[Any]:
    return values.reshape(-1).astype(column.dtype).reshape(column.shape)


def _spec(robot: Robot) -> Spec:
    """How the dataset that the session was imported from laid things out; empty for any other session."""
    try:
        return msgspec.convert(robot.params.get("lerobot", {"robot_type": robot.driver, "cameras": {}}), Spec)
    except msgspec.ValidationError:
        return Spec(robot_type=robot.driver, cameras={})
