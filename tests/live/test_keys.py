"""A whole run over tcp with a key: its nodes lose nothing; others watch while they are allowed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import zmq

from protocol import control, keys

from .conftest import PROJECT, SMALL, Bench, Run, check_law, wait_for


class Laptop:
    """`toddle view graph.json --key NAME`, as on another machine: with keys of its own."""

    def __init__(self, bench: Bench, run: Run, name: str) -> None:
        self.folder, self.name = bench.folder / name, name
        self.key = keys.new(self.folder, name)
        self._bench, self._run = bench, run
        self._process: subprocess.Popen[bytes] | None = None

    def view(self) -> None:
        command = [sys.executable, "-m", "toddle", "view", str(self._run.path / "graph.json"), "--key", self.name]
        with (self.folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [*command, "--out", str(self.folder / "out")], cwd=PROJECT, stdout=said, stderr=said,
                env={**self._bench.env(), "TODDLE_KEYS": str(self.folder)},
            )  # fmt: skip

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def watches(self) -> bool:
        assert self._process is not None
        return f"view-{self._process.pid}" in self._run.status("robot").get("confirmed", ())

    def received(self) -> dict[str, int]:
        """How many messages its viewer has, by topic: its own heartbeat says so."""
        assert self._process is not None
        sockets = (str(socket.laddr) for socket in psutil.Process(self._process.pid).net_connections("unix"))
        (place,) = {path for path in sockets if path.endswith("/control")}
        with zmq.Context() as context:
            status = control.ask(context, f"ipc://{place}", "status", {}, "a test", 10.0)["status"]
        return {topic: count["received"] for topic, count in status["counts"].items() if count["received"]}

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def laptops() -> Iterator[list[Laptop]]:
    made: list[Laptop] = []
    yield made
    for one in made:
        one.end()


def test_a_run_over_tcp_with_a_key(bench: Bench, laptops: list[Laptop]) -> None:
    home = Path(bench.env()["TODDLE_KEYS"])
    keys.new(home, "robot-pc")
    run = bench.launch("run.yaml", "far", "--key", "robot-pc", options=SMALL, timing="lockstep", rate_hz=100)
    run.running()
    friend, stranger = Laptop(bench, run, "friend"), Laptop(bench, run, "stranger")
    laptops += [friend, stranger]
    assert bench.toddle("keys", "allow", "friend", str(friend.folder / "friend.pub")).returncode == 0
    friend.view()
    stranger.view()
    wait_for(friend.watches, "the friend watches")
    wait_for(lambda: f"toddle keys allow stranger '{stranger.key}'" in stranger.said(), "the stranger is told why it sees nothing")
    wait_for(lambda: "frame/robot" in friend.received(), "the friend has frames")
    assert not stranger.watches() and stranger.received() == {}
    assert bench.toddle("keys", "revoke", "friend").returncode == 0
    wait_for(lambda: "does not let 'friend' in" in friend.said(), "the friend is cut off")
    wait_for(lambda: not friend.watches() and not run.status("robot").get("missing", ["?"]), "all others are back")
    assert run.status("robot")["refused"]["curve_stranger"] >= 1
    steps = run.status("robot")["last_seq"]["frame/robot"]
    wait_for(lambda: run.status("robot")["last_seq"]["frame/robot"] > steps + 50, "the run goes on")
    assert stranger.received() == {}, "nor anything later"
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert "refused a stranger at 127.0.0.1" in output
    assert "'friend' is not allowed any more" in output
