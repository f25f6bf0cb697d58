"""The robot node: observe, publish, wait for a command, execute, publish."""

import time
from collections import deque
from typing import Any, Literal

from nodes.leftbehind import LeftBehind
from nodes.robot.bodies import describe, frame_arrays
from nodes.robot.config import DEFAULT_RATE_HZ, RobotConfig
from nodes.robot.core import TOO_LATE, CommandGate, Rate
from nodes.robot.drivers import make_driver
from nodes.robot.episodes import Episodes
from nodes.robot.guard import Guard
from nodes.robot.interface import KnowsTruth, Observation, Robot, RobotError
from nodes.robot.safe import SafeDriver
from nodes.robot.statistics import Statistics
from nodes.robot.watchdog import HALTED, Watch, Watchdog
from nodes.runtime import EXIT_BAD_CONFIG, EXIT_FAILED, MAX_WAIT_S, Node, NodeError
from protocol import messages as m

METRICS_EVERY_S = 1.0
ENOUGH = "the number of episodes asked for"
SHOW_AGAIN_S = 5.0
"""In lockstep a frame that nobody answered is shown again so often: whoever should have may have been away."""


class RobotNode(Node):
    config: RobotConfig

    def setup(self) -> None:
        watch = Watch(self.config.silence_limit_s, self.config.action_limit_s)
        self.watchdog = Watchdog(watch, self._stop_driver, self._tell, lambda: self.bus.stop_requested)
        self.bus.urgent |= {"halt": self.watchdog.halt, "stop": lambda _: self.watchdog.wake()}
        self._to_log: deque[str] = deque()
        self.episodes = Episodes(LeftBehind(self.run_dir / f"place-{self.name}", self.log), self.publish)
        self.progress = self.episodes.progress
        driver = self._make_driver()
        self.driver = Guard(driver, self.config.driver)
        self.watchdog.stop()  # an earlier process may have been killed while it moved
        self.watchdog.start()
        self.simulator = driver if isinstance(driver, KnowsTruth) else None
        self.commanded = any(peer.kind == "predictor" for peer in self.wiring.inputs)
        self.rate_hz = DEFAULT_RATE_HZ if self.config.rate_hz is None else self.config.rate_hz
        self.rate = Rate(self.rate_hz)
        self.safe = self._make_safe()
        self.space = self.safe.limits.space
        self.gate = CommandGate(self.space, self.safe.limits)
        self.statistics = Statistics(self.space)
        self.phase: Literal["observe", "act", "reset", "between", "ended"] = "observe"
        self.paused = False
        self.steps_allowed = 0
        self.late = 0
        self._standing = False
        self._farewell = ""
        self._begin_s = 0.0
        self._frame_s = 0.0
        self._metrics_s = 0.0
        self._metrics_steps = self.progress.steps
        self._observation: Observation | None = None

    def _make_driver(self) -> Robot:
        """One that worked before in this run is not badly told: it may be there again in a moment."""
        try:
            seed = self.wiring.seed + self.episodes.earlier[0] + 1  # a restarted simulator does not begin with the same again
            return make_driver(self.config.driver, self.config.driver_options, seed)
        except RobotError as error:
            raise NodeError(str(error), EXIT_BAD_CONFIG if self.episodes.earlier[0] < 0 else EXIT_FAILED) from None

    def _make_safe(self) -> SafeDriver:
        step_s = 1 / self.rate_hz if self.rate_hz else 0.0
        try:
            return SafeDriver(self.driver, dict(self.config.limits), step_s, self.watchdog, self.bus.clock)
        except ValueError as error:
            raise NodeError(str(error), EXIT_BAD_CONFIG) from None

    def go(self) -> None:
        """Say what this robot is, and what is held out; then begin."""
        self._observation = self.driver.observe()
        self.publish("robot", self._describe(self._observation))
        probe = self.simulator.probe() if self.simulator else None
        if probe:
            self.publish("probe", m.Probe(description=probe[0]), probe[1])
        self.rate.due_s = self._metrics_s = time.monotonic()
        if self._enough:
            self._end(ENOUGH)
        else:
            self._begin_episode()
        if self.watchdog.halted:
            self.bus.set_state("paused")

    # -- the loop ---------------------------------------------------------------------------------

    def tick(self) -> float:
        now_s = time.monotonic()
        self.watchdog.look()
        self._log_alarms()
        if self.watchdog.error is not None:
            raise NodeError(f"the robot is lost, it could not be stopped: {self.watchdog.error}")
        self._publish_metrics(now_s)
        if self.phase == "ended":
            self.watchdog.rest()
            return self.finish_when_taken("ended", self._farewell)
        if self.watchdog.held or (self.paused and self.progress.steps >= self.steps_allowed):
            self.watchdog.rest()
            return MAX_WAIT_S
        if self.phase == "act":
            return self._act(now_s)
        if self.phase in ("reset", "between"):
            return self._begin_again(now_s)
        wait_s = self.rate.wait_s(now_s)
        if wait_s > 0:
            return wait_s
        self.rate.start(now_s)
        return self._show()

    def on_command(self, message: m.Message) -> None:
        place = message.envelope.episode, message.envelope.step
        current = self.progress.episode, self.progress.step
        if self.phase != "act":
            current = -1, -1
        refused = self.gate.offer(message.body, place, current, self.bus.clock.mono_ns())
        if not refused:
            self.watchdog.heard()
            self._standing = False
            return
        self.log.info("command refused, %s", refused)
        if refused.startswith(TOO_LATE) and self.config.timing == "lockstep":
            self.phase = "observe"  # nobody else would answer this frame any more

    def _show(self) -> float:
        """Publish what the robot sees; the step begins."""
        seen, self._observation = self._observation or self.safe.observe(), None
        self._publish_frame(seen)
        self.gate.clear()
        self.phase = "act"
        self._frame_s = time.monotonic()
        if self.commanded:
            self.watchdog.asked()
        return 0.0

    def _act(self, now_s: float) -> float:
        """Execute the command of this step if it is there, or the safe action once waiting must end."""
        command = self.gate.take(self.bus.clock.mono_ns())
        if command is not None and self._episode_over():
            self._end_episode_when_due()  # it was left for the end of a silence
            return 0.0
        if command is not None:
            self._done(self.safe.execute(command.action, command.by))
            return 0.0
        if self.watchdog.silent and not self._standing:
            self._standing = True
            self._be_safe()
            self.watchdog.stop()
            return 0.0
        wait_s = self._patience_s(now_s)
        if wait_s > 0:
            return wait_s
        if not self._standing and self.watchdog.silence_left_s() <= 0:
            return 0.0  # the next look says so
        if self._standing or (self.commanded and self.config.timing == "lockstep"):
            self.phase = "observe"  # the same step again: nothing moved
        else:
            self._be_safe()
        return 0.0

    def _be_safe(self) -> None:
        if self.commanded:
            self.late += 1
        self._done(self.safe.execute_safe())

    def _patience_s(self, now_s: float) -> float:
        """How long a command may still take."""
        if not self.commanded:
            return 0.0
        wait_s = self.rate.wait_s(now_s) if self.config.timing == "paced" else self._frame_s + SHOW_AGAIN_S - now_s
        return wait_s if self._standing else min(wait_s, self.watchdog.silence_left_s())

    def _done(self, body: m.ActionTaken | None) -> None:
        """An action was executed: the step is over. None: it was stopped in the moment before."""
        if body is None:
            return
        with self.watchdog.doing("publish"):
            self.publish("action", body, episode=self.progress.episode, step=self.progress.step)
            self._publish_values(self.driver.step_values())
        self.statistics.action(body.action, (body.end_ns - body.start_ns) / 1e9, body.success, body.safe)
        self.phase = "observe"
        self.progress.advance()
        self._end_episode_when_due()

    def _end_episode_when_due(self) -> None:
        run_over = 0 < self.config.steps <= self.progress.steps
        if not run_over and not self._episode_over():
            return
        if not run_over and self.watchdog.silent:
            return  # a reset may move the robot: the episode ends when commands come again
        # the frame that the last action led to still belongs to this episode
        self._publish_frame(self.safe.observe(), last=True)
        if run_over:
            self._end("the number of steps asked for")
        else:
            self._new_episode("end", self.driver.ended() or f"{self.config.episode_steps} steps")

    def _episode_over(self) -> bool:
        """By the number of steps, or because the driver says so."""
        return 0 < self.config.episode_steps <= self.progress.step or bool(self.driver.ended())

    # -- episodes ---------------------------------------------------------------------------------

    def _new_episode(self, mark: m.MarkName, reason: str) -> None:
        """Close this episode with `mark` and open the next."""
        if mark != "end":
            self.episodes.mark(mark, reason)
        self.episodes.end(reason, kept=mark != "discard")
        self._observation = None
        self.gate.clear()
        if self._enough:
            self._end(ENOUGH)
            return
        self.phase = "reset"
        self._begin_again(time.monotonic())

    def _begin_again(self, now_s: float) -> float:
        """Reset the robot, leave time, and begin the next episode; left for later while nothing may move."""
        if self.phase == "reset":
            if not self.safe.reset():
                return 0.0
            self.phase, self._begin_s = "between", now_s + self.config.between_s
        if now_s < self._begin_s:
            self.watchdog.rest()
            return self._begin_s - now_s
        self.phase = "observe"
        self._begin_episode()
        return 0.0

    def _begin_episode(self) -> None:
        """What the driver tells of an episode stands right behind its start mark."""
        self.episodes.begin()
        self._publish_values(self.driver.episode_values())

    def _publish_values(self, values: dict[str, float]) -> None:
        """What the driver tells beside its frames, with the step that it is of."""
        if values:
            self.publish("metrics", m.Metrics(values=values), episode=self.progress.episode, step=self.progress.step)

    @property
    def _enough(self) -> bool:
        return 0 < self.config.episodes <= self.episodes.kept

    def _end(self, reason: str) -> None:
        self.episodes.end(reason)
        self.phase, self._farewell = "ended", reason

    # -- control ----------------------------------------------------------------------------------

    def do_halt(self, args: dict[str, Any]) -> None:
        """Nothing moves until somebody resumes. The watchdog does it when the request comes; this puts it on the record."""
        if not self.watchdog.wait_stopped():
            raise ValueError("nothing is executed any more, but the driver's stop has not come back yet")

    def do_pause(self, args: dict[str, Any]) -> None:
        self.paused = True
        self.statistics.pause()
        self.steps_allowed = 0
        self.watchdog.stop()
        self.bus.set_state("paused")

    def do_resume(self, args: dict[str, Any]) -> None:
        """Go on, after a pause or a halt."""
        halted = self.watchdog.halted
        if not self.watchdog.resume(self.heard_ns):
            raise ValueError("it was halted after you asked; ask again to let it go on")
        self.paused = False
        if halted:  # no command from before is executed
            self.statistics.pause()
            self.gate.clear()
        self._look_again()
        self.bus.set_state("running", detail="" if halted else None)

    def do_step(self, args: dict[str, Any]) -> None:
        """One step of a paused robot."""
        self._refuse_while_halted()
        if not self.paused:
            raise ValueError("pause the robot first, then step it")
        self.steps_allowed = self.progress.steps + 1
        self._look_again()

    def _look_again(self) -> None:
        """The command for the frame shown before a pause may be too old by now: show another, ask again."""
        if self.phase == "act" and not self.gate.holds(self.bus.clock.mono_ns()):
            self.phase = "observe"

    def do_mark(self, args: dict[str, Any]) -> None:
        """`mark`: success, failure, discard or reset; a live robot begins a new episode."""
        mark = args["mark"]
        if mark not in ("success", "failure", "discard", "reset"):
            raise ValueError(f"unknown mark {mark!r}; it knows success, failure, discard, reset")
        if self.phase == "ended":
            raise ValueError("the run has ended")
        self._refuse_while_halted()  # a new episode may move the robot
        if self.phase == "between":
            self._mark_before(mark)
        else:
            self._new_episode(mark, "by a person")

    def _mark_before(self, mark: m.MarkName) -> None:
        """Between episodes: what the one before was; `reset`: the next one begins now."""
        if mark == "reset":
            self._begin_s = 0.0
        else:
            self.episodes.mark_ended(mark, "by a person")

    def do_reset(self, args: dict[str, Any]) -> None:
        """End this episode and begin another."""
        self.do_mark({"mark": "reset"})

    def _refuse_while_halted(self) -> None:
        if self.watchdog.halted:
            raise ValueError("the robot is halted; resume it first")

    # -- publishing -------------------------------------------------------------------------------

    def close(self) -> None:
        """The robot first: whatever else fails, it is stopped and let go of."""
        if not hasattr(self, "watchdog"):
            return
        self.watchdog.finish()
        self.watchdog.stop()
        try:
            if self.watchdog.error is not None:
                self.exit_code = EXIT_FAILED
            self.watchdog.look()
            self._log_alarms()
            if hasattr(self, "statistics"):
                self.episodes.end("the run was stopped")
                self._publish_metrics(time.monotonic(), now=True)
        finally:
            if hasattr(self, "driver"):
                self.driver.close()

    def _stop_driver(self) -> None:
        if hasattr(self, "driver"):  # halted while it is being made: it is stopped once it is there
            self.driver.stop()

    def _tell(self, name: str, text: str, active: bool) -> None:
        """An alarm of the watchdog, on its thread or this: memory only, nothing that could wait."""
        self.tell_alarm(name, text, active)
        self._to_log.append(text)
        if name == HALTED and active:
            begun = self.bus.state in ("running", "paused")  # one that has not begun says so when it does
            self.bus.set_state("paused" if begun else None, detail=text)

    def _log_alarms(self) -> None:
        while self._to_log:
            self.log.warning("%s", self._to_log.popleft())

    def _describe(self, seen: Observation) -> m.Robot:
        driver = self.driver
        return describe(self.name, self.config, self.rate_hz, self.space, driver.safe_action, seen, driver.state_names)

    def _publish_frame(self, seen: Observation, *, last: bool = False) -> None:
        interval_s = self.statistics.frame(time.monotonic())
        if interval_s is not None:
            self.took(interval_s)
        body = m.Frame(last=last)
        with self.watchdog.doing("publish"):
            self.publish("frame", body, frame_arrays(seen), episode=self.progress.episode, step=self.progress.step)

    def _publish_metrics(self, now_s: float, now: bool = False) -> None:
        elapsed_s = now_s - self._metrics_s
        if elapsed_s < METRICS_EVERY_S and not now:
            return
        rate_hz = (self.progress.steps - self._metrics_steps) / max(elapsed_s, 1e-6)
        self._metrics_s, self._metrics_steps = now_s, self.progress.steps
        episodes, steps = self.progress.episode - self.episodes.earlier[0], self.progress.steps - self.episodes.earlier[1]
        values = {"steps": steps, "episodes": episodes, "rate_hz": rate_hz, "late": self.late, "rate_limited": self.safe.rate_limited}
        values |= self.statistics.counts() | self.watchdog.counts | self.driver.counts()
        values |= {f"refused_{reason}": count for reason, count in self.gate.refused.items()}
        if now:  # the last word
            values |= self.statistics.numbers()
        self.metrics(values)
