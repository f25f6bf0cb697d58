from nodes.robot.config import RobotConfig
from nodes.robot.node import RobotNode
from nodes.runtime import main

if __name__ == "__main__":
    main(RobotNode, RobotConfig)
