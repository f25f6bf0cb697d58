"""What stands before and after the policy `simple_joint`: nothing, it takes and gives the robot's own units."""

from typing import Any

from lerobot.lerobot_types import PolicyAction
from lerobot.processor import PolicyProcessorPipeline, policy_action_to_transition, transition_to_policy_action
from lerobot.utils.constants import POLICY_POSTPROCESSOR_DEFAULT_NAME, POLICY_PREPROCESSOR_DEFAULT_NAME

from lerobot_policy_toddle.configuration_simple_joint import SimpleJointConfig

Processors = tuple[PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]]


def make_simple_joint_pre_post_processors(config: SimpleJointConfig, dataset_stats: dict[str, Any] | None = None) -> Processors:
    """Pipelines without a step."""
    return (
        PolicyProcessorPipeline(steps=[], name=POLICY_PREPROCESSOR_DEFAULT_NAME),
        PolicyProcessorPipeline(
            steps=[], name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
            to_transition=policy_action_to_transition, to_output=transition_to_policy_action,
        ),
    )  # fmt: skip
