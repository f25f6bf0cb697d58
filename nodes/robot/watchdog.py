"""Stops a robot when a person says halt, when nobody commands it, and when its node hangs.

`Watch` knows what is overdue: pure, times come in. `Watchdog` is a thread that acts on it at once, whatever the
node's own thread is busy with: it may be inside the driver, or wait for room in the ring.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from protocol.control import ControlRequest

POLL_S = 0.05
AGAIN_S = 0.1
STOP_S = 2.0
HALTED = "halted"

MOVES = ("execute", "reset")
"""What moves the robot: until it has ended, a stop is said again."""

Overdue = Literal["silent", "stuck"]
Tell = Callable[[str, str, bool], None]
"""An alarm: name, text, whether it is on. Called from either thread; must not wait for anything."""


@dataclass
class Watch:
    """How long a command is waited for, and how long the node's thread has been at one thing. Limits of 0 are none."""

    silence_s: float
    action_s: float
    silent: bool = False
    stuck: bool = False
    doing: str = ""
    _asked_s: float | None = None
    _since_s: float = 0.0

    def asked(self, now_s: float) -> None:
        """A frame waits for a command; the silence counts from the first since the last valid command."""
        if self._asked_s is None:
            self._asked_s = now_s

    def heard(self) -> None:
        """A valid command came."""
        self.silent, self._asked_s = False, None

    def rest(self) -> None:
        """No command is expected."""
        self._asked_s = None

    def begin(self, what: str, now_s: float) -> None:
        self.doing, self._since_s = what, now_s

    def end(self, now_s: float) -> None:
        """Commands may have waited while it took too long, so their silence counts anew."""
        if self.stuck and self._asked_s is not None:
            self._asked_s = now_s
        self.stuck, self.doing = False, ""

    def look(self, now_s: float) -> list[Overdue]:
        """What has become overdue since the last look."""
        limit_s = self._limit_s()
        found: list[Overdue] = []
        if not self.silent and self.silence_left_s(now_s) <= 0:
            self.silent = True
            found.append("silent")
        if self.doing and not self.stuck and 0 < limit_s <= now_s - self._since_s:
            self.stuck = True
            found.append("stuck")
        return found

    def silence_left_s(self, now_s: float) -> float:
        """Until the silence counts as one; infinite where it never does."""
        if not self.silence_s or self._asked_s is None:
            return float("inf")
        return self._asked_s + self.silence_s - now_s

    def words(self, what: Overdue) -> str:
        if what == "silent":
            return f"no valid command for {self.silence_s:g} s: the robot is stopped, and goes on when commands come"
        hint = "; give it more with max_action_s" if self.doing in MOVES else ""
        return f"the robot's {self.doing or 'node'} has taken more than {self._limit_s():g} s: it is stopped{hint}"

    def _limit_s(self) -> float:
        return self.action_s if self.doing in MOVES else self.silence_s


class Watchdog(threading.Thread):
    """Calls `stop_robot` at once when it must. What moves the robot goes through `moving`, what may hang through `doing`."""

    def __init__(self, watch: Watch, stop_robot: Callable[[], None], tell: Tell, stop_requested: Callable[[], bool]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.stops = 0
        self.counts = {HALTED: 0, "silent": 0, "stuck": 0}
        self.error: Exception | None = None
        self._watch = watch
        self._stop_robot, self._tell = stop_robot, tell
        self._stop_requested = stop_requested
        self._lock = threading.Lock()
        self._stop_lock = threading.Lock()
        self._wake = threading.Event()
        self._halts: deque[ControlRequest] = deque()
        self._unanswered: list[ControlRequest] = []
        self._in_hand = 0
        self._answered = threading.Condition(self._lock)
        self._told: set[str] = set()
        self._halted_by = ""
        self._halted_ns, self._resumed_ns = -1, 0
        self._ending = self._done = False
        self._last_stop_s = 0.0

    # -- from any thread --------------------------------------------------------------------------

    def halt(self, request: ControlRequest) -> None:
        """A person says halt: nothing moves from now on, until a `resume` that came later. Answered when the robot is stopped.

        The bus calls it under its own lock: so it takes none, and returns at once.
        """
        self._halted_by, self._halted_ns = request.by, request.heard_ns
        self._halts.append(request)
        self._wake.set()

    def wake(self) -> None:
        """Look now, not in a moment."""
        self._wake.set()

    def stop(self) -> None:
        """Make the robot safe; a driver that fails at it leaves its `error`."""
        with self._stop_lock:
            self._last_stop_s = time.monotonic()
            self.stops += 1
            try:
                self._stop_robot()
            except Exception as error:  # a driver's, of any kind: the watch goes on
                self.error = error

    def look(self) -> None:
        """Do what is due."""
        now_s = time.monotonic()
        with self._lock:
            halts = [self._halts.popleft() for _ in range(len(self._halts))]
            self._in_hand += len(halts)
            ends = self._stop_requested() and not self._ending
            self._ending = self._ending or ends
            overdue = self._watch.look(now_s)
            for name in [*overdue, *(HALTED for _ in halts)]:
                self.counts[name] += 1
            # an action may have begun in the moment of the stop: until it has ended the stop is said again
            again = not halts and self.held and self._watch.doing in MOVES and now_s - self._last_stop_s >= AGAIN_S
        if halts or ends or overdue or again:
            self.stop()
        self._tell_changes()
        with self._lock:
            self._unanswered += halts
            stopped = again or self._watch.doing not in MOVES
        if stopped:
            self._answer()

    # -- from the node's thread -------------------------------------------------------------------

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Inside, the node's thread may hang."""
        with self._lock:
            self._watch.begin(what, time.monotonic())
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def moving(self, what: Literal["execute", "reset"] = "execute") -> Iterator[bool]:
        """Inside, the robot moves; yields whether it may."""
        with self._lock:
            may = not self.held
            if may:
                self._watch.begin(what, time.monotonic())
        try:
            yield may
        finally:
            if may:
                if self.held:
                    self.stop()
                self._end()
                self._answer()

    def asked(self) -> None:
        """A frame waits for a command."""
        with self._lock:
            self._watch.asked(time.monotonic())

    def heard(self) -> None:
        """A valid command came."""
        with self._lock:
            self._watch.heard()
        self._tell_changes()

    def rest(self) -> None:
        """No command is expected."""
        with self._lock:
            self._watch.rest()

    def wait_stopped(self) -> bool:
        """Wait, but not for long, until every halt has been done; whether it has."""
        self.look()
        with self._answered:
            return self._answered.wait_for(lambda: not self._halts and not self._in_hand, STOP_S)

    def resume(self, heard_ns: int) -> bool:
        """Let the robot move again, as asked at `heard_ns`; False when it was halted since."""
        self._resumed_ns = heard_ns
        self._tell_changes()
        return not self.halted

    @property
    def halted(self) -> bool:
        return self._halted_ns >= self._resumed_ns

    @property
    def held(self) -> bool:
        """Whether nothing may move: somebody said halt, or the node is to end."""
        return self.halted or self._ending

    @property
    def silent(self) -> bool:
        with self._lock:
            return self._watch.silent

    def silence_left_s(self) -> float:
        """Until the silence counts as one."""
        with self._lock:
            return self._watch.silence_left_s(time.monotonic())

    def finish(self) -> None:
        """End the thread."""
        self._done = True
        self._wake.set()
        if self.is_alive():
            self.join(1.0)

    # -- inside -----------------------------------------------------------------------------------

    def run(self) -> None:
        while not self._done:
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                self.look()
            except Exception as error:  # whatever it was, the watch goes on, and the node's thread ends the node
                self.error = error

    def _end(self) -> None:
        with self._lock:
            self._watch.end(time.monotonic())
        self._tell_changes()

    def _answer(self) -> None:
        with self._lock:
            halts, self._unanswered = self._unanswered, []
            self._in_hand -= len(halts)
            self._answered.notify_all()
        for request in halts:
            request.reply()

    def _tell_changes(self) -> None:
        """Alarms follow the state, in order, whichever thread changed it."""
        with self._lock:
            watch = self._watch
            states = {
                HALTED: (self.halted, f"halted by {self._halted_by}: nothing moves until somebody resumes", "no longer halted"),
                "silent": (watch.silent, watch.words("silent"), "commands come again: the robot goes on"),
                "stuck": (watch.stuck, watch.words("stuck"), "the robot's node goes on"),
                "not_stopped": (self.error is not None, f"the robot could not be stopped: {self.error}", ""),
            }
            for name, (on, begins, ends) in states.items():
                if on != (name in self._told):
                    (self._told.add if on else self._told.discard)(name)
                    self._tell(name, begins if on else ends, on)
