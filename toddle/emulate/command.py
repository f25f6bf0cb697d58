"""`toddle emulate`: a robot that is not there."""

import click

from toddle.lazy import Commands, LazyGroup

COMMANDS: Commands = {
    "so101": ("toddle.emulate.so101:so101", "The servos of an SO-101 arm on a pseudo-terminal, and its cameras."),
}


@click.group(cls=LazyGroup, commands_by_name=COMMANDS)
def emulate() -> None:
    """Be a robot that is not there, on the wire."""
