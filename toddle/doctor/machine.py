"""What the machine grants: cores, memory, open files."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from toddle.doctor.finding import Finding

CGROUP = Path("/sys/fs/cgroup")
FILES_NEEDED = 1024
"""What Linux gives by default. A node needs a few dozen; a launcher some for each node."""


@dataclass(frozen=True)
class MachineFacts:
    """Bytes; `files` is the limit of open files (0: unknown), `files_hard` what it may be raised to."""

    cores: float
    memory_total: int
    memory_available: int
    files: int
    files_hard: int
    buffer_mb: int


def gather(cgroup: Path = CGROUP) -> MachineFacts:
    from nodes.trainer.config import TrainerConfig

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit and limit < total:
        total, available = limit, min(available, max(limit - (used or 0), 0))
    files, hard = _open_files()
    return MachineFacts(usable_cores(cgroup), total, available, files, hard, TrainerConfig().buffer_mb)


def usable_cores(cgroup: Path = CGROUP) -> float:
    """Cores that this process may use: its affinity, and a container's share."""
    cores = float(len(os.sched_getaffinity(0)) if sys.platform == "linux" else psutil.cpu_count() or 1)
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(cores, int(quota) / int(period))
    except (OSError, ValueError):  # no container, or no limit
        return cores


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _open_files() -> tuple[int, int]:
    try:
        import resource
    except ImportError:  # Windows
        return 0, 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    return (2**31 if soft == unlimited else soft), (2**31 if hard == unlimited else hard)


def cores(facts: MachineFacts) -> Finding:
    found = f"{facts.cores:g}"
    if facts.cores < 2:
        return Finding(
            "cores", "warning", f"{found}: the trainer takes it from the robot", "set device: cuda or a small model, or train later"
        )
    return Finding("cores", "ok", found)


def memory(facts: MachineFacts) -> Finding:
    found = f"{facts.memory_available / 2**30:.1f} GB free of {facts.memory_total / 2**30:.1f} GB"
    if facts.memory_available < 2 * facts.buffer_mb * 2**20:
        found += f"; a trainer keeps up to {facts.buffer_mb} MB of frames, and PyTorch needs as much again"
        return Finding("memory", "warning", found, "end other programs, or lower buffer_mb in the trainer's params")
    return Finding("memory", "ok", found)


def open_files(facts: MachineFacts) -> Finding:
    name = "open files"
    if not facts.files:
        return Finding(name, "note", "the limit is unknown on this system")
    if facts.files >= FILES_NEEDED:
        return Finding(name, "ok", f"up to {facts.files} in a process")
    fix = (
        f"ulimit -n {FILES_NEEDED}" if facts.files_hard >= FILES_NEEDED else "raise nofile in /etc/security/limits.conf, then log in again"
    )
    return Finding(name, "warning", f"only {facts.files} in a process; a graph of many nodes needs more", fix)


CHECKS = (cores, memory, open_files)
