"""How a graph starts: launch files, their schema, the supervisor, the terminal screen, the summary."""
