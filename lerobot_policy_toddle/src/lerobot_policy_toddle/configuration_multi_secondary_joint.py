"""Options of the policy `multi_secondary_joint`."""

from dataclasses import dataclass

from lerobot.configs.policies import PreTrainedConfig

from lerobot_policy_toddle import joints
from lerobot_policy_toddle.configuration_simple_joint import SimpleJointConfig


@PreTrainedConfig.register_subclass("multi_secondary_joint")
@dataclass
class MultiSecondaryJointConfig(SimpleJointConfig):
    """As `simple_joint`; a second joint goes `secondary_position_delta` up or down between episodes and stays there. Raises ValueError."""

    secondary_joint_name: str = "shoulder_lift.pos"
    secondary_position_delta: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        joints.check(self.secondary_joint_name)
        if self.secondary_joint_name == self.joint_name:
            raise ValueError(f"joint_name and secondary_joint_name are both {self.joint_name!r}: give two joints")
        if not self.secondary_position_delta > 0:
            raise ValueError(f"secondary_position_delta is {self.secondary_position_delta}: it is above 0")

    @property
    def secondary_joint_index(self) -> int:
        """Of the second joint in the state."""
        return joints.JOINTS.index(self.secondary_joint_name)
