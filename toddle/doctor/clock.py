"""The clocks that messages are stamped with."""

import ctypes
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from toddle.doctor.finding import Finding

SPAN_S = 0.3
STEP_MS = 20.0
COARSE_S = 0.002
STA_UNSYNC = 0x40
TIMESYNC = Path("/run/systemd/timesync/synchronized")


@dataclass(frozen=True, kw_only=True)
class ClockFacts:
    """`synchronised` None: nobody tells. `error_ms`: the kernel's bound. `drift_ms`: wall minus monotonic clock over a short span."""

    now_s: float
    built_s: float
    synchronised: bool | None
    error_ms: float | None
    resolution_s: float
    drift_ms: float


class _Timex(ctypes.Structure):
    """The kernel's struct timex, as far as it is read here; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 512),
    )  # fmt: skip


def gather(timesync: Path = TIMESYNC) -> ClockFacts:
    before = _both()
    time.sleep(SPAN_S)
    after = _both()
    synchronised, error_ms = _kernel()
    if not synchronised and timesync.exists():
        synchronised = True
    return ClockFacts(
        now_s=time.time(), built_s=Path(__file__).stat().st_mtime, synchronised=synchronised, error_ms=error_ms,
        resolution_s=time.get_clock_info("monotonic").resolution, drift_ms=(after[0] - before[0] - after[1] + before[1]) / 1e6,
    )  # fmt: skip


def _both() -> tuple[int, int]:
    """Wall and monotonic clock, ns, read as close together as it gets."""
    tries: list[tuple[int, int, int]] = []
    for _ in range(5):
        first, wall, last = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((last - first, wall, (first + last) // 2))
    _, wall, mono = min(tries)
    return wall, mono


def _kernel() -> tuple[bool | None, float | None]:
    """Whether the kernel's clock is kept by somebody (chrony, ntpd, systemd-timesyncd), and its bound in ms."""
    if not sys.platform.startswith("linux"):
        return None, None
    found = _Timex()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(found)) < 0:
            return None, None
    except (OSError, AttributeError):
        return None, None
    synchronised = not found.status & STA_UNSYNC
    return synchronised, found.maxerror / 1000 if synchronised else None


def system_clock(facts: ClockFacts) -> Finding:
    shown = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(facts.now_s))
    if facts.now_s >= facts.built_s:
        return Finding("system clock", "ok", shown)
    found = f"{shown} is before toddle was installed: sessions sort and are deleted by this clock"
    return Finding("system clock", "problem", found, "sudo timedatectl set-ntp true, or set it by hand: sudo date -s '<now>'")


def time_synchronisation(facts: ClockFacts) -> Finding:
    name = "time synchronisation"
    if facts.synchronised is None:
        return Finding(name, "note", "unknown: this system does not tell", "needed only for a graph on several machines")
    if facts.synchronised:
        return Finding(name, "ok", f"yes{'' if facts.error_ms is None else f', within {facts.error_ms:.0f} ms'}")
    found = "nobody tells the kernel the time: on several machines, ages and latencies are wrong"
    return Finding(name, "note", found, "sudo timedatectl set-ntp true, or install chrony")


def monotonic_clock(facts: ClockFacts) -> Finding:
    found = f"resolves {facts.resolution_s * 1e9:g} ns"
    if facts.resolution_s > COARSE_S:
        return Finding("monotonic clock", "warning", f"{found}: too coarse to time a robot's steps", "use Linux, or a newer system")
    return Finding("monotonic clock", "ok", found)


def clock_steps(facts: ClockFacts) -> Finding:
    found = f"wall and monotonic clock differ by {facts.drift_ms:+.2f} ms after {SPAN_S:g} s"
    if abs(facts.drift_ms) > STEP_MS:
        fix = "let one service keep the time (timedatectl status; VM tools count as one), by slewing instead of stepping"
        return Finding("clock steps", "warning", f"{found}: somebody is setting the clock", fix)
    return Finding("clock steps", "ok", found)


CHECKS = (system_clock, time_synchronisation, monotonic_clock, clock_steps)
