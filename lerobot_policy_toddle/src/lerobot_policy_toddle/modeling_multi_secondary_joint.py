"""The policy `multi_secondary_joint`: `simple_joint` with another joint elsewhere in each episode."""

from typing import Any

from torch import Tensor

from lerobot_policy_toddle import joints
from lerobot_policy_toddle.configuration_multi_secondary_joint import MultiSecondaryJointConfig
from lerobot_policy_toddle.deciding import generator
from lerobot_policy_toddle.modeling_simple_joint import SimpleJointPolicy


class MultiSecondaryJointPolicy(SimpleJointPolicy):
    """In the first episode the second joint is held where it is; in each one after, a step up or down from its last target.

    An episode that is recorded again has the target that it had.
    """

    config_class = MultiSecondaryJointConfig
    name = "multi_secondary_joint"
    config: MultiSecondaryJointConfig

    def __init__(self, config: MultiSecondaryJointConfig, **kwargs: Any) -> None:
        self._targets: dict[int, float] = {}
        super().__init__(config, **kwargs)

    @property
    def secondary_target(self) -> float | None:
        """Of the running episode; None before its first frame."""
        return self._targets.get(self.episode)

    def _begin(self, state: Tensor) -> None:
        self._measured = float(state[0, self.config.secondary_joint_index])
        super()._begin(state)
        self._goal[0, self.config.secondary_joint_index] = self._targets[self.episode]

    def _header(self) -> dict[str, Any]:
        config = self.config
        if self.episode not in self._targets:
            self._targets[self.episode] = self._draw()
        return super()._header() | {
            "secondary_joint_name": config.secondary_joint_name, "secondary_position_delta": config.secondary_position_delta,
            "secondary_target": self._targets[self.episode],
        }  # fmt: skip

    def _draw(self) -> float:
        """Of the episode that begins."""
        joint, delta = self.config.secondary_joint_name, self.config.secondary_position_delta
        before = self._targets.get(self.episode - 1)
        if before is None:
            return joints.within(joint, self._measured)
        by = generator(self.config.random_seed, self.episode, joint).choice((-delta, delta))
        return joints.within(joint, before + by)
