"""An SO-101 arm that is not there: six STS3215 servos on a pseudo-terminal, and cameras that see it.

    with SO101Emulator(cameras={"front": "drawn"}) as arm:
        robot = SO101Follower(SOFollowerRobotConfig(port=arm.port, ...))
        arm.fault("no-answer", motor=3)
        arm.heal()

Its servos answer on the wire as real ones do. How they move (speed, acceleration, friction, load) is ours; they have no weight.
"""

import fcntl
import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from emulators.errors import EmulatorError, FaultError
from emulators.so101_bus import Bus
from emulators.so101_faults import CAMERA_FAULTS, FAULTS, MOTOR_FAULTS
from emulators.so101_packets import Instruction
from emulators.so101_port import Port
from emulators.so101_servo import Joint

JOINTS = (
    Joint("shoulder_pan", 1, homing=-112, low=794, high=3297, home=2046),
    Joint("shoulder_lift", 2, homing=1043, low=942, high=3217, home=1900),
    Joint("elbow_flex", 3, homing=-986, low=956, high=3159, home=2250),
    Joint("wrist_flex", 4, homing=67, low=885, high=3046, home=2300),
    Joint("wrist_roll", 5, homing=-31, low=278, high=3919, home=2063),
    Joint("gripper", 6, homing=-580, low=2047, high=3298, home=2400),
)
DRAWN = "drawn"


class SO101Emulator:
    """Runs from the beginning until `close`, or as a context.

    `folder`: where `port` (a link to the pseudo-terminal) and `calibration/<name>.json` are made; None: one that goes with it.
    `name`: lerobot's `id` of the robot.
    `cameras`: by name, `drawn` for a picture of the arm as it stands, or a video file, played in a loop.
    `size` (width, height) and `fps` are those of drawn pictures, `seed` their points of view.
    `camera_port`: of the first camera, the others have the next; 0: free ones.
    """

    def __init__(
        self, folder: Path | None = None, *, name: str = "emulated", cameras: Mapping[str, str] | None = None, seed: int = 0,
        size: tuple[int, int] = (224, 224), fps: float = 30.0, camera_port: int = 0,
    ) -> None:  # fmt: skip
        self.id = name
        self._lock = threading.Lock()
        self._bus = Bus(JOINTS)
        self._port: Port | None = None
        with ExitStack() as stack:
            self.folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="so101-")))
            self._take_folder(stack)
            stack.callback(self._unplug)
            self._plug()
            self._cameras = {}
            for at, (camera, source) in enumerate((cameras or {}).items()):
                from emulators.camera import CameraServer, Drawn, Video  # OpenCV and PyAV: only for who has cameras

                lowest = {joint.name: joint.low for joint in JOINTS}
                found = Drawn(camera, seed, size, fps, self.positions, lowest) if source == DRAWN else Video(Path(source))
                self._cameras[camera] = stack.enter_context(CameraServer(camera, found, camera_port + at if camera_port else 0))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unplugged, its cameras gone."""
        self._stack.close()

    @property
    def port(self) -> str:
        """What lerobot opens: always the same, also after it was unplugged."""
        return str(self.folder / "port")

    @property
    def calibration_dir(self) -> Path:
        return self.folder / "calibration"

    @property
    def cameras(self) -> dict[str, dict[str, Any]]:
        """By name, the options of lerobot's ZMQCamera."""
        return {name: camera.options() for name, camera in self._cameras.items()}

    def options(self) -> dict[str, Any]:
        """What lerobot's SO101Follower needs to know, as plain values."""
        return {"port": self.port, "id": self.id, "calibration_dir": str(self.calibration_dir), "cameras": self.cameras}

    def calibration(self) -> dict[str, dict[str, int]]:
        """As in lerobot's file, and as the servos have it."""
        return {
            joint.name: {
                "id": joint.id, "drive_mode": 0, "homing_offset": joint.homing, "range_min": joint.low, "range_max": joint.high,
            }
            for joint in JOINTS
        }  # fmt: skip

    def positions(self) -> dict[str, int]:
        """By joint, where it is now, in counts."""
        with self._lock:
            self._bus.advance(time.monotonic())
            return self._bus.positions()

    def registers(self, motor: int | str) -> bytes:
        """All 256 of a servo's registers, as they are now."""
        with self._lock:
            self._bus.advance(time.monotonic())
            return self._bus.servo(motor).read(0, 256)

    def place(self, motor: int | str, position: int) -> None:
        """Turn a joint by hand, to a position in counts as it is read."""
        with self._lock:
            self._bus.servo(motor).place(position)

    def fault(self, name: str, motor: int | str | None = None, *, camera: str | None = None, packets: int | None = None) -> None:
        """Something goes wrong until `heal`, or for as many answers as `packets`; see FAULTS.

        `motor`: an id or a joint's name, None for all; `camera`: a name, None for all. FaultError when there is none.
        """
        if name not in FAULTS:
            raise FaultError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
        if name in CAMERA_FAULTS:
            if camera is not None and camera not in self._cameras:
                raise FaultError(f"there is no camera {camera!r}; there are {', '.join(self._cameras) or 'none'}")
            for each in self._cameras if camera is None else [camera]:
                self._cameras[each].fault = name
        elif name in MOTOR_FAULTS:
            with self._lock:
                servos = self._bus.servos if motor is None else [self._bus.servo(motor)]
                self._bus.advance(time.monotonic())
                self._bus.faults.add(name, [servo.joint.id for servo in servos], packets)
        elif name == "unplug":
            self._unplug()
        elif name == "plug":
            self._plug()
        else:
            self.heal()

    def heal(self) -> None:
        """Everything works again, and is plugged in."""
        with self._lock:
            self._bus.advance(time.monotonic())
            self._bus.faults.clear()
        for camera in self._cameras.values():
            camera.fault = ""
        self._plug()

    def _answers(self, asked: Instruction) -> list[tuple[float, bytes]]:
        with self._lock:
            self._bus.advance(time.monotonic())
            return self._bus.handle(asked)

    def _plug(self) -> None:
        if self._port is None:
            self._port = Port(self.folder / "port", self._answers)

    def _unplug(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _take_folder(self, stack: ExitStack) -> None:
        """Make what is in it; EmulatorError when that cannot be, or another emulator or another arm's calibration is there."""
        file, text = self.calibration_dir / f"{self.id}.json", json.dumps(self.calibration(), indent=4)
        try:
            self.calibration_dir.mkdir(parents=True, exist_ok=True)
            held = os.open(self.folder, os.O_RDONLY)
            stack.callback(os.close, held)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.exists() and file.read_text() != text:
                raise EmulatorError(f"{file} is of another arm, or was changed: give another folder or id, or remove it")
            file.write_text(text)
        except BlockingIOError:
            raise EmulatorError(f"another emulator runs in {self.folder}: end it, or give another folder") from None
        except OSError as error:
            raise EmulatorError(f"cannot write to {self.folder}: {error.strerror}; give another folder") from None
