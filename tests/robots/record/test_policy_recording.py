"""A LeRobot recording made with the policies here, by lerobot's own means, becomes a session of decisions exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.exchange.decisions import import_decisions
from storage.reader import SessionReader

torch = pytest.importorskip("torch")
pytest.importorskip("lerobot")

ROLLOUT_LIMIT_S = 280


def decided(logs: Path) -> list[list[tuple[int, int | None]]]:
    """Per episode the frame of each decision and what it was; None where the sequence was over."""
    files = [[json.loads(line) for line in file.read_text().splitlines()] for file in sorted(logs.glob("*.jsonl"))]
    return [[(line["frame_index"], line.get("discrete_action")) for line in lines if line["type"] != "header"] for lines in files]


def check_exact(every: Path, decisions: Path, told: list[list[tuple[int, int | None]]], camera: str = "front") -> None:
    """Each step of the session of decisions is that frame, bit for bit, with that decision."""
    with SessionReader(every) as was, SessionReader(decisions) as now:
        assert [row.episode for row in now.episodes()] == list(range(len(told)))
        for episode, steps in enumerate(told):
            for step, (frame, choice) in enumerate(steps):
                a, b = was.frame(episode, frame), now.frame(episode, step)
                assert np.array_equal(a.arrays[f"image/{camera}"], b.arrays[f"image/{camera}"])
                assert np.array_equal(a.arrays["state"], b.arrays["state"])
                taken = now.read("action", episode, step)
                assert (None if taken is None else taken.body.action["action"]) == choice
            assert now.episodes()[episode].frames == len(steps)


def test_what_the_policy_decides_in_a_dataset_of_lerobot_imports_exactly(tmp_path: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.utils.import_utils import register_third_party_plugins

    from storage.exchange.lerobot.importing import import_lerobot

    register_third_party_plugins()
    policy_class = get_policy_class("multi_secondary_joint")
    config = policy_class.config_class(
        device="cpu", action_duration=0.5, position_delta=10.0, use_random_policy=True, random_seed=5,
        discrete_action_log_dir=str(tmp_path / "data/meta/discrete_action_logs"),
    )  # fmt: skip
    policy = policy_class.from_pretrained(None, config=config)
    names = [f"joint{place}.pos" for place in range(6)]
    features: dict[str, Any] = {key: {"dtype": "float32", "shape": (6,), "names": names} for key in ("observation.state", "action")}
    before, after = make_pre_post_processors(config)
    camera = {"observation.images.front": {"dtype": "image", "shape": (16, 16, 3), "names": ["height", "width", "channels"]}}
    dataset = LeRobotDataset.create("local/x", 8, features | camera, root=tmp_path / "data", robot_type="so_follower", use_videos=False)
    policy.reset()
    shown = 0
    for length, kept in ((14, True), (9, False), (17, True)):  # the second is thrown away
        policy.reset()
        state = np.arange(6, dtype=np.float32)
        for frame in range(length):
            policy.clock = lambda at=frame: at / 8
            shown += 1
            picture = np.full((16, 16, 3), shown, np.uint8)
            action = after(policy.select_action(before({"observation.state": torch.from_numpy(state)[None]})))[0].numpy()
            dataset.add_frame({"observation.state": state, "observation.images.front": picture, "action": action, "task": "try"})
            state = action
        if kept:
            dataset.save_episode()
        else:
            dataset.clear_episode_buffer()
    dataset.finalize()
    logs = tmp_path / "data/meta/discrete_action_logs"
    told = decided(logs)
    assert [[frame for frame, _ in episode] for episode in told] == [[0, 4, 8, 12], [0, 4, 8, 12, 16]]
    import_lerobot(tmp_path / "data", tmp_path / "every")
    report = import_decisions(tmp_path / "every", logs, tmp_path / "decisions")
    # each episode ends a frame or none after its last decision: the decision is left out, its frame is what the one before led to
    assert report.notes == ["2 decisions that the end of their episode cut short are left out"]
    check_exact(tmp_path / "every", tmp_path / "decisions", [[*episode[:-1], (episode[-1][0], None)] for episode in told])
    targets = [json.loads(file.read_text().splitlines()[0])["secondary_target"] for file in sorted(logs.iterdir())]
    with SessionReader(tmp_path / "decisions") as reader:
        assert [one.body.values for one in reader.topic_messages("metrics")] == [{"secondary_target": target} for target in targets]
        assert targets[0] == 1.0 and abs(targets[1] - targets[0]) == 10.0


@pytest.mark.slow
def test_lerobots_own_rollout_command_records_with_the_policy_and_that_imports_exactly(tmp_path: Path) -> None:
    from emulators.so101 import SO101Emulator
    from storage.exchange.lerobot.importing import import_lerobot

    logs = tmp_path / "data/meta/discrete_action_logs"
    with SO101Emulator(cameras={"front": "drawn"}, size=(96, 96)) as arm:
        robot = arm.options()
        options = {
            "strategy.type": "episodic", "strategy.reset_to_initial_position": "false", "return_to_initial_position": "false",
            "policy.type": "multi_secondary_joint", "policy.device": "cpu", "policy.joint_name": "shoulder_pan.pos",
            "policy.position_delta": "10", "policy.action_duration": "0.5", "policy.action_sequence": "[1,0,2,0]",
            "policy.random_seed": "3", "policy.discrete_action_log_dir": str(logs),
            "robot.type": "so101_follower", "robot.port": robot["port"], "robot.id": robot["id"],
            "robot.calibration_dir": robot["calibration_dir"], "robot.use_degrees": "false", "robot.cameras": json.dumps(robot["cameras"]),
            "dataset.repo_id": "local/rollout_arm", "dataset.root": str(tmp_path / "data"), "dataset.push_to_hub": "false",
            "dataset.single_task": "try", "dataset.num_episodes": "3", "dataset.episode_time_s": "4", "dataset.reset_time_s": "0.2",
            "dataset.video": "false", "fps": "30", "dataset.fps": "30", "play_sounds": "false",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "lerobot.scripts.lerobot_rollout", *(f"--{name}={value}" for name, value in options.items())],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=ROLLOUT_LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = decided(logs)
    assert [[choice for _, choice in episode] for episode in told] == [[1, 0, 2, 0, None]] * 3
    import_lerobot(tmp_path / "data", tmp_path / "every")
    report = import_decisions(tmp_path / "every", logs, tmp_path / "decisions")
    assert (report.frames, report.episodes, report.notes) == (15, 3, [])
    check_exact(tmp_path / "every", tmp_path / "decisions", told)
    with SessionReader(tmp_path / "decisions") as reader:
        pan = [[reader.frame(episode, step).arrays["state"][0] for step in range(5)] for episode in range(3)]
        targets = [one.body.values["secondary_target"] for one in reader.topic_messages("metrics")]
        lift = [reader.frame(episode, 4).arrays["state"][1] for episode in range(3)]
    for at in pan:  # the arm went up, stayed, came down, stayed
        assert np.allclose(np.diff(at), [10, 0, -10, 0], atol=1.0)
    assert len(targets) == 3 and np.allclose(lift, targets, atol=1.0)
