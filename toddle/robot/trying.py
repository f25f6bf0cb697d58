"""`toddle robot try`: each action of a robot once, with a picture before and after, and the difference in numbers.

toddle robot try jetbot --set host=jetbot.local
toddle robot try my_robots.wheels:Wheels --set port=/dev/ttyUSB0 --yes
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.ask import named_value
from toddle.attach import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from nodes.robot.interface import Robot
    from protocol.messages import Action, ActionSpaceInfo

CHANGED = 12
"""A pixel has changed when a colour of it differs by more: less is noise."""
SHARE = 0.1
"""Of the range of a number, what it is moved by where the actions are no list."""


@dataclass(frozen=True)
class Trial:
    """One action: how long it took, what was seen before and after, by camera."""

    action: Action
    done: bool
    took_s: float
    next_frame_s: float
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


@click.command("try")
@click.argument("driver")
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="An option of the driver, as in a launch file.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the pictures; default: try-DRIVER.")
@click.option("--seed", default=0, show_default=True, help="Of a simulated robot.")
@click.option("--yes", is_flag=True, help="Do not ask before it moves.")
def try_actions(driver: str, sets: tuple[str, ...], out: Path | None, seed: int, yes: bool) -> None:
    """Do each action of a robot once: a driver by its name, or your own as MODULE:CLASS. It is stopped at the end, in any case.

    The pictures before and after, and what differs, are kept as PNG files, all of them together in sheet.png.
    """
    from nodes.robot.config import not_real
    from nodes.robot.drivers import make_driver
    from nodes.robot.interface import RobotError

    _need_pictures()
    try:
        robot = make_driver(driver, dict(named_value(text) for text in sets), seed)
        try:
            actions = _actions(robot.action_space, robot.safe_action)
            if not yes and not not_real(driver):
                _ask(actions)
            trials = list(_try_all(robot, actions))
        finally:
            robot.stop()
            robot.close()
    except RobotError as error:
        raise BadInput(str(error)) from None
    folder = out or Path(f"try-{driver.replace(':', '-').replace('/', '-')}")
    _keep(folder, trials)
    _table(trials)
    click.echo(f"pictures in {folder}, all of them in {folder / 'sheet.png'}")


def _need_pictures() -> None:
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise click.ClickException(f"{error}; python -m pip install -c constraints.txt -e '.[viewer]'") from None


def _actions(space: ActionSpaceInfo, safe: Action) -> list[Action]:
    """The list; where there is none, the safe action with each number a little less, then a little more."""
    if space.discrete:
        return [dict(choice) for choice in space.choices]
    actions = [dict(safe)]
    for name, low, high in zip(space.names, space.low, space.high, strict=True):
        for sign in (-1, 1):
            actions.append({**safe, name: min(max(safe[name] + sign * SHARE * (high - low), low), high)})
    return actions


def _ask(actions: list[Action]) -> None:
    click.echo("It will do, once each:")
    for action in actions:
        click.echo(f"  {_words(action)}")
    click.confirm("It moves. Is there room, and a hand on its switch?", abort=True)


def _try_all(robot: Robot, actions: list[Action]) -> Iterator[Trial]:
    before = robot.observe().images
    for action in actions:
        began_s = time.monotonic()
        done = bool(robot.execute(dict(action)))
        ended_s = time.monotonic()
        after = robot.observe().images
        yield Trial(action, done, ended_s - began_s, time.monotonic() - began_s, before, after)
        before = after


def _words(action: Action) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in action.items())


def difference(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Mean absolute difference of all values, 0 to 255, and the share of pixels that changed."""
    import numpy as np

    apart = np.abs(before.astype(np.int16) - after)
    return float(apart.mean()), float((apart.max(axis=-1) > CHANGED).mean())


def _keep(folder: Path, trials: list[Trial]) -> None:
    """A PNG for each action and camera: before, after, difference; `sheet.png` with all."""
    import cv2
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, trial in enumerate(trials):
        for camera, before in trial.before.items():
            after = trial.after[camera]
            row = np.hstack([before, after, np.abs(before.astype(np.int16) - after).astype(np.uint8)])
            _write(folder / f"{number:02}-{camera}.png", row)
            title = np.zeros((20, row.shape[1], 3), np.uint8)
            text = f"{number:02} {camera}: {_words(trial.action)}: before, after, difference"
            cv2.putText(title, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
            rows += [title, row]
    width = max(row.shape[1] for row in rows)
    _write(folder / "sheet.png", np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]))


def _write(path: Path, rgb: np.ndarray) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())


def _table(trials: list[Trial]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title="each action, once", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("action", min_width=17, overflow="fold")
    table.add_column("camera")
    for name in ("done", "took", "picture", "diff", "changed"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, trial in enumerate(trials):
        for camera, before in trial.before.items():
            mean, changed = difference(before, trial.after[camera])
            times = f"{trial.took_s * 1000:.0f} ms", f"{trial.next_frame_s * 1000:.0f} ms"
            done = "yes" if trial.done else "[red]no[/red]"
            table.add_row(f"{number:02}", _words(trial.action), camera, done, *times, f"{mean:.2f}", f"{changed:.1%}")
    Console().print(table)
    click.echo("took: the action; picture: until the one after it was there; diff: mean difference of all values, of 255; "
               f"changed: pixels that differ by more than {CHANGED}")  # fmt: skip
