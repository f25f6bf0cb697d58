"""Launch files: includes, args, conditions, and one line for everything that is wrong."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from launch.errors import LaunchError, nearest
from launch.graph import Graph, resolve
from launch.loader import load
from launch.schema import Restart

Write = Callable[..., Path]


class RobotParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rate_hz: float = 20.0
    driver: str = "dot"
    sizes: list[int] = []


KINDS: Mapping[str, type[msgspec.Struct]] = {"robot": RobotParams}


def graph(file: Path, *sets: str) -> Graph:
    return resolve(load(file, sets, {"run": "r1"}), KINDS)


def test_a_small_file(write: Write) -> None:
    found = graph(
        write("""
        args: {rate: 5, name: dot, on: true}
        seed: 3
        nodes:
          robot: {kind: robot, params: {rate_hz: "${rate}", driver: "the ${name} of ${run}, $${name}"}}
          viewer: {kind: viewer, inputs: [robot], required: false, restart: always, if: "${on}"}
    """)
    )
    assert list(found.nodes) == ["robot", "viewer"]
    assert found.configs["robot"] == RobotParams(rate_hz=5, driver="the dot of r1, ${name}")
    assert found.seed == 3
    assert found.nodes["viewer"].restarts == Restart(policy="always")
    assert found.args == {"rate": 5, "name": "dot", "on": True}


def test_set_changes_an_arg_and_keeps_its_type(write: Write) -> None:
    file = write("""
        args: {rate: 5, sizes: []}
        nodes: {robot: {kind: robot, params: {rate_hz: "${rate}", sizes: "${sizes}"}}}
    """)
    assert graph(file, "rate=2.5", "sizes=[1, 2]").configs["robot"] == RobotParams(rate_hz=2.5, sizes=[1, 2])


def test_an_arg_may_use_those_before_it(write: Write) -> None:
    file = write("""
        args: {world: dot, driver: "my_${world}"}
        nodes: {robot: {kind: robot, params: {driver: "${driver}"}}}
    """)
    assert graph(file, "world=car").configs["robot"] == RobotParams(driver="my_car")


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("true", True), ("${no}", False), ("not ${no}", True), ("${driver} == dot", True), ("${driver} != dot", False),
        ("${driver} == car", False),
    ],
)  # fmt: skip
def test_if(write: Write, condition: str, kept: bool) -> None:
    found = graph(
        write(f"""
        args: {{no: false, driver: dot}}
        nodes:
          robot: {{kind: robot}}
          viewer: {{kind: viewer, inputs: [robot], if: "{condition}"}}
          recorder: {{kind: recorder, inputs: [robot, viewer], after: [viewer]}}
    """)
    )
    assert ("viewer" in found.nodes) is kept
    assert found.off == ([] if kept else ["viewer"])
    assert found.nodes["recorder"].inputs == (["robot", "viewer"] if kept else ["robot"])


def test_include_joins_and_overrides(write: Write) -> None:
    write(
        """
        args: {rate: 5}
        nodes:
          robot: {kind: robot, params: {rate_hz: "${rate}", driver: dot}}
    """,
        "base.yaml",
    )
    file = write("""
        include: base.yaml
        args: {rate: 7}
        nodes:
          robot: {params: {driver: car}}
          viewer: {kind: viewer, inputs: [robot]}
    """)
    found = graph(file)
    assert found.configs["robot"] == RobotParams(rate_hz=7, driver="car")
    assert list(found.nodes) == ["robot", "viewer"]


def test_an_error_in_an_included_file_names_that_file(write: Write) -> None:
    base = write("nodes:\n  robot: {kind: robot, params: {rate: 5}}\n", "base.yaml")
    with pytest.raises(LaunchError) as caught:
        graph(write("include: [base.yaml]\nnodes: {viewer: {kind: viewer, inputs: [robot]}}"))
    assert str(caught.value).startswith(f"{base}:2: unknown key 'rate'")


def test_yaml_merge_keys_and_anchors(write: Write) -> None:
    found = graph(
        write("""
        nodes:
          robot: &base {kind: robot, params: {rate_hz: 3}}
          second: {<<: *base, ring_mb: 8}
    """)
    )
    assert found.configs["second"] == RobotParams(rate_hz=3)
    assert found.nodes["second"].ring_mb == 8


ERRORS = [
    ("nodes:\n  robot: {kind: robot,\n    params: {rate: 5}}", 3, "unknown key 'rate' in robot params; did you mean 'rate_hz'?"),
    ("nodes:\n  robot: {kind: robot,\n    params: {rate_hz: fast}}", 3, "'rate_hz' in robot params: expected `float`, got `str` ('fast')"),
    ("nodes:\n  robot: {kind: robot,\n    params: {sizes: [1,\n  x]}}", 4, "'sizes[1]' in robot params: expected `int`, got `str` ('x')"),
    ("node:\n  robot: {kind: robot}", 1, "unknown key 'node' in the launch file; did you mean 'nodes'?"),
    ("nodes:\n  robot:\n    kind: robot\n    input: [x]", 4, "unknown key 'input' in node robot; did you mean 'inputs'?"),
    ("nodes:\n  robot:\n    kind: robt", 3, "unknown kind 'robt' of node robot; did you mean 'robot'?"),
    ("nodes:\n  robot:\n    inputs: []", 2, "node robot: object missing required field `kind`"),
    ("nodes:\n  robot: {kind: robot}\n  viewer: {kind: viewer,\n    inputs: [robt]}", 4,
     "'inputs' of viewer names unknown node 'robt'; did you mean 'robot'?"),
    ("nodes:\n  viewer: {kind: viewer, inputs: [viewer]}", 2, "'inputs' of viewer names itself"),
    ("nodes:\n  robot: {kind: robot}\n  viewer: {kind: viewer, inputs: [robot, robot]}", 3, "'inputs' of viewer names 'robot' twice"),
    ("nodes:\n  recorder: {kind: recorder}\n  robot:\n    kind: robot\n    inputs: [recorder]", 5,
     "robot would hear nothing from recorder: a robot takes no topic of a recorder, only of predictor"),
    ("nodes:\n  robot: {kind: robot, after: [viewer]}\n  viewer: {kind: viewer, after: [robot]}", 2,
     "'after' runs in a circle: robot -> viewer -> robot"),
    ("nodes:\n  robot: {kind: robot, after: [viewr]}\n  viewer: {kind: viewer}", 2,
     "'after' of robot names unknown node 'viewr'; did you mean 'viewer'?"),
    ("nodes:\n  robot: {kind: robot, restart: sometimes}", 2, "'restart' in node robot: "),
    ("nodes:\n  robot: {kind: robot, restart: {polcy: always}}", 2, "unknown key 'polcy' in restart of node robot; did you mean 'policy'?"),
    ("nodes:\n  robot: {kind: robot, ring_mb: 0}", 2, "'ring_mb' in node robot: expected `int` >= 1 (0)"),
    ("nodes:\n  robot: {kind: robot, params: {driver: '${x}'}}\nargs: {y: 1}", 2, "unknown arg '${x}'; known: run, y"),
    ("nodes:\n  Robot: {kind: robot}", 2, "'Robot' cannot name a node"),
    ("nodes:\n  launcher: {kind: robot}", 2, "'launcher' cannot name a node"),
    ("nodes:\n  robot: {kind: robot, if: maybe}", 2, "'if' of robot: 'maybe' is not true, false, 'not X', 'A == B'"),
    ("nodes:\n  robot: {kind: robot, if: false}", 1, "no node is left to start"),
    ("nodes: {}", 1, "'nodes' must name at least one node, each with its kind"),
    ("nodes:\n  robot: 5", 2, "node robot is a mapping with at least a kind"),
    ("args: [a]\nnodes: {robot: {kind: robot}}", 1, "'args' gives each name a value"),
    ("args: {run: 5}\nnodes: {robot: {kind: robot}}", 1, "arg 'run' is a name that the launcher gives itself"),
    ("args: {x: 5}\nrequired_args: [x]\nnodes: {robot: {kind: robot}}", 1, "arg 'x' must be given; add --set x=VALUE"),
    ("args: {x: 5}\nrequired_args: [z]\nnodes: {robot: {kind: robot}}", 2, "required arg 'z' is not one of 'args'; known: x"),
    ("nodes:\n  robot: {kind: robot}\n  robot: {kind: robot}", 3, "key 'robot' stands here twice"),
    ("nodes:\n  5: {kind: robot}", 2, "'5' cannot name a node"),
    ("nodes:\n  [robot]: {kind: robot}", 2, "a key is a name, not a list or a mapping"),
    ("nodes: [robot", 1, "not YAML: "),
    ("nodes:\n  robot: {kind: !!python/object:os.system robot}", 2, "not YAML: "),
    ("- robot", 1, "a launch file is a mapping: args, nodes"),
    ("", 1, "a launch file is a mapping: args, nodes"),
    ("include: gone.yaml\nnodes: {robot: {kind: robot}}", 1, "no such file '"),
    ("include: g.yaml\nnodes: {robot: {kind: robot}}", 1, "include 'g.yaml' leads back to itself"),
    ("include: 5\nnodes: {robot: {kind: robot}}", 1, "include is the name of a file, or a list of names"),
    ("nodes: &n\n  robot: *n", 1, "too large or nested in itself"),
    ("time_limit_s: -1\nnodes: {robot: {kind: robot}}", 1, "'time_limit_s' in the launch file: expected `float` >= 0.0 (-1)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "said"), ERRORS)
def test_one_line_with_file_line_and_the_nearest_name(write: Write, text: str, line: int, said: str) -> None:
    file = write(text)
    with pytest.raises(LaunchError) as caught:
        graph(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: {said}"), message
    assert "\n" not in message


def test_billion_laughs_is_refused(write: Write) -> None:
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(LaunchError, match="too large"):
        graph(write("\n".join(lines)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rte=5", "--set rte=5: {file} has no arg 'rte'; did you mean 'rate'?"),
        ("rate", "--set rate: write --set NAME=VALUE"),
    ],
)
def test_a_wrong_set(write: Write, given: str, said: str) -> None:
    file = write("args: {rate: 5}\nnodes: {robot: {kind: robot}}")
    with pytest.raises(LaunchError) as caught:
        graph(file, given)
    assert str(caught.value) == said.format(file=file)


def test_a_missing_file_names_its_neighbour(write: Write) -> None:
    file = write("nodes: {robot: {kind: robot}}", "online.yaml")
    with pytest.raises(LaunchError) as caught:
        graph(file.with_name("onlin.yaml"))
    assert str(caught.value) == f"{file.with_name('onlin.yaml')}: no such launch file; did you mean 'online.yaml'?"


def test_nearest_falls_back_to_all_names() -> None:
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"
    assert nearest("rate", ["rate_hz", "driver"]) == "; did you mean 'rate_hz'?"
    assert nearest("x", []) == ""


def test_values_of_any_yaml_type_survive(write: Write) -> None:
    value: dict[str, Any] = load(write("args: {x: null, y: 1.5, z: '0'}\nnodes: {robot: {kind: robot}}")).args
    assert value == {"x": None, "y": 1.5, "z": "0"}
