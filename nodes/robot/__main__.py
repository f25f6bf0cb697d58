from typing import Any

from nodes.robot.config import REPLAY, RobotConfig
from nodes.runtime import Node, main
from protocol.bus import Bus
from protocol.wiring import Wiring


def make(wiring: Wiring, config: Any, bus: Bus) -> Node:
    """The node that goes with the driver."""
    if config.driver != REPLAY:
        from nodes.robot.node import RobotNode

        return RobotNode(wiring, config, bus)
    if config.options.get("exact"):
        from nodes.robot.exact import ExactNode

        return ExactNode(wiring, config, bus)
    from nodes.robot.replay_node import ReplayNode

    return ReplayNode(wiring, config, bus)


if __name__ == "__main__":
    main(make, RobotConfig)
