"""Where each node binds: sockets in a private folder, or loopback ports."""

import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import psutil

from launch.check import LAUNCHER
from launch.errors import LaunchError
from launch.loader import Launch
from protocol.ports import TAKEN, free_ports, hold
from protocol.wiring import Endpoints

LANES = ("latest", "reliable", "control")
MAX_IPC_PATH = 107


def assign(launch: Launch, folder: Path | None) -> dict[str, Endpoints]:
    """Endpoints of every node and of the launcher; `folder` for ipc, None for tcp."""
    names = [*launch.spec.nodes, LAUNCHER]
    return _tcp(launch, names) if folder is None else _ipc(folder, names)


def wants_tcp(launch: Launch) -> bool:
    """Whether the graph talks over tcp: as the file says, or where ipc is missing."""
    return launch.spec.transport == "tcp" or sys.platform == "win32"


def private_folder(name: str = "") -> Path:
    """A new folder for this run's sockets, mode 0700, below one that only this user may enter."""
    parent = _user_folder()
    _remove_left_over(parent)
    folder = parent / (name or secrets.token_hex(4))
    folder.mkdir(mode=0o700)
    (folder / "pid").write_text(str(os.getpid()))
    return folder


def planned_folder() -> Path:
    """Where `private_folder` would make one, for `--dry-run`."""
    return _base() / _user_name() / "<run>"


def _base() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK) and len(runtime) < 40
    return Path(runtime if usable else tempfile.gettempdir())


def _user_name() -> str:
    return f"toddle-{os.getuid()}" if hasattr(os, "getuid") else "toddle"


def _user_folder() -> Path:
    folder = _base() / _user_name()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise LaunchError(str(folder), 0, f"no place for sockets ({error.strerror}); set XDG_RUNTIME_DIR") from None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    if not ours:
        raise LaunchError(str(folder), 0, "not a private folder of yours (mode 0700); set XDG_RUNTIME_DIR to another")
    return folder


def _remove_left_over(parent: Path) -> None:
    """Folders of launchers that were killed."""
    for folder in parent.iterdir():
        try:
            alive = psutil.pid_exists(int((folder / "pid").read_text()))
        except (OSError, ValueError):
            continue
        if not alive:
            shutil.rmtree(folder, ignore_errors=True)


def _ipc(folder: Path, names: Iterable[str]) -> dict[str, Endpoints]:
    ends: dict[str, Endpoints] = {}
    for name in names:
        paths = [folder / f"{name}.{lane}.ipc" for lane in LANES]
        longest = max(len(os.fsencode(path)) for path in paths)
        if longest > MAX_IPC_PATH:
            text = f"socket path has {longest} bytes, the limit is {MAX_IPC_PATH}; set TMPDIR to a shorter folder or use --tcp"
            raise LaunchError(str(paths[0]), 0, text)
        ends[name] = Endpoints(*(f"ipc://{path}" for path in paths))
    return ends


def _tcp(launch: Launch, names: list[str]) -> dict[str, Endpoints]:
    host = launch.spec.host
    ports = _ports(launch, 3 * len(names))
    shown = f"[{host}]" if ":" in host else host
    return {name: Endpoints(*(f"tcp://{shown}:{ports[3 * index + lane]}" for lane in range(3))) for index, name in enumerate(names)}


def _ports(launch: Launch, count: int) -> list[int]:
    """From `base_port` on, where the file gives one."""
    host, base = launch.spec.host, launch.spec.base_port
    port = 0
    try:
        if not base:
            return free_ports(count, host)
        for port in range(base, base + count):
            hold(host, port).close()
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in TAKEN:
            raise launch.error(("host",), f"host '{host}' is no address of this machine") from None
        text = f"{f'port {port}' if port else 'every port tried'} on {host} is taken; give another base_port, or 0 for free ports"
        raise launch.error(("base_port",), text) from None
    return list(range(base, base + count))
