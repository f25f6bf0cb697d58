"""`toddle record so101`: calibrate, look at what it will be like, record; in that order, and back to where the arm was.

toddle record so101 --set port=/dev/ttyACM0 --set id=arm --sequence 1,0,2,0 --name tries
toddle record so101 --resume --name tries
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource

from toddle.attach import BadInput
from toddle.launch import check_launch
from toddle.launch import launch as launch_command
from toddle.record.plan import Plan, gone_on, words
from toddle.record.verify import FILE, verify
from toddle.sessions.exchange import numbers

if TYPE_CHECKING:
    from nodes.robot.arm.driver import SO101
    from nodes.robot.arm.moves import Pose

FIELDS = ("joint", "delta", "secondary", "secondary_delta", "action_duration_s", "rate_hz", "episodes", "episode_s", "between_s", "seed")
"""Options that are fields of the plan."""


@click.command()
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="Of the driver: port, id, calibration_dir, type, cameras, limits, size ..."
)
@click.option("--joint", default="shoulder_pan", show_default=True, help="Which joint is moved.")
@click.option("--delta", default=10.0, show_default=True, help="How far a decision moves it, in the arm's own units.")
@click.option("--secondary", default="", metavar="JOINT", help="A second joint that stands elsewhere in each episode.")
@click.option("--secondary-delta", default=10.0, show_default=True, help="How far that one moves between episodes.")
@click.option("--sequence", metavar="N,N,...", callback=numbers, help="Decisions of an episode: 0 stay, 1 plus, 2 minus; then it stays.")
@click.option("--random", "drawn", is_flag=True, help="Decisions are drawn, others in each episode.")
@click.option("--person", is_flag=True, help="Decisions are your keys 0, 1, 2.")
@click.option("--duration", "action_duration_s", default=0.5, show_default=True, help="Seconds of an action; if given, it is not measured.")
@click.option("--rate", "rate_hz", default=30.0, show_default=True, help="Frames a second.")
@click.option("--episodes", default=10, show_default=True, help="How many; discarded ones do not count.")
@click.option("--episode-time", "episode_s", default=0.0, help="Seconds [the sequence and 5 s; 30 when drawn; until you press r].")
@click.option("--between", "between_s", default=3.0, show_default=True, help="Seconds between two episodes.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
@click.option("--name", required=True, help="Of the run, and of its session.")
@click.option("--root", metavar="FOLDER", help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
@click.option("--runs", type=click.Path(file_okay=False), help="Where runs live [TODDLE_RUNS or ./runs].")
@click.option("--resume", is_flag=True, help="Go on with recording NAME; what is told besides must be as it was.")
@click.option("--skip-calibration", is_flag=True, help="An action takes --duration.")
@click.option("--skip-verification", is_flag=True, help="Record at once.")
@click.option("--viewer/--no-viewer", default=True, help="Whether it is shown.")
@click.option("--speak/--no-speak", default=True, help="Whether the viewer says when an episode begins and ends.")
@click.pass_context
def so101(ctx: click.Context, **given: Any) -> None:
    """Record episodes in which one joint of an SO-101, or another arm of LeRobot, goes up, down or stays.

    Keys in the terminal: r next, d discard (and once more), m success, f failure, space pause, Esc halt, q stop.
    """
    check_launch()
    try:
        told = _told(ctx, given)
        record = _record_file(given["runs"], given["name"])
        plan = gone_on(_read(record), told) if given["resume"] else Plan(**told)
        if record.with_name(given["name"]).exists() and not given["resume"]:
            raise ValueError(f"run {given['name']!r} is there already: go on with it with --resume, or give another --name")
        with _back_to_start(plan) as arm:
            if not given["resume"]:
                plan = _prepared(plan, arm, ctx, given)
                _write(record, plan)
            else:
                arm.close()
            code = _run(plan, given)
    except ValueError as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise click.ClickException(str(error)) from None
    if code == 0:
        name = given["name"]
        click.echo(f"  toddle sessions import decisions {name} --name {name}-decisions\n  toddle sessions export lerobot {name}")
    sys.exit(code)


def _told(ctx: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """Fields of a plan that the command line names. Raises ValueError."""
    from nodes.robot.arm.options import ArmOptions
    from toddle.robot.calibrate import arm_words

    told = {name: given[name] for name in FIELDS if _named(ctx, name)}
    ways = [way for way, wanted in (("sequence", given["sequence"]), ("random", given["drawn"]), ("person", given["person"])) if wanted]
    if len(ways) > 1:
        raise ValueError(f"--{' and --'.join(ways)}: give one of them")
    if ways:
        told |= {"by": ways[0], "sequence": given["sequence"]}
    if options := arm_words(given["sets"], set(ArmOptions.__struct_fields__)):
        if wrong := [name for name in ("mode", "joint", "delta", "secondary", "action_duration_s", "timing") if name in options]:
            raise ValueError(f"--set {wrong[0]} is an option of its own here: toddle record so101 --help")
        told["options"] = options
    return told


def _named(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


@contextmanager
def _back_to_start(plan: Plan) -> Iterator[SO101]:
    """The arm, for whoever uses it before the run; in the end, whatever happened, it is where it was."""
    from nodes.robot.arm.options import problem
    from nodes.robot.interface import RobotError

    if wrong := problem("so101", plan.driver_options()):
        raise ValueError(wrong)
    try:
        arm = _open(plan)
        try:
            start = arm.positions()
            yield arm
        finally:
            arm.close()
            _walk_back(plan, start)
    except RobotError as error:
        raise click.ClickException(str(error)) from None


def _open(plan: Plan) -> SO101:
    """Without its cameras. Raises RobotError."""
    from nodes.robot.arm.driver import SO101

    return SO101({name: value for name, value in plan.options.items() if name != "cameras"} | {"joint": plan.joint}, 0)


def _walk_back(plan: Plan, start: Pose) -> None:
    """Raises RobotError."""
    from nodes.robot.interface import RobotError

    try:
        arm = _open(plan)
        try:
            arm.walk(start)
        finally:
            arm.close()
    except RobotError as error:
        raise RobotError(f"the arm is not back where it began: {error}") from None


def _prepared(plan: Plan, arm: SO101, ctx: click.Context, given: dict[str, Any]) -> Plan:
    """The plan with the time that an action takes, and a person's agreement. Lets go of the arm. Raises RobotError."""
    if not (given["skip_calibration"] or _named(ctx, "action_duration_s")):
        from nodes.robot.arm.timing import measure_timing

        click.echo(f"calibration: {plan.joint} moves by {plan.delta:g}, up and down; Ctrl-C stops")
        timing = measure_timing(arm, plan.joint, plan.delta, click.echo)
        plan = msgspec.structs.replace(plan, action_duration_s=timing.action_duration_s, calibrated=True)
        click.echo(f"an action takes {plan.action_duration_s:.2f} s")
    arm.close()
    return plan if given["skip_verification"] else verify(plan)


def _run(plan: Plan, given: dict[str, Any]) -> int:
    """The launcher's exit code."""
    args = {**plan.args(), "viewer": given["viewer"], "speak": given["speak"], **({"root": given["root"]} if given["root"] else {})}
    line = [str(FILE), *words(args), "--name", given["name"], *(["--runs", given["runs"]] if given["runs"] else [])]
    with suppress(click.exceptions.Exit):
        try:
            launch_command.main([*line, *(["--resume"] if given["resume"] else [])], prog_name="toddle launch", standalone_mode=False)
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def _record_file(runs: str | None, name: str) -> Path:
    """Beside the run: its folder is the launcher's to make."""
    from launch.rundir import root

    return root(runs) / f"{name}-record.json"


def _read(file: Path) -> Plan:
    """Raises ValueError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Plan)
    except OSError:
        raise ValueError(f"there is no recording to go on with: {file} is not there") from None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{file} is not what toddle record writes: {error}") from None


def _write(file: Path, plan: Plan) -> None:
    from protocol.files import write_whole

    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, msgspec.json.format(msgspec.json.encode(plan)) + b"\n")
