"""`toddle launch`: start a graph of nodes, watch it, and end it in order.

toddle launch launch/online.yaml --set driver=toroidal_dot --name first
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toddle.keys import complete_identity

if TYPE_CHECKING:
    from launch.run import Hooks

CONFIGS = {
    "robot": "nodes.robot.config:RobotConfig",
    "recorder": "nodes.recorder.config:RecorderConfig",
    "trainer": "nodes.trainer.config:TrainerConfig",
    "predictor": "nodes.predictor.config:PredictorConfig",
    "viewer": "nodes.viewer.config:ViewerConfig",
}
BAD_CONFIG = 2


def foreign_launch() -> str:
    """Where another package named `launch` stands in the way of ours; empty when ours is found."""
    try:
        spec = find_spec("launch")
    except (ImportError, ValueError):
        spec = None
    ours = Path(__file__).resolve().parent.parent / "launch" / "__init__.py"
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == ours:
        return ""
    return str(spec.origin or "a folder without code") if spec is not None else "nowhere"


def check_launch() -> None:
    """One line and exit code 2 when `import launch` would not find ours."""
    found = foreign_launch()
    if not found:
        return
    where = f"another package named 'launch' is in the way ({found})" if found != "nowhere" else "its package 'launch' is missing"
    text = f"toddle: {where}; a ROS 2 shell does that: run `env -u PYTHONPATH toddle ...` or unset PYTHONPATH"
    click.echo(text, err=True)
    sys.exit(BAD_CONFIG)


def hooks() -> "Hooks":
    """What the launcher needs to know of the nodes: their configs, and how much a step weighs, and what room there is."""
    from launch.run import Hooks

    kinds: dict[str, Any] = {}
    estimates: dict[str, Callable[[dict[str, Any]], int | None]] = {}
    for kind, target in CONFIGS.items():
        name, _, attribute = target.partition(":")
        module = import_module(name)
        kinds[kind] = getattr(module, attribute)
        if hasattr(module, "bytes_per_step"):
            estimates[kind] = module.bytes_per_step
    return Hooks(kinds=kinds, estimates=estimates, room=import_module("nodes.recorder.config").room_bytes)


def _complete_set(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """`--set NA<tab>`: the args of the launch file."""
    file = ctx.params.get("file") or next((arg for arg in ctx.args if arg.endswith((".yaml", ".yml"))), None)
    if file is None or foreign_launch():
        return []
    from launch.errors import LaunchError
    from launch.source import read

    try:
        args = read(Path(file)).value.get("args") or {}
    except (LaunchError, OSError):
        return []
    return [f"{name}=" for name in args if name.startswith(incomplete)]


def _write_schemas(ctx: click.Context, param: click.Parameter, folder: Path | None) -> None:
    if folder is None or ctx.resilient_parsing:
        return
    check_launch()
    from launch import schemas

    for path in schemas.write(folder, hooks().kinds):
        click.echo(str(path))
    ctx.exit()


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", shell_complete=_complete_set, help="Change an arg of the file.")
@click.option("--name", default="", help="Name of the run; default: file and time.")
@click.option("--runs", type=click.Path(file_okay=False), help="Where runs live; default: $TODDLE_RUNS or runs.")
@click.option("--time-limit", "time_limit_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after this time; 0: never.")
@click.option("--resume", is_flag=True, help="Go on in the folder of an earlier run.")
@click.option("--overwrite", is_flag=True, help="Delete the folder of an earlier run of this name first.")
@click.option("--tcp", is_flag=True, help="Loopback ports instead of ipc sockets.")
@click.option("--host", default="", metavar="ADDRESS", help="Ports of this address of the machine, for others to connect to; needs --key.")
@click.option("--on", default="", metavar="NAME", help="Which of the file's hosts this machine is; starts its nodes.")
@click.option("--key", default="", metavar="NAME", shell_complete=complete_identity, help="Guard the ports with this key (toddle keys).")
@click.option("--dry-run", is_flag=True, help="Print what would start, and start nothing.")
@click.option(
    "--write-schemas", type=click.Path(exists=True, file_okay=False, path_type=Path), callback=_write_schemas,
    is_eager=True, expose_value=False, hidden=True, help="Write the JSON schemas into this folder.",
)  # fmt: skip
def launch(file: Path, dry_run: bool, **options: Any) -> None:
    """Start the nodes of a launch FILE, and stop them in order: Ctrl-C once; twice is at once.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong configuration, 3 something was lost, 4 out of disk.
    """
    check_launch()
    from launch import run
    from launch.errors import LaunchError
    from launch.screen import Terminal

    chosen = run.Options(file=file, command=["toddle", *sys.argv[1:]], **options)
    try:
        if dry_run:
            click.echo(run.dry_run(chosen, hooks()))
            return
        code = run.run(chosen, hooks(), Terminal())
    except LaunchError as error:
        click.echo(str(error), err=True)
        sys.exit(BAD_CONFIG)
    sys.exit(code)
