"""`toddle robot`: one robot, without a graph.

toddle robot try jetbot --set host=jetbot.local
toddle robot check my_package.my_module:MyRobot
toddle robot calibrate so101 --set port=/dev/ttyACM0
"""

import click

from toddle.lazy import Commands, LazyGroup

COMMANDS: Commands = {
    "try": ("toddle.robot.trying:try_actions", "Do each action once; show before, after and the difference."),
    "new": ("toddle.robot.new:new", "Write a driver to begin with."),
    "check": ("toddle.robot.check:check", "Does a driver of your own keep the contract?"),
    "calibrate": ("toddle.robot.calibrate:calibrate", "Measure how long an action of an arm takes."),
}


@click.group(cls=LazyGroup, commands_by_name=COMMANDS)
def robot() -> None:
    """Try, check and calibrate robots."""
