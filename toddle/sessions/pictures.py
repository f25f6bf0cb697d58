"""Pictures that a verb writes: the option that names the file, and the writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np


def png_file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A file name as given, "" for the verb's own; refused unless it is a PNG's."""
    if value and not value.lower().endswith(".png"):
        raise click.BadParameter(f"{value!r} is no picture: give a file name that ends in .png")
    return value


def need_opencv() -> None:
    """StorageError when there is nothing to draw with."""
    from importlib.util import find_spec

    from storage.errors import StorageError

    if find_spec("cv2") is None:
        raise StorageError("pictures need OpenCV: python -m pip install -c constraints.txt -e '.[viewer]'")


def write_picture(picture: np.ndarray[Any, Any], file: str) -> None:
    """Write an RGB picture [H, W, 3] as PNG and say where, on stderr: stdout may be JSON. Raises StorageError."""
    from nodes.viewer.sinks import SinkError, write_png
    from storage.errors import StorageError

    try:
        write_png(Path(file), picture)
    except SinkError as error:
        raise StorageError(str(error)) from None
    click.echo(f"picture {file}", err=True)
