"""A JetBot, by the server that runs on it."""
