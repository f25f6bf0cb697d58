"""The predictor node: chooses the next action, predicts what each would lead to, scores what it predicted."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from nodes.predictor.background import Background
from nodes.predictor.config import PredictorConfig
from nodes.predictor.history import History, Images, Place
from nodes.predictor.joint import LOGGER, JointSelector
from nodes.predictor.selectors import EndOfActions, Seen, Selector, SelectorError, make_selector, pick
from nodes.predictor.weights import WeightsRefused, check
from nodes.runtime import MAX_WAIT_S, Node, NodeError, content_of
from nodes.worlds import check_images, model_actions, to_action, to_vector
from protocol import messages as m

if TYPE_CHECKING:
    from worldmodel.predictor import FramePredictor
    from worldmodel.spec import ModelSpec

METRICS_EVERY_S = 1.0
KEPT_FRAMES = 4
KEPT_CHOICES = 64
LOOK_S = 0.005
"""How often it is looked whether a prediction is there."""
PERSON = "person"


class Made(msgspec.Struct, frozen=True):
    """A prediction: of which robot, where it was made, the actions tried, which was chosen, and the image of each."""

    robot: m.Robot
    place: Place
    tried: list[m.Action]
    chosen: int | None
    version: int
    images: Images
    last: Images
    took_s: float


class Shown(msgspec.Struct, frozen=True):
    """A frame that waits for a command: when it was taken, by the robot's clock, and when it came, by ours."""

    robot_ns: int
    heard_ns: int


class PredictorNode(Node):
    config: PredictorConfig
    _weights_s = 0.0
    """When the weights in use were published; 0: there are none."""

    def setup(self) -> None:
        if self.config.model == "follow":
            import worldmodel.predictor  # noqa: F401 (torch takes seconds: while heartbeats go on)
        self.robot: m.Robot | None = None
        self.selector: Selector | None = None
        self.candidates: list[m.Action] = []
        self.history = History(KEPT_FRAMES, 0)
        self.model: FramePredictor | None = None
        self.version = 0
        self._newest: dict[str, tuple[str, int]] = {}
        self._to_predict: Place | None = None
        self._asked: tuple[Place, m.Action] | None = None
        self._waiting: Place | None = None
        self._shown = Shown(0, 0)
        self._selected: tuple[Place, m.Action | None] | None = None
        self._driven: int | None = None
        self._chosen: dict[Place, m.Action] = {}
        self._made: Made | None = None
        self.predicting: Background[Made] = Background()
        self._after: Place | None = None
        self._came: Images | None = None
        self._new_weights: m.Message | None = None
        self._error: tuple[float, float] | None = None
        self._next_prediction_s = 0.0
        self._next_metrics_s = 0.0
        self._latency_ms = 0.0
        self._late = 0

    # -- what comes -------------------------------------------------------------------------------

    def on_robot(self, message: m.Message) -> None:
        robot: m.Robot = message.body
        try:
            vectors = model_actions(robot.actions).candidates(self.config.candidates)
        except ValueError as error:
            raise NodeError(f"robot {robot.robot[:60]!r}: {error}") from None
        self.robot = robot
        # of an earlier run of the robot
        self._to_predict = self._asked = self._waiting = self._made = self._selected = None
        choices = [dict(choice) for choice in robot.actions.choices]  # to the last digit: 0.12 is no float32
        self.candidates = choices or [to_action(vector, robot.actions.names) for vector in vectors]
        context = self.model.spec.context if self.model else 0
        self.history = History(max(KEPT_FRAMES, context), len(robot.actions.names))
        if self.config.selector == "none":
            return
        try:
            self.selector = self._make_selector(robot)
        except SelectorError as error:
            raise NodeError(str(error)) from None

    def _make_selector(self, robot: m.Robot) -> Selector:
        name, options, seed = self.config.selector, dict(self.config.selector_options), self.wiring.seed
        if name == "joint":
            joint = JointSelector(robot, options, seed)
            self.publish("log", m.LogRecord(level="INFO", logger=LOGGER, text=json.dumps(joint.header())))
            return joint
        otherwise = robot.safe_action if robot.timing == "paced" else None
        return make_selector(name, options, robot.actions, self.candidates, seed, self._recorded, otherwise)

    def on_frame(self, message: m.Message) -> None:
        place = message.envelope.episode or 0, message.envelope.step or 0
        images = {n.removeprefix("image/"): a for n, a in message.arrays.items() if n.startswith("image/")}
        if self.robot is not None:
            with content_of(message):
                check_images(images, self.robot.cameras)
        self.history.add_frame(place, images)
        self._compare(place, images)
        if place == self._after:
            self._came = images
        self._to_predict = place
        if not message.body.last:
            self._shown = Shown(message.envelope.mono_ns, self.bus.clock.mono_ns())
            self._select(Seen(*place, message.arrays.get("state")))

    def on_action(self, message: m.Message) -> None:
        if self.robot is None:
            return
        place = message.envelope.episode or 0, message.envelope.step or 0
        with content_of(message):
            vector = to_vector(message.body.action, self.robot.actions.names)
        self.history.add_action(place, vector)
        if message.body.safe and place in self._chosen:
            self._late += 1
        self._choose(place, message.body.action)

    def on_weights(self, message: m.Message) -> None:
        if self.config.model == "none":
            return
        self._new_weights = message
        if not self.predicting.busy:
            self._use_new_weights()

    def _use_new_weights(self) -> None:
        """While nothing is predicted with the old ones."""
        message, self._new_weights = self._new_weights, None
        if message is None:
            return
        body: m.Weights = message.body
        try:
            spec, data = check(message, self._newest.get(message.envelope.source))
            self._take_weights(spec, data)
        except (ValueError, RuntimeError) as error:
            self.bus.refuse(error.reason if isinstance(error, WeightsRefused) else "weights_fit")
            self.alarm("weights", f"weights version {body.version} of {message.envelope.source} are not used: {error}")
            return
        self.version = body.version
        self._newest[message.envelope.source] = message.envelope.run, body.version
        self._weights_s = message.envelope.t_ns / 1e9

    def _take_weights(self, spec: "ModelSpec", data: bytes) -> None:
        from worldmodel.predictor import FramePredictor

        if self.model is not None and self.model.spec == spec:
            self.model.swap(data)
            return
        self.model = FramePredictor(spec, data, self.config.device, self.config.threads)
        self.history.length = max(KEPT_FRAMES, spec.context)

    # -- selecting --------------------------------------------------------------------------------

    def _select(self, seen: Seen) -> None:
        """Decide what to do after this frame, or ask a person."""
        if self.selector is None:
            return
        place = seen.episode, seen.step
        self._waiting, self._asked = None, None
        try:
            action = self._choice(seen)
        except EndOfActions as error:
            self.finish("ended", str(error))
            return
        if self._driven is not None:
            action, self._driven = dict(self.candidates[self._driven]), None
            self._command(place, action, PERSON)
        elif action is None:
            self._waiting = place
            self._ask(f"step {place[1]}: which action?  0-{len(self.candidates) - 1}")
        elif self.config.confirm:
            self._asked = place, action
            self._ask(f"step {place[1]}: {_words(action)}?  y yes, 0-{len(self.candidates) - 1} another")
        else:
            self._command(place, action, self.config.selector)

    def _choice(self, seen: Seen) -> m.Action | None:
        """The selector's action for this frame; a frame that is shown again gets the same."""
        assert self.selector is not None
        place = seen.episode, seen.step
        if self._selected is None or self._selected[0] != place:
            try:
                self._selected = place, self.selector.select(seen)
            except SelectorError as error:
                raise NodeError(str(error)) from None
            if isinstance(self.selector, JointSelector) and self.selector.news:
                self.publish("metrics", m.Metrics(values=self.selector.news), episode=seen.episode, step=seen.step)
        return self._selected[1]

    def _ask(self, text: str) -> None:
        self.bus.set_state(detail=text)

    def _command(self, place: Place, action: m.Action, by: str) -> None:
        """Good for `deadline_s` from the frame on, by the robot's clock; the time that a person took counts for nothing."""
        self._choose(place, action)
        asked_ns = self.bus.clock.mono_ns() - self._shown.heard_ns if by == PERSON else 0
        deadline_ns = self._shown.robot_ns + asked_ns + int(self.config.deadline_s * 1e9)
        body = m.Command(action=action, by=by, deadline_mono_ns=deadline_ns)
        self.publish("command", body, episode=place[0], step=place[1])

    def _choose(self, place: Place, action: m.Action) -> None:
        """Remember which candidate was chosen, or really taken, after the frame at `place`."""
        self._chosen[place] = action
        while len(self._chosen) > KEPT_CHOICES:
            self._chosen.pop(next(iter(self._chosen)))

    def do_drive(self, args: dict[str, Any]) -> None:
        """`index`: a person chooses this candidate, now or for the next step; of a joint what is decided next."""
        if isinstance(self.selector, JointSelector):
            self.selector.drive(args["index"])
            return
        pick(self.candidates, args["index"])
        place = self._waiting or (self._asked[0] if self._asked else None)
        if place is None:
            self._driven = args["index"]
            return
        self._waiting = self._asked = None
        self._ask("")
        self._command(place, dict(self.candidates[args["index"]]), PERSON)

    def do_confirm(self, args: dict[str, Any]) -> None:
        """Yes to the action asked about, or `index`: another one."""
        if args.get("index") is not None:
            self.do_drive(args)
            return
        if self._asked is None:
            raise ValueError("nothing is asked")
        (place, action), self._asked = self._asked, None
        self._ask("")
        self._command(place, action, PERSON)

    def _recorded(self, session: str, root: str | None = None) -> Iterator[m.Action]:
        """The actions of a recorded session, in order."""
        from storage.errors import StorageError
        from storage.paths import find_session, sessions_root
        from storage.views import open_session

        try:
            reader = open_session(find_session(sessions_root(root), session))
        except StorageError as error:
            raise SelectorError(str(error)) from None
        return (message.body.action for message in reader.topic_messages("action"))

    # -- predicting -------------------------------------------------------------------------------

    def tick(self) -> float:
        now_s = time.monotonic()
        if now_s >= self._next_metrics_s:
            self._next_metrics_s = now_s + METRICS_EVERY_S
            self._report()
        if self.predicting.busy:
            made = self.predicting.take()
            if made is None:
                return LOOK_S
            self._show(made)
        self._use_new_weights()
        if self._to_predict is None or self.model is None or self.robot is None:
            return MAX_WAIT_S
        if now_s < self._next_prediction_s:
            return self._next_prediction_s - now_s
        self._next_prediction_s = now_s + (1 / self.config.max_hz if self.config.max_hz else 0)
        self._predict(self.robot, self.model, self._to_predict)
        self._to_predict = None
        return LOOK_S

    def _predict(self, robot: m.Robot, model: "FramePredictor", place: Place) -> None:
        """Begin to: frames that come meanwhile are answered."""
        frames, past = self.history.until(place)
        tried, chosen = self._to_try(place)
        vectors = np.stack([to_vector(action, robot.actions.names) for action in tried])
        version, self._after, self._came = self.version, (place[0], place[1] + 1), None

        def work() -> Made:
            start_s = time.perf_counter()
            images = model.predict(frames, past, vectors)
            last = {name: stack[-1] for name, stack in frames.items()}
            return Made(robot, place, tried, chosen, version, images, last, time.perf_counter() - start_s)

        self.predicting.begin(work)

    def _show(self, made: Made) -> None:
        """Publish a prediction; what it is of may have come already."""
        if made.robot is not self.robot:
            return  # of an earlier run of the robot
        self._latency_ms = made.took_s * 1000
        self.took(made.took_s)
        error, copied = self._error or (None, None)
        body = m.Prediction(
            candidates=made.tried, offered=len(self.candidates), chosen=made.chosen, weights_version=made.version,
            error=error, copy_last_error=copied, latency_ms=self._latency_ms,
        )  # fmt: skip
        arrays = {f"next/{name}": image for name, image in made.images.items()}
        self.publish("prediction", body, arrays, episode=made.place[0], step=made.place[1])
        self._made = made
        if self._after is not None and self._came is not None:
            self._compare(self._after, self._came)

    def close(self) -> None:
        if hasattr(self, "predicting"):
            self.predicting.close()

    def _to_try(self, place: Place) -> tuple[list[m.Action], int | None]:
        """The candidates, with the action chosen here among them (a continuous one seldom is), and its index."""
        action = self._chosen.get(place)
        if action is None:
            return self.candidates, None
        tried = self.candidates if action in self.candidates else [*self.candidates, action]
        return tried, tried.index(action)

    def _compare(self, place: Place, images: Images) -> None:
        """Score the prediction of this frame, if there was one of the action really taken."""
        made, self._made = self._made, None
        if made is None or made.place != (place[0], place[1] - 1):
            return
        action = self._chosen.get(made.place)
        if action not in made.tried:
            return
        chosen = made.tried.index(action)
        predicted = {name: stack[chosen] for name, stack in made.images.items()}
        self._error = mean_squared(predicted, images), mean_squared(made.last, images)

    def numbers(self) -> Mapping[str, float]:
        return {**super().numbers(), **({"weights_s": self._weights_s} if self._weights_s else {})}

    def _report(self) -> None:
        values = {"latency_ms": self._latency_ms, "weights_version": self.version, "late": self._late}
        if self._error is not None:
            values |= {"live_mse": self._error[0], "live_copy_last_mse": self._error[1]}
        self.metrics(values)


def mean_squared(ours: Images, theirs: Images) -> float:
    """Mean squared difference over all cameras' pixels, on [0, 1]."""
    squares = [np.square(ours[name].astype(np.float32) - theirs[name]) for name in ours]
    return float(sum(s.sum() for s in squares) / sum(s.size for s in squares) / 255.0**2)


def _words(action: m.Action) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in action.items())
