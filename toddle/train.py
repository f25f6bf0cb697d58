"""`toddle train`: learn from recorded sessions.

toddle train walk run --seconds 300
toddle train walk --from demo --samples 20000 --set train.lr=0.0003
toddle train --resume walk-20261122-101500
"""

import sys
from typing import Any

import click

from toddle.attach import complete_run
from toddle.checkpoints.find import complete_checkpoint
from toddle.sessions.common import complete_session

BAD_INPUT = 2


@click.command()
@click.argument("sessions", nargs=-1, metavar="[SESSION]...", shell_complete=complete_session)
@click.option("--model", default="", help="A preset: small, large, original-2025-10, original-2026-02, run7 [small].")
@click.option("--set", "settings", multiple=True, metavar="train.X=Y|spec.X=Y", help="One setting of the training or of the model.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Train for so long.")
@click.option("--samples", type=click.IntRange(1), help="Train on so many samples more.")
@click.option("--total-samples", type=click.IntRange(1), help="Train until there are so many, those of the checkpoint included.")
@click.option(
    "--from",
    "start",
    metavar="CHECKPOINT",
    help="Begin with these weights, or a RUN's newest, in a new run.",
    shell_complete=complete_checkpoint,
)
@click.option("--grow", is_flag=True, help="With --from: the model may have more blocks than the checkpoint.")
@click.option("--partial", is_flag=True, help="With --from: take the weights that fit, the rest is new.")
@click.option("--resume", metavar="RUN", help="Go on with a run exactly where it left off.", shell_complete=complete_run)
@click.option("--held-out", multiple=True, metavar="WHAT", help="Never learned from: last, 3,5-7 (episodes), 20%, from=STEP, or a SESSION.")
@click.option("--blind", is_flag=True, help="Tell the model no action: the twin that shows what the actions are worth.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--name", help="Of the run.")
@click.option("--runs", type=click.Path(file_okay=False), help="Where runs live; default: $TODDLE_RUNS or runs.")
@click.option("--root", metavar="FOLDER", help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
@click.option("--checkpoint-every", "every_s", default=60.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Seconds.")
@click.option("--tensorboard", is_flag=True, help="Curves and pictures for TensorBoard, in the run's folder.")
@click.option("--wandb", type=click.Choice(["offline", "online"]), help="The same for Weights & Biases.")
def train(**options: Any) -> None:
    """Learn from recorded sessions; what is held out is only scored on.

    Ends after --seconds, --samples or --total-samples, whatever comes first, or with Ctrl-C, and leaves a run that
    `toddle evaluate`, `toddle checkpoints` and a launch file's `resume` take.
    """
    from toddle.launch import check_launch

    check_launch()
    from launch.errors import LaunchError
    from nodes.trainer.training import Order, TrainingRefused
    from storage.errors import StorageError
    from toddle.training import run
    from worldmodel.checkpoint import CheckpointError
    from worldmodel.devices import out_of_memory
    from worldmodel.learner import TrainingFailed

    settings = _settings(options.pop("settings"))
    rooms = {"runs": options.pop("runs"), "root": options.pop("root")}
    others = ("sessions", "start", "model", "grow", "partial", "held_out", "blind", "seed", "name")
    if options["resume"] and (settings["spec"] or settings["train"] or any(options[one] for one in others)):
        raise click.UsageError(
            "--resume goes on with a run as it is: leave out sessions, --from, --set and all that changes it; for a change take --from"
        )
    if (options["grow"] or options["partial"]) and not options["start"]:
        raise click.UsageError("--grow and --partial are about the weights of --from: name a run or a checkpoint there")
    try:
        order = Order(**{**options, "wandb": options["wandb"] or ""}, **settings)
        sys.exit(run(order, **rooms))
    except (MemoryError, RuntimeError) as error:  # of torch's: no room on the CPU or the GPU
        if (line := out_of_memory(error)) is None:
            raise
        click.echo(f"Error: {line}", err=True)
        sys.exit(1)
    except (LaunchError, StorageError, CheckpointError, TrainingRefused, TrainingFailed, ValueError, OSError) as error:
        click.echo(f"Error: {str(error).splitlines()[0]}", err=True)
        sys.exit(1 if isinstance(error, TrainingFailed) else BAD_INPUT)


def _settings(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """`train.lr=0.1` and `spec.patch=8`, values as YAML."""
    import yaml

    found: dict[str, dict[str, Any]] = {"train": {}, "spec": {}}
    for text in texts:
        name, sign, value = text.partition("=")
        part, dot, key = name.partition(".")
        if not sign or not dot or part not in found:
            raise click.UsageError(f"--set {text}: write train.NAME=VALUE or spec.NAME=VALUE")
        try:
            found[part][key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.UsageError(f"--set {text}: this is no YAML: {' '.join(str(error).split())}") from None
    return found
