"""Who gets in over tcp: the graph's own nodes and who is allowed; strangers, revoked keys and clients without keys do not."""

import socket as stdlib_socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq

from protocol import codec, control, keys
from protocol import messages as m
from protocol.bus import Bus
from protocol.errors import BindError, ControlError, KeysError
from protocol.ports import free_ports
from protocol.wiring import Endpoints, Peer, Wiring

ROBOT, RECORDER, VIEWER = [("robot", "robot")], [("rec", "recorder")], [("view", "viewer")]


class Keyed:
    """A graph whose tcp endpoints are guarded by the key `robot-pc`, and other machines with keys of their own."""

    def __init__(self, graph: Any, folder: Path) -> None:
        self.graph, self.home = graph, folder / "robot-pc"
        self.key = keys.new(self.home, "robot-pc")
        self.host = self.bound = "127.0.0.1"
        self._ends: dict[str, Endpoints] = {}
        graph.endpoints, graph.peer = self.endpoints, self.peer

    def endpoints(self, name: str) -> Endpoints:
        if name not in self._ends:
            self._ends[name] = Endpoints(*(f"tcp://{self.host}:{port}" for port in free_ports(3, self.host)))
        return self._ends[name]

    def peer(self, name: str, kind: str) -> Peer:
        return Peer(name, kind, self.endpoints(name), self.key)

    def bus(self, name: str, kind: str, **wired: Any) -> Bus:
        """A node of the graph."""
        bound = Endpoints(*(end.replace(self.host, self.bound) for end in self.ends(name)))
        return self.graph.bus(name, kind, endpoints=bound, identity="robot-pc", keys_dir=str(self.home), **wired)

    def ends(self, name: str) -> list[str]:
        ends = self.endpoints(name)
        return [ends.latest, ends.reliable, ends.control]

    def machine(self, name: str, *, allowed: bool = False) -> Path:
        """Another machine's folder of keys."""
        folder = self.home.parent / name
        key = keys.new(folder, name)
        if allowed:
            keys.allow(self.home, name, key)
        return folder

    def outsider(self, name: str, folder: Path | None, kind: str = "viewer", server_key: str | None = None) -> Bus:
        """Somebody on another machine who has graph.json, and a key or none."""
        key = (self.key if server_key is None else server_key) if folder else ""
        ends = Endpoints(*(f"ipc://{self.graph.folder}/{len(self.graph.buses)}.{lane}" for lane in "lrc"))
        robot = Peer("robot", "robot", self.endpoints("robot"), key)
        wiring = Wiring(
            run="test", run_dir=".", name=name, kind=kind, endpoints=ends, inputs=[robot], max_age_s=1e6,
            identity=name if folder else "", keys_dir=str(folder or ""),
        )  # fmt: skip
        bus = Bus(wiring)
        self.graph.buses.append(bus)
        bus.start()
        bus.subscribe()
        return bus


@pytest.fixture
def keyed(graph: Any, tmp_path: Path) -> Keyed:
    return Keyed(graph, tmp_path)


def frame(bus: Bus, step: int) -> None:
    bus.publish("frame", m.Frame(), {"image/top": np.full((8, 8, 3), step % 256, np.uint8)}, episode=0, step=step)


def taken(bus: Bus) -> list[m.Message]:
    """Everything that waits."""
    found = []
    while (thing := bus.next(0)) is not None:
        assert isinstance(thing, m.Message)
        found.append(thing)
    return found


def test_the_nodes_of_a_graph_hear_each_other_on_both_lanes(keyed: Keyed, ready: Any, take: Any, settled: Any) -> None:
    robot = keyed.bus("robot", "robot", subscribers=[*RECORDER, *VIEWER])
    recorder, viewer = keyed.bus("rec", "recorder", inputs=ROBOT), keyed.bus("view", "viewer", inputs=ROBOT)
    ready(robot)
    for step in range(100):
        frame(robot, step)
    assert [one.envelope.step for one in take(recorder, "frame", 100)] == list(range(100))
    take(viewer, "frame", until=lambda found: bool(found) and found[-1].envelope.step == 99)
    assert viewer.request("robot", "detach", {"name": "nobody"}, 20.0) == {}
    closing = threading.Thread(target=robot.close)
    closing.start()
    settled(robot, recorder)
    closing.join()
    assert robot.status().refused == {}
    assert robot.warnings() == []


@pytest.mark.parametrize(("who", "reason"), [("stranger", "curve_stranger"), ("revoked", "curve_revoked"), ("plain", "curve_plain")])
def test_who_may_not_gets_nothing_and_is_counted_and_told(keyed: Keyed, ready: Any, take: Any, wait: Any, who: str, reason: str) -> None:
    robot = keyed.bus("robot", "robot", subscribers=RECORDER)
    recorder = keyed.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    folder = None if who == "plain" else keyed.machine(who, allowed=who == "revoked")
    if who == "revoked":
        keys.revoke(keyed.home, who)
    viewer, thief = keyed.outsider(who, folder), keyed.outsider(who, folder, "recorder")
    wait(lambda: robot.status().refused.get(reason, 0) >= 3, "both lanes of both to be refused")
    for step in range(100):
        frame(robot, step)
    assert len(take(recorder, "frame", 100)) == 100
    with pytest.raises(ControlError, match="no answer"):
        viewer.request("robot", "detach", {"name": "rec"}, 0.3)
    assert taken(viewer) == taken(thief) == []
    assert robot.status().confirmed == ["rec"]
    lines = robot.warnings()
    assert len(lines) == 1
    if folder is not None:
        assert "127.0.0.1" in lines[0]
        wait(lambda: viewer.status().refused.get("curve_not_allowed"))
        assert f"run there: toddle keys allow {who} '{keys.read_pair(folder, who).public}'" in viewer.warnings()[0]
    assert {"stranger": "refused a stranger", "revoked": "'revoked'", "plain": "showed no key"}[who] in lines[0]
    assert set(robot.status().refused) == {reason}


def test_who_was_refused_comes_in_by_itself_once_it_is_allowed(keyed: Keyed, take: Any, wait: Any) -> None:
    """zmq never knocks twice at a door that was shut; the bus does."""
    robot = keyed.bus("robot", "robot", subscribers=[("laptop", "recorder")])
    folder = keyed.machine("laptop")
    laptop = keyed.outsider("laptop", folder, "recorder")
    wait(lambda: robot.status().refused.get("curve_stranger", 0) >= 2, "both lanes to be refused")
    frame(robot, 0)
    keys.allow(keyed.home, "laptop", keys.read_pair(folder, "laptop").public)
    assert take(laptop, "frame")[0].envelope.step == 0


def test_who_is_allowed_gets_in_and_after_it_is_revoked_nothing_more(keyed: Keyed, take: Any, wait: Any, settled: Any) -> None:
    """Its live connections are cut; the graph's own nodes lose nothing on the reliable lane."""
    robot = keyed.bus("robot", "robot", subscribers=[*RECORDER, *VIEWER, ("laptop", "recorder")])
    recorder, viewer = keyed.bus("rec", "recorder", inputs=ROBOT), keyed.bus("view", "viewer", inputs=ROBOT)
    wait(lambda: robot.status().missing == ["laptop"])
    folder = keyed.machine("laptop", allowed=True)
    laptop, spy = keyed.outsider("laptop", folder), keyed.outsider("laptop", folder, "recorder")
    wait(lambda: not robot.status().missing)
    frame(robot, 0)
    assert take(laptop, "frame")[0].envelope.step == take(spy, "frame")[0].envelope.step == 0
    assert laptop.request("robot", "detach", {"name": "nobody"}, 20.0) == {}

    keys.revoke(keyed.home, "laptop")
    step, got, lines = 0, [], []

    def cut() -> bool:
        nonlocal step
        step += 1
        frame(robot, step)
        got.extend(one for one in taken(recorder) if one.kind == "frame")
        lines.extend(robot.warnings())
        return any("'laptop' is not allowed any more" in line for line in lines)

    wait(cut, "the connections to be cut")
    wait(lambda: robot.status().missing == ["laptop"], "the others to come back")
    wait(lambda: robot.status().refused.get("curve_revoked", 0) >= 2)
    taken(laptop), taken(spy)
    last = step + 50
    for later in range(step + 1, last + 1):
        frame(robot, later)
    got += take(recorder, "frame", until=lambda found: bool(found) and found[-1].envelope.step == last)
    assert [one.envelope.step for one in got] == list(range(last + 1))
    take(viewer, "frame", until=lambda found: bool(found) and found[-1].envelope.step == last)
    assert [one for one in [*taken(laptop), *taken(spy)] if one.envelope.step and one.envelope.step > step] == []
    with pytest.raises(ControlError, match="does it let 'laptop' in"):
        laptop.request("robot", "detach", {"name": "rec"}, 0.3)
    closing = threading.Thread(target=robot.close)
    closing.start()
    settled(robot, recorder)
    closing.join()
    assert all(count.lost == 0 for count in recorder.status().counts.values())


def test_who_is_allowed_later_gets_in_when_it_comes_again(keyed: Keyed, take: Any, wait: Any) -> None:
    robot = keyed.bus("robot", "robot")
    folder = keyed.machine("laptop")
    keyed.outsider("laptop", folder).close(0)
    refused = keyed.outsider("laptop", folder)
    wait(lambda: refused.status().refused.get("curve_not_allowed"))
    refused.close(0)
    keys.allow(keyed.home, "laptop", str(folder / "laptop.pub"))
    laptop = keyed.outsider("laptop", folder)
    wait(lambda: "laptop" in robot.status().confirmed)
    frame(robot, 1)
    assert take(laptop, "frame")[0].envelope.step == 1


def test_a_server_with_another_key_hears_and_says_nothing(keyed: Keyed, take: Any, wait: Any, ready: Any) -> None:
    """Whoever takes the robot's address is not taken for the robot; the robot itself is, once it is there."""
    public, secret = zmq.curve_keypair()
    with zmq.Context() as context:
        fakes = []
        for kind, endpoint in zip((zmq.XPUB, zmq.ROUTER, zmq.ROUTER), keyed.ends("robot"), strict=True):
            fake = context.socket(kind)
            fake.linger = 0
            fake.curve_server, fake.curve_publickey, fake.curve_secretkey = True, public, secret
            fake.bind(endpoint)
            fakes.append(fake)
        recorder = keyed.bus("rec", "recorder", inputs=ROBOT)
        wait(lambda: recorder.status().refused.get("curve_server", 0) >= 2)
        assert "does not have the key that it should" in recorder.warnings()[0]
        with pytest.raises(ControlError):
            recorder.request("robot", "stop", {}, 0.3)
        for fake in fakes:
            assert not fake.poll(0)
            fake.close(0)
    robot = keyed.bus("robot", "robot", subscribers=RECORDER)
    ready(robot)
    frame(robot, 7)
    assert take(recorder, "frame")[0].envelope.step == 7


def test_a_client_that_expects_another_key_is_refused(keyed: Keyed, wait: Any) -> None:
    robot = keyed.bus("robot", "robot")
    folder = keyed.machine("laptop", allowed=True)
    laptop = keyed.outsider("laptop", folder, server_key=zmq.curve_keypair()[0].decode())
    wait(lambda: robot.status().refused.get("curve_other_key") and laptop.status().refused.get("curve_server"))
    assert "its graph.json may be old" in robot.warnings()[0]


def outside_address() -> str:
    """An address of this machine that is not loopback, where it has one."""
    found = [a.address for all_ in psutil.net_if_addrs().values() for a in all_ if a.family == stdlib_socket.AF_INET]
    return next((address for address in found if not address.startswith("127.")), "127.0.0.1")


def test_off_loopback_with_a_key_and_an_allow_list(keyed: Keyed, take: Any, wait: Any) -> None:
    keyed.host, keyed.bound = outside_address(), "0.0.0.0"
    robot = keyed.bus("robot", "robot", subscribers=RECORDER)
    recorder = keyed.bus("rec", "recorder", inputs=ROBOT)
    stranger = keyed.outsider("stranger", keyed.machine("stranger"))
    wait(lambda: robot.status().refused.get("curve_stranger") and not robot.status().missing)
    frame(robot, 3)
    assert take(recorder, "frame")[0].envelope.step == 3
    assert taken(stranger) == []


def test_off_loopback_without_an_allow_list_nothing_is_bound(keyed: Keyed) -> None:
    (keyed.home / "allowed").rmdir()
    keyed.bound = "0.0.0.0"
    with pytest.raises(BindError, match="toddle keys allow"):
        keyed.bus("robot", "robot")


def test_what_is_wrong_with_keys_is_said_before_anything_is_bound(keyed: Keyed, tmp_path: Path) -> None:
    robot = Peer("robot", "robot", keyed.endpoints("robot"), keyed.key)
    far = Peer("robot", "robot", Endpoints(*(f"tcp://192.168.1.7:{port}" for port in (1, 2, 3))))
    for wired, said in (
        ({"identity": "nobody", "keys_dir": str(keyed.home)}, "no key 'nobody'"), ({"inputs": [robot]}, "give --key NAME"),
        ({"peers": [robot]}, "give --key NAME"), ({"inputs": [far]}, "has no key"), ({"peers": [far]}, "has no key"),
    ):  # fmt: skip
        ends = Endpoints(*(f"ipc://{tmp_path}/{lane}" for lane in "lrc"))
        wiring = Wiring(run="t", run_dir=".", name="view", kind="viewer", endpoints=ends, **wired)
        with pytest.raises(KeysError, match=said) as caught:
            Bus(wiring).start()
        assert "\n" not in str(caught.value)
        assert list(tmp_path.glob("?")) == []


def test_a_crowd_at_the_door_is_counted_and_told_in_one_line(keyed: Keyed, take: Any, wait: Any, ready: Any) -> None:
    """Bytes that are no handshake, and a hundred strangers; the graph goes on."""
    robot = keyed.bus("robot", "robot", subscribers=RECORDER)
    recorder = keyed.bus("rec", "recorder", inputs=ROBOT)
    ready(robot)
    for endpoint in keyed.ends("robot"):
        host, port = endpoint.removeprefix("tcp://").split(":")
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"\xff" * 200, b""):
            with stdlib_socket.create_connection((host, int(port))) as plain:
                plain.sendall(noise)
    with zmq.Context() as context:
        strangers = []
        for _ in range(100):
            pair = keys.KeyPair(keyed.home, "x", *(half.decode() for half in zmq.curve_keypair()))
            stranger = context.socket(zmq.SUB)
            stranger.linger = 0
            pair.call(stranger, keyed.key)
            stranger.subscribe(b"")
            stranger.connect(keyed.ends("robot")[0])
            strangers.append(stranger)
        wait(lambda: robot.status().refused.get("curve_stranger", 0) >= 100)
        context.destroy(0)
    frame(robot, 5)
    assert take(recorder, "frame")[0].envelope.step == 5
    assert len([line for line in robot.warnings() if "stranger" in line]) <= 2


def test_a_node_of_the_graph_that_restarts_gets_in_again(keyed: Keyed, ready: Any, take: Any) -> None:
    robot = keyed.bus("robot", "robot", subscribers=RECORDER)
    for step in range(3):
        recorder = keyed.bus("rec", "recorder", inputs=ROBOT)
        ready(robot)
        frame(robot, step)
        take(recorder, "frame", until=lambda found, step=step: bool(found) and found[-1].envelope.step == step)
        recorder.close(0)


def test_no_secret_is_in_the_wiring_file(keyed: Keyed, tmp_path: Path) -> None:
    bus = keyed.bus("robot", "robot")
    path = tmp_path / "robot.json"
    bus.wiring.write(path)
    pair = keys.read_pair(keyed.home, "robot-pc")
    assert pair.secret not in path.read_text()
    assert "robot-pc" in path.read_text()


def test_a_control_request_from_a_plain_socket_is_not_answered(keyed: Keyed, wait: Any) -> None:
    robot = keyed.bus("robot", "robot")
    with zmq.Context() as context:
        with pytest.raises(ControlError, match="no answer"):
            control.ask(context, keyed.ends("robot")[2], "detach", {"name": "x"}, "test", 0.3)
        wait(lambda: robot.status().refused.get("curve_plain"))
        own = keys.read_pair(keyed.home, "robot-pc")
        assert control.ask(context, keyed.ends("robot")[2], "detach", {"name": "x"}, "test", 20.0, own, keyed.key) == {}


def test_weights_are_taken_from_their_trainer_only(graph: Any, take: Any, wait: Any, examples: Any) -> None:
    """Not from a robot that speaks in the trainer's name, nor from a robot that trains."""
    inputs = [("trainer", "trainer"), *ROBOT]
    predictor = graph.bus("pred", "predictor", inputs=inputs)
    body, arrays = examples["weights"]
    with zmq.Context() as context:
        doors = {}
        for name, _ in inputs:
            door = doors[name] = context.socket(zmq.XPUB)
            door.linger = 0
            door.bind(graph.endpoints(name).latest)
            while not door.recv().startswith(b"\x01~hello"):  # sent last
                pass

        def send(door: str, node: str, source: str, seq: int) -> None:
            envelope = m.Envelope(topic=f"weights/{node}", source=source, run="r", seq=seq, t_ns=1, mono_ns=1)
            doors[door].send_multipart(codec.encode(m.Message(envelope=envelope, body=body, arrays=arrays)))

        send("robot", "trainer", "robot", 0)
        send("robot", "robot", "robot", 0)
        wait(lambda: predictor.status().refused.get("source") == 1)
        send("trainer", "trainer", "trainer", 0)
        found = take(predictor, "weights")
        assert [one.envelope.source for one in found] == ["trainer"]
        assert predictor.status().refused == {"source": 1}
        for door in doors.values():
            door.close()
