"""One process of the graph: its start, its use of the machine, its end with everything it started."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

NOT_FOR_CHILDREN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
"""A ROS shell puts another `launch` on PYTHONPATH; children must find ours."""

STACKS_S = 0.5
"""So long a process may take to begin to tell where it hangs."""

HUGE_PAGES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"


def environment(kind: str, extra: Mapping[str, object], base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a node of this kind."""
    env = {name: value for name, value in base.items() if name not in NOT_FOR_CHILDREN}
    if kind == "trainer" and sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        env.setdefault("GLIBC_TUNABLES", HUGE_PAGES)  # doubles the speed of large batches on the CPU
    if kind in ("trainer", "predictor"):
        # a thread that spins while it waits takes the core that another node needs
        env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    env.update({name: str(value) for name, value in extra.items()})
    env["TODDLE_PARENT_PID"] = str(os.getpid())
    return env


class Child:
    """A started process, in a session of its own, so that a Ctrl-C reaches the launcher alone."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], output: Path) -> None:
        with output.open("ab") as out:
            self._popen = subprocess.Popen(argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.pid = self._popen.pid
        self._output = output
        self._seen: dict[int, psutil.Process] = {}
        self._clean = False
        with suppress(psutil.NoSuchProcess):  # ended at once; poll tells
            self._seen[self.pid] = psutil.Process(self.pid)

    def poll(self) -> int | None:
        """The exit code once it has ended (negative: the signal); then nothing it started is left."""
        code = self._popen.poll()
        if code is not None and not self._clean:
            self._clean = True
            self._kill_tree()
        return code

    def usage(self) -> tuple[float, float]:
        """CPU in percent of one core since the last call, and memory in MB, of the whole tree."""
        self._look()
        cpu = memory = 0.0
        for pid, process in list(self._seen.items()):
            try:
                with process.oneshot():
                    cpu += process.cpu_percent(None)
                    memory += process.memory_info().rss / 2**20
            except psutil.Error:
                if pid != self.pid:
                    del self._seen[pid]
        return cpu, memory

    def show_stacks(self) -> None:
        """Have the process write where its threads are to its standard error, see `nodes.process`; waits until it has begun to."""
        if not hasattr(signal, "SIGUSR1") or self._popen.poll() is not None:
            return
        before, deadline_s = self._output.stat().st_size, time.monotonic() + STACKS_S
        self._popen.send_signal(signal.SIGUSR1)
        # a further signal while this one is on its way could take it to another thread than the main one, which then tells nothing
        while self._output.stat().st_size == before and self._popen.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.005)

    def terminate(self) -> None:
        """Ask the process itself to end (SIGTERM)."""
        if self._popen.poll() is None:
            self._popen.terminate()

    def kill(self) -> None:
        """End it and everything it started, now."""
        self._look()
        self._kill_tree()

    def _look(self) -> None:
        """Remember descendants while they can still be found through their parent."""
        try:
            for process in psutil.Process(self.pid).children(recursive=True):
                self._seen.setdefault(process.pid, process)
        except psutil.Error:
            pass

    def _kill_tree(self) -> None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        elif self._popen.poll() is None:
            self._popen.kill()
        for pid, process in self._seen.items():
            try:
                if pid != self.pid:
                    process.kill()  # psutil checks that the number still means the same process
            except psutil.Error:
                pass
