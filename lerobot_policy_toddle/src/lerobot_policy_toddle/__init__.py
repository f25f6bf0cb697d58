"""Policies for lerobot that try one joint's actions: importing this registers them."""

try:
    import lerobot  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("lerobot_policy_toddle needs lerobot: pip install 'lerobot[dataset,feetech]'") from error

from lerobot_policy_toddle.configuration_multi_secondary_joint import MultiSecondaryJointConfig
from lerobot_policy_toddle.configuration_simple_joint import SimpleJointConfig

__all__ = ["MultiSecondaryJointConfig", "SimpleJointConfig"]
