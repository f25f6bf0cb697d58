"""A process that drives a JetBot for a while: `drive.py PORT`."""

import sys

from nodes.robot.jetbot.driver import JetBot

ACTIONS = [{"motor_left": 0.0, "motor_right": 0.0, "duration": 0.0}, {"motor_left": 0.2, "motor_right": 0.2, "duration": 60.0}]

if __name__ == "__main__":
    JetBot({"host": "127.0.0.1", "port": int(sys.argv[1]), "actions": ACTIONS}, 0).execute(ACTIONS[1])
