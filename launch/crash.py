"""How a process ended, in words, and the report on a crash: `runs/<name>/crashes/<node>-<k>.txt`."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch.board import NodeView
from launch.fleet import Exit, Fleet
from launch.restarts import FINISHED
from launch.written import Written

LOG_LINES = 30
STDERR_LINES = 200  # all threads of a process that hung
_CODES = {0: "has ended", 2: "has a wrong configuration", 3: "has ended and lost something", 4: "is out of disk"}


def crashed(gone: Exit) -> bool:
    """Whether there is something to report: a signal, a failure, or an end that it needed help with."""
    return bool(gone.why) or gone.code not in FINISHED


def how(gone: Exit) -> str:
    """`was ended by SIGKILL`, `failed with exit code 1`."""
    if gone.why:
        return f"was ended: {gone.why}"
    if gone.code >= 0:
        return _CODES.get(gone.code, f"failed with exit code {gone.code}")
    hint = " (perhaps out of memory: see dmesg)" if gone.code == -signal.SIGKILL else ""
    return f"was ended by {_signal(gone.code)}{hint}"


def report(fleet: Fleet, view: NodeView, gone: Exit, now_s: float) -> Path:
    """Write down what is known of the end of a process."""
    folder = fleet.run_dir / "crashes"
    folder.mkdir(exist_ok=True)
    number = 1
    while (path := folder / f"{gone.name}-{number}.txt").exists():
        number += 1
    view.crashes.append(f"{folder.name}/{path.name}")
    lines = [*_facts(fleet, view, gone, now_s), *_lines(fleet.written[gone.name])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
    return path


def _facts(fleet: Fleet, view: NodeView, gone: Exit, now_s: float) -> Iterator[str]:
    exit_code = _signal(gone.code) if gone.code < 0 else str(gone.code)
    yield f"{gone.name} {how(gone)}"
    yield ""
    yield f"time      {time.strftime('%Y-%m-%dT%H:%M:%S%z')}"
    yield f"node      {gone.name}, a {view.kind}, process {gone.pid}"
    yield f"exit      {exit_code}"
    yield f"ran       {now_s - fleet.started_s[gone.name]:.1f} s; {max(view.restarts - (gone.again_s is not None), 0)} restarts before"
    yield f"then      {after(gone, now_s)}"
    yield f"machine   {view.memory_mb:.0f} MB and {view.cpu:.0f} % of a core at the last look"
    status = view.status
    if status is None or view.seen_s is None:
        yield "state     starting; it has never been heard"
        return
    yield f"state     {status.state}, heard {now_s - view.seen_s:.1f} s ago; its loop had come round {status.loop_age_s:.1f} s before"
    if status.detail or status.outcome:
        yield f"said      {' '.join(filter(None, (status.outcome, status.detail)))}"
    for topic, last in sorted(status.last_seq.items()):
        yield f"sent      {topic} up to number {last}"
    for topic, count in sorted(status.counts.items()):
        yield f"took      {topic}: {count.published} published, {count.received} received, {count.skipped} skipped, {count.lost} lost"


def after(gone: Exit, now_s: float) -> str:
    """What becomes of the node."""
    if gone.again_s is not None:
        return f"starts again in {max(gone.again_s - now_s, 0):.1f} s"
    if gone.used_up is not None:
        return f"its {gone.used_up.max} restarts within {gone.used_up.window_s:g} s are used up"
    return "does not start again"


def _lines(written: Written) -> Iterator[str]:
    yield f"\nlast lines of {written.log_path.name}"
    yield from (f"  {line}" for record in written.log()[-LOG_LINES:] for line in _log_lines(record))
    yield f"\nlast lines of {written.stderr_path.name}"
    yield from (f"  {line}" for line in written.stderr()[-STDERR_LINES:])


def _log_lines(record: dict[str, Any]) -> list[str]:
    at = record.get("t")
    at = time.strftime("%H:%M:%S", time.localtime(at)) if isinstance(at, int | float) else "?"
    first = f"{at} {record.get('level')} {record.get('node')}: {record.get('text')}"
    return [first, *(f"    {line}" for line in str(record.get("traceback", "")).splitlines())]


def _signal(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
