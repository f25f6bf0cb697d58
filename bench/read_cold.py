"""Random reads of frames that no memory holds, each measured in a process of its own: `python -m bench.read_cold WHAT FILE SEED`."""

import ctypes
import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.recordings import CAMERA
from storage.loading.frames import Frames
from storage.loading.prefetch import prefetched
from storage.reader import SessionReader

READS, BATCH = 128, 64
WAYS = ("pread", "one by one", "a batch", "ahead")


def measure(raw: Path, session: Path, way: str, seed: int) -> dict[str, float]:
    """Frames per second of one way, and the share of the file that was in memory before and after."""
    told = [sys.executable, "-m", "bench.read_cold", way, str(raw), str(session), str(seed)]
    found: dict[str, float] = json.loads(subprocess.run(told, capture_output=True, check=True, text=True).stdout)
    return found


def resident(file: Path) -> float:
    """The share of a file's pages that are in memory."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        pages = -(-len(mapped) // mmap.PAGESIZE)
        state = np.zeros(pages, np.uint8)
        view = np.frombuffer(mapped, np.uint8)
        address, size = view.__array_interface__["data"][0], len(mapped)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(state.ctypes.data))
        del view
        assert failed == 0, "mincore does not work here"
    return float((state & 1).mean())


def forget(file: Path) -> None:
    """Put a file's pages out of memory; those that are mapped and were touched stay."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _timed(file: Path, count: int, work: Callable[[], Any]) -> dict[str, float]:
    forget(file)
    before = resident(file)
    start = time.perf_counter()
    work()
    return {"fps": count / (time.perf_counter() - start), "before": before, "after": resident(file)}


def _pread(file: Path, picks: np.ndarray, out: np.ndarray) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    for place, pick in enumerate(picks.tolist()):
        slot = out[place % len(out)]
        assert os.preadv(descriptor, [slot.reshape(-1).data], pick * slot.nbytes) == slot.nbytes
    os.close(descriptor)


def main(way: str, raw: Path, session: Path, seed: int) -> dict[str, float]:
    with SessionReader(session) as reader:
        frames = Frames([reader])
        picks = np.random.default_rng(seed).permutation(len(frames))[:READS]
        batches = picks.reshape(-1, min(BATCH, len(picks)))
        room = [frames.empty(batches.shape[1]) for _ in range(3)]
        for one in room:
            one[CAMERA][:] = 1  # its memory is there
        file = session / "segments" / "000000" / "data.mdb"
        if way == "pread":
            return _timed(raw, len(picks), lambda: _pread(raw, picks, room[0][CAMERA]))
        if way == "one by one":
            return _timed(
                file, len(picks), lambda: [frames.read(picks[i : i + 1], {CAMERA: room[0][CAMERA][:1]}) for i in range(len(picks))]
            )
        if way == "a batch":
            return _timed(file, len(picks), lambda: [frames.read(batch, room[0]) for batch in batches])
        return _timed(file, len(picks), lambda: list(prefetched(frames.read, batches, room)))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
