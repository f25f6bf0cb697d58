"""LeRobot v3.0 datasets become sessions, and sessions LeRobot v3.0 datasets, through lerobot's own code."""
