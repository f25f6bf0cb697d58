"""What the viewer knows: fed by messages, drawn by `compose`. No clock, no sockets, numpy only.

    state = ViewState(run_name="first light", nodes={"robot": "robot", "predictor": "predictor"})
    state.update(message, now_mono_s)      # any message; kinds that are not shown are ignored
    state.prompt = "step 12: forward?  y yes, 0-9 another action"

Memory is bounded: the last `context + 1` frames, a few predictions, curves thinned to `curve_points`.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from nodes.viewer.curves import Curve
from nodes.viewer.health import HealthBoard
from nodes.viewer.records import (
    Key,
    SeenError,
    SeenFrame,
    SeenPrediction,
    candidate_index,
    seen_error,
    seen_frame,
    seen_prediction,
)  # fmt: skip
from protocol.messages import Action, ActionTaken, Alarm, Committed, EpisodeMark, Message, Robot
from worldmodel.spec import ActionSpace, SpecError

LOSS_CURVES = ("loss", "mse", "copy_last_mse", "live_mse", "live_copy_last_mse")
SKILL_CURVES = ("skill_copy_last", "skill_action_blind", "cf_accuracy", "hit_at_3px")
FIGURES = ("samples", "samples_per_s", "prediction_error", "skill_copy_last")
TOAST_S = 4.0

_KEPT_ACTIONS = 64
_KEPT_PREDICTIONS = 4
_KEPT_ALARMS = 32


class ViewState:
    """Everything one picture shows. `version` grows with every change that may change the picture.

    `nodes` (name -> kind) is the graph as launched, so that nodes never heard of are shown too; leave it
    empty when it is not known. The node sets `prompt`, and calls `say` and `toggle_help`.
    """

    def __init__(self, run_name: str = "", nodes: Mapping[str, str] | None = None, context: int = 2, curve_points: int = 600) -> None:
        self.run_name = run_name
        self.graph = dict(nodes or {})
        self.context = context
        self.version = 0
        self.started_mono_s: float | None = None
        self.session: str | None = None
        self.robot: Robot | None = None
        self.space: ActionSpace | None = None
        self.frames: deque[SeenFrame] = deque(maxlen=context + 1)
        self.actions: OrderedDict[Key, ActionTaken] = OrderedDict()
        self.predictions: deque[SeenPrediction] = deque(maxlen=_KEPT_PREDICTIONS)
        self.error: SeenError | None = None
        self.mark: EpisodeMark | None = None
        self.metrics: dict[str, float] = {}
        self.curves = {name: Curve(curve_points) for name in (*LOSS_CURVES, *SKILL_CURVES)}
        self.health = HealthBoard(self.graph)
        self.committed: Committed | None = None
        self.alarms: OrderedDict[tuple[str, str], Alarm] = OrderedDict()
        self.show_help = False
        self._prompt = ""
        self._toast: tuple[str, float] = ("", 0.0)
        self._robot_run = ""
        self._serial = 0
        self._handlers: dict[str, Callable[[Message, float], None]] = {
            "robot": self._on_robot, "episode": self._on_episode, "frame": self._on_frame,
            "action": self._on_action, "prediction": self._on_prediction, "metrics": self._on_metrics,
            "status": self._on_status, "committed": self._on_committed, "alarm": self._on_alarm,
        }  # fmt: skip

    def update(self, message: Message, now_mono_s: float) -> None:
        """Take one decoded message; kinds that the viewer does not show are ignored."""
        handler = self._handlers.get(message.kind)
        if handler is None:
            return
        if self.started_mono_s is None:
            self.started_mono_s = now_mono_s
        self.session = message.envelope.session or self.session
        handler(message, now_mono_s)
        self.version += 1

    # What the node itself sets.

    @property
    def prompt(self) -> str:
        """The question to the person, shown until it is set to "" again; `y` and digits answer it."""
        return self._prompt

    @prompt.setter
    def prompt(self, text: str) -> None:
        self.version += text != self._prompt
        self._prompt = text

    def say(self, text: str, now_mono_s: float) -> None:
        """Show a line for a few seconds, such as "saved pictures/000012.png"."""
        self._toast = (text, now_mono_s)
        self.version += 1

    def toggle_help(self) -> None:
        """Show or hide the table of keys."""
        self.show_help = not self.show_help
        self.version += 1

    # What the picture reads.

    @property
    def frame(self) -> SeenFrame | None:
        """The newest frame."""
        return self.frames[-1] if self.frames else None

    @property
    def prediction(self) -> SeenPrediction | None:
        """The newest prediction."""
        return self.predictions[-1] if self.predictions else None

    @property
    def candidates(self) -> list[Action]:
        """The actions that digits choose from: those of the newest prediction, else the robot's choices."""
        if self.prediction is not None and self.prediction.body.candidates:
            return self.prediction.body.candidates[: self.prediction.body.offered]
        return self.robot.actions.choices if self.robot is not None else []

    @property
    def paused(self) -> bool:
        node = self.health.of_kind("robot")
        return node is not None and node.status is not None and node.status.state == "paused"

    def recording(self, now_mono_s: float) -> bool:
        """Whether a recorder is heard and running."""
        node = self.health.of_kind("recorder")
        return node is not None and node.condition(now_mono_s) in ("ready", "running", "paused")

    def elapsed_s(self, now_mono_s: float) -> float:
        """Seconds since the first message."""
        return 0.0 if self.started_mono_s is None else max(0.0, now_mono_s - self.started_mono_s)

    def toast(self, now_mono_s: float) -> str:
        """The line of `say`, while it is fresh."""
        text, at = self._toast
        return text if text and now_mono_s - at < TOAST_S else ""

    def action_after(self, frame: SeenFrame) -> ActionTaken | None:
        """What was executed after a frame, when it is known."""
        return self.actions.get(frame.key)

    def index_of(self, action: Action) -> int | None:
        """Which candidate an action is."""
        return candidate_index(action, self.candidates)

    def has_kind(self, kind: str) -> bool | None:
        """Whether the graph has a node of this kind; None when that is not known."""
        if self.health.of_kind(kind) is not None:
            return True
        return False if self.graph else None

    # One handler per kind.

    def _on_robot(self, message: Message, now_mono_s: float) -> None:
        self._check_run(message.envelope.run)
        self.robot = message.body
        info = self.robot.actions
        try:
            choices = tuple(tuple(float(choice[name]) for name in info.names) for choice in info.choices)
            self.space = ActionSpace(tuple(info.names), choices, tuple(info.low), tuple(info.high))
        except (SpecError, KeyError):
            self.space = None  # the history then shows grey bars

    def _on_episode(self, message: Message, now_mono_s: float) -> None:
        self._check_run(message.envelope.run)
        self.mark = message.body

    def _on_frame(self, message: Message, now_mono_s: float) -> None:
        self._check_run(message.envelope.run)
        self._serial += 1
        frame = seen_frame(message, self._serial)
        if frame is None:
            return
        if self.frame is not None and frame.episode != self.frame.episode:
            self.frames.clear()
        if self.frame is not None and frame.key == self.frame.key:
            self.frames.pop()  # a robot that stands shows its step again
        self.frames.append(frame)
        self._compare(now_mono_s)

    def _on_action(self, message: Message, now_mono_s: float) -> None:
        self._check_run(message.envelope.run)
        self.actions[message.envelope.episode, message.envelope.step] = message.body
        while len(self.actions) > _KEPT_ACTIONS:
            self.actions.popitem(last=False)
        self._compare(now_mono_s)

    def _on_prediction(self, message: Message, now_mono_s: float) -> None:
        self._serial += 1
        self.predictions.append(seen_prediction(message, self._serial))
        self._compare(now_mono_s)

    def _on_metrics(self, message: Message, now_mono_s: float) -> None:
        for name, value in message.body.values.items():
            if name in FIGURES:
                self.metrics[name] = value
            if name in self.curves:
                self.curves[name].add(self.elapsed_s(now_mono_s), value)

    def _on_status(self, message: Message, now_mono_s: float) -> None:
        self.health.hear(message, now_mono_s)

    def _on_committed(self, message: Message, now_mono_s: float) -> None:
        self.committed = message.body

    def _on_alarm(self, message: Message, now_mono_s: float) -> None:
        key = (message.envelope.source, message.body.name)
        self.alarms.pop(key, None)
        if message.body.active:
            self.alarms[key] = message.body
        while len(self.alarms) > _KEPT_ALARMS:
            self.alarms.popitem(last=False)

    def _check_run(self, run: str) -> None:
        """A robot that started again counts its steps anew: forget the steps of the old run."""
        if self._robot_run and run != self._robot_run:
            self.frames.clear()
            self.actions.clear()
            self.predictions.clear()
        self._robot_run = run

    def _compare(self, now_mono_s: float) -> None:
        """Compare the newest prediction whose frame and action came, once; the three come in any order."""
        frames: dict[Key, SeenFrame] = {frame.key: frame for frame in self.frames}
        for prediction in reversed(self.predictions):
            if self.error is not None and prediction.key == self.error.key:
                return
            before, after = frames.get(prediction.key), frames.get(prediction.next_key)
            taken = self.actions.get(prediction.key)
            if prediction.step is None or before is None or after is None or taken is None:
                continue
            self._serial += 1
            error = seen_error(prediction, before, after, taken.action, self._serial)
            if error is None:
                continue
            self.error = error
            elapsed: Any = self.elapsed_s(now_mono_s)
            self.curves["live_mse"].add(elapsed, error.mse)
            self.curves["live_copy_last_mse"].add(elapsed, error.copy_last_mse)
            return
