"""`toddle checkpoints`: what was learned and kept.

toddle checkpoints list demo
toddle checkpoints show demo/best
toddle checkpoints compare demo/best demo
toddle checkpoints prune demo --keep 1 --best 1 --dry-run
"""

from typing import Any

import click

from toddle.lazy import Commands, LazyGroup

BAD_INPUT = 2

COMMANDS: Commands = {
    "list": ("toddle.checkpoints.list:list_checkpoints", "All checkpoints of a run, oldest first."),
    "show": ("toddle.checkpoints.show:show", "What a checkpoint is: model, training, scores, parameters."),
    "compare": ("toddle.checkpoints.compare:compare", "What differs between two checkpoints."),
    "prune": ("toddle.checkpoints.prune:prune", "Delete all but the newest and the best."),
}


class Checkpoints(LazyGroup):
    """Ends a CheckpointError of a command with its one line."""

    def invoke(self, ctx: click.Context) -> Any:
        from worldmodel.kept import CheckpointError

        try:
            return super().invoke(ctx)
        except CheckpointError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(BAD_INPUT)


@click.group(cls=Checkpoints, commands_by_name=COMMANDS)
def checkpoints() -> None:
    """List, show, compare and delete what training kept.

    A checkpoint is named by its run (the newest one), as RUN/best or RUN/7 (the best, the seventh), or by its folder.
    """
