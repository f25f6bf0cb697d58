"""What keeps a node from outliving its launcher, how signals reach it, and what it tells when it dies."""

import atexit
import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from types import FrameType

import psutil

from protocol.bus import Bus

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 256 << 20
LARGEST_KEPT_BYTES = 32 << 20  # glibc takes no more
PARENT_POLL_S = 0.5
ORPHAN_GRACE_S = 3.0


def show_stacks() -> None:
    """Write all stacks to standard error when the process dies of a fault, and when SIGUSR1 asks where it hangs.

    Asked, the main thread tells at once, wherever it is. The others are told about as soon as Python comes to
    handle the signal: to read their stacks while they run can end the process (SIGSEGV).
    """
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda signum, frame: faulthandler.dump_traceback())
        faulthandler.register(signal.SIGUSR1, all_threads=False, chain=True)


def die_with_parent() -> None:
    """Stop this process and all it has started when the launcher is gone, even if it was killed.

    Linux sends SIGTERM at once; a thread that watches the parent's pid serves other systems, and ends the
    process for good when it has not stopped within the grace time.
    """
    parent = int(os.environ.get("TODDLE_PARENT_PID", "0"))
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    atexit.register(_end_group_of_orphan, parent)
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def keep_memory() -> None:
    """Keep freed memory for the next use: whoever takes frame after frame would else ask the system for every page of each, anew."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library than glibc
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def stop_on_signal(bus: Bus, interrupt: bool) -> None:
    """SIGTERM asks the node to stop and to wait for nobody; Ctrl-C does so with `interrupt`, else it is the launcher's business."""

    def stop(signum: int, frame: FrameType | None) -> None:
        bus.stop_requested = True
        bus.abandon()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop if interrupt else signal.SIG_IGN)


def _watch(parent: int) -> None:
    while not _gone(parent):
        time.sleep(PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    sys.stderr.write(f"the launcher (process {parent}) is gone, and this node had not stopped after {ORPHAN_GRACE_S:g} s; it was here:\n")
    faulthandler.dump_traceback()
    _end_group_of_orphan(parent)
    os._exit(1)


def _end_group_of_orphan(parent: int) -> None:
    """With the launcher gone, nobody else ends what this process has started."""
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid() and _gone(parent):
        os.killpg(0, signal.SIGKILL)


def _gone(parent: int) -> bool:
    """Also while it dies: killed, its main thread may end (a zombie) a tenth of a second before the last, and is our parent till then."""
    try:
        return os.getppid() != parent or psutil.Process(parent).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
