"""The robot node: observe, publish, wait for a command, execute, publish; or play a recording."""

import time
from typing import Any, Literal

import numpy as np

from nodes.robot.config import DEFAULT_RATE_HZ, RobotConfig
from nodes.robot.core import CommandGate, Progress, Rate
from nodes.robot.drivers import make_driver
from nodes.robot.guard import Guard, lost
from nodes.robot.interface import EndOfData, KnowsTruth, Observation, PlayedStep, Plays, Robot, RobotError
from nodes.robot.statistics import Statistics
from nodes.runtime import EXIT_BAD_CONFIG, MAX_WAIT_S, Node, NodeError
from protocol import messages as m

METRICS_EVERY_S = 1.0


class RobotNode(Node):
    config: RobotConfig

    def setup(self) -> None:
        self._place_file = self.run_dir / f"place-{self.name}"
        self._earlier = self._last_place()
        try:
            seed = self.wiring.seed + self._earlier[0] + 1  # a restarted simulator does not begin with the same again
            driver: Robot = make_driver(self.config.driver, dict(self.config.options), seed)
        except RobotError as error:
            raise NodeError(str(error), EXIT_BAD_CONFIG) from None
        self.driver = Guard(driver, self.config.driver)
        self.plays = driver if isinstance(driver, Plays) else None
        self.simulator = driver if isinstance(driver, KnowsTruth) else None
        self.commanded = any(peer.kind == "predictor" for peer in self.wiring.inputs)
        self.gate = CommandGate(self.driver.action_space)
        self.progress = Progress(*self._earlier)
        self.statistics = Statistics(self.driver.action_space)
        self.rate_hz = self._choose_rate_hz()
        self.rate = Rate(self.rate_hz)
        self.phase: Literal["observe", "act", "ended"] = "observe"
        self.paused = False
        self.steps_allowed = 0
        self.late = 0
        self._frame_s = 0.0
        self._metrics_s = 0.0
        self._metrics_steps = self.progress.steps
        self._observation: Observation | None = None

    def go(self) -> None:
        """Say what this robot is, and what is held out; then begin."""
        self._observation = None if self.plays else self.driver.observe()
        self.publish("robot", self.plays.info if self.plays else self._describe(self._observation))
        probe = self.simulator.probe() if self.simulator else None
        if probe:
            self.publish("probe", m.Probe(description=probe[0]), probe[1])
        self.rate.due_s = self._metrics_s = time.monotonic()
        if not self.plays:
            self._begin_episode()

    # -- the loop ---------------------------------------------------------------------------------

    def tick(self) -> float:
        now_s = time.monotonic()
        self._publish_metrics(now_s)
        held = self.paused and self.progress.steps >= self.steps_allowed
        if held or self.phase == "ended":
            return MAX_WAIT_S
        if self.phase == "act":
            return self._act(now_s)
        wait_s = self.rate.wait_s(now_s)
        if wait_s > 0:
            return wait_s
        self.rate.start(now_s)
        return self._play() if self.plays else self._show()

    def on_command(self, message: m.Message) -> None:
        place = message.envelope.episode, message.envelope.step
        current = self.progress.episode, self.progress.step
        if self.phase != "act":
            current = -1, -1
        refused = self.gate.offer(message.body, place, current, time.time_ns())
        if refused:
            self.log.info("command refused, %s", refused)

    def _show(self) -> float:
        """Publish what the robot sees; the step begins."""
        observation, self._observation = self._observation or self.driver.observe(), None
        self._publish_frame(observation)
        self.gate.clear()
        self.phase = "act"
        self._frame_s = time.monotonic()
        return 0.0

    def _act(self, now_s: float) -> float:
        """Execute the command of this step if it is there, or the safe action once waiting must end."""
        command = self.gate.take(time.time_ns())
        if command is not None:
            self._execute(command.action, command.by, safe=False)
            return 0.0
        wait_s = self._patience_s(now_s)
        if wait_s > 0:
            return wait_s
        if self.commanded:
            self.late += 1
        self._execute(dict(self.driver.safe_action), "robot", safe=True)
        return 0.0

    def _patience_s(self, now_s: float) -> float:
        """How long a command may still take."""
        if not self.commanded:
            return 0.0
        if self.config.timing == "paced":
            return self.rate.wait_s(now_s)
        if not self.config.command_timeout_s:
            return MAX_WAIT_S
        return max(self._frame_s + self.config.command_timeout_s - now_s, 0.0)

    def _execute(self, action: m.Action, by: str, *, safe: bool) -> None:
        start_ns = time.time_ns()
        success = self.driver.execute(action)
        body = m.ActionTaken(action=action, by=by, start_ns=start_ns, end_ns=time.time_ns(), success=success, safe=safe)
        self.publish("action", body, episode=self.progress.episode, step=self.progress.step)
        self.statistics.action(action, (body.end_ns - start_ns) / 1e9, success, safe)
        self.phase = "observe"
        self.progress.advance()
        limit = self.config.episode_steps
        run_over = 0 < self.config.steps <= self.progress.steps
        if run_over or 0 < limit <= self.progress.step:
            # the frame that the last action led to still belongs to this episode
            self._publish_frame(self.driver.observe(), last=True)
            if run_over:
                self._end("the number of steps asked for")
            else:
                self._new_episode("end", f"{limit} steps")

    def _play(self) -> float:
        """Publish one recorded step."""
        assert self.plays is not None
        try:
            with lost():
                played = self.plays.next_step()
        except EndOfData as error:
            self._end(str(error))
            return 0.0
        if played.first:
            self._count_episode()
        if played.step is not None:
            self.progress.step = played.step
        if played.first:
            self._mark("start", played=played)
        self._publish_frame(played.observation, held_out=played.held_out, last=played.last)
        if played.action is not None:
            now_ns = time.time_ns()
            body = m.ActionTaken(action=played.action, by="recording", start_ns=now_ns, end_ns=now_ns, success=played.success)
            self.statistics.action(played.action, 0.0, played.success, safe=False)
            self.publish("action", body, episode=self.progress.episode, step=self.progress.step)
        self.progress.advance()
        for mark in played.marks:
            self._mark(mark, played=played)  # type: ignore[arg-type]
        if played.last:
            self._mark("end", "end of the recorded episode", played)
            self.progress.open = False
        return 0.0

    # -- episodes ---------------------------------------------------------------------------------

    def _begin_episode(self) -> None:
        self._count_episode()
        self._mark("start")

    def _count_episode(self) -> None:
        """Begin an episode, and leave its number and the steps so far behind: a restarted robot goes on from there."""
        self.progress.begin()
        self._place_file.write_text(f"{self.progress.episode} {self.progress.steps}")

    def _last_place(self) -> tuple[int, int]:
        try:
            episode, steps = self._place_file.read_text().split()
            return int(episode), int(steps)
        except (OSError, ValueError):
            return -1, 0

    def _new_episode(self, mark: m.MarkName, reason: str) -> None:
        """Close this episode with `mark` and open the next."""
        if mark != "end":
            self._mark(mark, reason)
        self._mark("end", reason)
        self.driver.reset()
        self._observation = None
        self.gate.clear()
        self.phase = "observe"
        self._begin_episode()

    def _end(self, reason: str) -> None:
        self._close_episode(reason)
        self.phase = "ended"
        self.finish("ended", reason)

    def _close_episode(self, reason: str) -> None:
        if self.progress.open:
            self._mark("end", reason)
            self.progress.open = False

    def _mark(self, mark: m.MarkName, reason: str = "", played: PlayedStep | None = None) -> None:
        body = m.EpisodeMark(mark=mark, reason=reason)
        if played is not None:
            body = m.EpisodeMark(
                mark=mark, reason=reason, held_out=played.held_out,
                origin_session=played.origin_session, origin_episode=played.origin_episode,
            )  # fmt: skip
        self.publish("episode", body, episode=self.progress.episode, step=self.progress.step)

    # -- control ----------------------------------------------------------------------------------

    def do_pause(self, args: dict[str, Any]) -> None:
        self.paused = True
        self.statistics.pause()
        self.steps_allowed = 0
        self.driver.stop()
        self.bus.set_state("paused")

    def do_resume(self, args: dict[str, Any]) -> None:
        self.paused = False
        self._look_again()
        self.bus.set_state("running")

    def do_step(self, args: dict[str, Any]) -> None:
        """One step of a paused robot."""
        if not self.paused:
            raise ValueError("pause the robot first, then step it")
        self.steps_allowed = self.progress.steps + 1
        self._look_again()

    def _look_again(self) -> None:
        """The command for the frame shown before a pause may be too old by now: show another, ask again."""
        if self.phase == "act" and not self.gate.holds(time.time_ns()):
            self.phase = "observe"

    def do_mark(self, args: dict[str, Any]) -> None:
        """`mark`: success, failure, discard or reset; a live robot begins a new episode."""
        mark = args["mark"]
        if mark not in ("success", "failure", "discard", "reset"):
            raise ValueError(f"unknown mark {mark!r}; it knows success, failure, discard, reset")
        if self.phase == "ended":
            raise ValueError("the run has ended")
        if self.plays:
            self._mark(mark, "by a person")
        else:
            self._new_episode(mark, "by a person")

    def do_reset(self, args: dict[str, Any]) -> None:
        """End this episode and begin another."""
        self.do_mark({"mark": "reset"})

    # -- publishing -------------------------------------------------------------------------------

    def close(self) -> None:
        if not hasattr(self, "progress"):
            return
        self._close_episode("the run was stopped")
        self._publish_metrics(time.monotonic(), now=True)
        try:
            self.driver.stop()
        finally:
            self.driver.close()

    def _choose_rate_hz(self) -> float:
        if self.config.rate_hz is not None:
            return self.config.rate_hz
        return self.plays.info.rate_hz if self.plays else DEFAULT_RATE_HZ

    def _describe(self, observation: Observation | None) -> m.Robot:
        assert observation is not None
        cameras = [m.CameraInfo(name=name, height=image.shape[0], width=image.shape[1]) for name, image in observation.images.items()]
        return m.Robot(
            robot=self.name, driver=self.config.driver, params=dict(self.config.options), cameras=cameras,
            actions=self.driver.action_space, state_names=self.driver.state_names,
            rate_hz=self.rate_hz, timing=self.config.timing, safe_action=self.driver.safe_action,
        )  # fmt: skip

    def _publish_frame(self, observation: Observation, *, held_out: bool = False, last: bool = False) -> None:
        arrays: dict[str, np.ndarray] = {f"image/{name}": image for name, image in observation.images.items()}
        arrays |= {f"depth/{name}": depth for name, depth in observation.depth.items()}
        if observation.state is not None:
            arrays["state"] = observation.state
        interval_s = self.statistics.frame(time.monotonic())
        if interval_s is not None:
            self.took(interval_s)
        body = m.Frame(held_out=held_out, last=last)
        self.publish("frame", body, arrays, episode=self.progress.episode, step=self.progress.step)

    def _publish_metrics(self, now_s: float, now: bool = False) -> None:
        elapsed_s = now_s - self._metrics_s
        if elapsed_s < METRICS_EVERY_S and not now:
            return
        rate_hz = (self.progress.steps - self._metrics_steps) / max(elapsed_s, 1e-6)
        self._metrics_s, self._metrics_steps = now_s, self.progress.steps
        episodes, steps = self.progress.episode - self._earlier[0], self.progress.steps - self._earlier[1]
        values = {"steps": steps, "episodes": episodes, "rate_hz": rate_hz, "late": self.late}
        values |= self.statistics.counts()
        values |= {f"refused_{reason}": count for reason, count in self.gate.refused.items()}
        if now:  # the last word
            values |= self.statistics.numbers()
        self.metrics(values)
