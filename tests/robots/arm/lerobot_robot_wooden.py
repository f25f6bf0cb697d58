"""A plugin of LeRobot: two joints that are at once where they are told to go, a camera and a depth camera; and a camera."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from lerobot.cameras import Camera, CameraConfig
from lerobot.robots import Robot, RobotConfig
from lerobot.utils.errors import DeviceNotConnectedError


@RobotConfig.register_subclass("wooden")
@dataclass
class WoodenConfig(RobotConfig):
    port: str = ""
    calibrated: bool = True
    velocity: bool = False


class Wooden(Robot):
    config_class = WoodenConfig
    name = "wooden"

    def __init__(self, config: WoodenConfig) -> None:
        super().__init__(config)
        self.config = config
        self.at = {"base.pos": 0.0, "tip.pos": 5.0}
        self.sent: list[dict[str, float]] = []
        self.fails: list[Exception] = []
        self.connected = False

    @property
    def observation_features(self) -> dict[str, Any]:
        return {**dict.fromkeys(self.at, float), "eye": (4, 6, 3), "eye_depth": (4, 6, 1)}

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys([*self.at, *(["base.vel"] if self.config.velocity else [])], float)

    @property
    def is_connected(self) -> bool:
        return self.connected

    @property
    def is_calibrated(self) -> bool:
        return self.config.calibrated

    def connect(self, calibrate: bool = True) -> None:
        self.connected = True

    def calibrate(self) -> None:
        raise AssertionError("it would wait for Enter")

    def configure(self) -> None:
        pass

    def get_observation(self) -> dict[str, Any]:
        if not self.connected:
            raise DeviceNotConnectedError("not connected")
        if self.fails:
            raise self.fails.pop(0)
        return {**self.at, "eye": np.full((4, 6, 3), 7, np.uint8), "eye_depth": np.ones((4, 6, 1), np.uint16)}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(dict(action))
        self.at |= {name: value for name, value in action.items() if name in self.at}
        return action

    def disconnect(self) -> None:
        self.connected = False


@CameraConfig.register_subclass("painted")
@dataclass
class PaintedConfig(CameraConfig):
    """A camera that is there at once."""


class Painted(Camera):
    def __init__(self, config: PaintedConfig) -> None:
        super().__init__(config)
        self.on = False

    @property
    def is_connected(self) -> bool:
        return self.on

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        return []

    def connect(self, warmup: bool = True) -> None:
        self.on = True

    def read(self) -> np.ndarray:
        return np.full((self.height, self.width, 3), 9, np.uint8)

    def async_read(self, timeout_ms: float = 200) -> np.ndarray:
        return self.read()

    def read_latest(self, max_age_ms: int = 500) -> np.ndarray:
        return self.read()

    def disconnect(self) -> None:
        self.on = False
