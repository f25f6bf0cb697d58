"""A picture of the arm from a point of view: links and joints in colours, a floor, a shadow. Pure.

Lengths in metres, angles in radians, pictures HxWx3 uint8 RGB. x is forward, z is up.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from emulators.so101_servo import COUNTS

Array = np.ndarray

# from each body to the next: where it is mounted, and how it is turned (quaternion, real part first); it turns about its own z
CHAIN = (
    ("shoulder_pan", (0.0388353, 0.0, 0.0624), (0, 0, -1, 0)),
    ("shoulder_lift", (-0.0303992, -0.0182778, -0.0542), (0.5, -0.5, -0.5, -0.5)),
    ("elbow_flex", (-0.11257, -0.028, 0.0), (0.707107, 0, 0, 0.707107)),
    ("wrist_flex", (-0.1349, 0.0052, 0.0), (0.707107, 0, 0, -0.707107)),
    ("wrist_roll", (0.0, -0.0611, 0.0181), (0.0172091, -0.0172091, 0.706897, 0.706897)),
    ("gripper", (0.0202, 0.0188, -0.0234), (0.707107, 0.707107, 0, 0)),
)
LOWEST = {"shoulder_pan": -1.91986, "shoulder_lift": -1.74533, "elbow_flex": -1.69, "wrist_flex": -1.65806,
          "wrist_roll": -2.74385, "gripper": -0.17453}  # fmt: skip
TIP = (-0.0079, -0.000218, -0.0981274)  # between the fingers, seen from the wrist
FINGER = (-0.0085, 0.0, -0.115)
JAW = (-0.012, -0.095, 0.018)  # seen from the moving jaw
FINS = ((0.0, 0.05, -0.03), (0.0, -0.05, -0.03))  # plates at the sides of the gripper, which show how it is rolled

RED, BLUE = (225, 40, 40), (40, 70, 225)
LINKS = (  # from point to point, colour, thickness
    ("base", "shoulder_pan", (70, 70, 80), 0.05),
    ("shoulder_pan", "shoulder_lift", BLUE, 0.045),
    ("shoulder_lift", "elbow_flex", (240, 160, 30), 0.032),
    ("elbow_flex", "wrist_flex", (60, 170, 80), 0.028),
    ("wrist_flex", "wrist_roll", (150, 80, 190), 0.026),
    ("wrist_roll", "finger", (235, 235, 235), 0.02),
    ("wrist_roll", "left", (30, 190, 200), 0.022),
    ("wrist_roll", "right", (240, 220, 60), 0.022),
    ("wrist_roll", "gripper", (235, 235, 235), 0.016),
    ("gripper", "jaw", RED, 0.022),
)
SHARP = 3  # OpenCV takes eighths of a pixel
NOISE_PICTURES = 8


def pose(counts: dict[str, int], lowest: dict[str, int]) -> dict[str, float]:
    """The angle of each joint; `lowest` are the counts of its lower limit."""
    return {name: LOWEST[name] + (value - lowest[name]) * 2 * np.pi / COUNTS for name, value in counts.items()}


def points(angles: dict[str, float]) -> dict[str, Array]:
    """Where each joint is, and the tips behind the last, by forward kinematics."""
    frame, found = np.eye(4), {"base": np.array([0.0388353, 0.0, 0.0])}
    for name, mount in _MOUNTS.items():
        cos, sin = np.cos(angles[name]), np.sin(angles[name])
        turned = np.eye(4)
        turned[:2, :2] = (cos, -sin), (sin, cos)
        frame = frame @ mount @ turned
        found[name] = frame[:3, 3]
        if name == "wrist_roll":
            found |= {
                tip: frame[:3, :3] @ at + frame[:3, 3]
                for tip, at in (("tip", TIP), ("finger", FINGER), ("left", FINS[0]), ("right", FINS[1]))
            }
    found["jaw"] = frame[:3, :3] @ JAW + frame[:3, 3]
    return found


def _matrix(at: tuple[float, ...], turned: tuple[float, ...]) -> Array:
    w, x, y, z = np.array(turned) / np.linalg.norm(turned)
    matrix = np.eye(4)
    matrix[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    matrix[:3, 3] = at
    return matrix


_MOUNTS = {name: _matrix(at, turned) for name, at, turned in CHAIN}


@dataclass(frozen=True)
class View:
    """A point of view: pinhole camera with rows `axes` (right, down, forward) at `eye`."""

    eye: Array
    axes: Array
    focal: float
    centre: Array

    def project(self, where: Array) -> tuple[Array, Array]:
        """Points [N, 3] to pixels [N, 2] (x, y) and how far away they are [N]."""
        seen = (where - self.eye) @ self.axes.T
        return seen[:, :2] / seen[:, 2:] * self.focal + self.centre, seen[:, 2]


def view(name: str, seed: int, size: tuple[int, int]) -> View:
    """From the side and from above, elsewhere for every name and seed, so far away that what the arm reaches is in the picture."""
    random = np.random.default_rng([seed, *name.encode()])
    around = np.deg2rad(random.uniform(25, 75)) * random.choice([-1, 1])
    above = np.deg2rad(random.uniform(20, 45))
    target = np.array([0.1, 0.0, 0.14])
    forward = -np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    distance = 1.3
    return View(
        eye=target - distance * forward,
        axes=np.stack([right, np.cross(forward, right), forward]),
        focal=min(size) / 2 * distance / 0.44,
        centre=np.array(size) / 2,
    )


class Picture:
    """Draws the arm in front of what never changes; `frame` counts, so that the noise of two pictures differs."""

    def __init__(self, name: str, seed: int, size: tuple[int, int]) -> None:
        self.view = view(name, seed, size)
        random = np.random.default_rng([seed, *name.encode()])
        self._backdrop = self._floor(size, random)
        self._noise = [np.rint(random.normal(128, 2, (size[1], size[0], 3))).astype(np.uint8) for _ in range(NOISE_PICTURES)]

    def draw(self, angles: dict[str, float], frame: int) -> Array:
        """The picture, HxWx3 uint8 RGB."""
        where = points(angles)
        names = list(where)
        image = self._backdrop.copy()
        world = np.stack([where[name] for name in names])
        shadow, _ = self.view.project(world * (1, 1, 0))
        at, away = self.view.project(world)
        dark = dict(zip(names, _pixels(shadow), strict=True))
        spot = dict(zip(names, _pixels(at), strict=True))
        far = dict(zip(names, away, strict=True))
        for begin, end, _, thick in LINKS:
            self._link(image, dark[begin], dark[end], (88, 84, 80), thick * self.view.focal / far[begin])
        for begin, end, colour, thick in sorted(LINKS, key=lambda link: -(far[link[0]] + far[link[1]])):
            self._link(image, spot[begin], spot[end], colour, thick * self.view.focal / far[end])
        return cv2.addWeighted(image, 1.0, self._noise[frame % NOISE_PICTURES], 1.0, -128.0)

    def _link(self, image: Array, begin: tuple[int, int], end: tuple[int, int], colour: tuple[int, ...], thick: float) -> None:
        cv2.line(image, begin, end, colour, max(1, round(thick)), cv2.LINE_AA, SHARP)

    def _floor(self, size: tuple[int, int], random: np.random.Generator) -> Array:
        """A table with a grid, in a tint of its own."""
        tint = random.integers(105, 135, 3)
        image = np.full((size[1], size[0], 3), tint, np.uint8)
        for at in np.linspace(-0.6, 0.8, 15):
            for ends in (((at, -0.7, 0.0), (at, 0.7, 0.0)), ((-0.6, at - 0.1, 0.0), (0.8, at - 0.1, 0.0))):
                begin, end = _pixels(self.view.project(np.array(ends))[0])
                self._link(image, begin, end, tuple(int(value) + 18 for value in tint), 1)
        return image


def _pixels(at: Array) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.round(at * (1 << SHARP))]
