"""The arm itself: its joints, its pictures, and its whole state saved and put back. Radians, metres, pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nodes.robot.headless import cannot_draw, load_mujoco

MODEL = Path(__file__).with_name("arm.xml")
JOINTS = ("base", "shoulder", "elbow")
ELBOW = JOINTS.index("elbow")
CAMERAS = ("front", "side", "wrist")
FIXED = ("front", "side")
TIP_COLOUR = (255, 0, 0)
MOST_GEOMS = 32

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
Images = dict[str, np.ndarray[Any, np.dtype[np.uint8]]]


class Physics:
    """Joints are in the order of JOINTS; each is held at a set-point. The same calls give the same states, bit for bit."""

    def __init__(self, cameras: Sequence[str], size: int) -> None:
        """Pictures of `size` x `size`. Raises RobotError when nothing can be drawn."""
        self._mujoco = load_mujoco()
        self._model = self._mujoco.MjModel.from_xml_path(str(MODEL))
        self._data = self._mujoco.MjData(self._model)
        self._cameras, self._size = tuple(cameras), size
        self.low, self.high = (self._model.jnt_range[:, side].copy() for side in (0, 1))
        self._spec = int(self._mujoco.mjtState.mjSTATE_INTEGRATION)
        view = self._model.vis.global_
        view.offwidth = view.offheight = size
        try:
            self._renderer = self._mujoco.Renderer(self._model, size, size, max_geom=MOST_GEOMS)
        except (ImportError, RuntimeError, AttributeError, OSError, self._mujoco.FatalError) as error:
            raise cannot_draw(error) from None

    @property
    def joints(self) -> FloatArray:
        return np.array(self._data.qpos)

    @property
    def tip(self) -> FloatArray:
        """x, y, z."""
        return np.array(self._data.geom("tip").xpos)

    def place(self, joints: FloatArray) -> None:
        """Stand there, at rest."""
        self._mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = self._data.ctrl[:] = joints
        self._mujoco.mj_forward(self._model, self._data)

    def move(self, by: FloatArray, seconds: float) -> None:
        """Change the set-points by so much, as far as the joints go, and let so much time go by."""
        self._data.ctrl[:] = np.clip(self._data.ctrl + by, self.low, self.high)
        self._mujoco.mj_step(self._model, self._data, round(seconds / self._model.opt.timestep))
        self._settle_picture()

    def save(self) -> FloatArray:
        """All that decides what comes next."""
        state = np.empty(self._mujoco.mj_stateSize(self._model, self._spec))
        self._mujoco.mj_getState(self._model, self._data, state, self._spec)
        return state

    def restore(self, state: FloatArray) -> None:
        """Be again as when it was saved."""
        self._mujoco.mj_setState(self._model, self._data, state, self._spec)
        self._settle_picture()

    def look(self) -> Images:
        """New arrays by camera, uint8 [size, size, 3]."""
        return {name: self._picture(name) for name in self._cameras}

    def pixel(self) -> tuple[float, float] | None:
        """Where the tip is in the first camera, x and y in pixels; None where that camera moves with the arm."""
        name = self._cameras[0]
        if name not in FIXED:
            return None
        camera = self._data.camera(name)
        right, up, back = ((self.tip - camera.xpos) @ camera.xmat.reshape(3, 3)).tolist()
        scale = self._size / 2 / np.tan(np.deg2rad(self._model.camera(name).fovy[0]) / 2) / -back
        middle = (self._size - 1) / 2
        return middle + right * scale, middle - up * scale

    def close(self) -> None:
        self._renderer.close()

    def _settle_picture(self) -> None:
        """Positions of bodies and cameras as the joints are now; what decides the next step stays."""
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)

    def _picture(self, camera: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        self._renderer.update_scene(self._data, camera)
        picture: np.ndarray[Any, np.dtype[np.uint8]] = self._renderer.render()
        return picture
