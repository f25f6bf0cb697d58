"""Where a graph may be reached from other machines: only with a key, and with somebody who is allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from launch import endpoints, run, rundir
from launch.errors import LaunchError
from launch.graph import resolve, table, wirings
from launch.identity import describe, identity
from launch.loader import load
from protocol import keys

Write = Callable[..., Path]
NODES = """
nodes:
  robot: {kind: robot, inputs: [predictor]}
  predictor: {kind: predictor, inputs: [robot]}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    monkeypatch.setenv("TODDLE_KEYS", str(folder))
    return folder


def refusal(file: Path) -> str:
    with pytest.raises(LaunchError) as caught:
        identity(load(file))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "'::1'", "127.0.0.2"])
def test_loopback_needs_no_key(write: Write, home: Path, host: str) -> None:
    assert identity(load(write(f"transport: tcp\nhost: {host}\n" + NODES))) is None


@pytest.mark.parametrize("host", ["192.168.1.7", "10.0.0.1", "'fd00::1'", "'fe80::1%eth0'", "8.8.8.8"])
def test_other_machines_need_a_key_and_an_allow_list(write: Write, home: Path, host: str) -> None:
    file = write(f"transport: tcp\nhost: {host}\n" + NODES)
    assert refusal(file).startswith(f"{file}:2: host ") and "run `toddle keys new` and start with --key NAME" in refusal(file)
    file = write(f"transport: tcp\nhost: {host}\nkey: pc\n" + NODES)
    assert refusal(file) == f"{file}:3: no key 'pc' in {home}; run `toddle keys new pc`"
    public = keys.new(home, "pc")
    assert "nobody is allowed to connect: run `toddle keys allow NAME KEY`" in refusal(file)
    keys.allow(home, "laptop", zmq.curve_keypair()[0].decode())
    pair = identity(load(file))
    assert pair is not None
    assert pair.public == public
    assert describe(pair) == "key pc; allowed to connect: laptop"


@pytest.mark.parametrize(("host", "said"), [("0.0.0.0", "every address"), ("'::'", "every address"), ("eth0", "no IP"), ("'*'", "no IP")])
def test_a_host_is_one_address(write: Write, home: Path, host: str, said: str) -> None:
    keys.new(home, "pc")
    keys.allow(home, "laptop", zmq.curve_keypair()[0].decode())
    assert said in refusal(write(f"transport: tcp\nhost: {host}\nkey: pc\n" + NODES))


def test_an_address_of_another_machine(write: Write, home: Path) -> None:
    file = write("transport: tcp\nhost: 203.0.113.7\n" + NODES)
    with pytest.raises(LaunchError, match="is no address of this machine"):
        endpoints.assign(load(file), None)


def test_the_public_key_goes_to_everybody_the_secret_to_nobody(write: Write, home: Path, tmp_path: Path) -> None:
    keys.new(home, "pc")
    launch = load(write("transport: tcp\nkey: pc\n" + NODES))
    pair = identity(launch)
    assert pair is not None
    graph = resolve(launch, {})
    path = rundir.make(tmp_path / "runs", "r")
    told = wirings(graph, endpoints.assign(launch, None), "r", path, pair)
    rundir.write(path, graph, told, table(graph, told, 1), ["toddle"])
    for wiring in told.values():
        assert (wiring.identity, wiring.keys_dir) == ("pc", str(home))
        assert {peer.key for peer in [*wiring.inputs, *wiring.peers]} == {pair.public}
    assert table(graph, told, 1).launcher.key == pair.public
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert not [file for file in files if pair.secret in file.read_text()]


def test_a_key_on_the_command_line_is_a_wish_for_tcp(write: Write, home: Path, tmp_path: Path) -> None:
    keys.new(home, "pc")
    said = run.dry_run(run.Options(file=write(NODES), runs=str(tmp_path / "runs"), name="demo", key="pc"), run.Hooks())
    assert "tcp://127.0.0.1" in said
    assert said.endswith("key pc; allowed to connect: nobody but this graph")
    with pytest.raises(LaunchError, match="toddle keys new"):
        run.plan(run.Options(file=write(NODES), runs=str(tmp_path / "runs"), name="demo", host="192.168.1.7"), run.Hooks())
