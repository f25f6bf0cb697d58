"""A JetBot: two wheels and a camera, by the server that runs on it (onboard/jetbot_server.py), over a network that fails.

An action goes from standing to standing: ramp up, hold, ramp down. While the link is lost the robot counts as stopped:
the server's own watchdog stops it.
"""

import math
import secrets
import threading
import time
from contextlib import suppress

import cv2
import msgspec
import numpy as np

from nodes.robot.interface import Observation, Options, RobotError
from nodes.robot.jetbot.core import Freshness, backoff, length_s, ramp
from nodes.robot.jetbot.link import Address, Link, LinkError, TLSFiles, open_link, read_key
from protocol.messages import Action, ActionSpaceInfo

CAMERA = "front"
NAMES = ["motor_left", "motor_right", "duration"]
LOOK_AGAIN_S = 0.003
FORWARD = ((0.0, 0.0, 0.2), (0.0, 0.12, 0.2))
"""Standing, and the gentle turn: motors, and seconds."""


def _forward() -> list[Action]:
    return [dict(zip(NAMES, numbers, strict=True)) for numbers in FORWARD]


class JetBotOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`actions`: speeds in [-1, 1] and seconds; the first that stands still is the safe one. A ramp takes `ramp_steps` times `ramp_step_s`.

    `key_file` holds the server's shared key. A picture is no older than `max_frame_age_s`, and read after the last action ended; none
    for `frozen_s`, or the same one, is a camera that hangs (0: never). A call takes `call_timeout_s` at most; a lost link is tried
    again for `reconnect_s`.
    """

    host: str
    port: int = 18861
    key_file: str | None = None
    tls: TLSFiles | None = None
    actions: list[Action] = msgspec.field(default_factory=_forward)
    ramp_steps: int = 4
    ramp_step_s: float = 0.015
    max_frame_age_s: float = 0.5
    frozen_s: float = 3.0
    call_timeout_s: float = 0.3
    reconnect_s: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536 or not self.host:
            raise ValueError(f"host {self.host!r}, port {self.port}: give the JetBot's name or address, and a port below 65536")
        if not 1 <= self.ramp_steps <= 100 or not 0 <= self.ramp_step_s <= 1:
            raise ValueError("ramp_steps is 1 to 100, ramp_step_s 0 to 1 second")
        for seconds in (self.max_frame_age_s, self.call_timeout_s, self.reconnect_s):
            if not 0 < seconds <= 600:
                raise ValueError("max_frame_age_s, call_timeout_s and reconnect_s are seconds above 0")
        if not 0 <= self.frozen_s <= 600:
            raise ValueError("frozen_s is seconds; 0 for never")
        for action in self.actions:
            _check(action)
        if not any(_stands(action) for action in self.actions):
            raise ValueError("actions: none stands still; one with motor_left and motor_right 0 must be among them, it is the safe one")


def _check(action: Action) -> None:
    if set(action) != set(NAMES):
        raise ValueError(f"actions: {action} has not the names {', '.join(NAMES)}")
    if not all(-1 <= action[motor] <= 1 for motor in NAMES[:2]) or not 0 <= action["duration"] <= 60:
        raise ValueError(f"actions: {action} is none; motors are from -1 to 1, duration is up to 60 s")


def _stands(action: Action) -> bool:
    return not (action["motor_left"] or action["motor_right"])


class JetBot:
    """Two connections: one for the node's thread, one for `stop`, which so never waits behind a call that hangs."""

    def __init__(self, options: Options, seed: int) -> None:
        self.options = o = msgspec.convert(options, JetBotOptions)
        self.action_space = ActionSpaceInfo(names=list(NAMES), choices=[dict(action) for action in o.actions])
        self.safe_action: Action = next(dict(action) for action in o.actions if _stands(action))
        self._counts = {"reconnects": 0.0, "stops_unheard": 0.0}
        self.state_names: list[str] = []
        token = secrets.token_hex(16)
        self._at = Address(o.host, o.port, token, read_key(o.key_file), o.tls, o.call_timeout_s)
        self._fresh = Freshness(o.frozen_s)
        self._stopped, self._closed = threading.Event(), threading.Event()
        self._swap = threading.Lock()  # held for the moment in which the links change, never for a call
        self._stopping = threading.Lock()
        self._link: Link | None = None
        self._stop_link: Link | None = None
        self._newer_than_s = -math.inf
        self._before6 = False
        self._may_move = False  # a lost robot without a watchdog of its own
        self._connect()

    def observe(self) -> Observation:
        """The first picture read after the last action has ended."""
        if self._closed.is_set():
            raise RobotError("it is closed; make another one")
        since_s = time.monotonic()
        while True:
            if self._link is None:
                self._connect()
                since_s = time.monotonic()
                self._counts["reconnects"] += 1
            link = self._link
            try:
                read_s, age_s, jpeg = link.frame(self._newer_than_s)
            except LinkError:
                self._drop()
                continue
            now_s = time.monotonic()
            if jpeg and age_s <= self.options.max_frame_age_s:
                self._newer_than_s = read_s
                return self._seen(jpeg, now_s)
            if 0 < self.options.frozen_s < now_s - since_s:
                old = f"; its last is {age_s:.1f} s old" if age_s < 1e6 and link.ours else ""
                raise RobotError(f"{self._at}: camera frozen: no new picture for {now_s - since_s:.1f} s{old}; start the server anew")
            self._closed.wait(max(link.facts.period_s - age_s, LOOK_AGAIN_S) if link.ours else LOOK_AGAIN_S)

    def execute(self, action: Action) -> bool:
        """False when it was stopped, or the link was lost: then `observe` looks for it again."""
        self._stopped.clear()
        o, link, began_s, ended_s = self.options, self._link, time.monotonic(), -math.inf
        if link is None:
            return False
        try:
            for at_s, left, right in ramp(action["motor_left"], action["motor_right"], action["duration"], o.ramp_steps, o.ramp_step_s):
                if self._stopped.wait(max(began_s + at_s - time.monotonic(), 0.0)):
                    break
                link.move(left, right)
                ended_s = link.clock_s
            if _stands(action):
                self._stopped.wait(length_s(action["duration"], o.ramp_steps, o.ramp_step_s))
                ended_s = link.now_s()
            if self._stopped.is_set():  # a speed may have overtaken the stop
                link.move(0.0, 0.0)
                ended_s = link.clock_s
        except LinkError:
            self._drop()
            return False
        if link.ours:
            self._newer_than_s = ended_s
        return not self._stopped.is_set()

    def reset(self) -> None:
        """It stands already; where an episode begins is up to whoever carries it there."""

    def stop(self) -> None:
        """Stop it, by a connection of its own. Where that does not answer, break off: the server's watchdog stops it then.

        RobotError when that cannot be relied on: a server that is not ours has no watchdog.
        """
        self._stopped.set()
        with self._stopping:
            link = self._stop_link
            if link is None:
                if self._may_move:
                    raise RobotError(f"{self._at} is out of reach, and has no watchdog of its own: it may be moving")
                return
            try:
                link.call(link.set_motors, 0.0, 0.0)
            except LinkError as error:
                self._break_off(link, error)

    def _break_off(self, link: Link, error: LinkError) -> None:
        """Nobody heard the stop: cut the link, and wait until the server's watchdog must have seen it."""
        began_s = time.monotonic()
        self._counts["stops_unheard"] += 1
        with self._swap:
            self._stop_link = None
            if self._link is not None:
                self._link.cut()
        link.close()
        if not link.ours:
            self._may_move = True
            raise RobotError(f"stop was not heard, and the server there has no watchdog of its own: {error}")
        self._closed.wait(max(link.facts.watchdog_s + link.facts.poll_s - (time.monotonic() - began_s), 0.0))

    def counts(self) -> dict[str, float]:
        """How often the link was lost and found again, and was cut because nobody heard a stop."""
        return dict(self._counts)

    def close(self) -> None:
        """Let go; the server stops the motors when it hears nothing more."""
        self._closed.set()
        with suppress(RobotError):
            self.stop()
        self._drop()

    def _connect(self) -> None:
        """Both links; RobotError when nobody is there for `reconnect_s`."""
        until_s = time.monotonic() + self.options.reconnect_s
        for wait_s in backoff():
            try:
                link, stop_link = self._open_both()
            except LinkError as error:
                if time.monotonic() + wait_s > until_s or self._closed.wait(wait_s):
                    hint = "start jetbot_server.py on it; do key_file and tls fit?"
                    raise RobotError(f"no JetBot for {self.options.reconnect_s:g} s: {error}; {hint}") from None
                continue
            with self._swap:
                self._link, self._stop_link = link, stop_link
            self._may_move = False
            self._newer_than_s = link.facts.clock_s if link.ours else -math.inf
            return

    def _open_both(self) -> tuple[Link, Link]:
        opened: list[Link] = []
        try:
            for _ in range(2):
                opened.append(open_link(self._at, self._before6))
                self._before6 = opened[-1].before6
            opened[1].call(opened[1].set_motors, 0.0, 0.0)  # whoever was here before may have left it moving
        except (LinkError, RobotError):
            for link in opened:
                link.close()
            raise
        return opened[0], opened[1]

    def _drop(self) -> None:
        """The link is lost, or no longer wanted: neither of the two is trusted any more."""
        with self._swap:
            link, self._link = self._link, None
            stop_link, self._stop_link = self._stop_link, None
        if link is not None:
            self._may_move = not link.ours
            link.close()
        if stop_link is not None:
            stop_link.cut()
            with self._stopping:
                stop_link.close()

    def _seen(self, jpeg: bytes, now_s: float) -> Observation:
        same_s = self._fresh.same_for_s(jpeg, now_s)
        if same_s:
            raise RobotError(f"{self._at}: camera frozen, or dark: the same picture for {same_s:.1f} s; frozen_s: 0 allows that")
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise RobotError(f"{self._at}: a picture of {len(jpeg)} bytes is no JPEG")
        return Observation(images={CAMERA: cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)})
