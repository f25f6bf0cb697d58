"""From what a robot says of itself to what a model is made for; no torch."""

import numpy as np

from protocol.messages import Action, ActionSpaceInfo, CameraInfo
from worldmodel.spec import ActionSpace, Camera


def model_cameras(cameras: list[CameraInfo]) -> tuple[Camera, ...]:
    return tuple(Camera(camera.name, camera.height, camera.width) for camera in cameras)


def check_images(images: dict[str, np.ndarray], cameras: list[CameraInfo]) -> None:
    """ValueError unless these are the pictures of a robot with these cameras."""
    for camera in cameras:
        image, shape = images.get(camera.name), (camera.height, camera.width, 3)
        if image is None or image.shape != shape or image.dtype != np.uint8:
            got = "nothing" if image is None else f"{image.dtype} {image.shape}"
            raise ValueError(f"camera {camera.name!r} gave {got}, the robot has uint8 {shape}")


def model_actions(space: ActionSpaceInfo) -> ActionSpace:
    """ValueError when the robot's actions are none that can be learned."""
    if any(set(choice) != set(space.names) for choice in space.choices):
        raise ValueError(f"a choice among the robot's actions names other numbers than {', '.join(space.names)}")
    choices = tuple(tuple(choice[name] for name in space.names) for choice in space.choices)
    bounds = ((), ()) if choices else (tuple(space.low), tuple(space.high))
    return ActionSpace(names=tuple(space.names), choices=choices, low=bounds[0], high=bounds[1])


def to_vector(action: Action, names: list[str]) -> np.ndarray:
    """float32 [D], in the order of the space's names."""
    return np.array([action[name] for name in names], dtype=np.float32)


def to_action(vector: np.ndarray, names: list[str]) -> Action:
    return {name: float(value) for name, value in zip(names, vector, strict=True)}
