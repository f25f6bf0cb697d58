"""What a launch file may say about an arm that LeRobot drives. Pure; lerobot is not imported."""

import importlib.util
from pathlib import Path
from typing import Any, Literal

import msgspec

INSTALL = "an arm needs lerobot: python -m pip install -c constraints.txt -e '.[so101]'"
NO_CAMERA = (
    "the arm has no camera: give cameras, such as {front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}; "
    "lerobot-find-cameras tells which there are"
)
SO101 = "so101_follower"
SERIAL = (SO101, "so100_follower")
SHORTHAND = ("port", "id", "calibration_dir", "cameras")


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a joint may go, in the arm's own units."""

    min: float
    max: float

    def __post_init__(self) -> None:
        if not self.min < self.max:
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}")


class Secondary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between episodes `joint` moves up or down by `delta`, which of them is drawn from the seed, and stays there."""

    joint: str
    delta: float = 10.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"secondary: delta is {self.delta:g}; it must be above 0")


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an action of an arm takes, measured: four moves, and 1.2 times the slowest, in seconds."""

    joint: str
    delta: float
    settle_s: list[float]
    action_duration_s: float


class ArmOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`type` and `robot` are LeRobot's: a robot by its type name, and the fields of its config.

    `port`, `id`, `calibration_dir` and `cameras` stand for the same fields of `robot`. `use_degrees` is false unless
    `robot` says otherwise: body joints go from -100 to 100, the gripper from 0 to 100.

    `discrete`: stay, `delta` up or `delta` down for each joint of `joint` (shoulder_pan unless told otherwise); the
    set-point is computed once, from the measured position, and an action takes `action_duration_s`, or what the
    file `timing` says that `toddle robot calibrate` saved. `continuous`: the goal of each joint (of `joint`: those
    alone, the others hold still), written at once. `limits` are positions by joint; nothing goes beyond them.

    `stack`: the cameras' pictures as one, below or beside each other. `size`: side in pixels of each camera's
    picture, or [height, width].
    """

    type: str = SO101
    robot: dict[str, Any] = {}
    port: str | None = None
    id: str | None = None
    calibration_dir: str | None = None
    cameras: dict[str, dict[str, Any]] = {}
    mode: Literal["discrete", "continuous"] = "discrete"
    joint: str | list[str] | None = None
    delta: float = 10.0
    action_duration_s: float = 0.5
    timing: str = ""
    limits: dict[str, Range] = {}
    secondary: Secondary | None = None
    stack: Literal["", "vertical", "horizontal"] = ""
    size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"delta is {self.delta:g}; it must be above 0")
        if not 0 < self.action_duration_s <= 60:
            raise ValueError(f"action_duration_s is {self.action_duration_s:g}; give seconds above 0, at most 60")
        if self.mode == "continuous" and self.timing:
            raise ValueError("timing goes with mode discrete")
        if self.secondary and self.joints is None:
            raise ValueError("secondary: all joints are moved by actions; say which one is, joint: shoulder_pan")
        if self.shape is not None and min(self.shape) < 1:
            raise ValueError(f"size is {self.size}; give pixels above 0")
        for name in SHORTHAND:
            if name in self.robot and getattr(self, name):
                raise ValueError(f"{name} is given twice, of the options and of robot")
        if self.secondary and self.secondary.joint.removesuffix(".pos") in [one.removesuffix(".pos") for one in self.joints or []]:
            raise ValueError(f"secondary: {self.secondary.joint} is moved by actions already; name another joint")

    @property
    def joints(self) -> list[str] | None:
        """The joints that actions move; None: all."""
        if self.joint is None:
            return ["shoulder_pan"] if self.mode == "discrete" else None
        return [self.joint] if isinstance(self.joint, str) else list(self.joint)

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of a camera's picture; None: as it comes."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def config(self) -> dict[str, Any]:
        """LeRobot's config, as it is written in its own files."""
        short = {name: getattr(self, name) for name in SHORTHAND if getattr(self, name)}
        return {"type": self.type, **self.robot, **short}

    def duration_s(self) -> float:
        """How long an action takes. Raises ValueError for a `timing` that is no file, or is of another joint or delta."""
        if not self.timing:
            return self.action_duration_s
        timing = read_timing(self.timing)
        moved = [one.removesuffix(".pos") for one in self.joints or []]
        if [timing.joint] != moved or timing.delta != self.delta:
            asked = f"{', '.join(moved)} and delta {self.delta:g}"
            raise ValueError(f"timing: {self.timing} is of {timing.joint} and delta {timing.delta:g}, not of {asked}")
        return timing.action_duration_s


def read_timing(path: str | Path) -> Timing:
    """A file that `toddle robot calibrate --save` wrote. Raises ValueError, one line."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Timing)
    except OSError as error:
        raise ValueError(f"timing: {path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"timing: {path} is no file of toddle robot calibrate: {error}") from None


def arm_options(driver: str, given: dict[str, Any]) -> ArmOptions:
    """The options of the drivers `so101` and `lerobot`. Raises ValueError, msgspec's own among them."""
    if driver == "lerobot" and not given.get("type"):
        raise ValueError("driver lerobot needs the type of a robot that LeRobot knows, such as type: koch_follower")
    options = msgspec.convert(given, ArmOptions)
    if options.type in SERIAL and not options.config().get("port"):
        raise ValueError("the arm's port is missing: give port=/dev/ttyACM0; lerobot-find-port tells which it is")
    options.duration_s()
    return options


def problem(driver: str, given: dict[str, Any]) -> str:
    """What can be known to be wrong before anything is started; empty when nothing is."""
    try:
        options = arm_options(driver, given)
        if options.type in SERIAL and not options.config().get("cameras"):
            raise ValueError(NO_CAMERA)
    except ValueError as error:
        return f"driver {driver!r}: {error}"
    return "" if importlib.util.find_spec("lerobot") else INSTALL
