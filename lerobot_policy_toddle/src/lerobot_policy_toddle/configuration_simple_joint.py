"""Options of the policy `simple_joint`."""

from dataclasses import dataclass

from lerobot.configs.policies import PreTrainedConfig

from lerobot_policy_toddle import joints
from lerobot_policy_toddle.deciding import CHOICES


@PreTrainedConfig.register_subclass("simple_joint")
@dataclass
class SimpleJointConfig(PreTrainedConfig):
    """Every `action_duration` s the joint stays (0) or goes `position_delta` up (1) or down (2), in lerobot's normalised units.

    `action_sequence` is played once; else decisions are drawn with `use_random_policy`, else all are 0.
    `calibrated_action_duration`: whether the duration was measured; it goes into the log. Raises ValueError.
    """

    joint_name: str = "shoulder_pan.pos"
    action_duration: float = 0.5
    position_delta: float = 0.1
    use_random_policy: bool = False
    action_sequence: list[int] | None = None
    random_seed: int | None = None
    calibrated_action_duration: bool = False
    discrete_action_log_dir: str | None = None
    discrete_action_log_path: str | None = None
    n_obs_steps: int = 1
    n_action_steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        joints.check(self.joint_name)
        if not self.action_duration > 0 or not self.position_delta > 0:
            raise ValueError(f"action_duration {self.action_duration}, position_delta {self.position_delta}: both are above 0")
        if self.action_sequence is not None and (not self.action_sequence or set(self.action_sequence) - set(CHOICES)):
            raise ValueError(f"action_sequence {self.action_sequence}: give at least one of 0 (stay), 1 (plus), 2 (minus)")

    @property
    def joint_index(self) -> int:
        """Of the joint in the state."""
        return joints.JOINTS.index(self.joint_name)

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> None:
        return None

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> None:
        """None: nothing is trained."""

    def get_scheduler_preset(self) -> None:
        """None: nothing is trained."""

    def validate_features(self) -> None:
        """ValueError without a state: a set-point is computed from it."""
        if not any("state" in name for name in self.input_features or {}):
            raise ValueError(f"{self.type} needs the robot's state: no input feature is called so ({', '.join(self.input_features or {})})")
