"""What keeps a node from outliving its launcher, and how signals reach it."""

import ctypes
import os
import signal
import sys
import threading
import time
from types import FrameType

from protocol.bus import Bus

PR_SET_PDEATHSIG = 1
PARENT_POLL_S = 0.5
ORPHAN_GRACE_S = 8.0


def die_with_parent() -> None:
    """Stop this process when the launcher is gone, even if it was killed.

    Linux sends SIGTERM at once; a thread that watches the parent's pid serves other systems, and ends the
    process for good when it has not stopped within the grace time.
    """
    parent = int(os.environ.get("TODDLE_PARENT_PID", "0"))
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def stop_on_signal(bus: Bus, interrupt: bool) -> None:
    """SIGTERM asks the node to stop and to wait for nobody; Ctrl-C does so with `interrupt`, else it is the launcher's business."""

    def stop(signum: int, frame: FrameType | None) -> None:
        bus.stop_requested.set()
        bus.abandon()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop if interrupt else signal.SIG_IGN)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    os._exit(1)
