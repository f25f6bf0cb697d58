"""Runs the benchmarks; prints Markdown tables, writes JSON to `bench/results/`, exits 1 when a target is missed."""

import sys
from pathlib import Path

import click

from bench import codecs, learning

RESULTS = Path(__file__).parent / "results"


@click.group(invoke_without_command=True)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Measure; without a command, everything."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(codecs_command)
        ctx.invoke(learning_command)


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


if __name__ == "__main__":
    cli()
