"""A robot of LeRobot by its type name. lerobot, which takes seconds to import, is imported in here when it is called."""

import difflib
import importlib
import logging
import pkgutil
from contextlib import suppress
from typing import Any

from nodes.robot.arm.options import INSTALL, ArmOptions
from nodes.robot.interface import RobotError

MOST_WORDS = 300
DEFAULTS = {"use_degrees": False, "num_read_retries": 0}
"""Of configs that have them: positions from -100 to 100, and no retries that nobody counts."""


def make_lerobot(options: ArmOptions) -> Any:
    """The robot, not connected. Raises RobotError, one line: lerobot is missing, knows no such robot, or refuses its config."""
    try:
        import draccus
        from lerobot.robots import RobotConfig, make_robot_from_config
    except ImportError as error:
        raise RobotError(f"{INSTALL} ({error})") from None
    _register()
    known = RobotConfig.get_known_choices()
    if options.type not in known:
        near = difflib.get_close_matches(options.type, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known)}"
        raise RobotError(f"LeRobot knows no robot {options.type!r}; {hint}")
    fields = getattr(known[options.type], "__dataclass_fields__", {})
    given = {**{name: value for name, value in DEFAULTS.items() if name in fields}, **options.config()}
    try:
        return make_robot_from_config(draccus.decode(RobotConfig, given))
    except Exception as error:  # of LeRobot's config, of the robot's class, of a package that it lacks
        raise RobotError(f"LeRobot refuses the config of {options.type}: {one_line(error.__cause__ or error)}") from None


def one_line(error: BaseException) -> str:
    """What an exception says, as one line."""
    return " ".join(str(error).split())[:MOST_WORDS] or type(error).__name__


def _register() -> None:
    """Make LeRobot's own robots and cameras known, and those of plugins that are installed."""
    import lerobot.cameras
    import lerobot.robots
    from lerobot.utils.import_utils import register_third_party_plugins

    root = logging.getLogger()
    if not root.handlers:  # lerobot logs through the root, which would begin to write to the terminal
        root.addHandler(logging.NullHandler())
    for package in (lerobot.robots, lerobot.cameras):
        for module in pkgutil.iter_modules(package.__path__):
            with suppress(ImportError):  # of a robot whose own packages are not installed
                importlib.import_module(f"{package.__name__}.{module.name}")
    register_third_party_plugins()
