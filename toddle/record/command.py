"""`toddle record`: episodes of a robot, for learning."""

import click

from toddle.lazy import Commands, LazyGroup

COMMANDS: Commands = {
    "so101": ("toddle.record.so101:so101", "Of an SO-101 arm, or any arm that LeRobot knows."),
}


@click.group(cls=LazyGroup, commands_by_name=COMMANDS)
def record() -> None:
    """Record episodes of a robot for learning."""
