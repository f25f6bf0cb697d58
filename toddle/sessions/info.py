"""`toddle sessions info`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.sessions.common import cut, duration, echo_json, find, json_option, name_argument, root_option, size, state, wrapped
from toddle.sessions.measuring import quality_lines
from toddle.sessions.pictures import need_opencv, png_file, write_picture

if TYPE_CHECKING:
    from protocol.messages import Gap
    from storage.info import SessionInfo
    from storage.quality.report import Quality


@click.command()
@name_argument
@root_option
@json_option
@click.option("--full", is_flag=True, help="Read every frame too: intervals, cameras, actions, codecs.")
@click.option(
    "--plot",
    is_flag=False,
    flag_value="",
    callback=png_file,
    metavar="[FILE.png]",
    help="The same over time as a picture, quality-NAME.png without a FILE; after NAME.",
)
def info(name: str, root: str | None, as_json: bool, full: bool, plot: str | None) -> None:
    """What session NAME (or the one at a path) holds.

    What was counted while it was recorded is there at once; --full and --plot read it whole.
    """
    path = find(root, name)
    if plot is not None:
        need_opencv()
    if not full and plot is None:
        found, meter = _told(path), None
    else:
        from toddle.sessions.measuring import measured

        found, meter = measured(path)
    quality = meter.result() if meter else None
    if as_json:
        echo_json({**_fields(found), "quality": quality})
    else:
        click.echo("\n".join(_info_lines(found, quality)))
    if meter and quality and plot is not None:
        from toddle.sessions.quality_plot import draw

        write_picture(draw(found, quality, meter), plot or f"quality-{found.name}.png")


def _told(path: Path) -> SessionInfo:
    from storage.views import open_session

    with open_session(path) as reader:
        return reader.info()


def _fields(info: SessionInfo) -> dict[str, object]:
    return {name: getattr(info, name) for name in info.__struct_fields__}


def _info_lines(info: SessionInfo, quality: Quality | None) -> list[str]:
    from storage.arrays import LOSSY

    robot = info.robot
    codec = info.codecs.get("frame", "?")
    lines = [
        f"{info.name}  {state(info)}",
        f"  path      {info.path}",
        f"  created   {info.created} by toddle {info.toddle}",
        f"  holds     {info.frames} frames, {len(info.episodes)} episodes, {duration(info.duration_s)}; {info.events} events",
        f"  size      {size(info.disk_bytes)} in {info.segments} segments, frames as {codec}{' (lossy)' if codec in LOSSY else ''}",
    ]
    if robot is not None:
        cameras = ", ".join(f"{camera.name} {camera.width}x{camera.height}" for camera in robot.cameras) or "no camera"
        actions = f"{len(robot.actions.choices)} actions" if robot.actions.discrete else f"actions {', '.join(robot.actions.names)}"
        lines += wrapped("robot", f"{robot.driver}: {cameras}; {actions}; {robot.rate_hz:g} Hz {robot.timing}")
    source, label = info.source, "source"
    while source:  # and what that was made of
        told = {key: value for key, value in source.items() if key not in ("left_out", "notes", "source")}  # --json has those
        lines += wrapped(label, ", ".join(f"{key} {value}" for key, value in told.items() if value not in ("", [], {})))
        source, label = source.get("source"), "before"
    if info.derived_from:
        lines.append(f"  made of   {', '.join(info.derived_from)}")
    if info.tags:
        lines.append(f"  tags      {', '.join(info.tags)}")
    lines += [f"  {'' if place else 'notes':9} {line}" for place, line in enumerate(info.notes.splitlines())]
    for topic, row in info.topics.items():
        missing = f", {row.missing} missing" if row.missing else ""
        cut_out = f", {row.cut} cut out" if row.cut else ""
        lines.append(f"  {topic:24} {row.count:8} messages {row.rate_hz:8.2f} Hz {size(row.bytes):>10}{missing}{cut_out}")
    if quality is not None:
        lines += quality_lines(info, quality)
    rows = [
        f"  episode {row.episode:<5} steps {row.first_step} to {row.last_step}, {row.frames} frames, {row.actions} actions"
        + (", held out" if row.held_out else "") + "".join(f", {mark.mark}" for mark in row.marks if mark.mark not in ("start", "end"))
        for row in info.episodes
    ]  # fmt: skip
    jumps = [
        f"  clock     of {jump.source} jumped {_jump(jump.jump_s)}: times before and after it do not compare" for jump in info.clock_jumps
    ]
    gaps = [f"  gap       {gap.topic} {gap.first} to {gap.last} of run {gap.run} never came{_when(gap)}" for gap in info.gaps]
    tails = [
        f"  unknown   the end of {tail.topic} after {tail.last} of run {tail.run}: its publisher died without a last word"
        for tail in info.tails
    ]
    return lines + cut(rows) + cut(jumps) + cut(gaps) + cut(tails)


def _when(gap: Gap) -> str:
    """Between which times a gap lies, as far as they are known."""
    known = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ns / 1e9)) for ns in (gap.after_ns, gap.before_ns) if ns]
    return f", {' to '.join(known)}" if known else ""


def _jump(seconds: float) -> str:
    size = duration(abs(seconds)) if abs(seconds) >= 60 else f"{abs(seconds):.1f} s"
    return f"{size} {'ahead' if seconds > 0 else 'back'}"
