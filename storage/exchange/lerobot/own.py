"""`meta/toddle.json`: what LeRobot has no place for, so that a session that was exported comes back as it was."""

from pathlib import Path

import msgspec

from protocol.messages import Robot
from storage.errors import ImportProblem
from storage.exchange.steps import MarkRow

FILE = "meta/toddle.json"
FORMAT = 1
TIME_COLUMN = "capture_time_ns"
"""A column with the nanoseconds since the first frame of the episode: lerobot's own time stamps are made of frame_index and fps."""


class OwnEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """A row of neighbouring steps of one episode of the session; `no_action`, `safe` and `failed` are frame indexes.

    `by` says from which frame index on who acted. `last`: its last frame said that it ends its episode. `marks` stand
    with the first of the rows that an episode was cut into.
    """

    episode: int
    first_step: int
    frames: int
    start_ns: int
    start_mono_ns: int
    held_out: bool = False
    last: bool = False
    no_action: list[int] = []
    safe: list[int] = []
    failed: list[int] = []
    by: list[tuple[int, str]] = []
    marks: list[MarkRow] = []


class Own(msgspec.Struct, kw_only=True):
    """The file. `t_ns` and `mono_ns`: when the robot said what it is. `added` are columns that the session has not as metrics."""

    format: int = FORMAT
    session: str
    robot: Robot
    t_ns: int
    mono_ns: int
    added: list[str] = []
    episodes: list[OwnEpisode] = []


def read_own(path: Path) -> Own | None:
    """What toddle wrote beside the dataset at `path`; None where it wrote nothing. Raises ImportProblem."""
    file = path / FILE
    if not file.is_file():
        return None
    try:
        own = msgspec.json.decode(file.read_bytes(), type=Own)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ImportProblem(f"{file} is not what toddle writes: {error}; without the file the dataset is imported as any other") from None
    if own.format != FORMAT:
        raise ImportProblem(f"{file} says format {own.format}, this toddle reads {FORMAT}: use the toddle that wrote it")
    return own


def write_own(path: Path, own: Own) -> None:
    (path / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(own), indent=1) + b"\n")
