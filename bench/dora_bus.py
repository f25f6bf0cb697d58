"""dora-rs, Python to Python under `dora run`, as one more loop of the bus benchmark. It drops what is not taken in time."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, TextIO

import msgspec
import psutil

from bench.bus_peers import Phase, Setup

PROJECT = Path(__file__).resolve().parents[1]
START_S, ANSWER_S = 30.0, 180.0
MISSING = "dora-rs is not installed: pip install -e '.[bench]'"


def installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("dora", "dora_cli", "pyarrow"))


class DoraLoop:
    """A publisher and its subscribers, told and asked through a socket in the folder."""

    name = "dora"

    def __init__(self, setup: Setup) -> None:
        folder = Path(setup.folder)
        names = [f"sub{index}" for index in range(setup.subscribers)]
        nodes = [_node(setup, "pub", "pub", {"outputs": ["frame"]})]
        nodes += [_node(setup, "sub", name, {"inputs": {"frame": "pub/frame"}}) for name in names]
        (folder / "dataflow.yml").write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
        with socket.socket(socket.AF_UNIX) as door, (folder / "dora.log").open("w") as log:
            door.bind(str(folder / "bench"))
            door.listen()
            door.settimeout(START_S)
            argv = [sys.executable, "-c", "from dora_cli import py_main; py_main()", "run", "dataflow.yml"]
            self.dora = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.ends: dict[str, TextIO] = {}
            try:
                for _ in nodes:
                    connection = door.accept()[0]
                    connection.settimeout(ANSWER_S)
                    end = connection.makefile("rw")
                    self.ends[end.readline().strip()] = end
                assert self.ends["pub"].readline() == "ready\n"
            except (OSError, AssertionError):
                self.end()
                raise RuntimeError(f"dora has not started: {(folder / 'dora.log').read_text()[-1000:]}") from None
        self.subs = [self.ends[name] for name in names]

    def run(self, phase: Phase) -> dict[str, Any]:
        """As `bus.Loop.run`; with the CPU of dora's own process."""
        daemon = psutil.Process(self.dora.pid)
        before = daemon.cpu_times()
        self.ends["pub"].write(msgspec.json.encode(phase).decode() + "\n")
        self.ends["pub"].flush()
        sent = json.loads(self.ends["pub"].readline())
        subs = [{**json.loads(end.readline()), "lost": 0} for end in self.subs]  # it drops, and changes the order: the counts tell
        after = daemon.cpu_times()
        return {**sent, "subs": subs, "daemon_cpu_s": after.user + after.system - before.user - before.system}

    def end(self) -> None:
        """Nothing of dora is left."""
        ours = psutil.Process(self.dora.pid)
        for process in [*ours.children(recursive=True), ours]:
            process.kill()
        self.dora.wait()
        for end in self.ends.values():
            end.close()


def _node(setup: Setup, role: str, name: str, ends: dict[str, Any]) -> dict[str, Any]:
    told = msgspec.json.encode(msgspec.structs.replace(setup, name=name)).decode()
    path = os.pathsep.join([str(PROJECT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return {"id": name, "path": sys.executable, "args": f"-m bench.dora_peers {role} '{told}'", "env": {"PYTHONPATH": path}, **ends}
