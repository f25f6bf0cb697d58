"""An arm that LeRobot drives: SO-101, and any other of LeRobot's robots by its type name."""

import logging
import random
import threading
import time
from collections.abc import Iterable

from nodes.robot.arm.lerobot import make_lerobot
from nodes.robot.arm.link import Link
from nodes.robot.arm.moves import HELD_WITHIN, Pose, between, clamped, full_name, held, narrowed, set_points, short_name, space_of
from nodes.robot.arm.options import ArmOptions, Range, arm_options
from nodes.robot.arm.pictures import Layout
from nodes.robot.arm.settling import DEPARTED, Settling
from nodes.robot.interface import Observation, Options, RobotError
from protocol.messages import Action

SECONDARY_TARGET = "secondary_target"
POLL_S = 0.01
RESET_S = 5.0
WALK_PARTS, WALK_PART_S = 50, 0.02

log = logging.getLogger(__name__)


class LeRobotArm:
    """Stands still at its safe action, and where it is when it is stopped.

    `execute` waits on an event that `stop` sets; one lock around each transaction keeps the two apart on the bus.
    """

    driver = "lerobot"

    def __init__(self, options: Options, seed: int) -> None:
        """Connects; nothing moves. Raises RobotError, or ValueError for options that cannot be."""
        self.options: ArmOptions = arm_options(self.driver, options)
        self._duration_s = self.options.duration_s()
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        robot = make_lerobot(self.options)
        self.layout = Layout(robot.observation_features, self.options)
        self.link = Link(robot, self.options)
        try:
            self._prepare()
        except BaseException:
            self.link.close()
            raise

    def _prepare(self) -> None:
        options = self.options
        self.state_names = self.layout.state
        self._goals = self.link.hold()
        self._at = dict(self._goals)
        self.ranges = narrowed(self._all_ranges(), options.limits)
        self.names = [full_name(joint, self.link.names) for joint in options.joints or self.link.names]
        self._secondary = full_name(options.secondary.joint, self.link.names) if options.secondary else ""
        self._secondary_target: float | None = None
        self.action_space = space_of(self.names, self.ranges, options.delta if options.mode == "discrete" else None)
        outside = [name for name in self.names if abs(self._at[name] - clamped(self._at, self.ranges)[name]) > HELD_WITHIN]
        if outside and options.mode == "continuous":  # to stand still would be a move
            name, limit = outside[0], self.ranges[outside[0]]
            raise RobotError(
                f"{short_name(name)} stands at {self._at[name]:.1f}, outside [{limit.min:g}, {limit.max:g}]: move it inside by hand"
            )

    def _all_ranges(self) -> dict[str, Range]:
        """Of every joint. Raises ValueError where nobody tells one."""
        known = self.link.bus.ranges() if self.link.bus else {}
        told = {full_name(joint, self.link.names): limit for joint, limit in self.options.limits.items()}
        out = {name: known.get(name) or told.get(name) for name in self.link.names}
        if unknown := [short_name(name) for name, one in out.items() if one is None]:
            raise ValueError(f"nobody tells how far {', '.join(unknown)} may go: give limits of each, such as min: -90, max: 90")
        return {name: one for name, one in out.items() if one is not None}

    @property
    def safe_action(self) -> Action:
        """Stay; of goals: those that hold it where it was last seen."""
        if self.options.mode == "discrete":
            return dict(self.action_space.choices[0])
        still = clamped(held(self._at, self._goals), self.ranges)
        return {name: still[name] for name in self.names}

    def observe(self) -> Observation:
        seen = self.link.observe()
        self._at = {name: float(seen.get(name, self._at[name])) for name in self._at}
        return self.layout.observation(seen)

    def execute(self, action: Action) -> bool:
        self._stopped.clear()
        if self.options.mode == "continuous":
            return self._go(action)
        with self.link.turn():
            measured = self.link.positions()
            gone = self._go(set_points(action, measured, self._goals, self.ranges))
        return gone and not self._stopped.wait(self._duration_s)

    def reset(self) -> None:
        """Between episodes; the secondary joint goes to its next place."""
        if not self._secondary or self.options.secondary is None:
            return
        self._stopped.clear()
        at = self.positions()
        by = self._random.choice((-1, 1)) * self.options.secondary.delta
        name = self._secondary
        target = clamped({name: held({name: at[name]}, self._goals)[name] + by}, self.ranges)
        if self._go(target):
            self._secondary_target = target[name]
            if abs(target[name] - at[name]) > 2 * DEPARTED and (trouble := self.settle(name, at[name], RESET_S).trouble):
                log.warning("%s was sent to %.1f and %s", short_name(name), target[name], trouble)

    def episode_values(self) -> dict[str, float]:
        """What holds for the whole of this episode."""
        return {} if self._secondary_target is None else {SECONDARY_TARGET: self._secondary_target}

    def counts(self) -> dict[str, float]:
        """What went wrong and was made good, since the beginning."""
        return {"hiccups": self.link.hiccups}

    def stop(self) -> None:
        self._stopped.set()
        with self.link.turn():
            self._goals = self.link.hold()

    def close(self) -> None:
        self.link.close()

    # -- for whoever has the arm without a graph ---------------------------------------------------

    def positions(self) -> Pose:
        """Where the joints are now, by LeRobot's names."""
        return self.link.positions()

    def move(self, goals: Pose) -> bool:
        """Tell joints where to go, within their ranges, and return at once; False when the arm was stopped meanwhile.

        `stop`, from any thread, ends this and what follows, until `ready`.
        """
        return self._go(clamped(goals, self.ranges))

    def ready(self) -> None:
        """What was stopped may move again."""
        self._stopped.clear()

    @property
    def stopped(self) -> bool:
        """Whether it was stopped, and is not yet ready."""
        return self._stopped.is_set()

    def settle(self, name: str, start: float, limit_s: float) -> Settling:
        """Watch a joint, told to go a moment ago from `start`, until it has moved and stands still, or `limit_s` are over."""
        settling = Settling(start)
        begun_s = time.monotonic()
        while (elapsed_s := time.monotonic() - begun_s) < limit_s:
            if settling.take(elapsed_s, self.positions()[name]) or self._stopped.wait(POLL_S):
                break
        return settling

    def walk(self, pose: Pose) -> bool:
        """Go to a pose slowly, in a straight line of all joints; False when the arm was stopped on the way."""
        at = self.positions()
        steps: Iterable[Pose] = between(at, clamped(pose, self.ranges), WALK_PARTS)
        return all(self._go(step) and not self._stopped.wait(WALK_PART_S) for step in steps)

    def _go(self, goals: Pose) -> bool:
        """Write goals, unless somebody said stop since. The others keep theirs."""
        with self.link.turn():
            if self._stopped.is_set():
                return False
            self._goals = {**self._goals, **goals}
            self.link.write(self._goals)
            return True


class SO101(LeRobotArm):
    """The SO-101 follower, unless its options name another type."""

    driver = "so101"
