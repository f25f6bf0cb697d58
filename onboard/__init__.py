"""What runs on a robot's own small computer: single files that can be copied there, for its old Python too."""
