"""toddle itself: what is installed, what is in its way, what is running."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toddle.doctor.finding import Finding

KEYS = Path("~/.config/toddle/keys")


@dataclass(frozen=True, kw_only=True)
class OwnFacts:
    """`foreign` is where another `launch` was found; `running` are processes by run; `open_keys` are paths that others may enter."""

    version: str
    commit: str
    foreign: str
    python_path: str
    ros: str
    running: Mapping[str, int]
    keys: str
    open_keys: Sequence[str]


def gather(foreign: str) -> OwnFacts:
    from launch.rundir import root, still_running, versions

    found = versions()
    runs = root(None)
    folders = sorted(runs.iterdir()) if runs.is_dir() else []
    keys = Path(os.environ.get("TODDLE_KEYS") or KEYS.expanduser())
    return OwnFacts(
        version=found.get("toddle", ""), commit=found.get("git", ""), foreign=foreign, python_path=os.environ.get("PYTHONPATH", ""),
        ros=os.environ.get("ROS_DISTRO", ""), running={one.name: pid for one in folders if (pid := still_running(one)) is not None},
        keys=str(keys) if keys.exists() else "", open_keys=_open(keys),
    )  # fmt: skip


def _open(keys: Path) -> list[str]:
    """What is not this user's alone: the folder, and files in it; public keys (`.pub`) may be read, not written."""
    if os.name != "posix" or not keys.exists():
        return []
    found = ((path, path.stat()) for path in (keys, *sorted(keys.rglob("*"))))
    barred = {".pub": 0o022}
    return [str(path) for path, status in found if status.st_mode & barred.get(path.suffix, 0o077) or status.st_uid != os.getuid()]


def version(facts: OwnFacts) -> Finding:
    if not facts.version:
        return Finding("version", "warning", "toddle is used without being installed", "python -m pip install -c constraints.txt -e .")
    return Finding("version", "ok", f"{facts.version}{f', checkout {facts.commit}' if facts.commit else ''}")


def launch_package(facts: OwnFacts) -> Finding:
    name = "launch package"
    if facts.foreign == "nowhere":
        return Finding(name, "problem", "missing: `toddle launch` cannot start", "python -m pip install -c constraints.txt -e .")
    ros = "/ros/" in facts.python_path or bool(facts.ros)
    if facts.foreign:
        found = (
            f"another package named 'launch' is in the way: {facts.foreign}{' (ROS 2)' if ros else ''}; `toddle launch` refuses to start"
        )
        return Finding(name, "problem", found, "env -u PYTHONPATH toddle ..., or unset PYTHONPATH")
    if ros:
        found = f"ours; this is a ROS shell{f' ({facts.ros})' if facts.ros else ''}: nodes are started without its PYTHONPATH"
        return Finding(name, "note", found, "a node that needs it: env: {PYTHONPATH: ...} in the launch file")
    return Finding(name, "ok", "ours")


def running_graphs(facts: OwnFacts) -> Finding:
    if not facts.running:
        return Finding("running graphs", "ok", "none here")
    found = ", ".join(f"{name} (process {pid})" for name, pid in facts.running.items())
    return Finding("running graphs", "note", f"{found}: what was measured here was measured beside it")


def keys(facts: OwnFacts) -> Finding:
    if not facts.keys:
        return Finding("keys", "ok", "none: graphs stay on this machine")
    if facts.open_keys:
        found = f"others may use {', '.join(facts.open_keys[:3])}{' ...' if len(facts.open_keys) > 3 else ''}"
        return Finding("keys", "problem", found, f"chmod -R go= {facts.keys}; if others use this machine, make new keys")
    return Finding("keys", "ok", f"{facts.keys}, yours alone")


CHECKS = (version, launch_package, running_graphs, keys)
