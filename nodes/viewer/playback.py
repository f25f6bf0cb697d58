"""A recorded session on the viewer's screen: the same picture as live, fed from the log."""

import time
from collections.abc import Callable
from pathlib import Path

from nodes.viewer.compose import Composer
from nodes.viewer.config import ViewerConfig
from nodes.viewer.sinks import Opened, open_sinks
from nodes.viewer.state import ViewState
from protocol.clock import NS_PER_S
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
    shown, time_s, before_ns, due_s, paused = 0, 0.0, None, 0.0, False
    period_s = 1 / config.rate_hz
    for message in reader.events():
        now_ns = message.envelope.t_ns
        time_s += min(max(now_ns - (before_ns or now_ns), 0) / NS_PER_S, LONGEST_PAUSE_S)
        before_ns = max(now_ns, before_ns or 0)
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
    picture = composer.compose(state, time_s)
    for sink in sinks.sinks:
        sink.show(picture, time_s + config.png_every_s)
    return shown, _close(sinks)


def _close(sinks: Opened) -> Opened:
    for sink in sinks.sinks:
        sink.close()
    return sinks
