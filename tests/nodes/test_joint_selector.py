"""One joint, decision by decision; and what the predictor puts on record of it."""

import json
from typing import Any

import numpy as np
import pytest

from nodes.predictor.config import PredictorConfig
from nodes.predictor.joint import JointSelector
from nodes.predictor.node import PredictorNode
from nodes.predictor.selectors import Seen, SelectorError
from nodes.runtime import NodeError
from protocol import messages as m

PAN, LIFT, GRIP = "shoulder_pan.pos", "shoulder_lift.pos", "gripper.pos"
ARM = m.Robot(
    robot="robot", driver="so101", params={}, cameras=[], state_names=[PAN, LIFT, GRIP], rate_hz=8.0, timing="paced",
    actions=m.ActionSpaceInfo(names=[PAN, LIFT, GRIP], low=[-100.0, -100.0, 0.0], high=[100.0, 100.0, 100.0]),
    safe_action={PAN: 0.0, LIFT: 0.0, GRIP: 0.0},
)  # fmt: skip
START = [10.0, -20.0, 30.0]


def joint(seed: int = 3, **options: Any) -> JointSelector:
    return JointSelector(ARM, {"joint": PAN, "delta": 5.0, **options}, seed)


def seen(step: int, state: list[float] = START, episode: int = 0) -> Seen:
    return Seen(episode, step, np.array(state, np.float32))


def played(made: JointSelector, steps: int, episode: int = 0) -> list[tuple[int, dict[str, float]]]:
    """(step, news) of an episode of an arm that follows at once."""
    state, found = list(START), []
    for step in range(steps):
        action = made.select(seen(step, state, episode))
        state = [action[name] for name in (PAN, LIFT, GRIP)]
        if made.news:
            found.append((step, made.news))
    return found


def test_a_sequence_is_decided_once_in_steps_of_the_duration_and_its_end_is_told() -> None:
    made = joint(by="sequence", sequence=[1, 0, 2])
    told = [(0, {"decision": 1.0}), (4, {"decision": 0.0}), (8, {"decision": 2.0}), (12, {"decision_end": 1.0})]
    assert played(made, 40) == told
    assert played(made, 9, episode=1) == told[:3]


def test_the_set_point_is_computed_once_from_the_measured_position_and_the_others_hold_where_they_began() -> None:
    made = joint(by="sequence", sequence=[1, 2, 1])
    for step, (pan, goal) in enumerate([(10, 15), (12, 15), (14, 15), (14.5, 15), (14.5, 9.5), (12, 9.5)]):
        assert made.select(seen(step, [pan, -20.0 - step, 30.0 + step])) == {PAN: goal, LIFT: -20.0, GRIP: 30.0}
    assert made.select(seen(8, [98.0, 0.0, 0.0]))[PAN] == 100.0
    grip = JointSelector(ARM, {"joint": GRIP, "delta": 5.0, "by": "sequence", "sequence": [2]}, 0)
    assert grip.select(seen(0, [0.0, 0.0, 3.0]))[GRIP] == 0.0


def test_draws_are_the_seeds_and_the_episodes_own() -> None:
    first = [played(joint(seed=7, by="random"), 400, episode) for episode in (0, 1)]
    assert first == [played(joint(seed=7, by="random"), 400, episode) for episode in (0, 1)]
    assert first[0] != first[1] and first[0] != played(joint(seed=8, by="random"), 400)
    assert {news["decision"] for _, news in first[0]} == {0.0, 1.0, 2.0} and [step for step, _ in first[0]] == list(range(0, 400, 4))


def test_a_person_decides_the_next_one_and_stays_otherwise() -> None:
    made = joint(by="person")
    decided = []
    for step in range(16):
        if step == 2:
            made.drive(1)
            made.drive(2)
        made.select(seen(step))
        decided += made.news.values()
    assert decided == [0.0, 2.0, 0.0, 0.0]
    for index in (3, True, "1", -1):
        with pytest.raises(SelectorError, match="there is no decision"):
            made.drive(index)
    with pytest.raises(SelectorError, match="where a person decides"):
        joint(by="random").drive(1)


def test_skipped_frames_cost_time_and_no_decision_and_who_comes_back_leaves_the_episode_as_it_is() -> None:
    made = joint(by="sequence", sequence=[1, 2])
    steps = []
    for step in (1, 2, 3, 7, 9, 10, 11, 12):
        made.select(seen(step))
        steps += [step] if made.news else []
    assert steps == [1, 7, 11]
    back = joint(by="sequence", sequence=[1, 2])
    assert back.select(seen(5, episode=4)) == dict(zip((PAN, LIFT, GRIP), START, strict=True)) and not back.news
    assert [back.select(seen(step, episode=5)) and dict(back.news) for step in (0, 4)] == [{"decision": 1.0}, {"decision": 2.0}]


@pytest.mark.parametrize(
    ("robot", "options", "what"),
    [
        (ARM, {"joint": "nose.pos"}, "has no joint 'nose.pos'"),
        (ARM, {"joint": PAN, "delta": 0}, "both are above 0"),
        (ARM, {"joint": PAN, "by": "sequence"}, "goes with by: sequence"),
        (ARM, {"joint": PAN, "sequence": [1]}, "goes with by: sequence"),
        (ARM, {"joint": PAN, "by": "sequence", "sequence": [7]}, "a sequence is of 0"),
        (ARM, {"wat": 1}, "wat"),
        (m.Robot(robot="r", driver="d", params={}, cameras=[], actions=m.ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}]),
                 rate_hz=1.0, timing="paced", safe_action={}), {"joint": PAN}, "mode continuous"),
    ],
)  # fmt: skip
def test_wrong_options_are_said_in_a_line(robot: m.Robot, options: dict[str, Any], what: str) -> None:
    with pytest.raises(SelectorError, match=what):
        JointSelector(robot, options, 0)


def test_the_predictor_puts_each_decision_on_record_with_its_frame(node: Any, message: Any) -> None:
    options = {"joint": PAN, "delta": 5.0, "by": "sequence", "sequence": [1, 2]}
    made = node(PredictorNode, PredictorConfig(model="none", selector="joint", selector_options=options), seed=9)
    made.on_robot(message("robot", ARM))
    for step in [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]:  # one is shown again
        made.on_frame(message("frame", m.Frame(), {"state": np.array(START, np.float32)}, episode=2, step=step))
    assert [(one.envelope.episode, one.envelope.step, one.body.values) for one in made.bus.of("metrics")] == [
        (2, 0, {"decision": 1.0}), (2, 4, {"decision": 2.0}), (2, 8, {"decision_end": 1.0}),
    ]  # fmt: skip
    assert [one.body.action[PAN] for one in made.bus.of("command")] == [15.0] * 4 + [5.0] * 6
    header = json.loads(made.bus.of("log")[0].body.text)
    assert header["joint_name"] == PAN and header["random_seed"] == 9 and header["action_sequence"] == [1, 2]
    with pytest.raises(ValueError, match="where a person decides"):
        made.do_drive({"index": 1})
    with pytest.raises(NodeError, match="have no state"):
        made.on_frame(message("frame", m.Frame(), episode=2, step=9))
