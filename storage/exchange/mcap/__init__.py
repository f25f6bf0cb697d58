"""MCAP, as Foxglove and ROS 2 have it, both ways."""
