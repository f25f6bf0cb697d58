"""`toddle doctor`: facts are gathered, then judged. A file per topic: its facts, how they are gathered, its checks."""
