"""What a launcher of several hosts decides, without processes: who is where, who is met, when to go and when to end."""

from pathlib import Path
from typing import Any

import pytest

from launch import run
from launch.board import Board
from launch.errors import LaunchError
from launch.graph import Graph, table, wirings
from launch.hosts import Hosts, answer
from launch.readiness import Readiness
from launch.schema import NodeSpec
from launch.stopping import Limits, Stopper
from launch.summary import summarise
from launch.supervisor import End
from protocol import keys
from protocol.errors import ControlError
from protocol.messages import Body, Envelope, Message, Status
from protocol.wiring import Endpoints
from toddle.launch import hooks

FILE = """
base_port: 27000
hosts: {robot-pc: 127.0.0.1, gpu-pc: 127.0.0.2}
nodes:
  robot: {kind: robot, host: robot-pc, inputs: [predictor]}
  predictor: {kind: predictor, host: gpu-pc, inputs: [robot], params: {model: none}}
  recorder: {kind: recorder, host: gpu-pc, inputs: [robot, predictor]}
"""
WRONG = {
    "base_port: 27000": ("base_port: 0", "several hosts need a base_port"),
    "robot: {kind: robot, host: robot-pc": ("robot: {kind: robot", "node robot must name its host: robot-pc or gpu-pc"),
    "recorder: {kind: recorder, host: gpu-pc": ("recorder: {kind: recorder, host: gpu", "did you mean 'gpu-pc'"),
    "gpu-pc: 127.0.0.2}": ("gpu-pc: 127.0.0.2, third: 127.0.0.3}", "host 'third' has no node"),
    "gpu-pc: 127.0.0.2": ("gpu-pc: gpu.local", "'gpu.local' is no IP address"),
    "hosts: {robot-pc: 127.0.0.1": ("key: mine\nhosts: {robot-pc: 127.0.0.1", "'key' does not go with 'hosts'"),
    "{robot-pc: 127.0.0.1": ("{Robot: 127.0.0.3, robot-pc: 127.0.0.1", "'Robot' cannot name a host"),
    "hosts: {robot-pc: 127.0.0.1, gpu-pc: 127.0.0.2}": ("", "--on robot-pc: the file names no hosts"),
}  # fmt: skip


def plan(folder: Path, text: str = FILE, on: str = "robot-pc", **options: Any) -> run.Plan:
    file = folder / "g.yaml"
    file.write_text(text)
    return run.plan(run.Options(file=file, on=on, name="r", runs=str(folder), **options), hooks())


@pytest.mark.parametrize("right", WRONG)
def test_a_wrong_file_gets_one_line(right: str, tmp_path: Path) -> None:
    wrong, said = WRONG[right]
    with pytest.raises(LaunchError, match=r"g\.yaml:\d+: ") as refused:
        plan(tmp_path, FILE.replace(right, wrong, 1))
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("on", "said"), [("", "say which one this is with --on NAME"), ("gpu", "no such host; there are robot-pc")])
def test_who_this_is_must_be_said(on: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=said):
        plan(tmp_path, on=on)


def test_both_hosts_mean_the_same_graph(tmp_path: Path) -> None:
    from launch.endpoints import assign

    plans = [plan(tmp_path, on=on) for on in ("robot-pc", "gpu-pc")]
    ends = [assign(one.launch, None) for one in plans]
    assert ends[0] == ends[1]
    assert ends[0]["launcher-robot-pc"].latest == "tcp://127.0.0.1:27000"
    assert ends[0]["recorder"].control == "tcp://127.0.0.2:27014"
    assert plans[0].graph.digest() == plans[1].graph.digest()
    assert [one.graph.here for one in plans] == [["robot"], ["predictor", "recorder"]]
    other = plan(tmp_path, FILE.replace("27000", "28000"))
    assert other.graph.digest() != plans[0].graph.digest()


def test_each_host_proves_its_own_key_and_pins_that_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TODDLE_KEYS", str(tmp_path / "keys"))
    own = keys.new(tmp_path / "keys", "robot-pc")
    with pytest.raises(LaunchError, match="run there `toddle keys new gpu-pc`, and here `toddle keys allow gpu-pc KEY`"):
        plan(tmp_path, key="robot-pc")
    theirs = keys.new(tmp_path / "there", "gpu-pc")
    keys.allow(tmp_path / "keys", "gpu-pc", theirs)
    made = plan(tmp_path, key="robot-pc")
    ends = {name: Endpoints("a", "b", "c") for name in (*made.graph.nodes, "launcher-robot-pc", "launcher-gpu-pc")}
    wired = wirings(made.graph, ends, "r", tmp_path, made.key, made.host_keys)
    assert set(wired) == {"robot", "launcher"}, "the other host tells its own nodes"
    robot, launcher = wired["robot"], wired["launcher"]
    assert {peer.name: peer.key for peer in robot.peers} == {"predictor": theirs, "recorder": theirs, "launcher": own}
    assert [one.name for one in robot.subscribers] == ["predictor", "recorder", "launcher-robot-pc", "launcher-gpu-pc"]
    assert {peer.name: peer.key for peer in launcher.inputs}["launcher-gpu-pc"] == theirs
    said = table(made.graph, wired, 1)
    assert {node.name for node in said.nodes} == {"predictor", "robot", "recorder"}
    assert said.launcher.key == own
    assert keys.own_for(said.nodes, "") is not None, "who looks at the graph from here needs no --key"


# -- while it runs ------------------------------------------------------------------------------------


def make_graph(host: str = "robot-pc", **changed: Any) -> Graph:
    nodes = {
        "recorder": NodeSpec(kind="recorder", host="gpu-pc", inputs=["robot"]),
        "viewer": NodeSpec(kind="viewer", host="gpu-pc", inputs=["robot"], required=False),
        "robot": NodeSpec(kind="robot", host="robot-pc"),
    }
    hosts = {"robot-pc": "10.0.0.1", "gpu-pc": "10.0.0.2"}
    top = {"file": "g.yaml", "configs": {}, "args": {}, "off": [], "seed": 0, "time_limit_s": 0.0, "description": "", **changed}
    return Graph(nodes=nodes, hosts=hosts, base_port=27000, host=host, **top)


def heard(source: str, body: Body, run: str = "1", seq: int = 0) -> Message:
    return Message(envelope=Envelope(topic=f"status/{source}", source=source, run=run, seq=seq, t_ns=0, mono_ns=0), body=body)


class Peers:
    """In place of the bus: what others are asked, and what they answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer: dict[str, Any] | None = None

    def request(self, peer: str, command: str, args: dict[str, Any] | None = None, timeout_s: float = 2.0) -> dict[str, Any]:
        self.asked.append((peer, command))
        if self.answer is None:
            raise ControlError("no answer")
        return self.answer


class Alive:
    """In place of the fleet."""

    def __init__(self, *names: str) -> None:
        self.alive = list(names)


def test_hosts_meet_when_they_run_the_same_graph() -> None:
    peers, said = Peers(), []
    hosts = Hosts(make_graph(), peers, lambda level, text: said.append((level, text)), 5.0)
    assert hosts.step(0.0, 1.0) is None
    assert "waiting for host gpu-pc: start there the same file with `--on gpu-pc`" in said[0][1]
    assert hosts.take(heard("launcher-gpu-pc", Status(state="starting", kind="launcher")), 1.0)
    assert not hosts.take(heard("recorder", Status(state="starting", kind="recorder")), 1.0)
    assert hosts.step(1.0, 1.0) is None and not hosts.met(), "it does not answer yet"
    peers.answer = answer(make_graph("gpu-pc"))
    assert hosts.step(1.5, 1.0) is None and not hosts.met(), "not asked again at once"
    assert hosts.step(3.5, 1.0) is None and hosts.met()
    hosts.take(heard("launcher-gpu-pc", Status(state="starting", kind="launcher"), run="2"), 4.0)
    assert not hosts.met(), "another launcher: it may run another graph"
    peers.answer = {"graph": "another"}
    end = hosts.step(4.0, 1.0)
    assert end is not None and end[0] == "failed" and "host gpu-pc runs another graph" in end[1]


def test_a_host_that_ends_ends_the_others_and_a_silent_one_is_waited_for() -> None:
    peers, said = Peers(), []
    peers.answer = answer(make_graph("gpu-pc"))
    hosts = Hosts(make_graph(), peers, lambda level, text: said.append(text), 5.0)
    hosts.take(heard("launcher-gpu-pc", Status(state="running", kind="launcher")), 0.0)
    assert hosts.step(0.0, 1.0) is None
    assert hosts.step(6.0, 1.0) is None and "host gpu-pc is silent" in said[-1]
    hosts.take(heard("launcher-gpu-pc", Status(state="running", kind="launcher")), 7.0)
    assert hosts.step(7.0, 1.0) is None and said[-1] == "host gpu-pc is heard again"
    hosts.take(heard("launcher-gpu-pc", Status(state="stopping", kind="launcher", outcome="learned", detail="goal reached")), 8.0)
    assert hosts.step(8.0, 1.0) == ("learned", "host gpu-pc: goal reached")
    hosts.take(heard("launcher-gpu-pc", Status(state="stopped", kind="launcher", final=True)), 9.0)
    assert hosts.step(9.0, 1.0) == ("stopped", "host gpu-pc: its launcher has ended")


def test_go_waits_for_the_consumers_of_other_hosts() -> None:
    graph = make_graph()
    board, told = Board(graph), []
    readiness = Readiness(graph, board, Alive("robot"), lambda name, command, args, quiet: bool(told.append(name)) or True)  # type: ignore[arg-type]

    def says(name: str, state: Any, seq: int, **more: Any) -> None:
        board.take(heard(name, Status(state=state, kind=graph.nodes[name].kind, **more), seq=seq), float(seq))

    for name in ("robot", "recorder"):
        says(name, "ready", 0)
    assert not readiness.step(1.0) and not told, "the viewer is not there yet"
    says("viewer", "stopped", 0, final=True)
    assert not readiness.step(2.0) and not told, "its launcher has not told the recorder"
    says("recorder", "running", 3)
    assert readiness.step(3.0) and told == ["robot"]


def test_the_end_waits_for_the_sources_of_other_hosts_but_not_for_ever() -> None:
    graph = make_graph("gpu-pc")
    board = Board(graph)
    limits = Limits(stop_s=10.0, silent_s=5.0)

    def stopper() -> Stopper:
        return Stopper(graph.stop_tiers, Alive("recorder"), board, Peers(), limits, lambda text: None)  # type: ignore[arg-type]

    def asked(one: Stopper, now_s: float) -> bool:
        assert isinstance(one.bus, Peers)
        one.bus.answer = {}
        one.step(now_s)
        return ("recorder", "stop") in one.bus.asked

    board.take(heard("recorder", Status(state="running", kind="recorder")), 100.0)
    board.take(heard("robot", Status(state="running", kind="robot")), 100.0)
    patient = stopper()
    assert not asked(patient, 101.0), "the robot has not ended"
    assert asked(patient, 106.0), "it is not heard any more"
    ends = stopper()
    board.take(heard("robot", Status(state="running", kind="robot"), seq=1), 107.0)
    assert not asked(ends, 107.0)
    board.take(heard("robot", Status(state="stopped", kind="robot", final=True), seq=2), 108.0)
    assert asked(ends, 108.0)


def test_a_node_elsewhere_that_starts_again_counts_on_and_is_not_in_our_summary() -> None:
    board = Board(make_graph())
    board.take(heard("recorder", Status(state="running", kind="recorder"), run="a", seq=9), 1.0)
    board.take(heard("recorder", Status(state="starting", kind="recorder"), run="b"), 2.0)
    view = board.nodes["recorder"]
    assert (view.away, view.state, view.restarts) == ("gpu-pc", "starting", 1)
    board.take(heard("recorder", Status(state="running", kind="recorder"), run="a", seq=10), 3.0)
    assert view.state == "starting", "an old word of the process before"
    end = End("stopped")
    summary = summarise(board, end, name="r", started="", versions={}, command=[], forced=[])
    assert set(summary.nodes) == {"robot"}


@pytest.mark.parametrize("on", ["robot-pc", "gpu-pc"])
def test_ours_is_a_graph(on: str, tmp_path: Path) -> None:
    file = Path(run.__file__).with_name("hosts.yaml")
    sets = ("robot_pc=127.0.0.1", "gpu_pc=127.0.0.2")
    said = run.dry_run(run.Options(file=file, sets=sets, on=on, name="r", runs=str(tmp_path)), hooks())
    assert f"hosts robot-pc 127.0.0.1, gpu-pc 127.0.0.2; this is {on}" in said
    assert "27000 to 27020" in (file.parent.parent / "docs" / "hosts.md").read_text() and "tcp://127.0.0.1:27020" in said


@pytest.mark.parametrize(
    "hosts", ["{robot-pc: 1, gpu-pc: 127.0.0.2}", "[robot-pc]", "robot-pc", "{robot-pc: '', gpu-pc: '::'}", "{1: 2}", "{robot-pc: {}}"]
)
def test_hosts_of_another_kind_get_one_line(hosts: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"g\.yaml:\d+: ") as refused:
        plan(tmp_path, FILE.replace("{robot-pc: 127.0.0.1, gpu-pc: 127.0.0.2}", hosts, 1))
    assert "\n" not in str(refused.value)
