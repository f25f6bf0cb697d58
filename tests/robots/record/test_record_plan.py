"""What a recording is to be, what the launch file is told of it, and what may not change when it goes on."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from nodes.predictor.joint import JointOptions
from nodes.robot.arm.options import arm_options
from nodes.robot.config import RobotConfig
from toddle.record.plan import Plan, gone_on, words

CAMERAS = {"front": {"type": "opencv", "index_or_path": 0, "width": 64, "height": 48, "fps": 30}}
OPTIONS = {"port": "/dev/ttyACM0", "id": "arm", "cameras": CAMERAS, "robot": {"max_relative_target": 20.0}}
RECORD = Path(__file__).parents[3] / "launch/record.yaml"


def plan(**fields: Any) -> Plan:
    return Plan(**{"options": OPTIONS, "sequence": [1, 0, 2, 0], **fields})


def test_the_launch_file_has_an_arg_for_all_that_it_is_told_and_its_nodes_take_it() -> None:
    asked = plan(secondary="shoulder_lift", action_duration_s=0.4, calibrated=True)
    args = asked.args()
    assert set(args) <= set(yaml.safe_load(RECORD.read_text())["args"])
    options = arm_options("so101", args["options"])
    assert options.joints == ["shoulder_pan"] and options.mode == "continuous" and options.secondary is not None
    selector = msgspec.convert(args["selector_options"], JointOptions)
    assert (selector.joint, selector.sequence, selector.calibrated) == ("shoulder_pan.pos", [1, 0, 2, 0], True)
    RobotConfig(driver="so101", timing="paced", **{name: args[name] for name in ("episodes", "episode_steps", "between_s", "max_action_s")})
    told = words(args)
    assert told[::2] == ["--set"] * len(args)
    assert {word.partition("=")[0]: json.loads(word.partition("=")[2]) for word in told[1::2]} == args


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"action_duration_s": 0.4}, 4 * 0.4 + 5), ({"episode_s": 2.5}, 2.5), ({"by": "random"}, 30.0), ({"by": "person"}, 0.0),
        ({"by": "person", "episode_s": 9.0}, 9.0),
    ],
)  # fmt: skip
def test_the_time_of_an_episode(fields: dict[str, Any], seconds: float) -> None:
    asked = plan(**fields)
    assert asked.episode_time_s == pytest.approx(seconds)
    assert asked.args()["episode_steps"] == round(seconds * 30)


def test_a_verification_is_one_episode_of_four_decisions_of_this_arm() -> None:
    asked = plan(by="random", sequence=[], secondary="elbow_flex", episode_s=100.0, action_duration_s=0.3, episodes=50).verification()
    assert (asked.by, asked.sequence, asked.episodes, asked.secondary, asked.options) == ("sequence", [1, 0, 2, 0], 1, "", OPTIONS)
    assert asked.episode_time_s == pytest.approx(4 * 0.3 + 5)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"sequence": []}, "nothing to decide: give --sequence 1,0,2,0, --random or --person"),
        ({"delta": 0.0}, "delta is 0: it must be above 0"),
        ({"rate_hz": float("nan")}, "rate_hz is nan"),
        ({"episodes": 0}, "episodes is 0"),
    ],
)
def test_what_cannot_be_is_said(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        plan(**fields)


def test_a_recording_that_goes_on_is_the_same_and_what_differs_is_named_with_both_values() -> None:
    begun = plan(secondary="shoulder_lift")
    assert gone_on(begun, {}) == begun
    same = {"joint": "shoulder_pan", "delta": 10.0, "options": {"id": "arm", "cameras": CAMERAS}}
    assert gone_on(begun, same) == begun
    more = gone_on(begun, {"episodes": 20, "options": {"port": "/dev/ttyACM1"}})
    assert (more.episodes, more.options["port"], more.options["id"]) == (20, "/dev/ttyACM1", "arm")
    other = {**CAMERAS, "side": CAMERAS["front"]}
    told = {
        "joint": "elbow_flex", "delta": 12.0, "action_duration_s": 0.6, "rate_hz": 20.0, "by": "random", "sequence": [], "seed": 4,
        "secondary": "", "secondary_delta": 5.0, "episode_s": 3.0,
        "options": {"type": "koch_follower", "cameras": other, "robot": {"max_relative_target": 5.0}},
    }  # fmt: skip
    with pytest.raises(ValueError, match="this is another recording than the one that was begun") as caught:
        gone_on(begun, told)
    for said in (
        "joint was 'shoulder_pan', is 'elbow_flex' now", "delta was 10.0, is 12.0 now", "action_duration_s was 0.5, is 0.6 now",
        "rate_hz was 30.0, is 20.0 now", "by was 'sequence', is 'random' now", "sequence was [1, 0, 2, 0], is [] now", "seed was 0, is 4",
        "secondary was 'shoulder_lift', is '' now", "secondary_delta was 10.0, is 5.0", "episode_s was 0.0, is 3.0 now",
        "type was None, is 'koch_follower' now", f"cameras was {CAMERAS!r}, is {other!r} now", "robot was {'max_relative_target': 20.0}",
    ):  # fmt: skip
        assert said in str(caught.value)
