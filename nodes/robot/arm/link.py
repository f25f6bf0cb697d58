"""A connected LeRobot robot: one transaction at a time, a hiccup is made good and counted, trouble names who has it.

LeRobot's own retries go uncounted, so they are done here. What a motor bus can do beyond LeRobot's robots (joints
without pictures, who does not answer, torque off motor by motor) is used where the robot has one.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from nodes.robot.arm.bus import MotorBus, port_gone
from nodes.robot.arm.lerobot import one_line
from nodes.robot.arm.moves import Pose
from nodes.robot.arm.options import ArmOptions
from nodes.robot.interface import RobotError

TRIES = 3
TURN_S = 1.5
"""Longer than any transaction, retries included."""
NOT_CONNECTED = "DeviceNotConnectedError"
NEVER_CALIBRATED = (
    "{who} is not calibrated: {why}; run lerobot-calibrate --robot.type={type} --robot.port={port} --robot.id={id}, "
    "and name the same id and calibration_dir here"
)

log = logging.getLogger(__name__)


class Link:
    """`hiccups`: transactions that had to be repeated."""

    def __init__(self, robot: Any, options: ArmOptions) -> None:
        """Connects. Raises RobotError, with everything let go of, when it cannot be had."""
        self.robot = robot
        self.hiccups = 0
        self.lost = False
        self._limp = ""
        self._options = options
        self._lock = threading.RLock()
        self.bus = self._motor_bus()
        self._told: Pose = {}
        try:
            self._connect()
            self.names = [name for name, kind in robot.action_features.items() if kind is float]
            self.positions()
        except BaseException:
            self.lost = True
            self.close()
            raise

    # -- transactions -----------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else speaks to the arm inside."""
        if not self._lock.acquire(timeout=TURN_S):
            raise RobotError(f"the arm has been busy for {TURN_S:g} s: does its port still answer?")
        try:
            yield
        finally:
            self._lock.release()

    def observe(self) -> dict[str, Any]:
        """LeRobot's observation: joints and pictures. One motor after the other is asked for faults."""
        with self.turn():
            seen: dict[str, Any] = self._do(self.robot.get_observation)
            if self.bus is not None:
                self._do(self.bus.check_next)
            self._told |= self._joints(seen)
            return seen

    def positions(self) -> Pose:
        """Where the joints are now."""
        with self.turn():
            self._told = self._do(self._read_joints)
            return dict(self._told)

    def write(self, goals: Mapping[str, float]) -> None:
        """Goals of joints, in one packet."""
        with self.turn():
            self._do(lambda: self.robot.send_action(dict(goals)))

    def hold(self) -> Pose:
        """Stand still: the goals, which are where the joints are.

        Torque goes off in a motor that does not answer. Raises RobotError when not even that can be said, unless the arm
        is known to be lost.
        """
        with self.turn():
            known = self.lost
            try:
                at: Pose | None = self._do(self._stand, tries=1 if self.bus else TRIES, diagnose=False)
            except RobotError:
                at, limp = (self.bus and self.bus.hold_each()) or (None, [])
                if at is None and not known:
                    raise
                self.lost = known or at is None
                if limp:
                    self._limp = f"{', '.join(limp)} could not be held, and has no torque any more"
            self._told |= at or {}
            return dict(self._told)

    def close(self) -> None:
        """Torque off as configured, motor by motor, and everything let go of. Raises RobotError for a torque that stays on."""
        with self.turn():
            on = self._disconnect()
            if on and not self.lost:
                raise RobotError(f"torque is still on in {', '.join(on)}: switch the arm's power off")
            if on:
                log.warning("torque may still be on in %s: switch the arm's power off", ", ".join(on))

    # -- inside -----------------------------------------------------------------------------------

    def _motor_bus(self) -> MotorBus | None:
        """The robot's serial bus, if its motors are all of the robot's joints."""
        bus = getattr(self.robot, "bus", None)
        named = {f"{motor}.pos" for motor in getattr(bus, "motors", ())}
        return MotorBus(bus) if hasattr(bus, "sync_read") and named == set(self.robot.action_features) else None

    def _connect(self) -> None:
        """LeRobot asks for Enter when it calibrates: so it is not let. A hundred packets, none of which LeRobot repeats."""
        if self._do(self._try_to_connect):
            return
        file = getattr(self.robot, "calibration_fpath", None)
        why = f"there is no {file}" if file and not file.is_file() else f"its motors do not hold what {file} says"
        known = {"type": self._options.type, "port": self._options.config().get("port", "PORT"), "id": self.robot.id or "ID"}
        raise RobotError(NEVER_CALIBRATED.format(who=str(self.robot), why=why, **known))

    def _try_to_connect(self) -> bool:
        """Whether it is calibrated."""
        self._let_go()  # what an earlier try has left open
        self.robot.connect(calibrate=False)
        return bool(self.robot.is_calibrated)

    def _read_joints(self) -> Pose:
        if self.bus is not None:
            return self.bus.positions()
        return self._joints(self.robot.get_observation())

    def _joints(self, seen: Mapping[str, Any]) -> Pose:
        """Positions as they were observed; a velocity holds still at 0."""
        known = {name: float(seen[name]) if name in seen else None for name in self.robot.action_features}
        at = {name: 0.0 if name.endswith(".vel") else value for name, value in known.items()}
        if blind := [name for name, value in at.items() if value is None]:
            raise RobotError(f"{self._options.type} does not observe {', '.join(blind)}: nobody knows how to hold it still")
        return {name: value for name, value in at.items() if value is not None}

    def _stand(self) -> Pose:
        at = self._read_joints()
        self.robot.send_action(dict(at))
        return at

    def _do[T](self, transaction: Callable[[], T], tries: int = TRIES, diagnose: bool = True) -> T:
        """What a transaction returns; one that a hiccup spoiled is done again."""
        if self._limp:
            raise RobotError(self._limp)
        for left in reversed(range(tries)):
            with self._translated(final=not left, diagnose=diagnose):
                return transaction()
            self.hiccups += 1
        raise AssertionError

    @contextmanager
    def _translated(self, final: bool = True, diagnose: bool = True) -> Iterator[None]:
        """Whatever LeRobot raises becomes a RobotError; a hiccup, unless it is `final`, is passed over."""
        try:
            yield
        except RobotError:
            self.lost = True
            raise
        except Exception as error:  # LeRobot, its cameras, its motor buses, pyserial: each has its own
            if not final and self._may_pass(error):
                if self.bus is not None:
                    self.bus.free_port(error)
                return
            words = self._words(error) if diagnose else one_line(error)
            self.lost = True
            raise RobotError(words) from None

    def _may_pass(self, error: Exception) -> bool:
        """A packet lost or spoiled. A camera has waited long enough by itself, and a port that is gone stays gone."""
        return not (port_gone(error) or type(error).__name__ == NOT_CONNECTED or self._camera(error))

    def _words(self, error: Exception) -> str:
        text = one_line(error)
        if camera := self._camera(error):
            return f"camera {camera!r} is lost: {text}"
        if self.bus is not None and port_gone(error):
            return self.bus.gone(error)
        if self.bus is None or not self.bus.connected:
            return text
        self.bus.hold_each(release=False)  # first the others stand still: to find out who it is takes longer
        return self.bus.trouble() or text

    def _camera(self, error: Exception) -> str:
        """Which camera an error is about; empty for none."""
        cameras = getattr(self.robot, "cameras", None) or {}
        text = str(error)
        for name, camera in cameras.items():
            if str(camera) in text:
                return name
        if type(error).__name__ == NOT_CONNECTED:
            return next((name for name, camera in cameras.items() if not camera.is_connected), "")
        return ""

    def _disconnect(self) -> list[str]:
        """Let go of everything; the motors whose torque may be on although it should not be."""
        release = getattr(getattr(self.robot, "config", None), "disable_torque_on_disconnect", True)
        on = self.bus.torque_off() if self.bus is not None and release else []
        self._let_go()
        return on

    def _let_go(self) -> None:
        """Close ports and cameras; of a bus without a word to its motors."""
        ours = (self.robot,) if self.bus is None else (self.bus, *getattr(self.robot, "cameras", {}).values())
        for one in ours:
            with suppress(Exception):  # it was never connected, or is gone
                one.disconnect()
