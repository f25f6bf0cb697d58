"""`toddle robot calibrate`: how long an action of an arm takes."""

from pathlib import Path
from typing import Any

import click

from toddle.ask import named_value
from toddle.attach import BadInput


@click.command()
@click.argument("driver", type=click.Choice(["so101", "lerobot"]))
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="An option of the driver, or of LeRobot, such as port.")
@click.option("--joint", default="shoulder_pan", show_default=True, help="Which joint is moved.")
@click.option("--delta", default=10.0, show_default=True, help="How far, in the arm's own units.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write a file for `timing` of the driver's options.")
def calibrate(driver: str, sets: tuple[str, ...], joint: str, delta: float, save: Path | None) -> None:
    """Measure how long an action of an arm takes: four moves, and 1.2 times the slowest.

    The arm moves one joint up and down by delta, and walks back to where it was, also after Ctrl-C.
    """
    from nodes.robot.arm.options import INSTALL
    from nodes.robot.interface import RobotError

    try:
        arm = open_arm(driver, sets, without_cameras=True)
    except (RobotError, ValueError) as error:
        raise BadInput(str(error)) from None
    except ImportError as error:
        raise BadInput(f"{INSTALL} ({error})") from None
    from nodes.robot.arm.timing import measure_timing, save_timing

    try:
        try:
            timing = measure_timing(arm, joint, delta, click.echo)
        finally:
            arm.close()
        click.echo(f"an action takes {timing.action_duration_s:.2f} s: 1.2 times the slowest move")
        if save is not None:
            save_timing(timing, save)
            click.echo(f"saved: give --set timing={save}")
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the arm is back where it was") from None
    except (RobotError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None


def open_arm(driver: str, sets: tuple[str, ...], without_cameras: bool = False) -> Any:
    """The arm of a driver, from `name=value` words: what is none of the driver's options is LeRobot's.

    Raises RobotError, or ValueError for words that cannot be read.
    """
    from nodes.robot.arm.driver import SO101, LeRobotArm
    from nodes.robot.arm.options import ArmOptions

    options = arm_words(sets, set(ArmOptions.__struct_fields__))
    if without_cameras:
        options.pop("cameras", None)
    return {"so101": SO101, "lerobot": LeRobotArm}[driver](options, 0)


def arm_words(sets: tuple[str, ...], own: set[str]) -> dict[str, Any]:
    """The driver's own options, and under `robot` those that are fields of LeRobot's config."""
    options: dict[str, Any] = {}
    for name, value in map(named_value, sets):
        if name in own:
            options[name] = value
        else:
            options.setdefault("robot", {})[name] = value
    return options
