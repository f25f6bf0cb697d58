"""The policy `simple_joint`: asked once a frame, decides every `action_duration` s."""

import time
from pathlib import Path
from typing import Any, Self

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from lerobot_policy_toddle import joints
from lerobot_policy_toddle.action_log import ActionLog
from lerobot_policy_toddle.configuration_simple_joint import SimpleJointConfig
from lerobot_policy_toddle.deciding import MINUS, PLUS, STAY, Beat, decisions, generator


class SimpleJointPolicy(PreTrainedPolicy):
    """Nothing is learned: its one parameter only says on which device it is."""

    config_class = SimpleJointConfig
    name = "simple_joint"
    config: SimpleJointConfig
    _next = 0
    """Number of the next episode, where no dataset says it."""

    def __init__(self, config: SimpleJointConfig, **_: Any) -> None:
        super().__init__(config)
        if config.input_features:
            config.validate_features()
        self.unused = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.clock = time.monotonic
        self.log = ActionLog(config.discrete_action_log_dir, config.discrete_action_log_path)
        self.episode = 0
        self.reset()

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path: str | Path | None, *, config: PreTrainedConfig | None = None, **kwargs: Any) -> Self:
        """As lerobot's; without a path it is made from its config alone, so that `--policy.type` is all that has to be said."""
        if pretrained_name_or_path is not None or not isinstance(config, SimpleJointConfig):
            return super().from_pretrained(pretrained_name_or_path, config=config, **kwargs)
        return cls(config).to(config.device).eval()

    def reset(self) -> None:
        """The next frame is the first of an episode. Any number of times; an episode without a frame counts for nothing."""
        self.frame_index = 0
        self.finished = False
        """Whether the sequence is over."""

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """The set-points of all joints for this frame, [1, joints] as the state is."""
        state: Tensor = batch[OBS_STATE][:1]
        if self.frame_index == 0:
            self._begin(state)
        if not self.finished and self._beat.due(self.clock()):
            self._decide(state)
        self.frame_index += 1
        return self._goal.clone()

    def _begin(self, state: Tensor) -> None:
        number = self.log.dataset_episode()
        self.episode = self._next if number is None else number
        self._next = self.episode + 1
        self._goal = state.clone()
        self._beat = Beat(self.config.action_duration)
        draws = generator(self.config.random_seed, self.episode, "decisions") if self.config.use_random_policy else None
        self._decisions = decisions(self.config.action_sequence, draws)
        self.log.begin(self._header())

    def _decide(self, state: Tensor) -> None:
        """The next decision and its set-point, from the position measured now."""
        choice = next(self._decisions, None)
        if choice is None:
            self.finished = True
            self.log.end(self.frame_index)
        else:
            self.log.decided(choice, self.frame_index)
        config = self.config
        by = {PLUS: config.position_delta, MINUS: -config.position_delta}.get(STAY if choice is None else choice, 0.0)
        position = float(state[0, config.joint_index]) + by
        self._goal[0, config.joint_index] = joints.within(config.joint_name, position)

    def _header(self) -> dict[str, Any]:
        config = self.config
        return {
            "policy_type": self.name, "episode_index": self.episode, "joint_name": config.joint_name,
            "action_duration": config.action_duration, "position_delta": config.position_delta,
            "calibrated": config.calibrated_action_duration, "use_random_policy": config.use_random_policy,
            "action_sequence": config.action_sequence, "random_seed": config.random_seed,
        }  # fmt: skip

    def predict_action_chunk(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """A chunk of one, [1, 1, joints]."""
        return self.select_action(batch).unsqueeze(1)

    def forward(self, batch: dict[str, Tensor], **_: Any) -> tuple[Tensor, None]:
        """A loss of 0: there is nothing to train."""
        return torch.zeros((), device=self.unused.device, requires_grad=True), None

    def get_optim_params(self) -> dict[str, Any]:
        """None."""
        return {}
