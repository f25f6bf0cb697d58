"""The viewer: one window that shows what a robot sees, what the model expects, and how every node is."""
