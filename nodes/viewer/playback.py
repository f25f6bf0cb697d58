"""A recorded session on the viewer's screen: the same picture as live, fed from the log."""

import time
from collections.abc import Callable
from pathlib import Path

from nodes.timeline import Timeline
from nodes.viewer.compose import Composer
from nodes.viewer.config import ViewerConfig
from nodes.viewer.sinks import Opened, open_sinks
from nodes.viewer.state import ViewState
from storage.reader import SessionReader

LONGEST_PAUSE_S = 2.0


def play(
    reader: SessionReader, config: ViewerConfig, folder: Path, speed: float,
    wait: Callable[[float], None] = time.sleep,
) -> tuple[int, Opened]:  # fmt: skip
    """Show the session once at `speed` times its own (0: every picture, without waiting).

    Pauses in the recording are cut to 2 s. Space pauses; q, Esc or the closed window ends it. Returns the
    number of messages shown, and what was drawn into. Raises SinkError when a window is asked for in vain.
    """
    sinks = open_sinks(config, folder)
    composer, state = Composer(config.size), ViewState(reader.path.name, {}, config.context, config.curve_points)
    shown, due_s, paused = 0, 0.0, False
    timeline = Timeline()
    period_s = 1 / config.rate_hz
    for message in reader.events():
        time_s = timeline.at(message.envelope, LONGEST_PAUSE_S)
        while time_s >= due_s or paused:
            picture = composer.compose(state, due_s)
            for sink in sinks.sinks:
                sink.show(picture, due_s)
            if sinks.window is not None:
                key = sinks.window.poll_key()
                paused = not paused if key == "space" else paused
                if key in ("q", "esc") or sinks.window.closed:
                    return shown, _close(sinks)
            if speed:
                wait(period_s / speed)
            if not paused:
                due_s += period_s
        state.update(message, time_s)
        shown += 1
    picture = composer.compose(state, timeline.now_s)
    for sink in sinks.sinks:
        sink.show(picture, timeline.now_s + config.png_every_s)
    return shown, _close(sinks)


def _close(sinks: Opened) -> Opened:
    for sink in sinks.sinks:
        sink.close()
    return sinks
