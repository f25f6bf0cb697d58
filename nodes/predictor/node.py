"""The predictor node: chooses the next action, predicts what each would lead to, scores what it predicted."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from nodes.predictor.config import PredictorConfig
from nodes.predictor.foresight import Foresight, Made
from nodes.predictor.history import Place
from nodes.predictor.joint import LOGGER, JointSelector
from nodes.predictor.selectors import EndOfActions, Seen, Selector, SelectorError, make_selector, pick
from nodes.predictor.weights import WeightsRefused, check
from nodes.runtime import MAX_WAIT_S, Node, NodeError, content_of
from nodes.worlds import check_images, model_actions, to_action, to_vector
from protocol import messages as m

METRICS_EVERY_S = 1.0
LOOK_S = 0.005
"""How often it is looked whether a prediction is there."""
PERSON = "person"


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
        self.foresight = Foresight(self.config.device, self.config.threads)
        self._newest: dict[str, tuple[str, int]] = {}
        self._to_predict: Place | None = None
        self._asked: tuple[Place, m.Action] | None = None
        self._waiting: Place | None = None
        self._shown = Shown(0, 0)
        self._selected: tuple[Place, m.Action | None] | None = None
        self._held: Seen | None = None
        self._released: Place | None = None
        self._driven: int | None = None
        self._new_weights: m.Message | None = None
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
        self._to_predict = self._asked = self._waiting = self._selected = self._held = None
        self.foresight.meet(len(robot.actions.names))
        choices = [dict(choice) for choice in robot.actions.choices]  # to the last digit: 0.12 is no float32
        self.candidates = choices or [to_action(vector, robot.actions.names) for vector in vectors]
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
        self.foresight.see(place, images)
        self._to_predict = place
        if not message.body.last:
            self._shown = Shown(message.envelope.mono_ns, self.bus.clock.mono_ns())
            seen = Seen(*place, message.arrays.get("state"))
            if self.config.gate and self._released != place:
                self._held = seen
            else:
                self._select(seen)

    def on_release(self, message: m.Message) -> None:
        """The trainer lets this frame be answered."""
        self._released = message.envelope.episode or 0, message.envelope.step or 0
        held, self._held = self._held, None
        if held is not None and (held.episode, held.step) == self._released:
            self._select(held)
        else:
            self._held = held

    def on_action(self, message: m.Message) -> None:
        if self.robot is None:
            return
        place = message.envelope.episode or 0, message.envelope.step or 0
        with content_of(message):
            vector = to_vector(message.body.action, self.robot.actions.names)
        self.foresight.history.add_action(place, vector)
        if message.body.safe and place in self.foresight.chosen:
            self._late += 1
        self.foresight.choose(place, message.body.action)

    def on_weights(self, message: m.Message) -> None:
        if self.config.model == "none":
            return
        self._new_weights = message
        if not self.foresight.busy:
            self._use_new_weights()

    def _use_new_weights(self) -> None:
        """While nothing is predicted with the old ones."""
        message, self._new_weights = self._new_weights, None
        if message is None:
            return
        body: m.Weights = message.body
        try:
            spec, data = check(message, self._newest.get(message.envelope.source))
            self.foresight.use(spec, data, body.version)
        except (ValueError, RuntimeError) as error:
            self.bus.refuse(error.reason if isinstance(error, WeightsRefused) else "weights_fit")
            self.alarm("weights", f"weights version {body.version} of {message.envelope.source} are not used: {error}")
            return
        self._newest[message.envelope.source] = message.envelope.run, body.version
        self._weights_s = message.envelope.t_ns / 1e9

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
        """Good for `deadline_s` from the frame on, by the robot's clock; the time that a person or the gate took counts for nothing."""
        self.foresight.choose(place, action)
        asked_ns = self.bus.clock.mono_ns() - self._shown.heard_ns if by == PERSON or self.config.gate else 0
        deadline_ns = self._shown.robot_ns + asked_ns + int(self.config.deadline_s * 1e9)
        body = m.Command(action=action, by=by, deadline_mono_ns=deadline_ns)
        self.publish("command", body, episode=place[0], step=place[1])

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
        if self.foresight.busy:
            made = self.foresight.take()
            if made is not None:
                self._show(made)
            if self.foresight.busy:
                return LOOK_S
        self._use_new_weights()
        if self._to_predict is None or self.foresight.model is None or self.robot is None:
            return MAX_WAIT_S
        if now_s < self._next_prediction_s:
            return self._next_prediction_s - now_s
        self._next_prediction_s = now_s + (1 / self.config.max_hz if self.config.max_hz else 0)
        names = self.robot.actions.names
        self.foresight.begin(self._to_predict, self.candidates, lambda action: to_vector(action, names))
        self._to_predict = None
        return LOOK_S

    def _show(self, made: Made) -> None:
        self._latency_ms = made.took_s * 1000
        self.took(made.took_s)
        error, copied = self.foresight.error or (None, None)
        body = m.Prediction(
            candidates=made.tried, offered=len(self.candidates), chosen=made.chosen, weights_version=made.version,
            error=error, copy_last_error=copied, latency_ms=self._latency_ms,
        )  # fmt: skip
        arrays = {f"next/{name}": image for name, image in made.images.items()}
        self.publish("prediction", body, arrays, episode=made.place[0], step=made.place[1])

    def close(self) -> None:
        if hasattr(self, "foresight"):
            self.foresight.close()

    def numbers(self) -> Mapping[str, float]:
        return {**super().numbers(), **({"weights_s": self._weights_s} if self._weights_s else {})}

    def _report(self) -> None:
        values = {"latency_ms": self._latency_ms, "weights_version": self.foresight.version, "late": self._late}
        if self.foresight.error is not None:
            values |= dict(zip(("live_mse", "live_copy_last_mse"), self.foresight.error, strict=True))
        self.metrics(values)


def _words(action: m.Action) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in action.items())
