"""`toddle replay`: play a recorded session; short for a launch file.

toddle replay demo --rate 2 --start 3/0 --until 5/31
toddle replay demo --exact
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from toddle.launch import check_launch
from toddle.launch import launch as launch_command
from toddle.sessions.common import complete_session

NOT_EXACT = ("start", "until", "episodes", "actions", "loop", "hold_out")
FILES = Path(__file__).resolve().parent.parent / "launch"
PASSED_ON = [option for option in launch_command.params if isinstance(option, click.Option) and option.expose_value]


def _numbers(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """`0,2,5-8` as the launch file takes it: a list."""
    numbers: list[int] = []
    try:
        for part in filter(None, value.split(",")):
            first, dash, last = part.partition("-")
            numbers += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise click.BadParameter(f"{value!r}: give numbers of episodes, such as 0,2,5-8") from None
    return f"[{','.join(map(str, numbers))}]" if value else ""


def _hold_out(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return value if value in ("", "auto", "none") else _numbers(ctx, param, value)


@click.command()
@click.argument("session", shell_complete=complete_session)
@click.option("--rate", default="", metavar="FACTOR", help="Times as fast as it was captured; 0: as fast as all is taken. [1]")
@click.option("--start", default="", metavar="PLACE", help="Begin there: seconds from its first frame, or EPISODE/STEP.")
@click.option("--until", default="", metavar="PLACE", help="End after the last frame there.")
@click.option("--episodes", default="", metavar="N,N-N", callback=_numbers, help="Only these.")
@click.option("--action", "actions", multiple=True, metavar="NAME=VALUE", help="Only transitions with such an action; also != < <= > >=.")
@click.option("--loop", is_flag=True, help="Begin again at the end, until a time limit or Ctrl-C.")
@click.option("--paused", is_flag=True, help="Wait for step or resume.")
@click.option("--hold-out", default="", metavar="auto|none|N,N", callback=_hold_out, help="Episodes never trained on. [auto]")
@click.option("--exact", is_flag=True, help="Every recorded message, bit for bit, into a second session; nothing learns.")
@click.option("--learn/--no-learn", default=True, help="Whether a trainer and a predictor take part.")
@click.option("--viewer/--no-viewer", default=True, help="Whether it is shown.")
@click.option("--root", default="", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
def replay(**given: Any) -> None:
    """Publish a recorded SESSION again, for recorder, trainer, predictor and viewer as if its robot were there.

    It takes the options of `toddle launch` too, and prints the launch command that does the same.
    """
    check_launch()
    if given["exact"] and any(given[name] for name in NOT_EXACT):
        raise click.UsageError("--exact plays all of a session, once: only --rate and --paused go with it")
    passed_on = [word for option in PASSED_ON for word in _words(option, given.get(str(option.name)))]
    words = [_shown(FILES / ("exact.yaml" if given["exact"] else "replay.yaml")), *_sets(given), *passed_on]
    click.echo(shlex.join(["toddle", "launch", *words]))
    launch_command.main(words, prog_name="toddle launch", standalone_mode=False)


replay.params += PASSED_ON


def _sets(given: dict[str, Any]) -> list[str]:
    """`--set` for everything that was asked for."""
    flags = {"loop": given["loop"], "paused": given["paused"]}
    sets = {name: given[name] for name in ("session", "root", "rate", "start", "until", "episodes", "hold_out") if given[name]}
    sets |= {name: "true" for name, value in flags.items() if value}
    sets |= {name: "false" for name in ("learn", "viewer") if not given[name] and not given["exact"]}
    if given["actions"]:
        sets["action"] = ", ".join(given["actions"])
    return [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]


def _words(option: click.Option, value: Any) -> list[str]:
    """An option of `toddle launch` as it would be typed; nothing where it has its default."""
    name = max(option.opts, key=len)
    if option.multiple:
        return [word for one in value or () for word in (name, str(one))]
    if value is None or value is False or value == "":
        return []
    return [name] if option.is_flag else [name, str(value)]


def _shown(path: Path) -> str:
    """As it is called from here, where that is shorter."""
    near = os.path.relpath(path)
    return near if len(near) < len(str(path)) else str(path)
