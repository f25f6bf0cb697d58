"""The resolved graph: wirings, endpoints, and what a dry run says."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from launch import endpoints, run
from launch.errors import LaunchError
from launch.graph import Graph, resolve, table, wirings
from launch.loader import Launch, load
from protocol.wiring import read_wiring

Write = Callable[..., Path]
TEXT = """
nodes:
  viewer: {kind: viewer, inputs: [robot, predictor], required: false}
  robot: {kind: robot, inputs: [predictor], params: {rate_hz: 10, size: 100}, ring_mb: 8, after: [predictor], on_full: count}
  predictor: {kind: predictor, inputs: [robot]}
  recorder: {kind: recorder, inputs: [robot, predictor, viewer]}
"""


def both(file: Path) -> tuple[Launch, Graph]:
    launch = load(file)
    return launch, resolve(launch, {})


def test_orders(write: Write) -> None:
    _, graph = both(write(TEXT))
    assert list(graph.nodes) == ["viewer", "predictor", "robot", "recorder"]
    assert graph.go_order == ["recorder", "viewer", "predictor", "robot"]
    assert graph.stop_tiers == [["robot"], ["predictor", "viewer"], ["recorder"]]


def test_wirings(write: Write, tmp_path: Path) -> None:
    launch, graph = both(write(TEXT))
    ends = endpoints.assign(launch, Path("/tmp/t"))
    wiring = wirings(graph, ends, "r", tmp_path)
    robot = wiring["robot"]
    assert [peer.name for peer in robot.inputs] == ["predictor"]
    assert [one.name for one in robot.subscribers] == ["viewer", "predictor", "recorder", "launcher"]
    assert {peer.name for peer in robot.peers} == {"viewer", "predictor", "recorder", "launcher"}
    assert (robot.ring_bytes, robot.on_full) == (8 << 20, "count")
    assert robot.params == {"rate_hz": 10, "size": 100}
    launcher = wiring["launcher"]
    assert [peer.name for peer in launcher.inputs] == list(graph.nodes)
    assert [peer.name for peer in table(graph, wiring, 1).nodes] == list(graph.nodes)
    robot.write(tmp_path / "robot.json")
    assert read_wiring(tmp_path / "robot.json") == robot


def test_ipc_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = endpoints.private_folder()
    for one in (folder, folder.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
    (folder / "pid").write_text("999999999")
    again = endpoints.private_folder()
    assert not folder.exists(), "left over by a launcher that was killed"
    again.parent.chmod(0o755)
    with pytest.raises(LaunchError, match="not a private folder of yours"):
        endpoints.private_folder()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_ipc_folder_is_private_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int) -> None:
    """The sockets in it may have any mode: nobody else gets as far."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = os.umask(umask)
    try:
        folder = endpoints.private_folder()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder, folder.parent)} == {0o700}


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    us = os.getuid()
    (tmp_path / f"toddle-{us + 1}").mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"toddle-{us}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LaunchError, match="not a private folder of yours"):
        endpoints.private_folder()
    monkeypatch.setattr("os.getuid", lambda: us + 1)
    with pytest.raises(LaunchError, match="not a private folder of yours"):
        endpoints.private_folder()


def test_a_path_too_long_for_a_socket(write: Write) -> None:
    launch, _ = both(write(TEXT))
    with pytest.raises(LaunchError, match=r"socket path has .* bytes, the limit is 107"):
        endpoints.assign(launch, Path("/tmp") / ("x" * 100))


def test_tcp_ports_follow_base_port(write: Write) -> None:
    for base in range(20_000, 30_000, 100):  # the first stretch that nobody else uses
        launch, _ = both(write(f"transport: tcp\nbase_port: {base}\n" + TEXT))
        assert endpoints.wants_tcp(launch)
        try:
            ends = endpoints.assign(launch, None)
            break
        except LaunchError:
            continue
    assert ends["viewer"].latest == f"tcp://127.0.0.1:{base}"
    assert ends["launcher"].control == f"tcp://127.0.0.1:{base + 14}"


def test_a_taken_port_gets_one_line(write: Write) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        file = write(f"transport: tcp\nbase_port: {port}\n" + TEXT)
        launch, _ = both(file)
        with pytest.raises(LaunchError) as caught:
            endpoints.assign(launch, None)
    assert str(caught.value) == f"{file}:2: port {port} on 127.0.0.1 is taken; give another base_port, or 0 for free ports"


def test_dry_run_says_everything_and_makes_nothing(write: Write, tmp_path: Path) -> None:
    hooks = run.Hooks(estimates={"robot": lambda params: params["size"] ** 2 * 3}, room=lambda params: 170 << 20)
    said = run.dry_run(run.Options(file=write(TEXT), runs=str(tmp_path / "runs"), name="demo"), hooks)
    assert "start order viewer -> predictor -> robot -> recorder" in said
    assert "stop order  robot -> predictor + viewer -> recorder" in said
    assert "hears robot  reliable: robot, episode, frame, action, probe" in said
    assert "hears robot  latest: robot, episode, frame, action" in said
    assert "robot.latest.ipc" in said
    assert "ring 8 MB, when full: count, holds 28 s at this run's rate" in said
    assert "recorder writes at most 17 MB a minute, before compression; 170 MB free above the floor: 10 min at least" in said
    limited = run.dry_run(run.Options(file=tmp_path / "g.yaml", runs=str(tmp_path / "runs"), name="demo", time_limit_s=3600), hooks)
    assert "recorder WARNING, if nothing can be compressed the disk will do for 10 min of the 60 min to come" in limited
    assert "WARNING" not in said
    assert not (tmp_path / "runs").exists()


def test_the_launch_files_of_the_repository_resolve(tmp_path: Path) -> None:
    (tmp_path / "session.json").touch()  # a replay is checked for its session before anything starts
    folder = Path(__file__).parents[2] / "launch"
    from toddle.launch import hooks

    for name, sets in (("online", []), ("replay", [f"session={tmp_path}"]), ("run", ["confirm=true"])):
        graph = resolve(load(folder / f"{name}.yaml", sets, {"run": "r", "run_dir": os.curdir}), hooks().kinds)
        assert graph.description
        assert not graph.nodes["viewer"].required
