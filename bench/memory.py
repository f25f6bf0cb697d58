"""Memory over an hour of robot time, played as fast as it goes: a real recorder that rolls segments and makes room, then a reader.

What is counted is memory of its own (RssAnon): pages of the session's files that the system keeps mapped are not.
`python -m bench.memory SESSION SAMPLES` is the reader's process.
"""

import json
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.bus_peers import Phase
from bench.recorder import SESSION, recording
from storage.paths import session_names
from storage.reader import SessionReader
from storage.writer import SessionWriter

FPS = 30
SIZE = (48, 64)
SEGMENT_GB = 0.0625
OLD_SESSIONS, OLD_MB = 8, 20
KEPT_GB = (OLD_SESSIONS - 2) * OLD_MB / 1024
"""Less than the old sessions take: the first go at once, the others as the new one grows."""
SAMPLES = 400
SHOWN = 60
MOST_GROWTH, MOST_GROWTH_MB = 1.1, 8.0
"""Of the last quarter over the second one; the first is for getting warm."""
BARS = "▁▂▃▄▅▆▇█"


def own_mb(pid: int | str) -> float:
    """Memory of a process that belongs to no file; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)


def record(frames: int) -> dict[str, Any]:
    """Samples of a recorder, what it deleted, and of a reader of what it recorded."""
    params = {"max_total_gb": KEPT_GB, "map_gb": SEGMENT_GB, "codec": "delta-zstd"}
    with recording(("cam", "block", *SIZE), params=params, before=_old_sessions) as graph:
        root = graph.folder / "sessions"
        samples: list[float] = []
        done = threading.Event()

        def sample() -> None:
            while not done.wait(0.05):
                samples.append(own_mb(graph.recorder.process.pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            sent = graph.publishers["cam"].run(Phase(0, 0.0, frames))["sent"] + 1
        finally:
            done.set()
            sampler.join()
        graph.end()
        counts, missing = graph.read_back()
        session = root / SESSION
        segments = len(list((session / "segments").iterdir()))
        return {
            "frames": sent, "lost": sent - sum(counts.values()), "missing": missing, "segments": segments,
            "deleted": OLD_SESSIONS + 1 - len(session_names(root)), "recorder": samples, "reader": _reader(session),
        }  # fmt: skip


def _old_sessions(root: Path) -> None:
    with SessionWriter.create(root / "old-0") as writer:
        writer.flush()
    (root / "old-0" / "ballast").write_bytes(bytes(OLD_MB << 20))
    for number in range(1, OLD_SESSIONS):
        shutil.copytree(root / "old-0", root / f"old-{number}")


def _reader(session: Path) -> list[float]:
    """In a process of its own."""
    run = subprocess.run([sys.executable, "-m", "bench.memory", str(session), str(SAMPLES)], capture_output=True, text=True, check=True)
    samples: list[float] = json.loads(run.stdout)
    return samples


def read(session: Path, samples: int) -> list[float]:
    """Memory of this process while it reads the whole session in order, then as many frames here and there."""
    found = []
    with SessionReader(session) as reader:
        events = len(reader)
        every = max(2 * events // samples, 1)
        for number, _ in enumerate(reader.events()):
            if number % every == 0:
                found.append(own_mb("self"))
        for number in range(events):
            reader.event(number * 7919 % events)
            if number % every == 0:
                found.append(own_mb("self"))
    return found


def growth(samples: list[float]) -> tuple[float, float]:
    """Medians of the second and the last quarter, MB."""
    quarter = len(samples) // 4
    return statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])


def flat(samples: list[float]) -> bool:
    """Whether the last quarter takes no more than the second, but for what allocators do."""
    early, late = growth(samples)
    return late <= early * MOST_GROWTH and late <= early + MOST_GROWTH_MB


def curve(samples: list[float]) -> str:
    """Samples as bars from 0 to their highest, each the highest of its share."""
    shares = [
        samples[len(samples) * i // SHOWN : max(len(samples) * (i + 1) // SHOWN, len(samples) * i // SHOWN + 1)] for i in range(SHOWN)
    ]
    top = max(samples)
    return "".join(BARS[min(int(max(share) / top * len(BARS)), len(BARS) - 1)] for share in shares)


def bench(say: Callable[[str], None], results: Path, minutes: int) -> bool:
    """The curves; whether both are flat and nothing was lost."""
    if not Path("/proc/self/status").exists():
        say("\nmemory without that of files is read from /proc, which this system has not")
        return True
    found = record(minutes * 60 * FPS)
    say(f"\n{found['frames']} frames, {found['lost']} lost, {found['segments']} segments, {found['deleted']} old sessions deleted.")
    say(f"\n| process | second quarter, MB | last quarter, MB | highest, MB | {minutes} minutes of robot time, from 0 MB up |")
    say("|---|---|---|---|---|")
    for name in ("recorder", "reader"):
        early, late = growth(found[name])
        say(f"| {name} | {early:.1f} | {late:.1f} | {max(found[name]):.1f} | `{curve(found[name])}` |")
    results.mkdir(exist_ok=True)
    (results / "memory.json").write_text(json.dumps(found, indent=1))
    misses = [f"memory of the {name} grows" for name in ("recorder", "reader") if not flat(found[name])]
    misses += [f"{found['lost']} frames lost"] if found["lost"] or found["missing"] else []
    misses += ["no old session was deleted"] if not found["deleted"] else []
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- flat, 0 lost")
    return not misses


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read(Path(sys.argv[1]), int(sys.argv[2]))))
