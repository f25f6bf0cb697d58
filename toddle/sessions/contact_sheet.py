"""`toddle sessions contact-sheet`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import find, name_argument, root_option
from toddle.sessions.pictures import need_opencv, png_file, write_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.messages import Array, Message, Robot
    from storage.reader import SessionReader
    from toddle.sessions.sheet import Picture, Shown

COUNT, MOST = 48, 400


@click.command("contact-sheet")
@name_argument
@root_option
@click.option("--out", default="", callback=png_file, metavar="FILE.png", help="Where to write it [contact-sheet-NAME.png].")
@click.option("--every", type=click.IntRange(min=1), help="Show every so many steps.")
@click.option("--count", type=click.IntRange(min=1, max=MOST), help=f"Show so many steps, evenly spread [{COUNT}].")
@click.option("--episode", type=click.IntRange(min=0), help="Of this episode only.")
def contact_sheet(name: str, root: str | None, out: str, every: int | None, count: int | None, episode: int | None) -> None:
    """What happened in session NAME: pictures with episode, step, time and the action taken."""
    from storage.views import open_session

    need_opencv()
    if every and count:
        raise click.UsageError("--every and --count say the same: give one of them")
    with open_session(find(root, name)) as reader:
        picture = sheet_of(reader, episode=episode, every=every, count=count)
    write_picture(picture, out or f"contact-sheet-{reader.header.name}.png")


def sheet_of(reader: SessionReader, *, episode: int | None = None, every: int | None = None, count: int | None = None) -> Picture:
    """The sheet of a session as RGB. Raises StorageError when it has nothing to show."""
    from storage.errors import StorageError
    from toddle.sessions.sheet import draw

    steps = _steps(reader, episode)
    total = sum(len(of) for _, of in steps)
    if not total:
        raise StorageError(f"session {reader.path.name} has no frames{'' if episode is None else f' in episode {episode}'} to show")
    if every and -(-total // every) > MOST:
        raise StorageError(f"every {every} of {total} steps are more than {MOST} pictures: use --every {-(-total // MOST)} or more")
    chosen = range(0, total, every) if every else _spread(total, min(total, count or COUNT))
    return draw(reader.header.name, reader.robot, list(_shown(reader, steps, list(chosen))), total)


def _steps(reader: SessionReader, episode: int | None) -> list[tuple[int, range]]:
    """Each episode with its steps, as far as frames say."""
    rows = [row for row in reader.episodes() if episode is None or row.episode == episode]
    return [
        (row.episode, range(row.first_step, row.last_step + 1)) for row in rows if row.first_step is not None and row.last_step is not None
    ]


def _spread(total: int, count: int) -> list[int]:
    """`count` numbers from 0 to total - 1, the first and the last among them."""
    return [round(index * (total - 1) / max(count - 1, 1)) for index in range(count)]


def _shown(reader: SessionReader, steps: list[tuple[int, range]], chosen: list[int]) -> Iterator[Shown]:
    """The chosen steps; where one has no frame, the next that has one before the next choice."""
    from protocol.clock import NS_PER_S
    from protocol.messages import ActionTaken
    from toddle.sessions.sheet import Shown

    begun, wanted = 0, 0
    for episode, of in steps:
        first = reader.read("frame", episode, of[0])
        while wanted < len(chosen) and chosen[wanted] - begun < len(of):
            at = chosen[wanted] - begun
            wanted += 1
            end = chosen[wanted] - begun if wanted < len(chosen) else len(of)
            found = (reader.read("frame", episode, step) for step in of[at : max(end, at + 1)])
            frame = next((message for message in found if message is not None), None)
            if frame is None:
                continue
            step = frame.envelope.step
            taken = reader.read("action", episode, step)
            body = taken.body if taken is not None and isinstance(taken.body, ActionTaken) else None
            same_run = first is not None and first.envelope.run == frame.envelope.run
            at_s = (frame.envelope.mono_ns - first.envelope.mono_ns) / NS_PER_S if first is not None and same_run else None
            yield Shown(episode, step, at_s, frame.body.held_out, frame.body.last, _pictures(reader.robot, frame), body)
        begun += len(of)


def _pictures(robot: Robot | None, frame: Message) -> dict[str, Array]:
    """The frame's cameras in the robot's order, no larger than they will be drawn."""
    from storage.quality.measure import images_of
    from toddle.sessions.sheet import shrunk

    images = images_of(frame)
    names = [camera.name for camera in (robot.cameras if robot else [])]
    return {name: shrunk(images[name]) for name in sorted(images, key=lambda name: names.index(name) if name in names else len(names))}
