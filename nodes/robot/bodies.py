"""From what a driver gives to what is published. Pure."""

import numpy as np

from nodes.robot.config import RobotConfig
from nodes.robot.interface import Observation, Origin
from protocol import messages as m


def describe(name: str, config: RobotConfig, rate_hz: float, gives: m.ActionSpaceInfo, safe: m.Action, seen: Observation,
             state_names: list[str]) -> m.Robot:  # fmt: skip
    """What the robot is; its cameras are those of its first observation."""
    cameras = [m.CameraInfo(name=camera, height=image.shape[0], width=image.shape[1]) for camera, image in seen.images.items()]
    return m.Robot(
        robot=name, driver=config.driver, params=config.driver_options, cameras=cameras, actions=gives,
        state_names=state_names, rate_hz=rate_hz, timing=config.timing, safe_action=safe,
    )  # fmt: skip


def frame_arrays(seen: Observation) -> dict[str, np.ndarray]:
    """An observation by the names of a frame's arrays."""
    arrays: dict[str, np.ndarray] = {f"image/{name}": image for name, image in seen.images.items()}
    arrays |= {f"depth/{name}": depth for name, depth in seen.depth.items()}
    if seen.state is not None:
        arrays["state"] = seen.state
    return arrays


def episode_mark(mark: m.MarkName, reason: str, origin: Origin | None) -> m.EpisodeMark:
    """A mark; one that is played back says where it comes from."""
    if origin is None:
        return m.EpisodeMark(mark=mark, reason=reason)
    return m.EpisodeMark(mark=mark, reason=reason, held_out=origin.held_out, origin_session=origin.session, origin_episode=origin.episode)
