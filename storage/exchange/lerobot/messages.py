"""Rows of a LeRobot dataset as the messages of a robot: what it is, and its steps, episodes and marks."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from protocol.clock import NS_PER_S
from protocol.messages import Action, ActionSpaceInfo, ActionTaken, Array, CameraInfo, EpisodeMark, Frame, LogRecord, Metrics, Robot
from storage.exchange.intake import IMPORTER, Intake
from storage.exchange.lerobot.layout import Column, EpisodeRow, Layout
from storage.exchange.lerobot.own import TIME_COLUMN, Own, OwnEpisode
from storage.exchange.lerobot.rows import Chunk
from storage.exchange.lerobot.survey import Actions
from storage.exchange.steps import TASK, MarkRow

MADE_TIMES = "made of frame_index and fps by lerobot: no clock saw them"
REAL_TIMES = "the time stamps of the dataset"
DRIVER, BY = "lerobot", "recorded"
SUCCESS = "next.success"
MOST_EXTRAS = 1000
"""Numbers of a step that fit into one message beside frame and action."""
DATE_S = 1e8
"""A time stamp beyond is a date, not the time since the episode began."""


class ColumnSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A column as the dataset had it, for an export of the session."""

    key: str
    dtype: str
    shape: list[int]


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """`params["lerobot"]` of the robot: how the dataset laid things out. `cameras`: name to key."""

    robot_type: str
    cameras: dict[str, str]
    action: ColumnSpec | None = None
    state: ColumnSpec | None = None
    extras: list[ColumnSpec] = []


def _spec(column: Column) -> ColumnSpec:
    return ColumnSpec(key=column.key, dtype=column.dtype, shape=list(column.shape))


def extra_names(key: str, width: int) -> list[str]:
    """Names of the numbers of a column besides, as metrics."""
    return [key] if width == 1 else [f"{key}.{place}" for place in range(width)]


def robot_of(layout: Layout, actions: Actions, own: Own | None, sizes: dict[str, tuple[int, int]], extras: Sequence[Column]) -> Robot:
    """What the robot is; `sizes`: camera name to height and width, in their order."""
    cameras = [CameraInfo(name=name, height=height, width=width) for name, (height, width) in sizes.items()]
    if own is not None:
        return msgspec.structs.replace(own.robot, cameras=cameras)
    action, state = layout.action, layout.state
    space = _action_space(action, actions)
    spec = Spec(
        robot_type=layout.robot_type, cameras={camera.name: camera.key for camera in layout.cameras},
        action=_spec(action) if action else None, state=_spec(state) if state else None, extras=[_spec(column) for column in extras],
    )  # fmt: skip
    edges = zip(space.low, space.high, strict=True) if space.low else ((0.0, 0.0) for _ in space.names)
    safe = {name: min(max(0.0, low), high) for name, (low, high) in zip(space.names, edges, strict=True)}  # nobody knows a better one
    return Robot(
        robot="robot", driver=DRIVER, params={"lerobot": msgspec.to_builtins(spec)}, cameras=cameras,
        actions=space, state_names=list(state.names) if state else [], rate_hz=layout.fps, timing="paced",
        safe_action=safe if not space.choices or safe in space.choices else space.choices[0],
    )  # fmt: skip


def _action_space(column: Column | None, actions: Actions) -> ActionSpaceInfo:
    if column is None:
        return ActionSpaceInfo(names=[])
    names = list(column.names)
    if actions.kinds:
        return ActionSpaceInfo(names=names, choices=[dict(zip(names, kind, strict=True)) for kind in sorted(actions.kinds)])
    low, high = (np.where(np.isfinite(edge), edge, 0.0).tolist() for edge in (actions.low, actions.high))
    return ActionSpaceInfo(names=names, low=low, high=high)


class Teller:
    """Tells an Intake of the rows of one episode after the other."""

    def __init__(self, layout: Layout, own: Own | None, extras: Sequence[Column], made_times: bool, taking: Intake) -> None:
        self._layout = layout
        self._own = own
        self._extras = extras
        self._made_times = made_times
        self._taking = taking
        self._period_ns = round(NS_PER_S / layout.fps)
        taking.period_ns = self._period_ns
        self._base_ns = 0
        self._mine: OwnEpisode | None = None
        self._own_marks: list[MarkRow] = []
        self._row: EpisodeRow
        self._open = False
        self._task = ""
        self._success: bool | None = None
        self._step = 0
        self._t_ns = -self._period_ns

    def begin(self, episode: EpisodeRow) -> None:
        mine = self._own.episodes[episode.number] if self._own else None
        if mine and (self._mine is None or mine.episode != self._mine.episode):
            self._own_marks = mine.marks
        self._mine, self._row = mine, episode
        self._base_ns = self._t_ns + self._period_ns
        if not self._open:
            self._task, self._success = "", None

    def step(self, chunk: Chunk, place: int, images: dict[str, Array]) -> None:
        """One row: its frame with `images`, its action, and what else it holds."""
        frame, mine, layout = int(chunk.frame_index[place]), self._mine, self._layout
        self._t_ns = self._time(chunk, place, frame)
        self._step = frame + (mine.first_step if mine else 0)
        mono_ns = mine.start_mono_ns + self._t_ns - mine.start_ns if mine else None
        taking = self._taking
        taking.episode = mine.episode if mine else self._row.number
        if not self._open:
            self._open = True
            taking.start(self._t_ns, self._step, self._own_marks)
        arrays = dict(images)
        if layout.state:
            arrays["state"] = chunk.numbers[layout.state.key][place].astype(np.float32)
        last = bool(mine and mine.last and frame == self._row.length - 1)
        self._say_task(int(chunk.task_index[place]))
        taking.send(Frame(held_out=bool(mine and mine.held_out), last=last), self._t_ns, self._step, arrays, mono_ns)
        taken = self._action(chunk, place, frame)
        if taken is not None:
            taking.send(taken, self._t_ns, self._step, mono_ns=mono_ns)
        if self._extras:
            taking.send(Metrics(values=self._values(chunk, place)), self._t_ns, self._step, mono_ns=mono_ns)

    def end(self) -> None:
        """The rows of the episode are over; and with them the session's, unless it goes on in the next ones."""
        if self._open and not self._goes_on():
            self._taking.end(self._t_ns, self._step, self._own_marks if self._mine else self._marks())
            self._open = False

    def _goes_on(self) -> bool:
        """Whether the next rows of the dataset are of the same episode of the session, which was cut in two."""
        after = self._own.episodes[self._row.number + 1 : self._row.number + 2] if self._own else []
        return bool(self._mine and after and after[0].episode == self._mine.episode)

    def _time(self, chunk: Chunk, place: int, frame: int) -> int:
        """Wall clock in ns."""
        if self._mine:
            return self._mine.start_ns + int(chunk.numbers[TIME_COLUMN][place, 0])
        if self._made_times:
            return self._base_ns + round(frame * NS_PER_S / self._layout.fps)
        stamp = float(chunk.timestamp[place])
        return (0 if stamp > DATE_S else self._base_ns) + round(stamp * NS_PER_S)

    def _say_task(self, number: int) -> None:
        task = self._layout.tasks.get(number, "")
        if task and task != self._task:
            self._task = task
            self._taking.send(LogRecord(level="INFO", logger=TASK, text=task), self._t_ns, self._step)

    def _action(self, chunk: Chunk, place: int, frame: int) -> ActionTaken | None:
        column, mine = self._layout.action, self._mine
        if column is None or (mine and frame in mine.no_action):
            return None
        values: list[float] = chunk.numbers[column.key][place].astype(np.float64).tolist()
        names = self._own.robot.actions.names if self._own else column.names
        action: Action = dict(zip(names, values, strict=True))
        by = next((who for first, who in reversed(mine.by) if first <= frame), BY) if mine else BY
        return ActionTaken(
            action=action, by=by, start_ns=self._t_ns, end_ns=self._t_ns + self._period_ns,
            safe=bool(mine and frame in mine.safe), success=not (mine and frame in mine.failed),
        )  # fmt: skip

    def _values(self, chunk: Chunk, place: int) -> dict[str, float]:
        values: dict[str, float] = {}
        for column in self._extras:
            row: list[Any] = chunk.numbers[column.key][place].astype(np.float64).tolist()
            values |= dict(zip(extra_names(column.key, column.width), row, strict=True))
        if SUCCESS in values:
            self._success = bool(self._success) or values[SUCCESS] > 0
        return values

    def _marks(self) -> list[MarkRow]:
        """Success or failure where the dataset tells it, and the end."""
        if self._success is None:
            return []
        judged = EpisodeMark(mark="success" if self._success else "failure", reason=SUCCESS)
        return [MarkRow(mark=mark, step=self._step, t_ns=self._t_ns) for mark in (judged, EpisodeMark(mark="end", reason=IMPORTER))]
