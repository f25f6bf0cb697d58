"""`toddle emulate so101`: an arm that is not there.

toddle emulate so101 --folder so101 --camera front=drawn --camera side=drawn
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.attach import BadInput

if TYPE_CHECKING:
    from emulators.so101 import SO101Emulator

CAMERA_PORT = 5555
INSTALL = "python -m pip install -c constraints.txt -e '.[so101]'"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="so101", show_default=True,
              help="Where `port` (what to open instead of /dev/ttyACM0) and `calibration/` are made.")  # fmt: skip
@click.option("--camera", "cameras", multiple=True, metavar="NAME=SOURCE",
              help="A camera of lerobot's type zmq: `drawn`, the arm as it stands, or a video file, played in a loop.")  # fmt: skip
@click.option("--id", "name", default="emulated", show_default=True, help="lerobot's id of the robot: its calibration file's name.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another one: other points of view.")
@click.option("--size", default="224x224", show_default=True, metavar="WxH", help="Of drawn pictures, in pixels.")
@click.option("--fps", type=click.FloatRange(0.1, 240), default=30, show_default=True, help="Drawn pictures a second.")
@click.option("--camera-port", type=click.IntRange(1, 65535), default=CAMERA_PORT, show_default=True,
              help="Of the first camera; the next have the ones after it.")  # fmt: skip
def so101(folder: Path, cameras: tuple[str, ...], name: str, seed: int, size: str, fps: float, camera_port: int) -> None:
    """Be an SO-101 arm: six STS3215 servos on a pseudo-terminal, and cameras that see them.

    It runs until Ctrl-C. A line that is typed is a fault, such as `no-answer 3`, `overload gripper x5` (for five answers),
    `camera-gone front`, `unplug`; `heal` ends them all, `help` tells which there are.
    """
    from emulators.errors import EmulatorError
    from emulators.so101 import SO101Emulator

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SO101Emulator(
            folder, name=name, cameras=_named(cameras), seed=seed, size=_pixels(size), fps=fps, camera_port=camera_port
        ) as arm:  # fmt: skip
            click.echo(_told(arm, cameras))
            _take_faults(arm)
            threading.Event().wait()
    except EmulatorError as error:
        raise BadInput(str(error)) from None
    except ModuleNotFoundError as error:
        raise BadInput(f"cameras need the package {error.name}: {INSTALL}") from None
    except KeyboardInterrupt:
        click.echo("\nended")


def _named(cameras: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in cameras:
        name, equals, source = each.partition("=")
        if not (name and equals and source):
            raise BadInput(f"--camera {each}: write NAME=drawn or NAME=VIDEO")
        if name in found:
            raise BadInput(f"--camera {each}: there is a camera {name} already")
        found[name] = source
    return found


def _pixels(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 16 <= int(width) <= 4096 and 16 <= int(height) <= 4096):
        raise BadInput(f"--size {size}: write WIDTHxHEIGHT, such as 224x224, each from 16 to 4096")
    return int(width), int(height)


def _told(arm: SO101Emulator, cameras: tuple[str, ...]) -> str:
    """What it is, and how a launch file says it."""
    import shlex

    import msgspec

    sets = {key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in arm.options().items()}
    command = " ".join(["toddle launch launch/so101.yaml", *(f"--set {shlex.quote(f'{key}={value}')}" for key, value in sets.items())])
    ports = [f"camera {name} on port {options['port']}" for name, options in arm.cameras.items()]
    return "\n".join([f"an SO-101 on {arm.port}", *ports, f"ready: {command}"])


def _take_faults(arm: SO101Emulator) -> None:
    """Do what lines of standard input say, until there are no more."""
    from emulators.errors import FaultError
    from emulators.so101_faults import FAULTS, parse, usage

    for line in sys.stdin or ():
        if line.strip() == "help":
            click.echo("\n".join(f"{usage(name):<36}{means}" for name, means in FAULTS.items()))
        elif line.strip():
            try:
                wish = parse(line)
                arm.fault(wish.name, wish.motor, camera=wish.camera, packets=wish.packets)
            except FaultError as error:
                click.echo(error)
            else:
                click.echo(f"done: {line.strip()}")
