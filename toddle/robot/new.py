"""`toddle robot new`: a driver to begin with, in the current folder.

toddle robot new my_robot
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from toddle.attach import BadInput

TEMPLATE = Path(__file__).with_name("template.py")


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Write NAME.py: a simulated robot that works as it stands, to edit until it is yours."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadInput(f"'{name}' cannot name a Python module: lower case letters, digits and _")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    path = Path(f"{name}.py")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.read_text(encoding="utf-8").replace("MyRobot", class_name).replace("my_robot", name))
    except FileExistsError:
        raise BadInput(f"{path} is there already; take another name") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}. Edit it, then run `toddle robot check {name}:{class_name}`; docs/add-a-robot.md goes through it")
