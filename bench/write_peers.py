"""One process of the write benchmark: `python -m bench.write_peers JSON`.

`measure`: frames as fast as the writer takes them. `announce`: frames at 30 Hz until it is killed; each is announced on
standard output when it is accepted, as is what toddle has announced as committed. `read`: how many frames are found again.
"""

import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from bench.frame_writer import FPS, FrameWriter, Toddle
from bench.pictures import Pictures
from bench.writers import WRITERS, found_again
from nodes.process import keep_memory


class Told(msgspec.Struct, frozen=True):
    """What a process is told; `frames` is a file of pictures, [n, h, w, 3] uint8."""

    role: Literal["measure", "announce", "read"]
    writer: str
    path: str
    pictures: str
    count: int = 0


def measure(told: Told, pictures: Pictures) -> None:
    """Until the last byte is on disk; a writer that does not sync is synced by us. Written twice: what the
    first file took of memory and page cache is there for the second, where a virtual machine would have to ask its host for it."""
    kind = WRITERS[told.writer]
    if not kind.slow:
        warm = kind(_folder(told.path, "warm"), pictures.shape[1:])
        for index in range(told.count):
            warm.write(index, pictures[index % len(pictures)])
        warm.close()
        shutil.rmtree(Path(told.path, "warm"))
    writer = kind(_folder(told.path, "measured"), pictures.shape[1:])
    longest_s = 0.0
    used, start_s = _cpu_s(), time.perf_counter()
    for index in range(told.count):
        before_s = time.perf_counter()
        writer.write(index, pictures[index % len(pictures)])
        longest_s = max(longest_s, time.perf_counter() - before_s)
    writer.close()
    sizes = [_sync(path) for path in Path(told.path, "measured").rglob("*") if path.is_file()]
    wall_s = time.perf_counter() - start_s
    raw = told.count * pictures[0].nbytes
    found = {
        "fps": told.count / wall_s, "cpu_ms": (_cpu_s() - used) / told.count * 1000, "stall_ms": longest_s * 1000,
        "size": sum(sizes) / raw,
    }  # fmt: skip
    _say(found)


def announce(told: Told, pictures: Pictures) -> None:
    writer: FrameWriter = WRITERS[told.writer](Path(told.path), pictures.shape[1:])
    committed = 0
    start_s = time.monotonic()
    index = 0
    while True:
        time.sleep(max(start_s + index / FPS - time.monotonic(), 0))
        writer.write(index, pictures[index % len(pictures)])
        index += 1
        if isinstance(writer, Toddle) and writer.writer.committed.events > committed:
            committed = writer.writer.committed.events
            os.write(1, f"committed {committed}\n".encode())
        os.write(1, f"accepted {index}\n".encode())


def read(told: Told, pictures: Pictures) -> None:
    count, why = found_again(told.writer, Path(told.path), pictures)
    _say({"found": count, "why": why, "salvaged": WRITERS[told.writer].salvage(Path(told.path)) if not count else None})


def _say(found: dict[str, Any]) -> None:
    os.write(1, json.dumps(found).encode() + b"\n")


def _folder(path: str, name: str) -> Path:
    Path(path, name).mkdir()
    return Path(path, name)


def _cpu_s() -> float:
    """Of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _sync(path: Path) -> int:
    """Bring a file to disk; the bytes that it takes there."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(file)
        return os.fstat(file).st_blocks * 512
    finally:
        os.close(file)


ROLES = {"measure": measure, "announce": announce, "read": read}

if __name__ == "__main__":
    keep_memory()  # as every node that takes frames does, here for all writers alike
    told = msgspec.json.decode(sys.argv[1], type=Told)
    ROLES[told.role](told, np.lib.format.open_memmap(told.pictures, mode="r"))
