"""A connected LeRobot robot: one transaction at a time, a hiccup is made good and counted, trouble names who has it.

LeRobot's own retries go uncounted, so they are done here. What a motor bus can do beyond LeRobot's robots (joints
without pictures, who does not answer, torque off motor by motor) is used where the robot has one.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Any

from nodes.robot.arm_lerobot import one_line
from nodes.robot.arm_moves import Pose
from nodes.robot.arm_options import ArmOptions, Range
from nodes.robot.interface import RobotError

TRIES = 3
TURN_S = 1.0
"""Longer than any transaction, retries included."""
STATUS = "Status"
NO_ANSWER = "no status packet"
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
        self._bus = self._motor_bus()
        self._told: Pose = {}
        try:
            self._connect()
            self.names = [name for name, kind in robot.action_features.items() if kind is float]
            self._to_check = cycle(self._motors_that_tell() or [None])
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
            motor = next(self._to_check)
            if motor is not None:
                self._do(lambda: self._bus.read(STATUS, motor, normalize=False))
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

        Where the joints cannot be read the torque goes off. Raises RobotError when not even that can be said, unless the
        arm is known to be lost.
        """
        with self.turn():
            known = self.lost or self._limp
            try:
                at = self._do(self._read_joints)
                self._do(lambda: self.robot.send_action(dict(at)))
            except RobotError as error:
                if self._go_limp():
                    self._limp = self._limp or f"the arm could not be held, its torque is off: {error}"
                elif not known:
                    raise
                return dict(self._told)
            self._told = at
            return dict(at)

    def close(self) -> None:
        """Torque off as configured, motor by motor, and everything let go of. Raises RobotError for a torque that stays on."""
        with self.turn():
            on = self._disconnect()
            if on and not self.lost:
                raise RobotError(f"torque is still on in {', '.join(on)}: switch the arm's power off")
            if on:
                log.warning("torque may still be on in %s: switch the arm's power off", ", ".join(on))

    def ranges(self) -> dict[str, Range]:
        """Where the joints can go, where LeRobot tells it: by how its bus normalises, and the calibration."""
        if self._bus is None:
            return {}
        out = {}
        for motor, one in self._bus.motors.items():
            low, high = {"range_0_100": (0.0, 100.0)}.get(one.norm_mode.value, (-100.0, 100.0))
            if one.norm_mode.value == "degrees":
                at = self._bus.calibration[motor]
                high = (at.range_max - at.range_min) * 180 / (self._bus.model_resolution_table[one.model] - 1)
                low = -high
            out[f"{motor}.pos"] = Range(min=low, max=high)
        return out

    # -- inside -----------------------------------------------------------------------------------

    def _motor_bus(self) -> Any:
        """The robot's serial bus, if its motors are all of the robot's joints."""
        bus = getattr(self.robot, "bus", None)
        named = {f"{motor}.pos" for motor in getattr(bus, "motors", ())}
        return bus if hasattr(bus, "sync_read") and named == set(self.robot.action_features) else None

    def _motors_that_tell(self) -> list[str]:
        """Those that say with each answer whether they are well; an answer to all at once does not show it."""
        tables = getattr(self._bus, "model_ctrl_table", {})
        return [motor for motor, one in getattr(self._bus, "motors", {}).items() if STATUS in tables.get(one.model, ())]

    def _connect(self) -> None:
        """LeRobot asks for Enter when it calibrates: so it is not let."""
        with self._translated():
            self.robot.connect(calibrate=False)
            calibrated = self.robot.is_calibrated
        if calibrated:
            return
        file = getattr(self.robot, "calibration_fpath", None)
        why = f"there is no {file}" if file and not file.is_file() else f"its motors do not hold what {file} says"
        known = {"type": self._options.type, "port": self._options.config().get("port", "PORT"), "id": self.robot.id or "ID"}
        raise RobotError(NEVER_CALIBRATED.format(who=str(self.robot), why=why, **known))

    def _read_joints(self) -> Pose:
        if self._bus is not None:
            return {f"{motor}.pos": float(at) for motor, at in self._bus.sync_read("Present_Position").items()}
        return self._joints(self.robot.get_observation())

    def _joints(self, seen: Mapping[str, Any]) -> Pose:
        """Positions as they were observed; a velocity holds still at 0."""
        known = {name: float(seen[name]) if name in seen else None for name in self.robot.action_features}
        at = {name: 0.0 if name.endswith(".vel") else value for name, value in known.items()}
        if blind := [name for name, value in at.items() if value is None]:
            raise RobotError(f"{self._options.type} does not observe {', '.join(blind)}: nobody knows how to hold it still")
        return {name: value for name, value in at.items() if value is not None}

    def _do[T](self, transaction: Callable[[], T]) -> T:
        """What a transaction returns; one that a hiccup spoiled is done again."""
        if self._limp:
            raise RobotError(self._limp)
        for left in reversed(range(TRIES)):
            with self._translated(final=not left):
                return transaction()
            self.hiccups += 1
        raise AssertionError

    @contextmanager
    def _translated(self, final: bool = True) -> Iterator[None]:
        """Whatever LeRobot raises becomes a RobotError; a hiccup, unless it is `final`, is passed over."""
        try:
            yield
        except RobotError:
            self.lost = True
            raise
        except Exception as error:  # LeRobot, its cameras, its motor buses, pyserial: each has its own
            if not final and self._may_pass(error):
                self._free_port()
                return
            words = self._words(error)
            self.lost = True
            raise RobotError(words) from None

    def _may_pass(self, error: Exception) -> bool:
        """A packet lost or spoiled. A camera has waited long enough by itself, and a port that is gone stays gone."""
        gone = type(error).__name__ == NOT_CONNECTED or self._camera(error)
        return isinstance(error, ConnectionError | RuntimeError) and not gone

    def _words(self, error: Exception) -> str:
        text = one_line(error)
        if camera := self._camera(error):
            return f"camera {camera!r} is lost: {text}"
        config = getattr(self.robot, "config", None)
        port = getattr(config, "port", "")
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            return f"the port {port} is gone: {text}; is the cable plugged in?" if port else text
        if self._bus is not None and self._bus.is_connected:
            return self._motors_in_trouble(port) or text
        return text

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

    def _motors_in_trouble(self, port: str) -> str:
        """Which motors do not answer, or tell of a fault; empty when all are well again."""
        silent, faulty = [], []
        for motor, one in self._bus.motors.items():
            self._free_port()
            try:
                self._bus.ping(motor, raise_on_error=True)
            except RuntimeError as error:
                faulty.append(f"motor {motor!r} (id {one.id}) tells of a fault: {one_line(error)}")
            except ConnectionError as error:
                if NO_ANSWER in str(error):
                    silent.append(f"{motor!r} (id {one.id})")
                else:
                    faulty.append(f"motor {motor!r} (id {one.id}) answers badly: {one_line(error)}")
            except OSError as error:
                return f"the port {port} is gone: {one_line(error)}; is the cable plugged in?"
        if len(silent) == len(self._bus.motors):
            return f"no motor answers on {port}: is the arm's power on?"
        if silent:
            faulty.append(f"motor {', '.join(silent)} does not answer: are its cables plugged in?")
        return "; ".join(faulty)

    def _free_port(self) -> None:
        """The SDK takes a port for in use for ever after an error in the middle of a packet."""
        handler = getattr(self._bus, "port_handler", None)
        if handler is not None:
            handler.is_using = False

    def _go_limp(self) -> bool:
        """Torque off, of all motors at once: a packet that nobody answers."""
        if self._bus is None:
            return False
        self._free_port()
        try:
            self._bus.sync_write("Torque_Enable", 0)
        except Exception:  # the port is gone
            return False
        return True

    def _disconnect(self) -> list[str]:
        """Let go of everything; the motors whose torque is on although it should not be."""
        robot, bus = self.robot, self._bus
        if bus is None:
            with suppress(Exception):
                robot.disconnect()
            return []
        on = []
        if bus.is_connected and getattr(robot.config, "disable_torque_on_disconnect", True):
            for motor in bus.motors:
                self._free_port()
                try:
                    bus.disable_torque(motor, num_retry=TRIES - 1)
                except RuntimeError:  # it tells of a fault, so it has answered
                    continue
                except Exception:  # this one does not answer; the others may
                    on.append(motor)
        for one, how in ((bus, {"disable_torque": False}), *((camera, {}) for camera in getattr(robot, "cameras", {}).values())):
            with suppress(Exception):
                one.disconnect(**how)
        return on
