"""What a serial motor bus of LeRobot can do beyond a robot: joints without pictures, one motor at a time, who is in trouble.

Nothing here is retried, counted or locked: see `arm_link.py`.
"""

import time
from collections import deque
from contextlib import suppress
from typing import Any

from nodes.robot.arm.lerobot import one_line
from nodes.robot.arm.moves import Pose
from nodes.robot.arm.options import Range

STATUS = "Status"
NO_ANSWER = "no status packet"
RETRIES = 2
LATE_S = 0.05


class MotorBus:
    """LeRobot's `SerialMotorsBus`."""

    def __init__(self, bus: Any) -> None:
        self.port = getattr(bus, "port", "")
        self._bus = bus
        tables = getattr(bus, "model_ctrl_table", {})
        self._to_check = deque(motor for motor, one in bus.motors.items() if STATUS in tables.get(one.model, ()))

    @property
    def connected(self) -> bool:
        return bool(self._bus.is_connected)

    def positions(self) -> Pose:
        return {f"{motor}.pos": float(at) for motor, at in self._bus.sync_read("Present_Position").items()}

    def check_next(self) -> None:
        """Ask one motor after the other for faults: an answer to all at once does not show them."""
        if self._to_check:
            self._bus.read(STATUS, self._to_check[0], normalize=False)
            self._to_check.rotate(-1)

    def ranges(self) -> dict[str, Range]:
        """Where the joints can go: by how the bus normalises, and the calibration."""
        out = {}
        for motor, one in self._bus.motors.items():
            low, high = {"range_0_100": (0.0, 100.0)}.get(one.norm_mode.value, (-100.0, 100.0))
            if one.norm_mode.value == "degrees":
                at = self._bus.calibration[motor]
                high = (at.range_max - at.range_min) * 180 / (self._bus.model_resolution_table[one.model] - 1)
                low = -high
            out[f"{motor}.pos"] = Range(min=low, max=high)
        return out

    def free_port(self, error: Exception | None = None) -> None:
        """After an error in the middle of a packet the SDK takes the port for in use, and the rest of it for the next answer.

        An answer that comes too late it would take for that to another question: so after silence that is waited for.
        """
        if error is not None and NO_ANSWER in str(error):
            time.sleep(LATE_S)
        handler = getattr(self._bus, "port_handler", None)
        if handler is not None:
            handler.is_using = False
            with suppress(Exception):  # a port that is gone; whoever speaks next is told so
                handler.ser.reset_input_buffer()

    def trouble(self) -> str:
        """Which motors do not answer, or tell of a fault; empty when all are well again."""
        silent, faults = [], {}
        for motor, one in self._bus.motors.items():
            self.free_port()
            try:
                self._bus.ping(motor, raise_on_error=True)
            except Exception as error:  # LeRobot's, or the SDK's
                if port_gone(error):
                    return self.gone(error)
                if NO_ANSWER in str(error):
                    silent.append(f"{motor!r} (id {one.id})")
                else:
                    faults[f"{motor!r} (id {one.id})"] = one_line(error)
        if len(silent) == len(self._bus.motors):
            return f"no motor answers on {self.port}: is the arm's power on?"
        if len(faults) == len(self._bus.motors):
            return f"no motor answers well on {self.port}: {next(iter(faults.values()))}"
        told = [f"motor {', '.join(silent)} does not answer: are its cables plugged in?"] if silent else []
        return "; ".join(told + [f"motor {motor} tells of a fault: {text}" for motor, text in faults.items()])

    def gone(self, error: Exception) -> str:
        return f"the port {self.port} is gone: {one_line(error)}; is the cable plugged in?"

    def hold_each(self, release: bool = True) -> tuple[Pose, list[str]] | None:
        """Hold the motors that answer; with `release` the torque of the others goes off.

        Where those are, and who these are. None: the port is gone.
        """
        at: Pose = {}
        for motor in self._bus.motors:
            self.free_port()
            with suppress(Exception):  # it does not answer, or tells of a fault
                at[motor] = float(self._bus.read("Present_Position", motor))
        limp = [motor for motor in self._bus.motors if motor not in at]
        self.free_port()
        try:  # packets that nobody answers
            if at:
                self._bus.sync_write("Goal_Position", at)
            if limp and release:
                self._bus.sync_write("Torque_Enable", dict.fromkeys(limp, 0))
        except Exception:  # the port is gone
            return None
        return {f"{motor}.pos": where for motor, where in at.items()}, limp

    def torque_off(self) -> list[str]:
        """Motor by motor; those that did not answer, whose torque may be on."""
        on = []
        for motor in self._bus.motors if self.connected else ():
            self.free_port()
            try:
                self._bus.disable_torque(motor, num_retry=RETRIES)
            except RuntimeError:  # it tells of a fault, so it has answered
                continue
            except Exception:  # this one does not; the others may
                on.append(motor)
        return on

    def disconnect(self) -> None:
        self._bus.disconnect(disable_torque=False)


def port_gone(error: Exception) -> bool:
    """Of pyserial: whatever the system says, but for what LeRobot and the SDK make of silence."""
    if isinstance(error, OSError):
        return not isinstance(error, ConnectionError | TimeoutError)
    return type(error).__module__ == "termios"
