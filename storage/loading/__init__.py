"""Frames of sessions as batches to learn from: in any order, across sessions, ahead of whoever uses them."""
