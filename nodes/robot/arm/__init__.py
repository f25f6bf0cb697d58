"""Arms that LeRobot drives."""
