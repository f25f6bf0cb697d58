"""`toddle sessions export mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export

if TYPE_CHECKING:
    from storage.exchange.common import ExportReport, Tell
    from toddle.sessions.film import Film, Picture

JUDGED = ("success", "failure", "discard")
MS = 1_000_000
LONGEST_MS = 3000
"""A pause is no longer in the video; its clock tells how long it was."""


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.mp4", help="Where to write it [NAME.mp4].")
@click.option("--episode", type=click.IntRange(min=0), help="Of this episode only.")
@root_option
def mp4(name: str, out: Path | None, episode: int | None, root: str | None) -> None:
    """A video of session NAME as fast as it was recorded, with episode, step, time and action in the picture."""
    run_export(export_mp4, root, name, out, ".mp4", episode=episode)


def export_mp4(session: Path, target: Path, *, episode: int | None, tell: Tell) -> ExportReport:
    """H.264 in MP4; each picture is shown as long as its step took. Raises ExportProblem; nothing is left at `target` then."""
    from protocol.clock import NS_PER_S
    from storage.errors import ExportProblem
    from storage.exchange.common import ExportReport, Notes, appearing
    from storage.exchange.steps import marks, robot_of, steps
    from storage.views import open_session
    from toddle.sessions.pictures import need_opencv

    need_opencv()
    notes, count, episodes = Notes(), 0, set[int]()
    with open_session(session) as reader, appearing(target) as part:
        robot, rows = robot_of(reader), marks(reader)
        film = _film(reader.header.name, robot)
        with _Video(part, film, 1000.0 / robot.rate_hz) as video:
            first_ns = 0
            for step in steps(reader, notes, tell):
                if episode is not None and step.episode != episode:
                    continue
                envelope = step.frame.envelope
                if step.episode not in episodes:
                    episodes.add(step.episode)
                    first_ns = envelope.mono_ns
                    video.cut()
                words = " ".join(row.mark.mark for row in rows.get(step.episode, []) if row.mark.mark in JUDGED)
                picture = film.draw(
                    step.images, step.episode, step.step, (envelope.mono_ns - first_ns) / NS_PER_S,
                    held_out=step.seen.held_out, last=step.seen.last, taken=step.taken, marks=words,
                )  # fmt: skip
                video.add(picture, envelope.mono_ns // MS)
                count += 1
        if not count:
            of = "" if episode is None else f" in episode {episode}"
            raise ExportProblem(f"session {reader.header.name} has no frames{of} to show")
    return ExportReport(path=str(target), episodes=len(episodes), frames=count, skipped=[], notes=notes.lines())


def _film(name: str, robot: Any) -> Film:
    from nodes.worlds import model_actions
    from toddle.sessions.film import Film
    from worldmodel.spec import SpecError

    try:
        return Film(name, robot, model_actions(robot.actions))
    except (ValueError, SpecError):  # no colours for these actions
        return Film(name, robot, None)


class _Video:
    """A file in which every picture has its own time, in milliseconds."""

    def __init__(self, path: Path, film: Film, period_ms: float) -> None:
        from fractions import Fraction

        from storage.exchange.lerobot.video import pyav

        self._av = pyav()
        self._period_ms = max(1, round(period_ms))
        self._at = -self._period_ms
        self._before_ms: int | None = None
        self._file = self._av.open(str(path), "w", format="mp4")
        self._stream: Any = self._file.add_stream(
            "libx264", rate=round(1000 / self._period_ms) or 1, options={"crf": "18", "preset": "veryfast"}
        )
        self._stream.width, self._stream.height = film.size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._stream.time_base = Fraction(1, 1000)

    def __enter__(self) -> _Video:
        return self

    def cut(self) -> None:
        """Another episode: its first picture follows the last one at the usual distance."""
        self._before_ms = None

    def add(self, picture: Picture, ms: int) -> None:
        gone = self._period_ms if self._before_ms is None else ms - self._before_ms
        self._at += min(max(gone, 1), max(LONGEST_MS, self._period_ms))
        self._before_ms = ms
        frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self._at, self._stream.codec_context.time_base
        self._file.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.mux(self._stream.encode(None))
        self._file.close()
