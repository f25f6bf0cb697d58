"""A run's folder `runs/<name>/`: what was started, with which versions, from which launch file."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any

import msgspec
import psutil
import yaml

from launch.errors import LaunchError
from launch.graph import Graph, Table
from protocol.files import write_whole
from protocol.wiring import Wiring

PACKAGES = ("numpy", "pyzmq", "msgpack", "msgspec", "lmdb", "torch", "timm", "opencv-python")
MARKER = "run.json"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


def root(given: str | None) -> Path:
    """Where runs live: `--runs`, TODDLE_RUNS, or `runs` here."""
    return Path(given or os.environ.get("TODDLE_RUNS") or "runs")


def default_name(file: Path, folder: Path) -> str:
    """`<launch file>-<date>-<time>`, made unique."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "run"
    name = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    count = 2
    unique = name
    while (folder / unique).exists():
        unique, count = f"{name}-{count}", count + 1
    return unique


def make(folder: Path, name: str, *, resume: bool = False, overwrite: bool = False) -> Path:
    """The run's folder, new unless `resume` (goes on in it) or `overwrite` (deletes an old run first)."""
    if not _NAME.match(name):
        raise LaunchError("", 0, f"run name '{name}' is no folder name; use letters, digits, . - _")
    path = folder / name
    if path.exists():
        if not (resume or overwrite):
            raise LaunchError("", 0, f"run '{name}' is there already ({path}); take another --name, --resume or --overwrite")
        if not (path / MARKER).is_file():
            raise LaunchError("", 0, f"{path} is not a run of toddle ({MARKER} is missing); it is left as it is")
        if (pid := still_running(path)) is not None:
            raise LaunchError("", 0, f"run '{name}' is still running (process {pid}); stop it first")
        if overwrite:
            shutil.rmtree(path)
    elif resume:
        raise LaunchError("", 0, f"no run '{name}' to resume in {folder}")
    try:
        for part in ("wiring", "logs"):
            (path / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError("", 0, f"cannot make {path}: {error.strerror}; give another place with --runs") from None
    (path / "summary.json").unlink(missing_ok=True)
    return path.resolve()


class _Owner(msgspec.Struct):
    pid: int


def still_running(path: Path) -> int | None:
    """The launcher's process, while it is the one that wrote the run's table; of a training without a graph, that one's."""
    table = path / "graph.json"
    try:
        written_by = table if table.is_file() else path / MARKER
        pid = msgspec.json.decode(written_by.read_bytes(), type=_Owner).pid
        written = written_by.stat().st_mtime
        born = psutil.Process(pid).create_time()
    except (OSError, msgspec.MsgspecError, psutil.Error, ValueError, RecursionError):  # a process number may be nonsense, too
        return None
    done = (path / "summary.json").exists()
    return pid if born <= written + 1 and not done and pid != os.getpid() else None


def versions() -> dict[str, str]:
    """Versions of what may change a result, without importing any of it."""
    found = {"python": python_version(), "platform": platform(), "toddle": _version("toddle-robotics")}
    found.update({name: _version(name) for name in PACKAGES})
    commit = _git_commit()
    if commit:
        found["git"] = commit
    return {name: value for name, value in found.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git_commit() -> str:
    here = Path(__file__).resolve().parent.parent
    git = shutil.which("git")
    if git is None or not (here / ".git").exists():
        return ""
    try:
        said = subprocess.run(
            [git, "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()


def write(path: Path, graph: Graph, wiring: Mapping[str, Wiring], table: Table, command: Sequence[str]) -> dict[str, str]:
    """Everything known before the first process starts; returns the versions."""
    resolved = resolved_file(graph)
    write_whole(path / "launch.json", _json(resolved))
    write_whole(path / "launch.yaml", yaml.safe_dump(resolved, sort_keys=False).encode())
    for name, one in wiring.items():
        one.write(path / "wiring" / f"{name}.json")
    found = versions()
    facts = {
        "run": table.run, "command": list(command), "cwd": os.getcwd(), "seed": graph.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "versions": found,
    }  # fmt: skip
    write_whole(path / MARKER, _json(facts))
    write_whole(path / "graph.json", _json(table))
    return found


def resolved_file(graph: Graph) -> dict[str, Any]:
    """The launch file with nothing left to fill in: it starts the same graph again."""
    nodes: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        plain = msgspec.to_builtins(node)
        plain.pop("if", None)
        nodes[name] = {**plain, "params": msgspec.to_builtins(graph.configs[name])}
    top: dict[str, Any] = {"description": graph.description, "seed": graph.seed, "time_limit_s": graph.time_limit_s}
    if graph.hosts:
        top |= {"hosts": graph.hosts, "base_port": graph.base_port}
    return {**top, "nodes": nodes}


def shown(path: Path) -> str:
    """A path as a person here would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _json(thing: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(thing), indent=2) + b"\n"
