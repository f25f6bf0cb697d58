"""Where sessions and runs go: is there room, does the file system carry LMDB, is it fast enough to record."""

import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from toddle.doctor.finding import Finding

NETWORK = (
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs",
    "vboxsf", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.vmhgfs-fuse",
)  # fmt: skip
IN_MEMORY = ("tmpfs", "ramfs")
IN_A_CONTAINER = ("overlay", "aufs", "fuse.fuse-overlayfs")
SMALL_FILES = ("vfat", "msdos")
GIB = 2**30
SLOW_SYNC_MS, BAD_SYNC_MS, HOPELESS_SYNC_MS = 20.0, 100.0, 1000.0
DEMO_MB_S = 224 * 224 * 3 * 20 / 1e6
CAMERA_MB_S = 640 * 480 * 3 * 30 / 1e6
_ELSEWHERE = "a folder on a local disk: export TODDLE_SESSIONS=<folder>"


@dataclass(frozen=True)
class Place:
    """A folder that may not exist yet; the rest is of its nearest existing parent."""

    path: str
    writable: bool
    mount: str
    file_system: str
    free: int


@dataclass(frozen=True)
class Speed:
    """Of small writes with a sync each, and of large ones."""

    sync_ms: Sequence[float]
    mb_s: float


@dataclass(frozen=True, kw_only=True)
class DiskFacts:
    """`speed` is where sessions go, None when nothing was written there, because of `failed` or for want of room. The GB
    are a recorder's defaults."""

    sessions: Place
    runs: Place
    speed: Speed | None
    failed: str = ""
    min_free_gb: float
    max_gb: float


def gather() -> DiskFacts:
    from launch.rundir import root as runs_root
    from nodes.recorder.config import RecorderConfig
    from storage.paths import sessions_root

    sessions, runs = place(sessions_root()), place(runs_root(None))
    config = RecorderConfig()
    enough = sessions.writable and sessions.free > GIB // 2
    speed, failed = None, ""
    try:
        speed = measure(existing(Path(sessions.path))) if enough else None
    except OSError as error:
        failed = error.strerror or str(error)
    return DiskFacts(sessions=sessions, runs=runs, speed=speed, failed=failed, min_free_gb=config.min_free_gb, max_gb=config.max_gb)


def place(path: Path) -> Place:
    """What there is to know without writing."""
    whole = path.absolute().resolve()
    there = existing(whole)
    mount, kind = _mount_of(there)
    return Place(str(whole), there.is_dir() and os.access(there, os.W_OK | os.X_OK), mount, kind, psutil.disk_usage(str(there)).free)


def existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _mount_of(path: Path) -> tuple[str, str]:
    """Mount point and kind of the file system; of two on one point the later counts."""
    best = ("", "")
    for one in psutil.disk_partitions(all=True):
        if path.is_relative_to(one.mountpoint) and len(one.mountpoint) >= len(best[0]):
            best = (one.mountpoint, one.fstype.lower())
    return best


def measure(folder: Path, budget_s: float = 0.5) -> Speed:
    """At most about twice the budget for each half, and 256 MB; the file has no name, so nothing can be left behind."""
    sync = getattr(os, "fdatasync", os.fsync)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        times_s: list[float] = []
        while len(times_s) < 100 and sum(times_s) < budget_s:
            start_s = time.perf_counter()
            file.write(os.urandom(4096))
            sync(file.fileno())
            times_s.append(time.perf_counter() - start_s)
        chunk, written, spent_s = os.urandom(2**20), 0, 0.0
        while spent_s < budget_s and written < 2**28:
            start_s = time.perf_counter()
            file.write(chunk)
            sync(file.fileno())
            spent_s += time.perf_counter() - start_s
            written += len(chunk)
            chunk = chunk * 2 if len(chunk) < 2**24 else chunk
    return Speed([1000 * one for one in times_s], written / max(spent_s, 1e-9) / 1e6)


def sessions_folder(facts: DiskFacts) -> Finding:
    return _writable("sessions folder", facts.sessions, "TODDLE_SESSIONS", facts.failed)


def runs_folder(facts: DiskFacts) -> Finding:
    return _writable("runs folder", facts.runs, "TODDLE_RUNS")


def _writable(name: str, where: Place, variable: str, failed: str = "") -> Finding:
    if where.writable and not failed:
        return Finding(name, "ok", where.path)
    found = f"nothing can be written to {where.path}{f': {failed}' if failed else ''}"
    return Finding(name, "problem", found, f"cd to a folder of yours, or export {variable}=<folder>")


def sessions_file_system(facts: DiskFacts) -> Finding:
    name, kind, found = "sessions file system", facts.sessions.file_system, _on(facts.sessions)
    if kind in NETWORK:
        return Finding(name, "problem", f"{found}, over a network or from a host: LMDB loses or locks sessions there", _ELSEWHERE)
    if kind in IN_MEMORY:
        return Finding(name, "warning", f"{found}, in memory: sessions are gone after a restart of the machine", _ELSEWHERE)
    if kind in IN_A_CONTAINER:
        return Finding(
            name, "warning", f"{found}, in a container: sessions go with it", "mount a volume and export TODDLE_SESSIONS=<folder in it>"
        )
    if kind in SMALL_FILES:
        return Finding(name, "warning", f"{found}: files end at 4 GB", f"map_gb: 2 in the recorder's params, or {_ELSEWHERE}")
    if kind.startswith("fuse"):
        return Finding(name, "warning", f"{found}: whether it locks and syncs as LMDB needs is unknown", _ELSEWHERE)
    return Finding(name, "ok" if kind else "note", found if kind else "unknown")


def runs_file_system(facts: DiskFacts) -> Finding:
    name, kind, found = "runs file system", facts.runs.file_system, _on(facts.runs)
    if kind in NETWORK:
        fix = "a folder on a local disk: export TODDLE_RUNS=<folder>"
        return Finding(name, "warning", f"{found}, over a network or from a host: checkpoints and logs wait for it", fix)
    if kind in (*IN_MEMORY, *IN_A_CONTAINER):
        fix = "to keep runs: export TODDLE_RUNS=<folder on a disk>"
        return Finding(name, "note", f"{found}: checkpoints and logs are gone with the machine's restart or the container", fix)
    return Finding(name, "ok" if kind else "note", found if kind else "unknown")


def free_space(facts: DiskFacts) -> Finding:
    name, free_gb = "free space", facts.sessions.free / GIB
    found, fix = f"{free_gb:.1f} GB for sessions", "delete sessions or free disk; TODDLE_SESSIONS=<folder> puts them elsewhere"
    if free_gb < facts.min_free_gb:
        return Finding(name, "problem", f"{found}: recording stops below {facts.min_free_gb:g} GB (min_free_gb)", fix)
    if free_gb < 2 * facts.min_free_gb:
        return Finding(name, "warning", f"{found}: recording stops soon, below {facts.min_free_gb:g} GB (min_free_gb)", fix)
    if facts.runs.free < facts.min_free_gb * GIB:
        found = f"{facts.runs.free / GIB:.1f} GB for runs: checkpoints may not fit"
        return Finding(name, "warning", found, "free disk; TODDLE_RUNS=<folder> puts runs elsewhere")
    if free_gb < facts.max_gb:
        return Finding(
            name, "note", f"{found}; a robot's sessions may take {facts.max_gb:g} GB (max_gb) before the oldest are deleted", fix
        )
    return Finding(name, "ok", found)


def sync_speed(facts: DiskFacts) -> Finding:
    name = "sync speed"
    if facts.speed is None:
        return Finding(name, "note", "not measured: nothing can be written there, or there is too little room")
    times = sorted(facts.speed.sync_ms)
    median, late = times[len(times) // 2], times[math.ceil(0.99 * len(times)) - 1]
    found = f"median {median:.2f} ms, 99 % within {late:.2f} ms ({len(times)} writes)"
    fix = f"{_ELSEWHERE} (an SSD); or sync_interval_s: 5 in the recorder's params"
    if median > HOPELESS_SYNC_MS:
        return Finding(name, "problem", f"{found}: longer than the second between two commits", fix)
    if median > BAD_SYNC_MS:
        return Finding(name, "warning", f"{found}: each commit (once a second while events come) waits that long", fix)
    if median > SLOW_SYNC_MS:
        return Finding(name, "note", f"{found}: enough for a robot with a camera, not for many events a second", fix)
    return Finding(name, "ok", f"{found}: little beside the second between two commits")


def write_speed(facts: DiskFacts) -> Finding:
    name = "write speed"
    if facts.speed is None:
        return Finding(name, "note", "not measured: nothing can be written there, or there is too little room")
    rate = facts.speed.mb_s
    found, fix = f"{rate:.0f} MB/s with syncs", f"{_ELSEWHERE} (an SSD)"
    if rate < DEMO_MB_S:
        return Finding(name, "problem", f"{found}: less than the demo's frames, {DEMO_MB_S:.0f} MB/s before compression", fix)
    if rate < CAMERA_MB_S:
        found += f": enough for the demo, not for a raw 640x480 camera at 30 Hz ({CAMERA_MB_S:.0f} MB/s)"
        return Finding(name, "note", found, f"the default codec, delta-zstd, needs less; or {fix}")
    return Finding(name, "ok", f"{found}: {rate / CAMERA_MB_S:.0f} times a raw 640x480 camera at 30 Hz")


def _on(where: Place) -> str:
    return f"{where.file_system} on {where.mount}"


CHECKS = (sessions_folder, sessions_file_system, free_space, sync_speed, write_speed, runs_folder, runs_file_system)
