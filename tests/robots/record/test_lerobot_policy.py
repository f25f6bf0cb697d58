"""The policies as lerobot finds, makes and asks them; the log that they leave."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lerobot")

HERE = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
PAN, LIFT = 0, 1


@pytest.fixture(scope="module")
def configs() -> Any:
    """lerobot's registry once it has looked for plugins, as its commands do."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.utils.import_utils import register_third_party_plugins

    register_third_party_plugins()
    return PreTrainedConfig


@pytest.fixture
def policy(configs: Any):
    """A policy by its type and options, made as lerobot's commands make one that has no weights; its clock stands at `at.s`."""
    from lerobot.policies.factory import get_policy_class

    def make(kind: str = "simple_joint", **options: Any) -> Any:
        config = configs.get_choice_class(kind)(**{"device": "cpu", "position_delta": 10.0, **options})
        return get_policy_class(kind).from_pretrained(None, config=config)

    return make


def play(policy: Any, frames: int, fps: int = 8, state: list[float] = HERE) -> list[list[float]]:
    """An episode: what was asked of the joints at each frame; the arm follows at once."""
    policy.reset()
    policy.reset()
    asked, now = [], list(state)
    for frame in range(frames):
        policy.clock = lambda at=frame: at / fps
        now = policy.select_action({"observation.state": torch.tensor([now])})[0].tolist()
        asked.append(now)
    return asked


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def told(file: Path) -> list[tuple[int | None, int]]:
    return [(line.get("discrete_action"), line["frame_index"]) for line in lines(file)[1:]]


def test_lerobot_finds_the_installed_policies_and_makes_them(configs: Any, tmp_path: Path) -> None:
    from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    names = ["a.pos"] * 6
    features = {key: {"dtype": "float32", "shape": (6,), "names": names} for key in ("observation.state", "action")}
    meta = LeRobotDatasetMetadata.create("local/x", 30, features, "so_follower", tmp_path / "x", use_videos=False)
    for kind, told in (("simple_joint", "SimpleJointPolicy"), ("multi_secondary_joint", "MultiSecondaryJointPolicy")):
        config = configs.get_choice_class(kind)(device="cpu")
        made = make_policy(config, ds_meta=meta)
        assert type(made).__name__ == told and made.name == config.type == kind
        assert set(config.input_features) == {"observation.state"}
        before, after = make_pre_post_processors(config)
        batch = before({"observation.state": torch.tensor([HERE])})
        action = after(made.select_action(batch))
        assert action.tolist() == [HERE]
        made.save_pretrained(tmp_path / kind)
        again = configs.from_pretrained(tmp_path / kind)
        assert again.type == kind and type(made).from_pretrained(tmp_path / kind, config=again).name == kind
        assert made.predict_action_chunk(batch).shape == (1, 1, 6)
        assert made.forward(batch)[0].item() == 0


def test_the_options_have_the_names_and_defaults_that_recordings_were_made_with(configs: Any) -> None:
    one = configs.get_choice_class("multi_secondary_joint")(device="cpu")
    assert {name: getattr(one, name) for name in (
        "joint_name", "action_duration", "position_delta", "use_random_policy", "action_sequence", "random_seed",
        "calibrated_action_duration", "discrete_action_log_dir", "discrete_action_log_path", "n_obs_steps", "n_action_steps",
        "secondary_joint_name",
        "secondary_position_delta", "joint_index", "secondary_joint_index",
    )} == {
        "joint_name": "shoulder_pan.pos", "action_duration": 0.5, "position_delta": 0.1, "use_random_policy": False,
        "action_sequence": None, "random_seed": None, "calibrated_action_duration": False, "discrete_action_log_dir": None,
        "discrete_action_log_path": None, "n_obs_steps": 1, "n_action_steps": 1, "secondary_joint_name": "shoulder_lift.pos",
        "secondary_position_delta": 10.0, "joint_index": 0, "secondary_joint_index": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"joint_name": "nose.pos"}, "no joint 'nose.pos'"),
        ({"action_duration": 0.0}, "both are above 0"),
        ({"position_delta": float("nan")}, "both are above 0"),
        ({"action_sequence": [0, 3]}, "0 .stay., 1 .plus., 2 .minus."),
        ({"action_sequence": []}, "give at least one"),
        ({"secondary_joint_name": "shoulder_pan.pos"}, "give two joints"),
        ({"secondary_position_delta": -1.0}, "above 0"),
    ],
)
def test_wrong_options_are_said_in_a_line(configs: Any, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        configs.get_choice_class("multi_secondary_joint")(device="cpu", **options)
    if not {"secondary_joint_name", "secondary_position_delta"} & set(options):
        with pytest.raises(ValueError, match=what):
            configs.get_choice_class("simple_joint")(device="cpu", **options)


def test_a_state_is_needed(configs: Any) -> None:
    from lerobot.configs.types import FeatureType, PolicyFeature

    config = configs.get_choice_class("simple_joint")(device="cpu")
    config.input_features = {"observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 4, 4))}
    with pytest.raises(ValueError, match="needs the robot's state"):
        config.validate_features()


def test_a_sequence_is_played_once_with_exact_frames_and_its_end_is_said(policy: Any, tmp_path: Path) -> None:
    one = policy(action_sequence=[1, 0, 2, 2], discrete_action_log_dir=str(tmp_path / "logs"))
    assert not (tmp_path / "logs").exists()
    asked = play(one, 30)
    pan = [row[PAN] for row in asked]
    assert pan == [20.0] * 8 + [10.0] * 4 + [0.0] * 18 and one.finished
    assert all(row[1:] == HERE[1:] for row in asked)
    assert told(tmp_path / "logs/episode_000000.jsonl") == [(1, 0), (0, 4), (2, 8), (2, 12), (None, 16)]
    header = lines(tmp_path / "logs/episode_000000.jsonl")[0]
    assert header == {
        "type": "header", "policy_type": "simple_joint", "episode_index": 0, "joint_name": "shoulder_pan.pos", "action_duration": 0.5,
        "position_delta": 10.0, "calibrated": False, "use_random_policy": False, "action_sequence": [1, 0, 2, 2], "random_seed": None,
    }  # fmt: skip
    assert play(one, 5)[0][PAN] == 20.0 and not one.finished
    assert sorted(file.name for file in (tmp_path / "logs").iterdir()) == ["episode_000000.jsonl", "episode_000001.jsonl"]


def test_a_set_point_is_computed_once_a_decision_from_where_the_joint_is_and_kept_in_range(policy: Any) -> None:
    one = policy(action_sequence=[1, 1])
    for frame, (measured, goal) in enumerate([(95.0, 100.0), (96.0, 100.0), (97.0, 100.0), (80.0, 90.0), (81.0, 90.0)]):
        one.clock = lambda at=frame: at * 0.1875
        assert one.select_action({"observation.state": torch.tensor([[measured, *HERE[1:]]])})[0, PAN].item() == goal
    gripper = policy(joint_name="gripper.pos", action_sequence=[2])
    assert play(gripper, 1, state=[*HERE[:5], 4.0])[0][5] == 0.0


def test_late_frames_do_not_add_up(policy: Any, tmp_path: Path) -> None:
    one = policy(use_random_policy=True, discrete_action_log_path=str(tmp_path / "log.jsonl"))
    for frame in range(100):
        one.clock = lambda at=frame: at * 0.13 if at < 90 else 50 + at * 0.13
        one.select_action({"observation.state": torch.tensor([HERE])})
    frames = [frame for _, frame in told(tmp_path / "log.jsonl")]
    assert frames[:20] == [-(-k * 50 // 13) for k in range(20)]
    assert frames[-4:] == [89, 90, 94, 98]  # after the gap it goes on from now, and makes up for nothing


def test_draws_repeat_with_the_seed_and_differ_between_episodes(policy: Any, tmp_path: Path) -> None:
    def drawn(folder: str, seed: int | None) -> list[list[tuple[int | None, int]]]:
        one = policy(use_random_policy=True, random_seed=seed, discrete_action_log_dir=str(tmp_path / folder))
        for _ in range(3):
            play(one, 200)
        return [told(file) for file in sorted((tmp_path / folder).iterdir())]

    first = drawn("a", 7)
    assert first == drawn("b", 7) and first != drawn("c", 8)
    assert first[0] != first[1] != first[2] and all({choice for choice, _ in episode} == {0, 1, 2} for episode in first)
    play(policy(discrete_action_log_dir=str(tmp_path / "still")), 9)
    assert told(tmp_path / "still/episode_000000.jsonl") == [(0, 0), (0, 4), (0, 8)]


def test_the_episode_is_the_datasets_own_and_one_that_is_recorded_again_replaces_its_log(policy: Any, tmp_path: Path) -> None:
    logs, info = tmp_path / "meta/discrete_action_logs", tmp_path / "meta/info.json"
    info.parent.mkdir()
    one = policy("multi_secondary_joint", action_sequence=[1, 2], discrete_action_log_dir=str(logs), random_seed=1)
    assert one.secondary_target is None
    lifts, targets = [], []
    for saved, frames in ((0, 8), (0, 12), (1, 8), (1, 9), (2, 8)):  # the first and the third are thrown away
        info.write_text(json.dumps({"total_episodes": saved}))
        lifts.append({row[LIFT] for row in play(one, frames)})
        targets.append(one.secondary_target)
        header = lines(logs / f"episode_{saved:06d}.jsonl")[0]
        assert header["episode_index"] == saved and header["secondary_target"] == one.secondary_target and header["policy_type"] == one.name
    assert sorted(file.name for file in logs.iterdir()) == [f"episode_{episode:06d}.jsonl" for episode in range(3)]
    assert told(logs / "episode_000000.jsonl") == [(1, 0), (2, 4), (None, 8)]
    assert lifts == [{target} for target in targets]
    assert targets[:2] == [20.0, 20.0] and targets[2] == targets[3] and abs(targets[2] - 20) == abs(targets[4] - targets[2]) == 10


def test_one_file_for_all_episodes(policy: Any, tmp_path: Path) -> None:
    one = policy(action_sequence=[2], discrete_action_log_path=str(tmp_path / "all.jsonl"), discrete_action_log_dir=str(tmp_path / "no"))
    play(one, 3)
    play(one, 3)
    assert [line.get("episode_index") for line in lines(tmp_path / "all.jsonl") if line["type"] == "header"] == [0, 1]
    assert not (tmp_path / "no").exists()
