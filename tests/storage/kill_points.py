"""A writer that kills itself (SIGKILL) at one moment after the other of something it does, until it gets through.

    python kill_points.py FOLDER SCENARIO

A moment is before every call of LMDB, in the middle of every write, and before every change of a name and every sync. Prints as
JSON how often it died and how much was there each time; ends with 1 when a session was not what was promised.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from lmdb_calls import Call, LmdbCalls
from numbered import message, read_all

from protocol.messages import ActionSpaceInfo, Gap, Robot
from storage.lock import writer_pid
from storage.verify import check
from storage.writer import SessionWriter

GAP = Gap(topic="frame/robot", run="r", first=40, last=42)
ROBOT = Robot(
    robot="robot", driver="toroidal_dot", params={}, cameras=[], actions=ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}]),
    rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
)  # fmt: skip
Say = Callable[[SessionWriter], None]


class Fuse:
    """Ends the process at moment `last` since it was lit."""

    def __init__(self, last: int) -> None:
        self.left, self.lit = last, False
        LmdbCalls(self._call)
        sys.addaudithook(self._event)
        os.fsync, os.pwrite = self._before(os.fsync), self._before(os.pwrite)  # type: ignore[assignment]

    def burn(self, call: Call | None = None) -> None:
        if self.lit:
            if self.left == 0:
                if call is not None:
                    os.pwrite(call.descriptor, call.data[: len(call.data) // 2], call.offset)
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1

    def _call(self, call: Call) -> None:
        self.burn()
        if call.name == "write":
            self.burn(call)

    def _event(self, name: str, _: tuple[Any, ...]) -> None:
        if name in ("os.mkdir", "os.rename"):
            self.burn()

    def _before[T](self, function: Callable[..., T]) -> Callable[..., T]:
        def burning(*args: Any) -> T:
            self.burn()
            return function(*args)

        return burning


def begin(path: Path, fuse: Fuse, say: Say) -> None:
    fuse.lit = True
    with SessionWriter.create(path, robot=ROBOT) as writer:
        writer.append(message(0))
        say(writer)


def roll(path: Path, fuse: Fuse, say: Say) -> None:
    with SessionWriter.create(path, map_bytes=1 << 17, commit_events=7, resume=True) as writer:
        for seq in range(14):
            writer.append(message(seq))
            say(writer)
        begun = len(list((path / "segments").glob("0*")))
        fuse.lit = True
        while len(list((path / "segments").glob("0*"))) == begun:
            writer.append(message(writer.events))
            say(writer)
        fuse.lit = False


def large(path: Path, fuse: Fuse, say: Say) -> None:
    with SessionWriter.create(path, commit_events=99) as writer:
        for seq in range(99):
            writer.append(message(seq))
        say(writer)
        writer.append(message(99))
        fuse.lit = True
        writer.flush()
        say(writer)
        fuse.lit = False


def close(path: Path, fuse: Fuse, say: Say) -> None:
    writer = SessionWriter.create(path)
    for seq in range(40):
        writer.append(message(seq))
    writer.flush()
    say(writer)
    writer.note_gap(GAP)
    for seq in range(43, 50):
        writer.append(message(seq))
    fuse.lit = True
    writer.close()
    say(writer)


def resume(path: Path, fuse: Fuse, say: Say) -> None:
    with SessionWriter.create(path) as writer:
        for seq in range(20):
            writer.append(message(seq))
    say(writer)
    fuse.lit = True
    with SessionWriter.create(path, resume=True) as writer:
        writer.append(message(20))
    say(writer)


SCENARIOS = {one.__name__: one for one in (begin, roll, large, close, resume)}


def main() -> int:
    folder, scenario = Path(sys.argv[1]), SCENARIOS[sys.argv[2]]
    there = []
    while True:
        path, told = folder / f"s{len(there)}", folder / f"told{len(there)}"
        child = os.fork()
        if child == 0:
            with told.open("a") as file:

                def say(writer: SessionWriter) -> None:
                    file.write(f"{writer.committed.events}\n")
                    file.flush()

                try:
                    scenario(path, Fuse(len(there)), say)
                except BaseException as error:
                    sys.stderr.write(f"{error!r}\n")
                    os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        announced = int((["0"] + told.read_text().split())[-1])
        there.append(judge(path, announced))
        if status == 0:
            break
        assert status == -signal.SIGKILL, f"moment {len(there)}: it ended with {status}, not of the kill"
    sys.stdout.write(json.dumps({"deaths": len(there) - 1, "events": there}))
    return 0


def judge(path: Path, announced: int) -> int:
    """How many events are there; AssertionError when that is not what was promised."""
    if not (path / "session.json").exists():
        assert announced == 0
        return 0
    assert writer_pid(path) is None
    numbers, gaps = read_all(path)
    assert len(numbers) >= announced, f"{len(numbers)} events, {announced} were announced"
    assert numbers == [*range(min(len(numbers), 40)), *range(43, 43 + len(numbers) - 40)] or numbers == list(range(len(numbers)))
    missing = [(after + 1, before - 1) for after, before in pairwise(numbers) if before > after + 1]
    assert gaps == missing
    assert check(path).verdict == "ok"
    with SessionWriter.create(path, resume=True) as writer:
        writer.append(message(len(numbers) + 200))
    report = check(path)
    assert report.verdict == "ok" and report.events_checked == len(numbers) + 1
    return len(numbers)


if __name__ == "__main__":
    sys.exit(main())
