"""The recorder: a real one, fed over the real bus; what it keeps up with, and what it costs beside a bare loop.

Mixed: camera frames and small messages at a set rate from publishers that wait for nobody; the session is read back and
every number must be there. Small: as many small messages as go. Saturated: frames as fast as they are taken, in turns with
a loop that only receives, checksums and appends; a turn lasts until all of it is taken and the sync interval is over.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import zmq

from bench.bus_peers import Phase, Setup
from bench.recorder_peers import SYNC_S, Publisher, ends
from nodes.runtime import EXIT_DONE, EXIT_LOST
from protocol.control import ask
from protocol.wiring import Peer, Wiring
from storage.reader import SessionReader

HEIGHT, WIDTH, RATE_HZ, SMALL_HZ = 480, 640, 120.0, 5000.0
MOST_CPU, LEAST_SPEED = 1.5, 0.67
SESSION = "bench"
RING = 256 << 20
SMALL_RING = 4 << 20
"""Small, so that the rate is the recorder's and not the ring's."""
START_S = 30.0


class Process:
    """A process of ours that is told phases on its standard input, if it publishes."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.usage = psutil.Process(self.process.pid)

    @classmethod
    def peer(cls, role: str, told: msgspec.Struct) -> "Process":
        return cls("bench.recorder_peers", role, msgspec.json.encode(told).decode())

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def begin(self, phase: Phase) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(phase).decode() + "\n")
        self.process.stdin.flush()

    def run(self, phase: Phase) -> dict[str, Any]:
        """One phase, until everything is taken."""
        self.begin(phase)
        said: dict[str, Any] = json.loads(self.read())
        return said

    def cpu_s(self) -> float:
        times = self.usage.cpu_times()
        return float(times.user + times.system)

    def end(self, seconds: float = 20.0) -> int:
        """Let it end when it reads no more, or make it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()


class Recording:
    """A recorder process and its publishers, on endpoints in `folder`; the session is there too."""

    def __init__(self, folder: Path, publishers: list[Publisher], params: dict[str, Any]) -> None:
        self.folder, self.said = folder, publishers
        wiring = Wiring(
            run="bench", run_dir=str(folder), name="recorder", kind="recorder", endpoints=ends(str(folder), "recorder"),
            inputs=[Peer(one.name, one.kind, ends(str(folder), one.name)) for one in publishers],
            params={"root": str(folder / "sessions"), "session": SESSION, "codec": "raw", "max_gb": 0, **params},
        )  # fmt: skip
        wiring.write(folder / "recorder.json")
        self.recorder = Process("nodes.recorder", str(folder / "recorder.json"))
        self.publishers = {one.name: Process.peer("pub", one) for one in publishers}
        for name, process in self.publishers.items():
            assert process.read() == "ready\n", f"{name} has not started"
        self.ask("go")

    def ask(self, command: str) -> dict[str, Any]:
        with zmq.Context() as context:
            return ask(context, ends(str(self.folder), "recorder").control, command, {}, "bench", START_S)

    def end(self) -> None:
        """The publishers say their last words, the recorder takes them; each must end well, or with a loss that is counted."""
        codes = {name: process.end() for name, process in self.publishers.items()}
        self.ask("stop")
        codes["recorder"] = self.recorder.end(60.0)
        assert set(codes.values()) <= {EXIT_DONE, EXIT_LOST}, f"exit codes {codes}"

    def kill(self) -> None:
        for process in (*self.publishers.values(), self.recorder):
            if process.process.poll() is None:
                process.process.kill()
                process.end()

    def read_back(self) -> tuple[Counter[str], int]:
        """Of the session on disk, message by message with their checksums: how many per topic, and how many are missing."""
        counts: Counter[str] = Counter()
        expected: Counter[str] = Counter()
        missing = 0
        with SessionReader(self.folder / "sessions" / SESSION) as reader:
            for message in reader.events(kinds=["frame", "metrics"]):
                missing += message.envelope.seq - expected[message.topic]
                expected[message.topic] = message.envelope.seq + 1
                counts[message.topic] += 1
            return counts, missing + sum(gap.last - gap.first + 1 for gap in reader.gaps())


@contextmanager
def recording(
    *publishers: tuple[str, str, int, int], params: dict[str, Any] | None = None, before: Callable[[Path], None] = lambda root: None
) -> Iterator[Recording]:
    """Publishers of (name, on_full, height, width) and their recorder, with `params`, in a folder that is deleted afterwards.

    `before` may put sessions into the folder of sessions.
    """
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    told = [Publisher(str(folder), name, full, RING if height else SMALL_RING, height, width) for name, full, height, width in publishers]
    before(folder / "sessions")
    found = Recording(folder, told, params or {})
    try:
        yield found
    finally:
        found.kill()
        shutil.rmtree(folder)


def mixed(seconds: float, rate_hz: float = RATE_HZ, small_hz: float = SMALL_HZ, size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    """Frames and small messages at their rates from publishers that drop what is not taken in time; all of it must be on disk."""
    load = {"cam": rate_hz, "talk": small_hz}
    with recording(("cam", "count", *size), ("talk", "count", 0, 0)) as graph:
        cpu_s = graph.recorder.cpu_s()
        for name, rate in load.items():
            graph.publishers[name].begin(Phase(1, rate, int(rate * seconds)))
        sent = {name: json.loads(process.read()) for name, process in graph.publishers.items()}
        cpu_s = graph.recorder.cpu_s() - cpu_s
        graph.end()
        counts, missing = graph.read_back()
    published = sum(one["sent"] + 1 for one in sent.values())
    wall_s = sent["cam"]["wall_s"]
    return {
        "seconds": wall_s, "mb_s": sent["cam"]["sent"] * size[0] * size[1] * 3 / 1e6 / wall_s,
        "small_hz": sent["talk"]["sent"] / sent["talk"]["wall_s"], "cores": cpu_s / wall_s,
        "published": published, "recorded": sum(counts.values()), "lost": published - sum(counts.values()), "missing": missing,
    }  # fmt: skip


def small(seconds: float, rounds: int) -> dict[str, Any]:
    """The rate of small messages that a publisher reaches that waits for the recorder."""
    rates, sent, start_s = [], 0, 0.0
    with recording(("talk", "block", 0, 0)) as graph:
        for number in range(rounds):
            start_s = time.monotonic()
            said = graph.publishers["talk"].run(Phase(number, seconds=seconds))
            rates.append(said["sent"] / (time.monotonic() - start_s))
            sent += said["sent"] + 1
        graph.end()
        counts, missing = graph.read_back()
    return {"rates": rates, "median_hz": statistics.median(rates), "lost": sent - sum(counts.values()), "missing": missing}


def saturated(seconds: float, rounds: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    """Neighbouring turns of the recorder and the bare loop: CPU of who receives and writes, per frame, and MB/s."""
    with recording(("cam", "block", *size)) as graph:
        place = graph.folder / "bare"
        place.mkdir(mode=0o700)
        setup = Setup(str(place), "", "", 1, *size)
        bare = Process.peer("bare_pub", setup), Process.peer("bare_sub", setup)
        try:
            assert bare[0].read() == "ready\n", "the bare loop has not started"
            pairs = {"recorder": (graph.publishers["cam"], graph.recorder), "bare": bare}
            turns = [{name: _turn(number, seconds, *pair, size) for name, pair in pairs.items()} for number in range(rounds + 1)]
        finally:
            for process in bare:
                process.end(0.0 if process is bare[1] else 20.0)
        graph.end()
        counts, missing = graph.read_back()
    sent = sum(turn["recorder"]["frames"] for turn in turns)
    found: dict[str, Any] = {"turns": turns, "lost": sent - sum(counts.values()), "missing": missing}
    measured = turns[1:]  # the first one makes files and memory
    for name in pairs:
        found[name] = {key: statistics.median(turn[name][key] for turn in measured) for key in ("cpu_ms", "mb_s")}
    for key in ("cpu_ms", "mb_s"):
        found[f"{key}_ratio"] = statistics.median(turn["recorder"][key] / turn["bare"][key] for turn in measured)
    return found


def _turn(number: int, seconds: float, publisher: Process, receiver: Process, size: tuple[int, int]) -> dict[str, Any]:
    cpu_s, start_s = receiver.cpu_s(), time.monotonic()
    frames = publisher.run(Phase(number, seconds=seconds))["sent"] + 1
    wall_s = time.monotonic() - start_s
    time.sleep(SYNC_S * 1.3)  # what was taken is synced in its own turn
    cpu_s = receiver.cpu_s() - cpu_s
    return {"frames": frames, "cpu_ms": cpu_s / frames * 1000, "mb_s": frames * size[0] * size[1] * 3 / 1e6 / wall_s}


def bench(say: Callable[[str], None], results: Path, seconds: float, rounds: int) -> bool:
    """The three tables; whether every target was reached."""
    say("\n| load of the recorder | MB/s of frames | small messages/s | published | recorded | lost | cores of the recorder |")
    say("|---|---|---|---|---|---|---|")
    both = mixed(seconds)
    say(
        f"| both, {both['seconds']:.0f} s | {both['mb_s']:.0f} | {both['small_hz']:.0f} | {both['published']} | {both['recorded']} "
        f"| {both['lost']} | {both['cores']:.2f} |"
    )
    little = small(seconds / 4, rounds)
    rates = f"{little['median_hz']:.0f} ({min(little['rates']):.0f} to {max(little['rates']):.0f})"
    say(f"| small, as many as go | - | {rates} | - | - | {little['lost']} | - |")
    say("\n| frames of 640x480x3, saturated | MB/s | CPU ms a frame |\n|---|---|---|")
    full = saturated(seconds / 6, rounds)
    for name in ("recorder", "bare"):
        say(f"| {name} | {full[name]['mb_s']:.0f} | {full[name]['cpu_ms']:.2f} |")
    say(f"| recorder to bare, median of neighbours | {full['mb_s_ratio']:.2f} | {full['cpu_ms_ratio']:.2f} |")
    results.mkdir(exist_ok=True)
    (results / "recorder.json").write_text(json.dumps({"mixed": both, "small": little, "saturated": full}, indent=1))
    misses = list(_misses(both, little, full))
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached, 0 lost")
    return not misses


def _misses(both: dict[str, Any], little: dict[str, Any], full: dict[str, Any]) -> Iterator[str]:
    for name, part in {"both": both, "small": little, "saturated": full}.items():
        if part["lost"] or part["missing"]:
            yield f"{name}: {part['lost']} lost, {part['missing']} missing in the session"
    if both["mb_s"] < 0.98 * RATE_HZ * HEIGHT * WIDTH * 3 / 1e6 or both["small_hz"] < 0.98 * SMALL_HZ:
        yield f"both: the publishers made {both['mb_s']:.0f} MB/s and {both['small_hz']:.0f} small messages a second"
    if full["cpu_ms_ratio"] > MOST_CPU:
        yield f"saturated: CPU per frame is {full['cpu_ms_ratio']:.2f} times the bare loop's, at most {MOST_CPU} was asked for"
    if full["mb_s_ratio"] < LEAST_SPEED:
        yield f"saturated: {full['mb_s_ratio']:.2f} of the bare loop's MB/s, at least {LEAST_SPEED} were asked for"
