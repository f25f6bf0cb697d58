"""Where nodes meet: a private folder of ipc sockets, or ports on loopback."""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toddle.doctor.finding import Finding

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LONGEST_SOCKET = "predictor.reliable.ipc"
PORTS_NEEDED = 1000


@dataclass(frozen=True, kw_only=True)
class SocketFacts:
    """Each `*_error` is why it does not work; `dead` counts folders of killed launchers; `strange` says what is odd by variable."""

    port_error: str
    ports: tuple[int, int] | None
    folder: str
    folder_error: str
    path_bytes: int
    path_limit: int
    dead: int
    strange: Mapping[str, str]


def gather(port_range: Path = PORT_RANGE) -> SocketFacts:
    from launch.endpoints import MAX_IPC_PATH, planned_folder, private_folder
    from launch.errors import LaunchError

    parent = planned_folder().parent
    before = _entries(parent)
    folder, error = parent / f"doctor-{secrets.token_hex(4)}", ""
    if sys.platform != "win32":
        try:
            folder = private_folder(folder.name)
            error = _unix_error(folder)
        except (LaunchError, OSError) as failed:
            error = str(failed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return SocketFacts(
        port_error=_port_error(), ports=_ports(port_range), folder=str(parent), folder_error=error,
        path_bytes=len(os.fsencode(folder / LONGEST_SOCKET)), path_limit=MAX_IPC_PATH,
        dead=len(before - _entries(parent)), strange=_strange(),
    )  # fmt: skip


def _entries(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _unix_error(folder: Path) -> str:
    """Some file systems of hosts and Windows hold no sockets."""
    path = folder / "try.ipc"
    if len(os.fsencode(path)) > 107:
        return ""  # the length is a finding of its own
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(str(path))
        except OSError as error:
            return f"no socket can be made in {folder} ({error.strerror})"
    return "" if folder.stat().st_mode & 0o077 == 0 else f"{folder} is open to others: this file system keeps no modes"


def _port_error() -> str:
    with socket.socket() as one, socket.socket() as other:
        try:
            one.bind(("127.0.0.1", 0))
            one.listen()
            other.settimeout(2.0)
            other.connect(one.getsockname())
        except OSError as error:
            return str(error.strerror or error)
    return ""


def _ports(path: Path) -> tuple[int, int] | None:
    try:
        low, high = path.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return None


def _strange() -> dict[str, str]:
    return {name: odd for name in ("XDG_RUNTIME_DIR", "TMPDIR") if (odd := _odd(os.environ.get(name, "")))}


def _odd(value: str) -> str:
    """What is odd about a folder in the environment; nothing when it is not set."""
    if not value:
        return ""
    if not os.path.isabs(value):
        return f"{value} is no absolute path"
    try:
        found = os.stat(value)
    except OSError as error:
        return f"{value}: {error.strerror}"
    if not os.access(value, os.W_OK):
        return f"{value} cannot be written to"
    if found.st_uid not in (0, os.getuid()):
        return f"{value} belongs to another user: was this shell opened with su or sudo?"
    return ""


def loopback_port(facts: SocketFacts) -> Finding:
    if not facts.port_error:
        return Finding("loopback port", "ok", "opens and answers on 127.0.0.1")
    found = f"none answers on 127.0.0.1: {facts.port_error}"
    return Finding("loopback port", "problem", found, "sudo ip link set lo up; a firewall must let 127.0.0.1 through")


def port_range(facts: SocketFacts) -> Finding:
    if facts.ports is None:
        return Finding("port range", "ok", "the system's own")
    low, high = facts.ports
    if low < 1024 or high > 65535 or high - low < PORTS_NEEDED:
        fix = 'sudo sysctl net.ipv4.ip_local_port_range="32768 60999"'
        return Finding("port range", "warning", f"{low} to {high}: few free ports for --tcp", fix)
    return Finding("port range", "ok", f"{low} to {high}")


def socket_folder(facts: SocketFacts) -> Finding:
    name = "socket folder"
    if facts.folder_error:
        return Finding(
            name, "problem", facts.folder_error, "export XDG_RUNTIME_DIR=<a private folder on a local disk>, or launch with --tcp"
        )
    if facts.path_bytes > facts.path_limit:
        found = f"{facts.folder}: socket paths have {facts.path_bytes} bytes, the limit is {facts.path_limit}"
        return Finding(name, "problem", found, "export TMPDIR=/tmp, or launch with --tcp")
    return Finding(name, "ok", f"{facts.folder}, private; {facts.path_limit - facts.path_bytes} bytes left for names")


def dead_runs(facts: SocketFacts) -> Finding:
    if facts.dead:
        return Finding("dead runs", "note", f"{facts.dead} socket folders of launchers that were killed: cleared away now")
    return Finding("dead runs", "ok", "no socket folder was left behind")


def temporary_folders(facts: SocketFacts) -> Finding:
    name = "temporary folders"
    if facts.strange:
        found = "; ".join(f"{variable} {odd}" for variable, odd in facts.strange.items())
        return Finding(name, "warning", found, f"unset {' '.join(facts.strange)}")
    return Finding(name, "ok", "TMPDIR and XDG_RUNTIME_DIR are usable or not set")


CHECKS = (loopback_port, port_range, socket_folder, dead_runs, temporary_folders)
