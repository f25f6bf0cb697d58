"""What a robot node decides, without sockets, clocks or hardware: steps, episodes, and which command counts."""

from dataclasses import dataclass

from nodes.robot.interface import check_action
from nodes.robot.limits import Limits
from protocol.messages import ActionSpaceInfo, Command

TOO_LATE = "too_late"


@dataclass
class Progress:
    """Where the run stands: `episode` from 0 up (a restart goes on), `step` from 0 within it, totals."""

    episode: int = -1
    steps: int = 0
    step: int = 0
    open: bool = False

    def begin(self) -> None:
        self.episode += 1
        self.step = 0
        self.open = True

    def advance(self) -> None:
        self.step += 1
        self.steps += 1


class CommandGate:
    """Lets one command per step through: the one asked for this step, in time, within the limits and the action space.

    `refused` counts the others by reason. Times are the robot's monotonic clock.
    """

    def __init__(self, space: ActionSpaceInfo, limits: Limits) -> None:
        self.space, self.limits = space, limits
        self.refused: dict[str, int] = {}
        self._accepted: Command | None = None

    def offer(self, command: Command, place: tuple[int | None, int | None], current: tuple[int, int], now_ns: int) -> str:
        """Keep `command` if it may be executed at (episode, step) `current`; else the reason, counted."""
        if place != current:
            return self._refuse("other_step", f"asked for step {place}, this is {current}")
        if now_ns > command.deadline_mono_ns:
            return self._refuse(TOO_LATE, f"{(now_ns - command.deadline_mono_ns) / 1e6:.0f} ms past its deadline")
        if outside := self.limits.over(command.action):
            return self._refuse("over_limit", outside)
        if wrong := check_action(command.action, self.space):
            return self._refuse("not_an_action", wrong)
        self._accepted = command
        return ""

    def take(self, now_ns: int) -> Command | None:
        """The accepted command, once; one that grew too old meanwhile is refused."""
        command, self._accepted = self._accepted, None
        if command is not None and now_ns > command.deadline_mono_ns:
            self._refuse(TOO_LATE, "")
            return None
        return command

    def holds(self, now_ns: int) -> bool:
        """Whether there is a command that may still be executed."""
        return self._accepted is not None and now_ns <= self._accepted.deadline_mono_ns

    def clear(self) -> None:
        """A new step: what was asked for the last one counts no more."""
        self._accepted = None

    def _refuse(self, reason: str, text: str) -> str:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return f"{reason}: {text}"


@dataclass
class Rate:
    """When steps are due: every 1/`rate_hz` s without drift; a missed slot is not made up for."""

    rate_hz: float
    due_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next step is due; 0 when it is, or when there is no limit."""
        return max(self.due_s - now_s, 0.0) if self.rate_hz else 0.0

    def start(self, now_s: float) -> None:
        """A step begins now."""
        if self.rate_hz:
            period_s = 1 / self.rate_hz
            self.due_s = self.due_s + period_s if now_s - self.due_s < period_s else now_s + period_s
