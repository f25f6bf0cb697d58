"""What stands before and after the policy `multi_secondary_joint`: nothing."""

from lerobot_policy_toddle.processor_simple_joint import make_simple_joint_pre_post_processors

make_multi_secondary_joint_pre_post_processors = make_simple_joint_pre_post_processors
