"""Reads a whole session for what only its messages know, and says it in lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toddle.sessions.common import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.info import SessionInfo
    from storage.quality.measure import Meter
    from storage.quality.report import CameraQuality, Intervals, Place, Quality
    from storage.record import Event

BAR = 24  # characters of the longest bar
FEW = 10  # intervals that say nothing about a topic; --json has them
LEVELS = " ▁▂▃▄▅▆▇█"


def measured(path: Path, also: Callable[[Event], object] = lambda event: None) -> tuple[SessionInfo, Meter]:
    """What the session at `path` holds, and its quality; with a progress bar where somebody looks. `also` sees every event."""
    from rich.console import Console
    from rich.progress import track

    from storage.quality.measure import Meter
    from storage.views import open_session

    console = Console(stderr=True)
    with open_session(path) as reader:
        info, meter = reader.info(), Meter(reader.robot)
        events = reader.numbered()
        for event in track(events, path.name, info.events, console=console, transient=True, disable=not console.is_terminal):
            meter.add(event)
            also(event)
    return info, meter


def quality_lines(info: SessionInfo, quality: Quality) -> list[str]:
    """Steps, times, cameras, actions and disk use."""
    repeated = f", {quality.repeated} identical to an earlier one" if quality.repeated else ""
    again = f"; {quality.shown_again} frames show a step again" if quality.shown_again else ""
    lines = [f"  steps     {quality.transitions} with frame, action and next frame{repeated}{again}"]
    for name, topic in quality.topics.items():
        if topic.intervals.count >= FEW:
            lines.append(f"  interval  {name:24} {_times(topic.intervals)}")
    for camera in quality.cameras:
        lines += _camera(camera)
    lines += _actions(quality)
    for name, topic in quality.topics.items():
        stored = info.topics[name].bytes if name in info.topics else 0
        if topic.raw_bytes and stored:
            left_out = f"; {topic.left_out} arrays were left out" if topic.left_out else ""
            lines.append(f"  disk      {name:24} {size(stored)} for {size(topic.raw_bytes)}, {topic.raw_bytes / stored:.3g} to 1{left_out}")
    return lines


def _times(times: Intervals) -> str:
    named = (("p50", times.p50_s), ("p95", times.p95_s), ("p99", times.p99_s), ("max", times.max_s))
    told = "  ".join(f"{name} {_seconds(value)}" for name, value in named)
    promised = f", {times.nominal_hz:g} Hz promised" if times.nominal_hz else ""
    return f"{times.rate_hz:.4g} Hz{promised}  {told}{_where(times.longest)}"


def _camera(camera: CameraQuality) -> list[str]:
    told = [
        f"{camera.frames} frames",
        f"brightness {camera.brightness_min:.3g} to {camera.brightness_max:.3g}, mean {camera.brightness_mean:.3g}",
    ]
    told += [f"{camera.missing.count} without a picture"] if camera.missing.count else []
    told += [f"{camera.dark.count} dark, {camera.bright.count} saturated"]
    lines = [f"  camera    {camera.name:24} {'; '.join(told)}"]
    same = f"{camera.duplicates.count} identical to the frame before, {camera.stuck.count} of them after one of {camera.moves} moves"
    lines.append(f"            {'':24} {same}{_where(camera.stuck.first)}")
    if camera.frozen:
        worst = camera.frozen[0]
        lines.append(f"            {'':24} stood still for {worst.seconds:.1f} s and {worst.actions} moves{_where(worst.start)}")
    return lines


def _actions(quality: Quality) -> list[str]:
    actions = quality.actions
    most = max((taken.count for taken in actions.choices), default=0)
    lines = []
    for taken in actions.choices:
        name = " ".join(f"{key}={value:g}" for key, value in taken.action.items())
        share = taken.count / actions.count if actions.count else 0.0
        lines.append(
            f"  action    {name:24} {taken.count:6} {100 * share:5.1f} %  {'█' * round(BAR * taken.count / most if most else 0)}".rstrip()
        )
    for row in actions.dimensions:
        bounds = "" if row.low is None or row.high is None else f"  {row.low:g} [{spark(row.bins)}] {row.high:g}"
        lines.append(f"  action    {row.name:24} {row.min:.3g} to {row.max:.3g}, mean {row.mean:.3g}{bounds}")
    others = (("the safe one", actions.safe), ("failed", actions.failed), ("none of the robot's", actions.other))
    told = [f"{count.count} {name}{_where(count.first)}" for name, count in others if count.count]
    return lines + ([f"            of {actions.count}: {'; '.join(told)}"] if told else [])


def spark(bins: list[int]) -> str:
    """Counts as a row of small bars; any count above 0 shows."""
    most = max(bins, default=0) or 1
    return "".join(LEVELS[-(-count * (len(LEVELS) - 1) // most)] for count in bins)


def _seconds(value: float) -> str:
    return f"{value * 1000:.4g} ms" if value < 1 else f"{value:.3g} s"


def _where(place: Place | None) -> str:
    if place is None:
        return ""
    words = [f"{name} {value}" for name, value in (("episode", place.episode), ("step", place.step)) if value is not None]
    return f" ({', '.join([*words, f'at {place.at_s:.1f} s'])})"
