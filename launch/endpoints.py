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

from launch.check import LAUNCHER, launcher_of
from launch.errors import LaunchError
from launch.loader import Launch
from protocol.ports import TAKEN, free_ports, hold
from protocol.wiring import Endpoints

LANES = ("latest", "reliable", "control")
MAX_IPC_PATH = 107


def assign(launch: Launch, folder: Path | None) -> dict[str, Endpoints]:
    """Endpoints of every node and of the launchers; `folder` for ipc, None for tcp."""
    if launch.spec.hosts:
        return _spread(launch)
    names = [*launch.spec.nodes, LAUNCHER]
    return _tcp(launch, names) if folder is None else _ipc(folder, names)


def wants_tcp(launch: Launch) -> bool:
    """Whether the graph talks over tcp: as the file says, or where ipc is missing."""
    return launch.spec.transport == "tcp" or bool(launch.spec.hosts) or sys.platform == "win32"


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
    host, base = launch.spec.host, launch.spec.base_port
    count = 3 * len(names)
    ports = _hold(launch, list(range(base, base + count)), count)
    return {name: _three(host, ports[3 * index : 3 * index + 3]) for index, name in enumerate(names)}


def _spread(launch: Launch) -> dict[str, Endpoints]:
    """Over several hosts: the same on each of them. The launchers come first: two that disagree about the rest can say so."""
    spec = launch.spec
    places = {**{launcher_of(host): host for host in spec.hosts}, **{name: node.host for name, node in spec.nodes.items()}}
    ports = {name: [spec.base_port + 3 * index + lane for lane in range(3)] for index, name in enumerate(places)}
    _hold(launch, [port for name, three in ports.items() if spec.hosts[places[name]] == spec.host for port in three], 0)
    return {name: _three(spec.hosts[place], ports[name]) for name, place in places.items()}


def _three(host: str, ports: list[int]) -> Endpoints:
    shown = f"[{host}]" if ":" in host else host
    return Endpoints(*(f"tcp://{shown}:{port}" for port in ports))


def _hold(launch: Launch, wanted: list[int], count: int) -> list[int]:
    """The ports that are wanted, each of them free; `count` free ones where the file gives no `base_port`."""
    host, port = launch.spec.host, 0
    try:
        if not launch.spec.base_port:
            return free_ports(count, host)
        for port in wanted:
            hold(host, port).close()
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in TAKEN:
            raise launch.error(("hosts" if launch.spec.hosts else "host",), f"host '{host}' is no address of this machine") from None
        free = "" if launch.spec.hosts else ", or 0 for free ports"
        text = f"{f'port {port}' if port else 'every port tried'} on {host} is taken; give another base_port{free}"
        raise launch.error(("base_port",), text) from None
    return wanted
