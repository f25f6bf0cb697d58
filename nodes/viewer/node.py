"""The viewer node: shows what the bus says, and sends a person's keys where they belong."""

import time

from nodes.runtime import Node, NodeError
from nodes.viewer.compose import Composer
from nodes.viewer.config import ViewerConfig
from nodes.viewer.keys import Request, key_to_request
from nodes.viewer.sinks import SinkError, WindowSink, open_sinks
from nodes.viewer.speaking import Speaker, voice, words
from nodes.viewer.state import ViewState
from protocol import messages as m
from protocol.errors import ControlError

PERSON_TIMEOUT_S = 0.5


class ViewerNode(Node):
    config: ViewerConfig

    def setup(self) -> None:
        nodes = {peer.name: peer.kind for peer in self.wiring.inputs}
        self.state = ViewState(self.wiring.run, nodes, self.config.context, self.config.curve_points)
        self.composer = Composer(self.config.size)
        try:
            self.sinks = open_sinks(self.config, self.run_dir / "viewer")
        except SinkError as error:
            raise NodeError(str(error)) from None
        for note in self.sinks.notes:
            self.log.info("%s", note)
        self.speaker = Speaker(voice(), self.log) if self.config.speak else None
        self.kinds = nodes
        self._due_s = 0.0

    def _take(self, message: m.Message) -> None:
        self.state.update(message, time.monotonic())
        if message.kind == "status" and message.body.kind == "predictor":
            detail = message.body.detail  # a question only while a person is asked
            self.state.prompt = detail if "?" in detail else ""

    def on_episode(self, message: m.Message) -> None:
        self._take(message)
        if self.speaker is not None:
            self.speaker.say(words(message.body, message.envelope.episode or 0))

    on_robot = on_frame = on_action = on_prediction = _take
    on_metrics = on_status = on_committed = on_alarm = _take

    def tick(self) -> float:
        """One picture when it is due and something has changed; keys at every call."""
        now_s = time.monotonic()
        window = self.sinks.window
        if window is not None:
            self._keys(window)
        if now_s < self._due_s:
            return self._due_s - now_s
        self._due_s = max(self._due_s + 1 / self.config.rate_hz, now_s)
        if self.sinks.sinks and self.composer.stale(self.state, now_s):
            self._show(now_s)
        return max(self._due_s - time.monotonic(), 0.001)

    def close(self) -> None:
        """The last picture stays."""
        if not hasattr(self, "sinks"):
            return
        if self.speaker is not None:
            self.speaker.close()
        self._show(time.monotonic())
        for sink in self.sinks.sinks:
            sink.close()

    def _show(self, now_s: float) -> None:
        picture = self.composer.compose(self.state, now_s)
        for sink in list(self.sinks.sinks):
            try:
                sink.show(picture, now_s)
            except SinkError as error:  # a full disk must not end the view
                self.alarm("viewer", str(error))
                self.sinks = self.sinks._replace(sinks=[other for other in self.sinks.sinks if other is not sink])

    def _keys(self, window: WindowSink) -> None:
        key = window.poll_key()
        if key and (request := key_to_request(key, self.state)):
            self._do(request)
        if window.closed:
            self._close_window("the window was closed; the run goes on")

    def _do(self, request: Request) -> None:
        if request.node_kind == "viewer":
            self._do_here(request.command)
            return
        names = [name for name, kind in self.kinds.items() if kind == request.node_kind]
        if request.node_kind == "launcher":
            names = ["launcher"]
        for name in names:
            try:
                self.bus.request(name, request.command, request.args, PERSON_TIMEOUT_S)
            except ControlError as error:
                self.state.say(str(error), time.monotonic())

    def _do_here(self, command: str) -> None:
        if command == "help":
            self.state.toggle_help()
        elif command == "save":
            self._save(time.monotonic())
        elif command == "quit":
            self._close_window("the window was closed with q; the run goes on")

    def _save(self, now_s: float) -> None:
        try:
            text = f"saved {self.sinks.png.snapshot(self.composer.compose(self.state, now_s))}"
        except SinkError as error:
            text = str(error)
        self.state.say(text, now_s)

    def _close_window(self, text: str) -> None:
        self.log.info("%s", text)
        window = self.sinks.window
        if window is not None:
            window.close()
            self.sinks = self.sinks._replace(window=None, sinks=[sink for sink in self.sinks.sinks if sink is not window])
