"""Runs the benchmarks; prints Markdown tables, writes JSON to `bench/results/`, exits 1 when a target is missed."""

import itertools
import sys
from pathlib import Path

import click

from bench import (
    arm,
    bus,
    codecs,
    exchange,
    jetbot,
    learning,
    memory,
    model_speed,
    overhead,
    read,
    recorder,
    replay,
    training,
    worldmodel,
    write,
)

RESULTS = Path(__file__).parent / "results"
WRITE_PARTS = ("loads", "writers", "kills")


@click.group(invoke_without_command=True)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Measure; without a command, everything."""
    if ctx.invoked_subcommand is None:
        reached = [_ended_well(ctx, command) for command in COMMANDS]
        sys.exit(0 if all(reached) else 1)


def _ended_well(ctx: click.Context, command: click.Command) -> bool:
    try:
        ctx.invoke(command)
    except SystemExit as end:
        return not end.code
    return True


@cli.command("codecs")
def codecs_command() -> None:
    """Lossless codecs of frames: CPU time and size."""
    codecs.measure(learning.recordings(), click.echo)


@cli.command("learning")
@click.option("--worlds", default=",".join(learning.WORLDS), show_default=True, help="Which, separated by commas.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Runs of each world.")
def learning_command(worlds: str, seeds: int) -> None:
    """Live learning over the whole graph: scores by time, median and range over the seeds."""
    names = [name.strip() for name in worlds.split(",")]
    unknown = [name for name in names if name not in learning.WORLDS]
    if unknown:
        raise click.BadParameter(f"unknown world {unknown[0]!r}; there are {', '.join(learning.WORLDS)}")
    reached = [learning.measure(name, seeds, RESULTS, click.echo) for name in names]
    sys.exit(0 if all(reached) else 1)


@cli.command("training")
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(1), help="Of steps with and without the log, turn by turn."
)
def training_command(seconds: float) -> None:
    """What training costs beside its steps: the log, drawing batches."""
    sys.exit(0 if training.bench(click.echo, seconds) else 1)


@cli.command("bus")
@click.option("--frames", default=2000, show_default=True, type=click.IntRange(1, 5000), help="At 30 Hz, of each cell.")
@click.option("--quick", is_flag=True, help="Two cells, 200 frames each.")
def bus_command(frames: int, quick: bool) -> None:
    """The bus beside bare pyzmq loops and dora-rs: latency at 30 Hz, frames per second at saturation."""
    cells = [((224, 224), 1), ((480, 640), 1)] if quick else list(itertools.product(bus.SIZES, (1, 4)))
    sys.exit(0 if bus.bench(click.echo, RESULTS, cells, 200 if quick else frames, 3 if quick else 12) else 1)


@cli.command("recorder")
@click.option("--quick", is_flag=True, help="A third of the time.")
def recorder_command(quick: bool) -> None:
    """A real recorder: mixed load, small messages, saturation beside a bare loop."""
    sys.exit(0 if recorder.bench(click.echo, RESULTS, 8.0 if quick else 24.0, 3 if quick else 7) else 1)


@cli.command("overhead")
@click.option("--quick", is_flag=True, help="Three turns of 5 s.")
def overhead_command(quick: bool) -> None:
    """What heartbeats, metrics and logs cost a node at 30 Hz."""
    sys.exit(0 if overhead.bench(click.echo, RESULTS, 5.0 if quick else 20.0, 3) else 1)


@cli.command("replay")
@click.option("--quick", is_flag=True, help="Ten seconds of each size, ten runs.")
def replay_command(quick: bool) -> None:
    """Replay: how punctual at rate 1 beside a bare sleep loop; what is lost at full speed."""
    sys.exit(0 if replay.bench(click.echo, RESULTS, 10.0 if quick else 20.0, 1 if quick else 5, 10 if quick else 100) else 1)


@cli.command("write")
@click.option("--only", default=",".join(WRITE_PARTS), show_default=True, help="Which parts, separated by commas.")
@click.option("--quick", is_flag=True, help="4 s a load, two turns a writer, one kill.")
def write_command(only: str, quick: bool) -> None:
    """Loads of the recorder; its writer beside those of other formats: speed, size, stalls, and what kill -9 takes."""
    parts = [part.strip() for part in only.split(",")]
    unknown = [part for part in parts if part not in WRITE_PARTS]
    if unknown:
        raise click.BadParameter(f"unknown part {unknown[0]!r}; there are {', '.join(WRITE_PARTS)}")
    sys.exit(0 if write.bench(click.echo, RESULTS, parts, quick) else 1)


@cli.command("memory")
@click.option("--minutes", default=60, show_default=True, type=click.IntRange(1), help="Of robot time, at 30 Hz.")
def memory_command(minutes: int) -> None:
    """Memory of recorder and reader over an hour of robot time, played as fast as it goes."""
    sys.exit(0 if memory.bench(click.echo, RESULTS, minutes) else 1)


@cli.command("read")
@click.option("--quick", is_flag=True, help="Fewer turns of fewer frames.")
def read_command(quick: bool) -> None:
    """Frames into batches, beside LeRobotDataset, MCAP, the codecs alone, and pread of a cold disk."""
    sys.exit(0 if read.bench(learning.recordings(), click.echo, RESULTS, 3 if quick else 7, 128 if quick else 400) else 1)


@cli.command("jetbot")
@click.option("--quick", is_flag=True, help="A tenth of it.")
def jetbot_command(quick: bool) -> None:
    """A JetBot over loopback: from an action to its picture; motors that stop when the link fails."""
    sys.exit(0 if jetbot.bench(click.echo, RESULTS, *((20, 10) if quick else (100, 100))) else 1)


@cli.command("exchange")
@click.option("--quick", is_flag=True, help="One turn, and a shorter long dataset.")
def exchange_command(quick: bool) -> None:
    """Import of LeRobot datasets beside bare decoding and encoding, and its memory."""
    reached = exchange.bench(click.echo, RESULTS, learning.recordings(), 1 if quick else 7, 10_000 if quick else 200_000)
    sys.exit(0 if reached else 1)


@cli.command("arm")
@click.option("--quick", is_flag=True, help="Half a minute of each, one seed.")
def arm_command(quick: bool) -> None:
    """The emulated SO-101 with two cameras, live: how even its 30 Hz are, and whether it can be learned."""
    times = (30.0, 30.0, 30.0, 1) if quick else (120.0, 300.0, 180.0, 3)
    sys.exit(0 if arm.bench(click.echo, RESULTS, *times) else 1)


@cli.command("model-speed")
@click.option("--quick", is_flag=True, help="A tenth of the steps.")
def model_speed_command(quick: bool) -> None:
    """Training steps beside a plain reference, in turns; what imagining more actions costs; a GPU's table where there is one."""
    sys.exit(0 if model_speed.bench(click.echo, RESULTS, quick) else 1)


@cli.command("worldmodel")
@click.option("--parts", default=",".join(worldmodel.PARTS), show_default=True, help="Which, separated by commas.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings of each model.")
@click.option("--again", is_flag=True, help="Measure anew what was measured before.")
def worldmodel_command(parts: str, seeds: int, again: bool) -> None:
    """Models trained alone for a set time, on simulated worlds and recordings, beside the original and the baselines."""
    names = [part.strip() for part in parts.split(",")]
    unknown = [part for part in names if part not in worldmodel.PARTS]
    if unknown:
        raise click.BadParameter(f"unknown part {unknown[0]!r}; there are {', '.join(worldmodel.PARTS)}")
    sys.exit(0 if worldmodel.bench(click.echo, RESULTS, names, seeds, again) else 1)


COMMANDS = (
    bus_command, recorder_command, write_command, memory_command, read_command, replay_command, overhead_command,
    arm_command, jetbot_command, exchange_command, codecs_command, model_speed_command, training_command, learning_command,
    worldmodel_command,
)  # fmt: skip

if __name__ == "__main__":
    cli()
